package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mpnc/mpnc/testenv"
)

// The suite that holds mpnc against the real netcats: each case is a short
// play of a netcat, of what is typed into it, and of a peer. It is given with
// the real tool, with mpnc in its place over the kernel's TCP and over our own
// stack, and with mpnc under its own name; then what they printed, said and
// exited with is compared. Where they differ on purpose, the case says so.

// play is one case.
type play struct {
	topic string
	name  string
	tool  dialect // whose habit it is
	// act starts the tool and plays; it must not go on before each side has
	// seen what the other did.
	act func(s *stage)
	// honest is mpnc's exit status if it is another than the tool's; -1: mpnc
	// is not played, because the command line means something else to it.
	honest int
	// kernel plays are given without a transport of ours.
	kernel bool
	// differs says why the dialect is not the same as the tool, on purpose, nil
	// if it is; only is the part that is not compared.
	differs *difference
	only    string // "message", "status", or "all" (ours is played for itself)
}

// allPlays are given with the tool that each names.
var allPlays = slices.Concat(plays, traditionalPlays)

// stage is where a play is given.
type stage struct {
	*testing.T
	cast cast
	p    *process
	port string
	ln   net.Listener // the peer's, if the tool is to connect
	peer *net.TCPConn
}

// cast is who plays the netcat.
type cast struct {
	real      bool
	dialect   dialect // that it is, or is called as
	transport string  // of ours
}

// realNames are the programs' files.
var realNames = map[dialect]string{openbsd: "nc.openbsd", ncat: "ncat", traditional: "nc.traditional"}

func (c cast) prepare(t *testing.T, args ...string) *process {
	called := map[dialect]string{mpnc: "mpnc", openbsd: "nc", ncat: "ncat", traditional: "nc.traditional"}[c.dialect]
	p := prepare(t)
	if c.real {
		file, err := exec.LookPath(realNames[c.dialect])
		if err != nil {
			t.Fatal(err)
		}
		p.Path, p.Args = file, append([]string{called}, args...)
	} else {
		p.Args = append([]string{called, "--transport", c.transport}, args...)
		if c.transport == "mptcp" {
			p.SysProcAttr = nil // as root
		}
	}
	p.Env = append(p.Env, "LC_ALL=C")
	return p
}

// nextPort is where the plays' listeners are; below those that systems give
// away.
var nextPort atomic.Int32

func init() { nextPort.Store(int32(os.Getpid() % (portSpan / portStep) * portStep)) }

const (
	firstPort = 12000
	portSpan  = 18000
	// portStep ports are a play's: its own, and those beside it.
	portStep = 4
)

// stagePort returns a port that is the test's, with those beside it, until it
// ends: no other copy of this suite on the same machine takes it.
func stagePort(t *testing.T) string {
	t.Helper()
	for {
		port := firstPort + int(nextPort.Add(portStep))%portSpan
		claim, err := net.Listen("unix", fmt.Sprintf("@mpnc-test-port-%d", port))
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if !unused(t, port) {
			claim.Close()
			continue
		}
		t.Cleanup(func() { claim.Close() })
		return strconv.Itoa(port)
	}
}

// unused reports whether nobody is at a port, or at those beside it, and none has
// a name, which tools would tell, but only of that port.
func unused(t *testing.T, port int) bool {
	t.Helper()
	for p := port; p < port+portStep; p++ {
		if serviceName(strconv.Itoa(p), "tcp") != "*" || serviceName(strconv.Itoa(p), "udp") != "*" {
			return false
		}
		l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", p))
		if errors.Is(err, syscall.EADDRINUSE) {
			return false
		}
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
	}
	return true
}

// run starts the tool with arguments in which PORT is that of the play.
func (s *stage) run(args ...string) *stage {
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "PORT", s.port)
	}
	s.p = s.cast.prepare(s.T, args...).begin()
	return s
}

// client lets the tool connect to the peer.
func (s *stage) client(options ...string) {
	s.Helper()
	s.connects(append(options, "127.0.0.1", "PORT")...)
}

