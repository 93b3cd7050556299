package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// idleSignals never gets one.
func idleSignals() *signals {
	return &signals{stop: context.Background(), abort: context.Background(), ch: make(chan os.Signal)}
}

// wrongly runs a command line in this process; what must fail must do so with
// one line, and a status.
func wrongly(t *testing.T, called string, args ...string) {
	t.Helper()
	defer func() {
		if r := recover(); r != nil {
			t.Errorf("%q: panic: %v", args, r)
		}
	}()
	var out, stderr bytes.Buffer
	status := start(called, args, idleSignals(), stdio{strings.NewReader(""), &out, &stderr})
	said := stderr.String()
	if status == 0 || out.Len() > 0 {
		t.Errorf("%s %q: status %d, printed %q, said %q", called, args, status, out.String(), said)
	}
	quiet := called != "mpnc" && status == 1 // a connection refused, which nc tells with -v only
	if n := strings.Count(said, "\n"); n != 1 && !(quiet && n == 0) {
		t.Errorf("%s %q: said %q", called, args, said)
	}
	if called == "mpnc" && !strings.HasPrefix(said, "mpnc: ") {
		t.Errorf("%q: said %q", args, said)
	}
}

// badValues are what no option that takes a number, a time or a name takes.
var badValues = []string{"", "x", "-", "-1x", "99999999999999999999", "\x00", "é", "1..2", "--", "nan"}

// Every option with everything that can be wrong about it, in every dialect.
// The port is one on which nobody listens: a line that turns out to make sense
// fails, too.
func TestWrongUse(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	nowhere := []string{"--transport", "kernel-tcp", "-w", "5", "127.0.0.1", refusing(t)}
	answers := map[string]bool{"help": true, "version": true, "completion": true} // these succeed
	n := 0
	for d, called := range map[dialect]string{mpnc: "mpnc", openbsd: "nc", ncat: "ncat", traditional: "nc.traditional"} {
		try := func(args ...string) {
			n++
			wrongly(t, called, append(args, nowhere...)...)
		}
		for i := range table {
			o := &table[i]
			if strings.HasPrefix(o.name, "ssl") || o.name == "udp" {
				continue // which warn besides, and which may well succeed
			}
			if answers[o.name] || o.name == "verbose" || o.name == "debug" || o.name == "listen" || o.name == "json" || o.name == "trace" {
				continue
			}
			if o.arg == "" {
				try("--" + o.name)
				try("--" + o.name + "=x")
				continue
			}
			wrongly(t, called, append(nowhere, "--"+o.name)...) // without its value
			n++
			for k, v := range badValues {
				if k%5 != i%5 { // each option some, each value to some option
					continue
				}
				if o.takesFile() {
					v = filepath.Join(file, v) // no directory
				}
				if l := o.letter(d); l != "" && v != "" {
					try("-" + l + v)
				}
				try("--" + o.name + "=" + v)
			}
		}
	}
	t.Logf("%d command lines", n)
}

// Command lines drawn from the table at random: whatever they are, they are
// read without a panic, and refused in one line.
func TestRandomCommandLines(t *testing.T) {
	asksNobody(t)
	rnd := rand.New(rand.NewPCG(1, 2))
	words := []string{"host", "80", "20-25", "-", "--", "-l", "-k", "http", "99999", "0", "::1", "[::1]", "-é", "--=", "---", "-w"}
	for i := range table {
		o := &table[i]
		words = append(words, "--"+o.name, "--"+o.name+"=1", "--"+o.name[:1+rnd.IntN(len(o.name))])
		for d := range dialects {
			if l := o.letter(d); l != "" {
				words = append(words, "-"+l, "-"+l+"1", "-"+l+"v")
			}
		}
	}
	for range 2000 {
		args := make([]string, 1+rnd.IntN(6))
		for i := range args {
			args[i] = words[rnd.IntN(len(words))]
		}
		read(t, dialect(rnd.IntN(int(dialects))), args)
	}
}

// asksNobody has every look-up of a name fail at once: what is read, and how
// fast, must not depend on the name servers of the machine.
func asksNobody(t testing.TB) {
	resolver := net.DefaultResolver
	t.Cleanup(func() { net.DefaultResolver = resolver })
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("nobody is asked")
	}}
}

func FuzzCommandLine(f *testing.F) {
	asksNobody(f)
	for _, line := range []string{
		"-lvnp 1234", "-zvw1 host 20-25", "-q-1 -Xconnect host 80", "host port -v", "-- help 80", "--trans=tcp h 1",
		"-l -p 1 -s ::1", "-kl 80 -m 3 --sh-exec cat", "-4uzr [::1] http 1-2", "-U /a -s /b", "-x [::1]:9 -X5 -P u h 1",
		"-i0.5 -w1m -W2 -T ef -M 3 -I 9 -O 9 h 1", "--ssl --ssl-alpn=a,b --ssl-pin=00 h 1", "-s 127.0.0.1 -s ::1 h 1",
		"--allow 10.0.0.0/8,::/0 --deny x -l 1", "-h", "--", " 1", "[] 1", "-ww 1",
	} {
		for d := range uint8(dialects) {
			f.Add(d, line)
		}
	}
	f.Fuzz(func(t *testing.T, d uint8, line string) {
		read(t, dialect(d)%dialects, strings.Split(line, " "))
	})
}

// read reads a command line and does nothing.
func read(t *testing.T, d dialect, args []string) {
	t.Helper()
	defer func() {
		if r := recover(); r != nil {
			t.Fatalf("%v %q: panic: %v", d, args, r)
		}
	}()
	o, err := readOptions(d, args)
	if err == nil {
		if o != nil && o.host == "" && !o.listen {
			t.Errorf("%v %q: nowhere to go", d, args)
		}
		return
	}
	line, status := newVoice(d, d.String(), os.Stderr, nil).verdict(err)
	if status == 0 || line == "" || strings.Contains(line, "\n") {
		t.Errorf("%v %q: %d, %q", d, args, status, line)
	}
}

// readOptions is what a command line means; nil if it only asks something.
func readOptions(d dialect, args []string) (o *options, err error) {
	var out bytes.Buffer
	app := netcatApp(d, stdio{strings.NewReader(""), &out, &out}, func(got *options) error {
		o = got
		return nil
	})
	err = runGrammar(app, tableGrammar(d), args)
	if o == nil && err == nil && out.Len() == 0 {
		err = fmt.Errorf("nothing was done")
	}
	return o, err
}
