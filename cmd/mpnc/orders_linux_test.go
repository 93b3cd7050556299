package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mpnc/mpnc/testenv"
)

// The peer greets (G) and ends its direction (F); we send a command (C) and end
// ours (E). These are all the orders in which that can happen.
var orders = []string{"GFCE", "GCFE", "GCEF", "CGFE", "CGEF", "CEGF"}

// ground is what carries a session between mpnc and a peer made of package
// net's sockets.
type ground struct {
	name    string
	options []string                // of mpnc
	host    string                  // where it listens; empty if the port says it all
	port    func(*testing.T) string // a free one; if nil, of TCP
	// listen and dial are the peer's.
	listen func(port string) (net.Listener, error)
	dial   func(port string) (halfCloser, error)
	// within starts a process where mpnc runs; may be nil.
	within func(start func() error) error
	asRoot bool
	// says is what mpnc must have told with -v before the play begins.
	says string
}

// halfCloser is a connection of which a direction can be ended.
type halfCloser interface {
	net.Conn
	CloseWrite() error
}

// loopback is a ground on this host's own loopback interface.
func loopback(transport string) *ground {
	return &ground{
		name: transport, options: []string{"--transport", transport}, host: "127.0.0.1", asRoot: transport != "kernel-tcp",
		listen: func(port string) (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:"+port) },
		dial:   func(port string) (halfCloser, error) { return dialTCP("127.0.0.1:" + port) },
	}
}

func dialTCP(address string) (halfCloser, error) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

// overTLS is a ground of TLS over the kernel's TCP.
func overTLS(t *testing.T) *ground {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	server := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	g := loopback("kernel-tcp")
	g.name, g.options = "TLS", append(g.options, "--ssl")
	g.listen = func(port string) (net.Listener, error) {
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		return tlsListener{l, server}, err
	}
	g.dial = func(port string) (halfCloser, error) {
		return tls.Dial("tcp", "127.0.0.1:"+port, &tls.Config{InsecureSkipVerify: true})
	}
	return g
}

// tlsListener accepts connections whose handshake is done.
type tlsListener struct {
	net.Listener
	config *tls.Config
}

func (l tlsListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	tc := tls.Server(c, l.config)
	return tc, tc.Handshake()
}

// unixSockets is a ground of Unix sockets, whose paths take the place of ports.
func unixSockets(t *testing.T) *ground {
	dir, err := os.MkdirTemp("", "mpnc-test") // where nobody, too, may make one
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return &ground{
		name: "Unix sockets", options: []string{"-U"},
		port: func(t *testing.T) string { return filepath.Join(dir, stagePort(t)) },
		listen: func(path string) (net.Listener, error) {
			l, err := net.Listen("unix", path)
			if err == nil {
				err = os.Chmod(path, 0o777)
			}
			return l, err
		},
		dial: func(path string) (halfCloser, error) {
			c, err := net.Dial("unix", path)
			if err != nil {
				return nil, err
			}
			return c.(*net.UnixConn), nil
		},
	}
}

// twoPaths is a ground of two links between mpnc and the kernel's Multipath
// TCP.
func twoPaths(t *testing.T) *ground {
	lab := newLab(t, nil)
	if err := lab.Client.Sysctl("net.mptcp.enabled", "0"); err != nil { // where mpnc is
		t.Fatal(err)
	}
	mine, peers := lab.Client.Addr(wifi, 4).String(), lab.Server.Addr(wifi, 4).String()
	return &ground{
		name: "mptcp, two paths", options: []string{"--transport", "mptcp"}, asRoot: true, within: lab.Client.Do,
		host: peers, says: `path \d up: cellular`,
		listen: func(port string) (l net.Listener, err error) {
			err = lab.Server.Do(func() error {
				l, err = net.Listen("tcp4", net.JoinHostPort(peers, port))
				return err
			})
			return l, err
		},
		dial: func(port string) (c halfCloser, err error) {
			err = lab.Server.Do(func() error {
				d := net.Dialer{}
				d.SetMultipathTCP(true)
				var tc net.Conn
				if tc, err = d.Dial("tcp4", net.JoinHostPort(mine, port)); err == nil {
					c = tc.(*net.TCPConn)
				}
				return err
			})
			return c, err
		},
	}
}

// start runs mpnc on the ground.
func (g *ground) start(t *testing.T, args ...string) *process {
	p := prepare(t, append(append([]string{"-v", "-N"}, g.options...), args...)...)
	p.within = g.within
	if g.asRoot {
		p.SysProcAttr = nil
	}
	return p.begin()
}

func (g *ground) freePort(t *testing.T) string {
	if g.port != nil {
		return g.port(t)
	}
	return stagePort(t)
}

// client has mpnc connect to the peer.
func (g *ground) client(t *testing.T) (*process, halfCloser) {
	port := g.freePort(t)
	l, err := g.listen(port)
	for errors.Is(err, syscall.EADDRINUSE) && t.Context().Err() == nil { // somebody was quicker
		port = g.freePort(t)
		l, err = g.listen(port)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() }) // the kernel takes no more paths without it
	p := g.start(t, strings.Fields(g.host+" "+port)...)
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return p, c.(halfCloser)
}

