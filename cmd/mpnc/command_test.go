package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// beMpnc makes the test binary behave as the command.
const beMpnc = "MPNC_TEST_IS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(beMpnc) != "" {
		main()
	}
	heedSignals()
	flag.Parse()
	fuzzing := flag.Lookup("test.fuzz").Value.String() != "" // whose workers do not wait
	if p := flag.Lookup("test.parallel"); p.Value.String() == p.DefValue && !fuzzing {
		p.Value.Set("12") // they wait, most of the time
	}
	code := m.Run()
	os.RemoveAll(binaryDir)
	os.Exit(code)
}

// heedSignals lets the processes of the tests have the signals that whoever
// started us had ignored, as a shell does for a job in its background: an ignored
// signal stays ignored in a child, one that is caught does not. We go on ignoring
// it.
func heedSignals() {
	for _, sig := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT} {
		if signal.Ignored(sig) {
			signal.Notify(make(chan os.Signal, 1), sig)
		}
	}
}

// binaryDir holds a copy of the test binary that any user may run.
var binaryDir string

var commandFile = sync.OnceValues(func() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	if binaryDir, err = os.MkdirTemp("", "mpnc-test"); err != nil {
		return "", err
	}
	if err := os.Chmod(binaryDir, 0o755); err != nil {
		return "", err
	}
	code, err := os.ReadFile(self)
	if err != nil {
		return "", err
	}
	name := filepath.Join(binaryDir, "mpnc")
	return name, os.WriteFile(name, code, 0o755)
})

// process is a running mpnc without privileges.
type process struct {
	*exec.Cmd
	t      *testing.T
	in     io.WriteCloser
	out    tank
	err    tank
	waited chan struct{}
	within func(func() error) error // starts it; nil: here
}

// tank collects what a process prints.
type tank struct {
	mu   sync.Mutex
	b    bytes.Buffer
	news chan struct{} // something was written
}

func (k *tank) Write(b []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	select {
	case k.news <- struct{}{}:
	default:
	}
	return k.b.Write(b)
}

func (k *tank) String() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.b.String()
}

// prepare makes the command line; fields of Cmd may be changed before begin.
func prepare(t *testing.T, args ...string) *process {
	t.Helper()
	name, err := commandFile()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{Cmd: exec.Command(name, args...), t: t, waited: make(chan struct{})}
	p.out.news, p.err.news = make(chan struct{}, 1), make(chan struct{}, 1)
	p.Env = append(os.Environ(), beMpnc+"=1")
	p.Stdout, p.Stderr = &p.out, &p.err
	dropPrivileges(p.Cmd)
	return p
}

// begin starts it; the test ends it if it has not ended by then.
func (p *process) begin() *process {
	p.t.Helper()
	if p.Stdin == nil {
		in, err := p.StdinPipe()
		if err != nil {
			p.t.Fatal(err)
		}
		p.in = in
	}
	start := p.Start
	if p.within != nil {
		start = func() error { return p.within(p.Start) }
	}
	if err := start(); err != nil {
		p.t.Fatal(err)
	}
	go func() {
		p.Wait()
		close(p.waited)
	}()
	p.t.Cleanup(func() {
		p.Process.Kill()
		<-p.waited
	})
	return p
}

func run(t *testing.T, args ...string) *process {
	t.Helper()
	return prepare(t, args...).begin()
}

func (p *process) stderr() string { return p.err.String() }

// patience bounds every wait for a process.
const patience = 2 * time.Minute

// says waits until standard error matches and returns the groups.
func (p *process) says(pattern string) []string {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	late := time.After(patience)
	for {
		if m := re.FindStringSubmatch(p.stderr()); m != nil {
			return m
		}
		select {
		case <-p.err.news:
		case <-late:
			p.t.Fatalf("%q did not say %q but\n%s", p.Args[1:], pattern, p.stderr())
		}
	}
}

