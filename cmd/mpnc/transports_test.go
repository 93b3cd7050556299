package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// say writes to a process and ends its input.
func (p *process) say(text string) {
	p.t.Helper()
	io.WriteString(p.in, text)
	p.in.Close()
}

// hears waits until standard output has the text.
func (p *process) hears(text string) {
	p.t.Helper()
	late := time.After(patience)
	for !strings.Contains(p.out.String(), text) {
		select {
		case <-p.out.news:
		case <-late:
			p.t.Fatalf("%q did not print %q but %q", p.Args[1:], text, p.out.String())
		}
	}
}

// scratch is a folder that processes without privileges may write to.
func scratch(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "mpnc-s") // short: a socket's path is
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestUDP(t *testing.T) {
	l, port := listening(t, "-u")
	c := run(t, "-u", "127.0.0.1", port)
	fmt.Fprint(c.in, "question")
	l.prints("question")
	fmt.Fprint(l.in, "answer")
	c.prints("answer")

	// The listener has its peer now; another one is not heard.
	other := run(t, "-u", "-q", "0", "127.0.0.1", port)
	other.say("intruder")
	<-other.waited
	fmt.Fprint(c.in, " again")
	l.prints("question again")
	c.in.Close() // which ends nothing
	l.say("more")
	c.prints("answermore")
}

// With -k all are heard; with --max-conns each has a session of its own.
func TestUDPKeepsListening(t *testing.T) {
	l, port := listening(t, "-u", "-k")
	for i, text := range []string{"a", "b", "c"} {
		c := run(t, "-u", "-q", "0", "127.0.0.1", port)
		c.say(text)
		c.exits(0)
		l.printed(i + 1)
	}
	l.prints("abc")

	_, port = listening(t, "-u", "-k", "--max-conns", "3", "--sh-exec", "read x; echo $x from $NCAT_REMOTE_PORT $NCAT_PROTO")
	for _, text := range []string{"one", "two"} {
		c := run(t, "-v", "-u", "127.0.0.1", port)
		mine := c.says(`connected to .* from 127\.0\.0\.1:(\d+)`)[1]
		fmt.Fprintln(c.in, text)
		c.prints(text + " from " + mine + " UDP\n")
	}
}

func TestUDPScan(t *testing.T) {
	s, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, open, _ := net.SplitHostPort(s.LocalAddr().String())
	c := run(t, "-uz", "-w", "1", "127.0.0.1", open)
	c.says(`Connection to 127\.0\.0\.1 ` + open + ` port \[udp/.*\] succeeded!`)
	c.exits(0)
	s.Close()
	c = run(t, "-uzv", "127.0.0.1", open)
	c.says("closed: ICMP port unreachable")
	c.exits(1)
}

func TestUnixSocket(t *testing.T) {
	dir := scratch(t)
	for _, path := range []string{filepath.Join(dir, "s"), "@mpnc-test-" + strconv.Itoa(os.Getpid())} {
		l := run(t, "-v", "-l", "-N", "-U", path)
		l.says("listening on")
		c := run(t, "-N", "-U", path)
		l.say("down")
		c.prints("down")
		c.say("up")
		c.exits(0)
		l.exits(0)
		l.prints("up")
	}
	if _, err := os.Lstat(filepath.Join(dir, "s")); err == nil {
		t.Error("the socket's file is left")
	}
}

func TestUnixDatagrams(t *testing.T) {
	path := filepath.Join(scratch(t), "d")
	l := run(t, "-v", "-l", "-u", "-U", path)
	l.says("listening on")
	c := run(t, "-u", "-U", path)
	fmt.Fprint(c.in, "up")
	l.prints("up")
	fmt.Fprint(l.in, "down")
	c.prints("down")
}

// A socket that is in use, and a file that is none, are left alone; one that
// nobody listens on is in nobody's way.
func TestUnixSocketInTheWay(t *testing.T) {
	dir := scratch(t)
	path := filepath.Join(dir, "s")
	old, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	os.Chmod(path, 0o777)
	run(t, "-l", "-U", path).fails(1, "cannot listen on "+path, "in use")
	old.SetUnlinkOnClose(false)
	old.Close()
	l := run(t, "-v", "-l", "-U", path)
	l.says("listening on")

	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o666); err != nil {
		t.Fatal(err)
	}
	run(t, "-l", "-U", file).fails(1, "cannot listen on "+file, "in use")
	if b, err := os.ReadFile(file); string(b) != "precious" {
		t.Errorf("the file has %q, %v", b, err)
	}
	run(t, "-U", filepath.Join(dir, "none")).fails(1, "cannot connect to "+dir, "no such file")
	run(t, "-U", dir+"/"+strings.Repeat("x", 120)).fails(1, "file name too long")
}