// connects is client with all arguments.
func (s *stage) connects(args ...string) {
	s.Helper()
	s.ln = s.listenAt()
	s.run(args...)
	s.ln.(*net.TCPListener).SetDeadline(time.Now().Add(patience))
	c, err := s.ln.Accept()
	s.ln.Close()
	if err != nil {
		s.Fatalf("%q does not connect: %v\n%s", s.p.Args, err, s.p.stderr())
	}
	s.meet(c)
}

// listenAt listens on the play's port; on another one, if somebody else has
// taken that meanwhile.
func (s *stage) listenAt() net.Listener {
	s.Helper()
	for {
		l, err := net.Listen("tcp", "127.0.0.1:"+s.port)
		if err == nil {
			return l
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			s.Fatal(err)
		}
		s.port = stagePort(s.T)
	}
}

// listener lets the tool listen, and the peer connect.
func (s *stage) listener(options ...string) {
	s.Helper()
	s.listens(append(append([]string{"-l"}, options...), "127.0.0.1", "PORT")...)
}

// listens is listener with all arguments.
func (s *stage) listens(args ...string) {
	s.Helper()
	s.run(args...)
	s.meet(s.dial())
}

// dial connects to the tool once it listens.
func (s *stage) dial() net.Conn {
	s.Helper()
	for late := time.Now().Add(patience); ; {
		c, err := net.Dial("tcp", "127.0.0.1:"+s.port)
		if err == nil {
			return c
		}
		select {
		case <-s.p.waited:
			s.Fatalf("%q ended: %s", s.p.Args, s.p.stderr())
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(late) {
			s.Fatalf("%q does not listen: %v", s.p.Args, err)
		}
	}
}

func (s *stage) meet(c net.Conn) {
	s.peer = c.(*net.TCPConn)
	s.peer.SetDeadline(time.Now().Add(patience))
	s.Cleanup(func() { c.Close() })
}

func (s *stage) types(text string) {
	s.Helper()
	if _, err := io.WriteString(s.p.in, text); err != nil {
		s.Fatal(err)
	}
}

func (s *stage) inputEnds() { s.p.in.Close() }

func (s *stage) says(text string) {
	s.Helper()
	if _, err := io.WriteString(s.peer, text); err != nil {
		s.Fatal(err)
	}
}

// hears wants the peer to receive the text, and nothing else so far.
func (s *stage) hears(text string) {
	s.Helper()
	got := make([]byte, len(text))
	if n, err := io.ReadFull(s.peer, got); err != nil || string(got) != text {
		s.Fatalf("the peer heard %q, %v, want %q; the tool said %s", got[:n], err, text, s.p.stderr())
	}
}

// hearsEnd wants the peer to receive the text and the end of the stream.
func (s *stage) hearsEnd(text string) {
	s.Helper()
	got, err := io.ReadAll(s.peer)
	if err != nil || string(got) != text {
		s.Fatalf("the peer heard %q, %v, want %q and the end; the tool said %s", got, err, text, s.p.stderr())
	}
}

// shortly is how long something is waited for that must not happen.
const shortly = 250 * time.Millisecond

// hearsNoEnd wants the stream to stay open.
func (s *stage) hearsNoEnd() {
	s.Helper()
	s.peer.SetReadDeadline(time.Now().Add(shortly))
	n, err := s.peer.Read(make([]byte, 1))
	if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		s.Fatalf("the peer read %d octets, %v", n, err)
	}
	s.peer.SetReadDeadline(time.Now().Add(patience))
}

func (s *stage) finishes() { s.peer.CloseWrite() }
func (s *stage) leaves()   { s.peer.Close() }
func (s *stage) resets() {
	s.peer.SetLinger(0)
	s.peer.Close()
}

// shows wants the tool's output so far to be the text.
func (s *stage) shows(text string) {
	s.Helper()
	s.p.prints(text)
}