// prints waits until standard output holds exactly want.
func (p *process) prints(want string) {
	p.t.Helper()
	late := time.After(patience)
	for p.out.String() != want {
		select {
		case <-p.out.news:
		case <-late:
			p.t.Fatalf("%q printed %d octets, want other %d", p.Args[1:], len(p.out.String()), len(want))
		}
	}
}

// printed waits until standard output has n octets.
func (p *process) printed(n int) {
	p.t.Helper()
	late := time.After(patience)
	for len(p.out.String()) < n {
		select {
		case <-p.out.news:
		case <-late:
			p.t.Fatalf("%q printed only %d octets of %d", p.Args[1:], len(p.out.String()), n)
		}
	}
}

// exits waits for the end and checks the status.
func (p *process) exits(code int) {
	p.t.Helper()
	select {
	case <-p.waited:
	case <-time.After(patience):
		p.t.Fatalf("%q does not end; it said\n%s", p.Args[1:], p.stderr())
	}
	if got := p.ProcessState.ExitCode(); got != code {
		p.t.Errorf("%q: exit status %d, want %d; it said\n%s", p.Args[1:], got, code, p.stderr())
	}
}

// fails waits for the end with one line on standard error that has the words.
func (p *process) fails(code int, words ...string) {
	p.t.Helper()
	p.exits(code)
	line := p.stderr()
	if strings.Count(line, "\n") != 1 || !strings.HasPrefix(line, "mpnc: ") {
		p.t.Errorf("%q: want one line, got\n%s", p.Args[1:], line)
	}
	for _, w := range words {
		if !strings.Contains(line, w) {
			p.t.Errorf("%q: %q does not say %q", p.Args[1:], line, w)
		}
	}
}

// listening starts mpnc -l and returns its port.
func listening(t *testing.T, args ...string) (*process, string) {
	t.Helper()
	p := run(t, append([]string{"-v", "-l"}, append(args, "127.0.0.1", "0")...)...)
	return p, p.says(`listening on .*:(\d+)\n`)[1]
}

func noise(seed byte, n int) []byte {
	p := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(p)
	return p
}

// Random octets both ways at once, through each of the kernel's transports.
func TestTransferBothWays(t *testing.T) {
	for _, kind := range []string{"kernel", "kernel-tcp"} {
		t.Run(kind, func(t *testing.T) {
			up, down := string(noise(1, 2<<20)), string(noise(2, 3<<20))
			l, port := listening(t, "-N", "--transport", kind)
			c := run(t, "-vN", "--transport", kind, "127.0.0.1", port)
			go io.WriteString(l.in, down)
			go io.WriteString(c.in, up)
			l.prints(up)
			c.prints(down)
			c.in.Close()
			c.exits(0)
			l.exits(0)
			c.says(`using the kernel's .*, as asked\n`)
			c.says(`path 0 up: 127\.0\.0\.1:\d+ - 127\.0\.0\.1:` + port)
			c.says(`sent 2\.0 MiB \(.*\), received 3\.0 MiB`)
			// The kernel's count of what it received has what came twice.
			c.says(`path 0: sent 2\.\d MiB \(100 %\), received 3\.\d MiB \(100 %\)`)
		})
	}
}

// Without privileges auto takes the kernel, and says why and what to do.
func TestAutoWithoutPrivileges(t *testing.T) {
	l, port := listening(t, "-d")
	c := run(t, "-vN", "127.0.0.1", port)
	c.says(`using the kernel's MPTCP: raw sockets need CAP_NET_RAW \(try: sudo setcap cap_net_raw\+ep /.*/mpnc\)`)
	fmt.Fprint(c.in, "hello")
	c.in.Close()
	c.exits(0)
	l.exits(0)
	l.prints("hello")
}

// What only our own stack can do is not silently left out.
func TestOwnStackOptionsOnKernel(t *testing.T) {
	l, port := listening(t, "-d", "--hold", "5m")
	l.says(`--hold has no effect`)
	run(t, "--transport", "kernel", "--scheduler", "roundrobin", "127.0.0.1", port).fails(2, "--scheduler", "own stack only")
}

