package testenv

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"

	"github.com/mpnc/mpnc/mptcp"
	"github.com/mpnc/mpnc/mptcp/engine"
	"github.com/mpnc/mpnc/pathmgr"
)

// otherPort is advertised beside the one of the connection.
const otherPort = 10100

// teller is a server's manager that advertises one address and nothing else.
type teller struct {
	told bool
	addr netip.Addr
	port uint16
}

func (m *teller) Handle(_ pathmgr.Time, _ pathmgr.Event, _ *pathmgr.View, do []pathmgr.Command) []pathmgr.Command {
	if m.told {
		return do
	}
	m.told = true
	return append(do, pathmgr.Advertise{Local: pathmgr.Local{Addr: m.addr}, Port: m.port})
}

// advertisedCase has the server advertise the address of its second link.
type advertisedCase struct {
	interopCase
	other int    // family of the advertised address
	port  uint16 // 0: the connection's
}

func (c advertisedCase) String() string {
	return fmt.Sprintf("%v, IPv%d advertised, port %d", c.interopCase, c.other, c.port)
}

// ADD_ADDR from a kernel and from us, with a port and without, of the
// connection's family and of the other: it is echoed and joined, at that port,
// and IPv4 and IPv6 carry one connection.
func TestInteropAdvertised(t *testing.T) {
	var cases []advertisedCase
	for _, pair := range mixedPairs {
		for _, v := range []struct {
			family, other int
			port          uint16
		}{{4, 4, otherPort}, {6, 6, otherPort}, {6, 4, 0}, {6, 4, otherPort}} {
			// A kernel's ADD_ADDR has no room for IPv6 and a port beside
			// timestamps, and is not sent then (Linux 6.18).
			if pair[1] == kernelMPTCP && v.other == 6 && v.port != 0 {
				continue
			}
			cases = append(cases, advertisedCase{
				interopCase: interopCase{client: pair[0], server: pair[1], flow: both, family: v.family, size: 2 << 20},
				other:       v.other, port: v.port,
			})
		}
	}
	cases = chosen(t, 4, cases)
	var tests []func(*testing.T)
	for _, c := range cases {
		tests = append(tests, func(t *testing.T) { c.run(t) })
	}
	sideBySide(t, labsAtOnce, tests, func(i int) string { return cases[i].String() })
}

func (c advertisedCase) run(t *testing.T) {
	w := newWorld(t, interopLinks())
	told := w.lab.Server.Addr("cell", c.other)
	if c.server == kernelMPTCP {
		must(t, w.lab.Server.AddEndpoint(Endpoint{Addr: told, Port: c.port, Signal: true}))
	} else {
		w.config = func(cfg *mptcp.Config) {
			cfg.PathManager = func() pathmgr.Manager { return &teller{addr: told, port: c.port} }
		}
	}
	want := netip.AddrPortFrom(told, interopPort)
	if c.port != 0 {
		want = netip.AddrPortFrom(told, c.port)
	}
	clientMode, serverMode := c.flow.modes()
	gate := make(chan struct{})
	server := w.newEnd(w.lab.Server, c.server, PeerConfig{Mode: serverMode, Bytes: c.size, Seed: 22, Gate: gate}, false)
	client := w.newEnd(w.lab.Client, c.client, PeerConfig{Mode: clientMode, Bytes: c.size, Seed: 11, Gate: gate}, false)
	server.listen(netip.AddrPortFrom(netip.IPv6Unspecified(), interopPort))
	if server.stack != nil && c.port != 0 {
		// Joins come to this port if it is ours.
		ln, err := server.stack.Listen("tcp", fmt.Sprint(":", c.port))
		must(t, err)
		t.Cleanup(func() { _ = ln.Close() })
	}
	client.dial(netip.AddrPortFrom(w.lab.Server.Addr("wifi", c.family), interopPort))
	w.open(gate, fmt.Sprint("path to ", want), func() bool { return w.joined(c.interopCase) && w.pathTo(want, c.server) != nil })
	atClient, atServer := client.wait(), server.wait()
	w.arrived("server", atServer, true, 11, c.size)
	w.arrived("client", atClient, true, 22, c.size)

	ours := client
	if client.conn == nil {
		ours = server
	}
	st := ours.conn.Stats()
	if sf := w.pathTo(want, c.server); sf == nil || sf.BytesIn+sf.BytesOut == 0 {
		t.Errorf("nothing was carried to %v", want)
	}
	if ours == client && (st.AddAddrRx == 0 || st.EchoAddTx == 0) || ours == server && (st.AddAddrTx == 0 || st.EchoAddRx == 0) {
		t.Errorf("ADD_ADDR %d sent, %d received; echoes %d sent, %d received", st.AddAddrTx, st.AddAddrRx, st.EchoAddTx, st.EchoAddRx)
	}
}