// stays wants the tool to run on.
func (s *stage) stays() {
	s.Helper()
	select {
	case <-s.p.waited:
		s.Fatalf("it ended, with %d: %s", s.p.ProcessState.ExitCode(), s.p.stderr())
	case <-time.After(shortly):
	}
}

// ends waits for the tool's end.
func (s *stage) ends() {
	s.Helper()
	select {
	case <-s.p.waited:
	case <-time.After(patience):
		s.Fatalf("%q does not end: %s", s.p.Args, s.p.stderr())
	}
}

// killed ends a tool that would go on for ever.
func (s *stage) killed() {
	s.p.Process.Signal(syscall.SIGTERM)
	s.ends()
}

// outcome is what is compared.
type outcome struct {
	out, err string
	status   int
}

// Where two runs may differ: the client's port, and times.
var (
	anyPort = regexp.MustCompile(`\b[1-9]\d{4}\b`)
	anyTime = regexp.MustCompile(`\d+\.\d\d seconds`)
	notOurs = regexp.MustCompile(`(?m)^libnsock .*\n`)
)

func (s *stage) outcome() outcome {
	said := strings.ReplaceAll(s.p.stderr(), s.port, "PORT")
	said = anyPort.ReplaceAllString(anyTime.ReplaceAllString(said, "T seconds"), "N")
	said = notOurs.ReplaceAllString(said, "")
	status := s.p.ProcessState.ExitCode()
	if ws, ok := s.p.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		status = exitSignal + int(ws.Signal())
	}
	return outcome{s.p.out.String(), said, status}
}

// give gives a play and returns its outcome.
func (pl *play) give(t *testing.T, c cast) (o outcome) {
	s := &stage{T: t, cast: c, port: stagePort(t)}
	pl.act(s)
	s.ends()
	return s.outcome()
}

func haveRealTools(t *testing.T) bool {
	for _, name := range realNames {
		if _, err := exec.LookPath(name); err != nil {
			if os.Getenv("MPNC_REQUIRE_NETNS") != "" {
				t.Fatalf("%v, and MPNC_REQUIRE_NETNS is set", err)
			}
			t.Skipf("needs Debian's netcat-openbsd, ncat and netcat-traditional: %v", err)
		}
	}
	return true
}

// The real netcats and mpnc, in the same plays.
func TestNetcats(t *testing.T) {
	haveRealTools(t)
	transports := []string{"kernel-tcp"}
	if testenv.CanLab() && os.Getuid() == 0 {
		transports = append(transports, "mptcp")
	} else if os.Getenv("MPNC_REQUIRE_NETNS") != "" {
		t.Fatal("no privilege for our own stack, and MPNC_REQUIRE_NETNS is set")
	}
	for i := range allPlays {
		pl := &allPlays[i]
		t.Run(pl.topic+" "+pl.tool.String()+" "+pl.name, func(t *testing.T) {
			t.Parallel()
			var want outcome
			if !t.Run("real", func(t *testing.T) { want = pl.give(t, cast{real: true, dialect: pl.tool}) }) && pl.only != "all" {
				return
			}
			transports := transports
			if pl.kernel {
				transports = []string{"auto"}
			}
			for _, tr := range transports {
				t.Run(tr, func(t *testing.T) {
					pl.compare(t, pl.give(t, cast{dialect: pl.tool, transport: tr}), want)
				})
				if pl.tool == openbsd && pl.honest >= 0 {
					t.Run("mpnc/"+tr, func(t *testing.T) {
						got := pl.give(t, cast{dialect: mpnc, transport: tr})
						honest := want
						if pl.honest > 0 {
							honest.status = pl.honest
						}
						if got.out != honest.out || got.status != honest.status {
							t.Errorf("printed %q and exited with %d, want %q and %d; it said\n%s", got.out, got.status, honest.out, honest.status, got.err)
						}
						if got.status != 0 && got.err == "" {
							t.Error("it exited without a word")
						}
					})
				}
			}
		})
	}
}