// A trace that was asked for is not forgotten.
func TestTraceNeedsOwnStack(t *testing.T) {
	run(t, "--ladder", "127.0.0.1", "9").fails(1, "--ladder", "CAP_NET_RAW", "setcap")
	run(t, "--ladder=/dev/null", "--transport", "kernel", "127.0.0.1", "9").fails(2, "--ladder", "own stack only")
	run(t, "--trace", "/dev/null", "127.0.0.1", "9").fails(1, "--trace", "CAP_NET_RAW", "setcap")
}

// A transport asked for by name that cannot be had is an error.
func TestNamedTransportIsNotReplaced(t *testing.T) {
	for _, kind := range []string{"mptcp", "tcp"} {
		run(t, "--transport", kind, "127.0.0.1", "9").fails(1, "--transport "+kind, "CAP_NET_RAW", "setcap")
	}
}

func TestUsage(t *testing.T) {
	for _, tt := range []struct{ args, words string }{
		{"", "missing host and port"},
		{"host", "missing port number"},
		{"host 1 nosuchservice", "port number invalid: nosuchservice"},
		{"host 1-99999", "port number too large: 99999"},
		{"-l", "missing port number to listen on"},
		{"-l -p 1 -s ::1 h 2", "given twice"},
		{"-l -p 1 2 3", "given twice"},
		{"host 99999", "port number too large: 99999"},
		{"host 0", "port number too small: 0"},
		{"host nosuchservice", "port number invalid: nosuchservice"},
		{"-n localhost 80", "-n names are not looked up"},
		{"-n 127.0.0.1 http", "-n names are not looked up"},
		{"-k host 80", "must use -l with -k"},
		{"-46 host 80", "exclude each other"},
		{"-4 -s ::1 host 80", "not of the family"},
		{"-s localhost host 80", "source address invalid"},
		{"-s 127.0.0.1 -s x host 80", "source address invalid: x"},
		{"-4 -s 127.0.0.1 -s ::1 host 80", "not of the family"},
		{"--transport kernel -s 127.0.0.1 -s 127.0.0.2 host 80", "more than one -s works with our own stack only"},
		{"-p http host 80", "source port invalid"},
		{"-w abc host 80", "timeout invalid: abc"},
		{"-w -1 host 80", "timeout too small: -1"},
		{"--hold 0 host 80", "hold time invalid: 0"},
		{"--time-wait x host 80", "TIME-WAIT time invalid: x"},
		{"--user-timeout -3 host 80", "user timeout invalid: -3"},
		{"--keepalive soon host 80", "keepalive time invalid: soon"},
		{"--mss 87 host 80", "segment size invalid: 87"},
		{"--mss 65496 host 80", "from 88 to 65495"},
		{"--offload maybe host 80", `--offload is auto or off, not "maybe"`},
		{"--mss big host 80", "segment size invalid: big"},
		{"--sndbuf 12 host 80", "send buffer size invalid: 12"},
		{"--rcvbuf 9G host 80", "receive buffer size invalid: 9G"},
		{"--transport pigeon host 80", `unknown transport "pigeon"`},
		{"--scheduler x host 80", "unknown scheduler"},
		{"--congestion x host 80", "unknown congestion control"},
		{"--path-manager x host 80", "unknown path manager"},
		{"-Q host 80", "invalid option -- 'Q'"},
		{"-e sh host 80", "--exec"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			run(t, strings.Fields(tt.args)...).fails(2, tt.words, "mpnc --help")
		})
	}
}

// What stands in the environment for --offload is as wrong as there, and does not
// count beside it.
func TestOffloadVariable(t *testing.T) {
	t.Setenv(offloadVariable, "never")
	run(t, "host", "80").fails(2, offloadVariable+` is auto or off, not "never"`)
	run(t, "--offload", "off", noSuchHost, "80").exits(1)
	t.Setenv(offloadVariable, "off")
	run(t, noSuchHost, "80").fails(1, "cannot find the address")
}