// tlsListening starts a listener and returns its port and fingerprint.
func tlsListening(t *testing.T, args ...string) (p *process, port, pin string) {
	t.Helper()
	p, port = listening(t, append([]string{"--transport", "kernel-tcp", "--ssl"}, args...)...)
	return p, port, p.says(`--ssl-pin (sha256:[0-9a-f]{64})\)`)[1]
}

func TestTLS(t *testing.T) {
	up, down := string(noise(3, 1<<20)), string(noise(4, 300<<10))
	l, port, pin := tlsListening(t, "-N")
	c := run(t, "--transport", "kernel-tcp", "-N", "--ssl", "--ssl-pin", pin, "127.0.0.1", port)
	go l.say(down)
	c.say(up)
	c.exits(0)
	l.exits(0)
	l.prints(up)
	c.prints(down)
	if s := c.stderr(); s != "" {
		t.Errorf("it said %q", s)
	}
}

func TestTLSRefusals(t *testing.T) {
	_, port, _ := tlsListening(t)
	c := run(t, "--transport", "kernel-tcp", "--ssl-pin", strings.Repeat("ab", 32), "127.0.0.1", port)
	c.fails(1, "TLS: the peer's certificate is sha256:", "not the one of --ssl-pin")
	_, port, _ = tlsListening(t)
	run(t, "--transport", "kernel-tcp", "--ssl-verify", "127.0.0.1", port).fails(1, "TLS: ", "certificate")
	_, port, _ = tlsListening(t)
	c = run(t, "--transport", "kernel-tcp", "-N", "--ssl", "127.0.0.1", port)
	c.says("whoever answers is trusted")
	_, port = listening(t, "--transport", "kernel-tcp", "-N")
	c = run(t, "--transport", "kernel-tcp", "--ssl", "-w", "1", "127.0.0.1", port)
	c.exits(1) // it waits for an answer that is TLS
}

// A certificate of one's own, and an authority: the file that signs itself.
func TestTLSCertificate(t *testing.T) {
	dir := scratch(t)
	pair, err := ephemeralCertificate()
	if err != nil {
		t.Fatal(err)
	}
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writePEM(t, cert, "CERTIFICATE", pair.Certificate[0])
	writePEM(t, key, "PRIVATE KEY", keyDER(t, pair))
	l, port, _ := tlsListening(t, "--ssl-cert", cert, "--ssl-key", key)
	c := run(t, "--transport", "kernel-tcp", "-N", "--ssl-trustfile", cert, "--ssl-servername", "mpnc", "127.0.0.1", port)
	c.say("trusted")
	l.say("")
	c.exits(0)
	l.prints("trusted")
	_, port, _ = tlsListening(t, "--ssl-cert", cert, "--ssl-key", key)
	run(t, "--transport", "kernel-tcp", "--ssl-trustfile", cert, "127.0.0.1", port).fails(1, "TLS: ", "127.0.0.1")
	run(t, "--ssl-cert", dir+"/none", "127.0.0.1", port).fails(1, "cannot load the certificate", "none")
}

func writePEM(t *testing.T, file, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o644); err != nil {
		t.Fatal(err)
	}
}

func keyDER(t *testing.T, pair tls.Certificate) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func alive(p *os.Process) bool { return p.Signal(syscall.Signal(0)) == nil }

// A stream that ends without TLS's own end was cut.
func TestTLSTruncation(t *testing.T) {
	pair, err := ephemeralCertificate()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		s := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{pair}})
		s.Write([]byte("half of it"))
		c.Close()
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	c := run(t, "--transport", "kernel-tcp", "-d", "--ssl-pin", fingerprint(pair.Certificate[0]), "127.0.0.1", port)
	c.fails(3, "cannot receive", "cut off")
	c.prints("half of it")
}

// proxyServer connects everybody to one address, and tells what was asked for.
func proxyServer(t *testing.T, to string, negotiate func(net.Conn) (asked string)) (address string, asked chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	asked = make(chan string, 1)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				text := negotiate(c)
				if asked <- text; text == "" {
					return
				}
				far, err := net.Dial("tcp", to)
				if err != nil {
					return
				}
				defer far.Close()
				go func() {
					io.Copy(far, c)
					far.(*net.TCPConn).CloseWrite()
				}()
				io.Copy(c, far)
			}()
		}
	}()
	return l.Addr().String(), asked
}