// compare holds ours against the real one's, but for what differs on purpose.
func (pl *play) compare(t *testing.T, got, want outcome) {
	if got.out != want.out {
		t.Errorf("printed %q, the real one %q", got.out, want.out)
	}
	if same := got.status == want.status; !same && pl.only != "status" {
		t.Errorf("exited with %d, the real one with %d; it said %s", got.status, want.status, got.err)
	} else if same && pl.only == "status" {
		t.Errorf("exited with %d, as the real one: it is no difference", got.status)
	}
	if same := got.err == want.err; !same && pl.only != "message" {
		t.Errorf("said\n%s\nthe real one\n%s", got.err, want.err)
	} else if same && pl.only == "message" {
		t.Errorf("said %q, as the real one: it is no difference", got.err)
	}
}

// full is a peer's listener whose queue is full: nobody answers there.
func (s *stage) silent() {
	s.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { syscall.Close(fd) })
	for {
		port, _ := strconv.Atoi(s.port)
		err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: port})
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			s.Fatal(err)
		}
		s.port = stagePort(s.T) // somebody else has taken that meanwhile
	}
	if err := syscall.Listen(fd, 0); err != nil {
		s.Fatal(err)
	}
	c, err := net.Dial("tcp", "127.0.0.1:"+s.port)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { c.Close() })
}

// open has a peer listen on the play's port, and take whoever comes.
func (s *stage) open() {
	s.Helper()
	l := s.listenAt()
	s.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				io.Copy(io.Discard, c)
				c.Close()
			}()
		}
	}()
}

// below and above are the ports beside the play's, on which nobody listens.
func (s *stage) offset(n int) string {
	p, _ := strconv.Atoi(s.port)
	return strconv.Itoa(p + n)
}

var updateDocs = flag.Bool("update", false, "write docs/netcat.md anew")

const netcatsDoc = "../../docs/netcat.md"

// docs/netcat.md shows the plays that are given, and what differs on purpose.
func TestNetcatsAreDocumented(t *testing.T) {
	text, err := os.ReadFile(netcatsDoc)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, began := strings.Cut(string(text), differencesMark)
	_, rest, ended := strings.Cut(rest, differencesEnd)
	middle, _, ok := strings.Cut(rest, netcatsMark)
	if !began || !ended || !ok {
		t.Fatalf("%s lacks a mark", netcatsDoc)
	}
	for i := range allPlays {
		if pl := &allPlays[i]; (pl.differs == nil) != (pl.only == "") || pl.differs != nil && !slices.Contains(differences, pl.differs) {
			t.Errorf("%s: what differs is not in the list", pl.name)
		}
	}
	want := head + differencesMark + differencesList() + differencesEnd + middle + netcatsMark + playsTable()
	switch {
	case want == string(text):
	case *updateDocs:
		if err := os.WriteFile(netcatsDoc, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s is stale: go test ./cmd/mpnc -run TestNetcatsAreDocumented -update", netcatsDoc)
	}
}

const (
	differencesMark = "<!-- this list is written by TestNetcatsAreDocumented -->\n"
	differencesEnd  = "<!-- its end -->\n"
)

const netcatsMark = "<!-- from here on written by TestNetcatsAreDocumented -->\n"

// playsTable is the table of plays.
func playsTable() string {
	var b strings.Builder
	b.WriteString("\n| about | what is played | by | called so, mpnc differs | as mpnc, it exits with |\n|---|---|---|---|---|\n")
	for i := range allPlays {
		pl := &allPlays[i]
		own := "the same"
		switch {
		case pl.tool != openbsd || pl.honest < 0:
			own = ""
		case pl.honest > 0:
			own = strconv.Itoa(pl.honest)
		}
		differs := ""
		if pl.differs != nil {
			differs = pl.only + ": " + pl.differs.brief
		}
		fmt.Fprintf(&b, "| %s | %s | %v | %s | %s |\n", pl.topic, strings.ReplaceAll(pl.name, "|", "\\|"), pl.tool, differs, own)
	}
	return b.String()
}