func TestHelpAndVersion(t *testing.T) {
	for _, tt := range []struct{ arg, want string }{
		{"--help", "Examples:"}, {"-h", "Exit status:"}, {"--version", "go1."},
	} {
		p := run(t, tt.arg)
		p.exits(0)
		if !strings.Contains(p.out.String(), tt.want) || p.stderr() != "" {
			t.Errorf("%s printed\n%s%s", tt.arg, p.out.String(), p.stderr())
		}
	}
}

func TestBusyPort(t *testing.T) {
	_, port := listening(t)
	run(t, "-l", "127.0.0.1", port).fails(1, "cannot listen on 127.0.0.1 port "+port, "address already in use", "ss -ltnp")
}

func TestListenOnForeignAddress(t *testing.T) {
	run(t, "-l", "192.0.2.1", "4000").fails(1, "cannot listen on 192.0.2.1 port 4000", "not an address of this host")
}

func TestUnresolvableName(t *testing.T) {
	run(t, noSuchHost, "80").fails(1, "cannot find the address of "+noSuchHost)
}

// noSuchHost is a name that no resolver asks anybody about: what others answer,
// and when, is not known.
const noSuchHost = "no-such..host"

// refusing returns a port on which nobody listens until the test ends: nobody
// can, because a connection of ours has it.
func refusing(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}}
	d.SetMultipathTCP(false)
	c, err := d.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_, port, _ := net.SplitHostPort(c.LocalAddr().String())
	return port
}

func TestRefused(t *testing.T) {
	port := refusing(t)
	run(t, "127.0.0.1", port).fails(1, "cannot connect to 127.0.0.1 port "+port, "connection refused", "mpnc -l "+port)
}

func TestForeignSourceAddress(t *testing.T) {
	run(t, "-s", "192.0.2.1", "127.0.0.1", "9").fails(1, "cannot connect", "192.0.2.1 is not an address of this host")
}

func TestBusySourcePort(t *testing.T) {
	l, port := listening(t)
	_ = l
	run(t, "-s", "127.0.0.1", "-p", port, "127.0.0.1", port).fails(1, "address already in use", "-p")
}

// serve accepts one connection and hands it over.
func serve(t *testing.T, with func(*net.TCPConn)) (port string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		if c, err := l.Accept(); err == nil {
			with(c.(*net.TCPConn))
		}
	}()
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return port
}

func TestResetIsNoSuccess(t *testing.T) {
	port := serve(t, func(c *net.TCPConn) {
		io.ReadFull(c, make([]byte, 5))
		c.SetLinger(0)
		c.Close()
	})
	p := run(t, "--transport", "kernel-tcp", "127.0.0.1", port)
	fmt.Fprint(p.in, "hello")
	p.fails(3, "connection reset by peer", "5 octets were sent")
}

func TestIdle(t *testing.T) {
	closed := make(chan error, 1)
	port := serve(t, func(c *net.TCPConn) {
		_, err := c.Read(make([]byte, 1))
		closed <- err
		c.Close()
	})
	run(t, "-w", "1", "127.0.0.1", port).fails(4, "nothing moved for 1s")
	if err := <-closed; err != io.EOF {
		t.Errorf("the peer saw %v", err)
	}
}

func TestOutputDiskFull(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	port := serve(t, func(c *net.TCPConn) { c.Write([]byte("x")) })
	p := prepare(t, "127.0.0.1", port)
	p.Stdout = full
	p.begin().fails(5, "cannot write the output", "no space left on device")
}

func TestOutputClosedPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	port := serve(t, func(c *net.TCPConn) { c.Write([]byte("x")) })
	p := prepare(t, "127.0.0.1", port)
	p.Stdout = w
	p.begin()
	w.Close()
	p.fails(5, "cannot write the output", "broken pipe")
}

// An input that fails must not look like a complete one to the peer.
func TestInputFails(t *testing.T) {
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	saw := make(chan error, 1)
	port := serve(t, func(c *net.TCPConn) {
		_, err := io.ReadAll(c)
		saw <- err
	})
	p := prepare(t, "-N", "--transport", "kernel-tcp", "127.0.0.1", port)
	p.Stdin = dir
	p.begin().fails(3, "cannot read the input", "is a directory")
	if err := <-saw; err == nil {
		t.Error("the peer saw a complete stream")
	}
}