// socks5Server takes names.
func socks5Server(c net.Conn) string {
	var p [300]byte
	io.ReadFull(c, p[:3])
	c.Write([]byte{5, 0})
	io.ReadFull(c, p[:5])
	host := ""
	switch p[3] {
	case 3:
		n := int(p[4])
		io.ReadFull(c, p[:n])
		host = string(p[:n])
	case 1:
		a := [4]byte{p[4]}
		io.ReadFull(c, a[1:])
		host = netip.AddrFrom4(a).String()
	}
	io.ReadFull(c, p[:2])
	c.Write([]byte{5, 0, 0, 1, 127, 0, 0, 1, 0, 80})
	return fmt.Sprintf("%s %d", host, binary.BigEndian.Uint16(p[:]))
}

func httpProxy(status string) func(net.Conn) string {
	return func(c net.Conn) string {
		var head []byte
		for !strings.HasSuffix(string(head), "\r\n\r\n") {
			var b [1]byte
			if _, err := c.Read(b[:]); err != nil {
				return ""
			}
			head = append(head, b[0])
		}
		fmt.Fprintf(c, "HTTP/1.1 %s\r\n\r\n", status)
		if !strings.HasPrefix(status, "200") {
			return ""
		}
		return strings.ReplaceAll(string(head), "\r\n", "|")
	}
}

func TestProxies(t *testing.T) {
	l, port := listening(t, "-k", "-N", "--transport", "kernel-tcp")
	total := ""
	for _, tt := range []struct {
		args  string
		serve func(net.Conn) string
		asked string
	}{
		{"-X 5 there.invalid 99", socks5Server, "there.invalid 99"},
		{"--proxy-dns local localhost 99", socks5Server, "127.0.0.1 99"},
		{"-Xconnect there.invalid 99", httpProxy("200 OK"), "CONNECT there.invalid:99 HTTP/1.0||"},
		{"--proxy-type http --proxy-auth ada:lace ::1 99", httpProxy("200 OK"),
			"CONNECT [::1]:99 HTTP/1.0|Proxy-Authorization: Basic YWRhOmxhY2U=||"},
	} {
		address, asked := proxyServer(t, "127.0.0.1:"+port, tt.serve)
		c := run(t, append([]string{"-4", "-N", "--transport", "kernel-tcp", "-x", address}, strings.Fields(tt.args)...)...)
		c.say("via proxy\n")
		c.in.Close()
		if got := <-asked; got != tt.asked {
			t.Errorf("%s: the proxy was asked for %q", tt.args, got)
		}
		total += "via proxy\n"
		l.prints(total)
		c.Process.Kill()
	}
}

func TestProxyTrouble(t *testing.T) {
	address, _ := proxyServer(t, "127.0.0.1:1", httpProxy("403 Forbidden"))
	run(t, "--transport", "kernel-tcp", "-Xconnect", "-x", address, "there.invalid", "99").fails(1, "there.invalid", "403 Forbidden")
	run(t, "--transport", "kernel-tcp", "-x", "127.0.0.1:1", "there.invalid", "99").fails(1, "the proxy 127.0.0.1:1 cannot be reached", "connection refused")
	for _, tt := range []struct{ args, words string }{
		{"-l -x p 80", "no proxy support for listen"},
		{"-u -x p h 80", "no proxy support for UDP mode"},
		{"-U -x p path", "no proxy support for unix sockets"},
		{"-s 127.0.0.1 -x p h 80", "no proxy support for local source address"},
		{"-X 9 -x p h 80", "unsupported proxy protocol"},
		{"-X 5 h 80", "needs a proxy"},
	} {
		run(t, strings.Fields(tt.args)...).fails(2, tt.words)
	}
}

