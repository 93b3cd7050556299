package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// With several ports there is a session with each that lets us, one after the
// other; what one left of the input goes to the next.
func TestSeveralPorts(t *testing.T) {
	answer := func(text string) func(*net.TCPConn) {
		return func(c *net.TCPConn) {
			io.WriteString(c, text)
			c.Close()
		}
	}
	one, two := serve(t, answer("one ")), serve(t, answer("two"))
	p := run(t, "-d", "--transport", "kernel-tcp", "127.0.0.1", one, refusing(t), two)
	p.exits(0)
	if got := p.out.String(); got != "one two" {
		t.Errorf("printed %q", got)
	}
	run(t, "--transport", "kernel-tcp", "127.0.0.1", refusing(t), refusing(t)).fails(1, "connection refused")
}

// -q leaves though the peer does not.
func TestQuit(t *testing.T) {
	heard := make(chan string, 1)
	port := serve(t, func(c *net.TCPConn) {
		b, err := io.ReadAll(c)
		heard <- fmt.Sprint(string(b), err)
		io.Copy(io.Discard, c) // and keep it open
	})
	p := run(t, "-q", "0.1", "--transport", "kernel-tcp", "127.0.0.1", port)
	io.WriteString(p.in, "bye")
	p.in.Close()
	p.exits(0)
	if got := <-heard; got != "bye<nil>" {
		t.Errorf("the peer heard %s", got)
	}
}

// What is sent and received is in the dump files, too; hexadecimal ones say in
// which direction, and --append-output adds to them.
func TestDumps(t *testing.T) {
	dir, err := os.MkdirTemp("", "mpnc-test") // where nobody, too, may write
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	raw, hex := filepath.Join(dir, "raw"), filepath.Join(dir, "hex")
	session := func(options ...string) {
		port := serve(t, func(c *net.TCPConn) {
			io.ReadFull(c, make([]byte, 20))
			io.WriteString(c, "got\x00it")
			c.Close()
		})
		p := run(t, append(options, "-N", "--output", raw, "--hex-dump", hex, "--transport", "kernel-tcp", "127.0.0.1", port)...)
		io.WriteString(p.in, "0123456789abcdefghij")
		p.in.Close()
		p.exits(0)
	}
	check := func(name, want string) {
		t.Helper()
		got, err := os.ReadFile(name)
		if err != nil || string(got) != want {
			t.Errorf("%s: %v\n%swant\n%s", name, err, got, want)
		}
	}
	const lines = "> 00000000 30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66 # 0123456789abcdef\n" +
		"> 00000010 67 68 69 6a                                     # ghij\n" +
		"< 00000000 67 6f 74 00 69 74                               # got.it\n"
	session()
	check(raw, "0123456789abcdefghijgot\x00it")
	check(hex, lines)
	session("--append-output")
	check(hex, lines+lines)
	session()
	check(hex, lines)
	run(t, "--output", dir, "127.0.0.1", refusing(t)).fails(5, "cannot write "+dir, "is a directory")
}