// A signal ends the session in order, whatever the input does.
func TestSignals(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		saw := make(chan error, 1)
		began := make(chan struct{})
		port := serve(t, func(c *net.TCPConn) {
			io.ReadFull(c, make([]byte, 2))
			close(began)
			_, err := io.ReadAll(c)
			saw <- err
		})
		p := run(t, "127.0.0.1", port)
		fmt.Fprint(p.in, "hi")
		<-began
		p.Process.Signal(sig)
		p.fails(exitSignal+int(sig), "stopped by signal", sig.String())
		if err := <-saw; err != nil {
			t.Errorf("%v: the peer saw %v", sig, err)
		}
	}
}

func TestSignalWhileListening(t *testing.T) {
	p, _ := listening(t)
	p.Process.Signal(syscall.SIGINT)
	p.exits(exitSignal + int(syscall.SIGINT))
}

// -k serves one connection after the other, and outlives those that fail.
func TestKeepListening(t *testing.T) {
	l, port := listening(t, "-k", "-d", "--transport", "kernel-tcp")
	send := func(text string, reset bool) {
		c, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(c, text)
		l.says(`(?s)(connection received.*){` + fmt.Sprint(len(text)) + `}`)
		if reset {
			c.(*net.TCPConn).SetLinger(0)
		}
		c.Close()
	}
	send("1", false)
	l.says(`(?s)(received 1 B.*){1}`)
	send("22", true)
	l.says(`connection reset by peer`)
	send("333", false)
	l.says(`received 3 B`)
	l.Process.Signal(syscall.SIGTERM)
	l.exits(exitSignal + int(syscall.SIGTERM))
	if got := l.out.String(); !strings.HasPrefix(got, "1") || !strings.HasSuffix(got, "333") {
		t.Errorf("output %q", got)
	}
}

// Without -k whoever comes second is refused.
func TestSecondClientIsRefused(t *testing.T) {
	l, port := listening(t)
	first := run(t, "-v", "127.0.0.1", port)
	first.says("connected to")
	l.says("path 0 up") // the listener is closed by then
	run(t, "127.0.0.1", port).fails(1, "connection refused")
}

func TestJSON(t *testing.T) {
	port := serve(t, func(c *net.TCPConn) {
		io.Copy(io.Discard, c)
		c.Write([]byte("four"))
		c.Close()
	})
	p := run(t, "-N", "--json", "--transport", "kernel-tcp", "127.0.0.1", port)
	fmt.Fprint(p.in, "hello")
	p.in.Close()
	p.exits(0)
	var s struct {
		Transport      string
		Sent, Received uint64
		Seconds        float64
		Multipath      bool
		Exit           int
		Paths          []struct {
			Local, Remote  string
			Sent, Received uint64
		}
	}
	if err := json.Unmarshal([]byte(p.stderr()), &s); err != nil {
		t.Fatalf("%v in %s", err, p.stderr())
	}
	if s.Transport != "kernel-tcp" || s.Sent != 5 || s.Received != 4 || s.Seconds <= 0 || s.Multipath || s.Exit != 0 ||
		len(s.Paths) != 1 || s.Paths[0].Remote != "127.0.0.1:"+port || s.Paths[0].Sent != 5 || s.Paths[0].Received != 4 {
		t.Errorf("got %+v", s)
	}
}

// The object is there when no connection was, too.
func TestJSONOfFailure(t *testing.T) {
	p := run(t, "--json", "127.0.0.1", refusing(t))
	p.exits(1)
	object, _, _ := strings.Cut(p.stderr(), "\n")
	var s struct {
		Exit  int
		Error string
	}
	if err := json.Unmarshal([]byte(object), &s); err != nil || s.Exit != 1 || !strings.Contains(s.Error, "refused") {
		t.Errorf("%v, %+v in %s", err, s, p.stderr())
	}
}