func TestExec(t *testing.T) {
	l, port := listening(t, "--transport", "kernel-tcp", "--sh-exec", `echo "$NCAT_REMOTE_ADDR $MPNC_LOCAL_PORT $NCAT_PROTO"; sort; echo done >&2`)
	c := run(t, "--transport", "kernel-tcp", "-N", "127.0.0.1", port)
	c.say("b\na\n")
	c.exits(0)
	c.prints("127.0.0.1 " + port + " TCP\na\nb\n")
	l.exits(0)
	l.says("done")

	// The client's side runs programs, too; --exec needs no shell.
	l, port = listening(t, "--transport", "kernel-tcp", "-d")
	c = run(t, "--transport", "kernel-tcp", "--exec", `printf '%s-%s' "a b" c\ d`, "127.0.0.1", port)
	c.exits(0)
	l.exits(0)
	l.prints("a b-c d")
	run(t, "-l", "--exec", "/nonexistent/program", "127.0.0.1", "0").fails(1, "cannot run /nonexistent/program")
	run(t, "-l", "--exec", "'open", "127.0.0.1", "0").fails(2, "quote")
}

// A program that does not end, because its peer went, is ended.
func TestExecEnds(t *testing.T) {
	l, port := listening(t, "--transport", "kernel-tcp", "--sh-exec", "echo $$; exec sleep 1000")
	c := run(t, "--transport", "kernel-tcp", "127.0.0.1", port)
	c.printed(2)
	pid, err := strconv.Atoi(strings.TrimSpace(c.out.String()))
	if err != nil {
		t.Fatal(err)
	}
	l.Process.Signal(os.Interrupt)
	l.exits(exitSignal + 2)
	if p, err := os.FindProcess(pid); err == nil && alive(p) {
		t.Errorf("process %d is still there", pid)
	}
}

func TestAccess(t *testing.T) {
	list := filepath.Join(scratch(t), "list")
	if err := os.WriteFile(list, []byte("# ours\n10.0.0.0/8 127.0.0.1 # and this one\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args string
		in   bool
	}{
		{"--allow localhost,192.0.2.1", true},
		{"--allow 127.0.0.0/8 --deny 127.0.0.2", true},
		{"--allowfile " + list, true},
		{"--allow 192.0.2.0/24", false},
		{"--deny 127.0.0.0/8", false},
		{"--allow 127.0.0.1 --denyfile " + list, false},
	} {
		t.Run(tt.args, func(t *testing.T) {
			l, port := listening(t, append(strings.Fields(tt.args), "--transport", "kernel-tcp", "-d")...)
			c := run(t, "--transport", "kernel-tcp", "-N", "127.0.0.1", port)
			if tt.in {
				c.say("hello")
				c.exits(0)
				l.exits(0)
				l.prints("hello")
				return
			}
			if <-c.waited; c.ProcessState.ExitCode() == 0 { // it was reset, sooner or later
				t.Error("the client saw no failure")
			}
			l.says(`refused 127\.0\.0\.1:`)
			if out := l.out.String(); out != "" {
				t.Errorf("it took %q", out)
			}
		})
	}
	run(t, "--allow", "::1", "host", "80").fails(2, "--allow is for listening")
	run(t, "-l", "--allow", "1.2.3.4/99", "80").fails(2, "not an address, a prefix or a name")
}

func TestBroker(t *testing.T) {
	l, port := listening(t, "--transport", "kernel-tcp", "--chat")
	first := run(t, "--transport", "kernel-tcp", "127.0.0.1", port)
	l.says("connection received")               // before the second one can
	fmt.Fprintln(first.in, "is anybody there?") // nobody is
	second := run(t, "--transport", "kernel-tcp", "127.0.0.1", port)
	first.printed(1) // the second has come
	fmt.Fprint(second.in, "I am.\x1b[2J\nAnd ")
	fmt.Fprint(second.in, "go.\n")
	first.hears("<announce> <user1> is connected from 127.0.0.1:")
	first.hears("\n<user1> I am.[2J\n<user1> And go.\n")
	second.Process.Signal(os.Interrupt)
	first.hears("<announce> <user1> has left\n")
}

func TestPIDFile(t *testing.T) {
	name := filepath.Join(scratch(t), "pid")
	l, port := listening(t, "--transport", "kernel-tcp", "-d", "--pidfile", name)
	b, err := os.ReadFile(name)
	if err != nil || strings.TrimSpace(string(b)) != strconv.Itoa(l.Process.Pid) {
		t.Errorf("%q, %v", b, err)
	}
	c := run(t, "--transport", "kernel-tcp", "-N", "127.0.0.1", port)
	c.say("")
	l.exits(0)
	if _, err := os.Stat(name); err == nil {
		t.Error("the file is left")
	}
	run(t, "-l", "--pidfile", "/nonexistent/pid", "127.0.0.1", "0").fails(exitOutput, "--pidfile")
}