// pathTo returns the path of our end to an address of the server, whoever that is;
// the one that carried most, if there are several.
func (w *world) pathTo(want netip.AddrPort, server peerKind) (most *engine.SubflowInfo) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, wc := range w.conns {
		for _, sf := range wc.conn.Stats().Subflows {
			end := sf.Tuple.Remote
			if server.ours() {
				end = sf.Tuple.Local
			}
			if end == want && sf.Up && (most == nil || sf.BytesIn+sf.BytesOut > most.BytesIn+most.BytesOut) {
				most = &sf
			}
		}
	}
	return most
}

// A connection that a kernel ends at once, in both of its ways, and one that we
// end, in both of ours: the other side learns of it.
func TestInteropFastClose(t *testing.T) {
	type closing struct {
		name  string
		by    peerKind
		onACK bool // ours
		timer bool // a kernel's: by SO_LINGER; else with unread data
	}
	var tests []func(*testing.T)
	cases := []closing{
		{name: "kernel, unread data", by: kernelMPTCP}, {name: "kernel, linger 0", by: kernelMPTCP, timer: true},
		{name: "mpnc, RST", by: ourMPTCP}, {name: "mpnc, ACK", by: ourMPTCP, onACK: true},
	}
	for _, c := range cases {
		tests = append(tests, func(t *testing.T) {
			w := newWorld(t, interopLinks())
			w.config = func(cfg *mptcp.Config) { cfg.FastCloseACK = c.onACK }
			at := netip.AddrPortFrom(w.lab.Server.Addr("wifi", 4), interopPort)
			var kernel net.Conn
			accepted := make(chan error, 1)
			var ln net.Listener
			must(t, w.lab.Server.Do(func() (err error) {
				lc := net.ListenConfig{}
				lc.SetMultipathTCP(true)
				ln, err = lc.Listen(w.ctx, "tcp", at.String())
				return err
			}))
			t.Cleanup(func() { _ = ln.Close() })
			go func() {
				var err error
				kernel, err = ln.Accept()
				accepted <- err
			}()
			stack := w.stack(w.lab.Client, mptcp.Config{})
			conn, err := stack.Dial(w.ctx, "tcp", at.String())
			must(t, err)
			w.known("client", conn)
			must(t, <-accepted)
			t.Cleanup(func() { _ = kernel.Close() })
			_, err = conn.Write([]byte("some data"))
			must(t, err)
			until(t, "two paths", func() bool { return conn.Stats().MPJoinSynAckRx > 0 })
			deadline, _ := w.ctx.Deadline()
			must(t, kernel.SetDeadline(deadline))
			if c.by == kernelMPTCP {
				if c.timer {
					_, err = io.ReadFull(kernel, make([]byte, len("some data")))
					must(t, err)
					must(t, kernel.(*net.TCPConn).SetLinger(0))
				} else {
					until(t, "the data there", func() bool { return conn.Stats().BytesAcked > 0 })
				}
				must(t, kernel.Close())
				if _, err = conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("our end: %v", err)
				}
				if st := conn.Stats(); st.MPFastcloseRx != 1 {
					t.Errorf("%d MP_FASTCLOSE received", st.MPFastcloseRx)
				}
				return
			}
			conn.Abort()
			_, err = io.Copy(io.Discard, kernel)
			if !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the kernel's end: %v", err)
			}
			until(t, "the kernel's count", func() bool {
				n, err := w.lab.Server.Counters()
				again := c.onACK && n["MPTcpExtMPFastcloseRx"] > 1 // it is repeated until it is answered
				return err == nil && (n["MPTcpExtMPFastcloseRx"] == 1 || again)
			})
			w.kernelDone(w.lab.Server)
		})
	}
	sideBySide(t, labsAtOnce, tests, func(i int) string { return cases[i].name })
}