// --max-conns serves several at once: all hear what is typed, and one that is
// silent keeps nobody waiting. Whoever comes beyond them waits.
func TestMaxConns(t *testing.T) {
	l, port := listening(t, "-k", "--max-conns", "2", "--transport", "kernel-tcp")
	dial := func() net.Conn {
		c, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	hears := func(c net.Conn, want string) {
		t.Helper()
		b := make([]byte, len(want))
		if n, err := io.ReadFull(c, b); err != nil || string(b) != want {
			t.Errorf("heard %q, %v, want %q", b[:n], err, want)
		}
	}
	one, two := dial(), dial()
	l.says(`(?s)connection received.*connection received`)
	io.WriteString(two, "from two ")
	l.prints("from two ")
	io.WriteString(one, "from one ")
	l.prints("from two from one ")
	io.WriteString(l.in, "to all")
	hears(one, "to all")
	hears(two, "to all")
	three := dial()
	io.WriteString(three, "from three")
	one.Close()
	l.prints("from two from one from three")
	l.says(`(?s)(connection received.*){3}`)
}

// Called by another netcat's name, it is one: no subcommands, no words of its
// own, and its statuses.
func TestCalledByOtherNames(t *testing.T) {
	called := func(name string, args ...string) *process {
		p := prepare(t)
		p.Args = append([]string{name}, args...)
		return p.begin()
	}
	port := refusing(t)
	for _, tt := range []struct {
		name   string
		args   string
		status int
		said   string
	}{
		{"nc", "-v 127.0.0.1 " + port, 1, "nc: connect to 127.0.0.1 port " + port + " (tcp) failed: Connection refused\n"},
		{"/usr/bin/netcat", "-v 127.0.0.1 " + port, 1, "netcat: connect to 127.0.0.1 port " + port + " (tcp) failed: Connection refused\n"},
		{"ncat", "127.0.0.1 " + port, 1, "Ncat: Connection refused.\n"},
		{"nc.traditional", "-n 127.0.0.1 " + port, 1, "(UNKNOWN) [127.0.0.1] " + port + " (?) : Connection refused\n"},
		{"mpnc", "--compat ncat 127.0.0.1 " + port, 1, "Ncat: Connection refused.\n"},
		{"nc", "--compat=traditional -n 127.0.0.1 " + port, 1, "(UNKNOWN) [127.0.0.1] " + port + " (?) : Connection refused\n"},
		{"nc", "--compat mpnc -w x host 1", 2, "mpnc: timeout invalid: x (mpnc --help lists the options)\n"},
		{"mpnc", "--compat socat host 1", 2, "mpnc: unknown netcat \"socat\" to be: mpnc, openbsd, ncat, traditional are known (mpnc --help lists the options)\n"},
		{"nc", "demo", 1, "nc: missing port number\n"},
		{"nc", "-e sh host 1", 1, "nc: invalid option -- 'e'\n"},
	} {
		p := called(tt.name, strings.Fields(tt.args)...)
		p.exits(tt.status)
		if p.stderr() != tt.said || p.out.String() != "" {
			t.Errorf("%s %s: said %q, printed %q, want %q", tt.name, tt.args, p.stderr(), p.out.String(), tt.said)
		}
	}
	if p := called("nc", "-h"); true {
		p.exits(0)
		if !strings.Contains(p.stderr(), "Connecting:") || p.out.String() != "" {
			t.Errorf("nc -h printed %q, said %q", p.out.String(), p.stderr())
		}
	}
}

// A host may be called like a subcommand, or help.
func TestHostsNamedLikeCommands(t *testing.T) {
	for _, args := range [][]string{{"--", "demo", "80"}, {"help", "80"}, {"--", "ss", "80"}, {"h", "80"}} {
		o, err := readOptions(mpnc, args)
		if host := args[len(args)-2]; err != nil || o.host != host || !slices.Equal(o.ports, []string{"80"}) {
			t.Errorf("%q: %+v, %v", args, o, err)
		}
	}
}

// Every option is completed, and values that are known, too.
func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		p := run(t, "--completion", shell)
		p.exits(0)
		script := p.out.String()
		for i := range table {
			if o := &table[i]; !o.hidden && !strings.Contains(script, o.name) {
				t.Errorf("%s does not complete --%s", shell, o.name)
			}
		}
		if name, err := exec.LookPath(shell); err == nil {
			check := exec.Command(name, "-n")
			check.Stdin = strings.NewReader(script)
			if out, err := check.CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %s", shell, err, out)
			}
		}
	}
	run(t, "--completion", "csh").fails(2, "no completion", "bash, zsh and fish")
}

// bash itself says what it completes.
func TestBashCompletes(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash here")
	}
	for _, tt := range []struct{ words, want string }{
		{"--transp", "--transport"},
		{"--transport ker", "kernel kernel-tcp"},
		{"--transport = ker", "kernel kernel-tcp"},
		{"-v --no-s", "--no-shutdown --no-stdin"},
		{"dem", "demo"},
	} {
		words := strings.Fields("mpnc " + tt.words)
		c := exec.Command(bash, "-c", fmt.Sprintf("%s\nCOMP_WORDS=(%s) COMP_CWORD=%d; _mpnc; echo ${COMPREPLY[@]}",
			bashCompletion(), strings.Join(words, " "), len(words)-1))
		out, err := c.CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != tt.want {
			t.Errorf("%q: %q, %v, want %q", tt.words, got, err, tt.want)
		}
	}
}