// listener has the peer connect to mpnc.
func (g *ground) listener(t *testing.T) (*process, halfCloser) {
	port := g.freePort(t)
	p := g.start(t, "-l", port)
	p.says(`listening on`)
	c, err := g.dial(port)
	if err != nil {
		t.Fatal(err)
	}
	return p, c
}

// Whatever the order, what was sent before an end arrives, each side sees the
// other's end, and mpnc is there as long as it has to be: a client until both
// directions have ended, a listener until the peer's has.
func TestTwelveOrders(t *testing.T) {
	grounds := []*ground{loopback("kernel-tcp"), overTLS(t), unixSockets(t)}
	if testenv.CanLab() && os.Getuid() == 0 {
		grounds = append(grounds, loopback("tcp"), twoPaths(t))
	} else if os.Getenv("MPNC_REQUIRE_NETNS") != "" {
		t.Fatal("no privilege for our own stack, and MPNC_REQUIRE_NETNS is set")
	}
	for _, g := range grounds {
		for _, order := range orders {
			t.Run(g.name+"/client/"+order, func(t *testing.T) {
				t.Parallel()
				p, c := g.client(t)
				g.play(t, p, c, order, false)
			})
			t.Run(g.name+"/listener/"+order, func(t *testing.T) {
				t.Parallel()
				p, c := g.listener(t)
				g.play(t, p, c, order, true)
			})
		}
	}
}

const (
	greeting = "220 hello\r\n"
	request  = "QUIT\r\n"
)

// play goes through an order, and after each step waits until the other side
// has noticed.
func (g *ground) play(t *testing.T, p *process, c halfCloser, order string, listener bool) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if g.says != "" {
		p.says(g.says)
	}
	heard, over := "", false
	for i, step := range order {
		switch step {
		case 'G':
			io.WriteString(c, greeting)
			p.prints(greeting)
		case 'F':
			if err := c.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if listener {
				over = true
				p.exits(exitOK)
			} else if strings.ContainsRune(order[i:], 'E') {
				goesOn(t, p)
			}
		case 'C':
			if over {
				break // nobody is there to send it
			}
			io.WriteString(p.in, request)
			b := make([]byte, len(request))
			n, err := io.ReadFull(c, b)
			if heard = string(b[:n]); err != nil {
				t.Fatalf("after %q: %v", heard, err)
			}
		case 'E':
			p.in.Close()
			if over {
				break
			}
			if n, err := c.Read(make([]byte, 1)); err != io.EOF {
				t.Fatalf("the peer read %d octets, %v, and no end", n, err)
			}
			if strings.ContainsRune(order[i:], 'F') {
				goesOn(t, p)
			}
		}
	}
	if rest, err := io.ReadAll(c); err != nil || len(rest) > 0 {
		t.Errorf("the peer saw %q, %v, and no end", rest, err)
	}
	p.exits(exitOK)
	if got := p.out.String(); got != greeting {
		t.Errorf("printed %q", got)
	}
	if strings.Index(order, "C") < strings.Index(order, "F") && heard != request {
		t.Errorf("the peer heard %q", heard)
	}
}

// goesOn wants a process to stay for a moment.
func goesOn(t *testing.T, p *process) {
	t.Helper()
	select {
	case <-p.waited:
		t.Fatalf("it ended, with %d: %s", p.ProcessState.ExitCode(), p.stderr())
	case <-time.After(shortly):
	}
}
