package ladder

import (
	"context"
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mpnc/mpnc/internal/netio"
	"github.com/mpnc/mpnc/mptcp"
)

var update = flag.Bool("update", false, "write the diagrams that are expected anew")

// golden compares a diagram with that of a file.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

// two runs a script on two stacks in virtual time, and returns the diagram that
// the client draws.
func two(t *testing.T, pipe netio.PipeConfig, cfg mptcp.Config, width int, script func(t *testing.T, near, far *netio.PipeEnd, client, server *mptcp.Stack)) string {
	t.Helper()
	var b strings.Builder
	synctest.Test(t, func(t *testing.T) {
		epoch := time.Now()
		now := func() mptcp.Time { return mptcp.Time(time.Since(epoch)) }
		pipe.Now = now
		near, far := netio.NewPipe(pipe)
		l := New(&b, Config{Width: width, LinkName: func(link int) string { return []string{"lo", "wifi", "lte"}[link] }})
		cfg.Now = now
		theirs, ours := cfg, cfg
		ours.Monitor, ours.Tap, ours.Tracer = near.Monitor(), l.Packet, l
		theirs.Monitor = far.Monitor()
		client, err := mptcp.New(ours, near)
		if err != nil {
			t.Fatal(err)
		}
		server, err := mptcp.New(theirs, far)
		if err != nil {
			t.Fatal(err)
		}
		script(t, near, far, client, server)
		client.Close()
		server.Close()
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return b.String()
}

const ms = time.Millisecond

// conversation draws that of the textbook: "abc", "defg" and "foobar" are
// answered by "hello", that by "goodbye"; we close five milliseconds later, and
// the peer when it has had "goodbye" for so long.
func conversation(t *testing.T, patience time.Duration) string {
	return two(t, netio.PipeConfig{Delay: 10 * ms}, mptcp.Config{TCPOnly: true, TimeWait: time.Second}, 100,
		func(t *testing.T, near, far *netio.PipeEnd, client, server *mptcp.Stack) {
			c, s := connect(t, far, client, server)
			done := make(chan struct{})
			go func() {
				defer close(done)
				read(t, s, "abcdefgfoobar")
				say(t, s, "hello")
				read(t, s, "goodbye")
				time.Sleep(patience)
				s.Close()
			}()
			say(t, c, "abc")
			time.Sleep(30 * ms)
			say(t, c, "defg")
			time.Sleep(30 * ms)
			say(t, c, "foobar")
			read(t, c, "hello")
			say(t, c, "goodbye")
			time.Sleep(5 * ms)
			c.CloseWrite()
			<-done
			time.Sleep(2 * time.Second)
		})
}

// The conversation as a user sees it.
func TestTextbook(t *testing.T) {
	golden(t, "textbook.txt", conversation(t, 40*ms))
}

// … and its numbers are those of the textbook's table, in its order: 1, 4, 8,
// 14, 21 and 22 on our side, 1, 6 and 7 on the peer's. Our FIN crosses the last
// ACK of our data; and if the peer is told to close before it arrives, the FINs
// cross each other and the last ACKs.
func TestTextbookNumbers(t *testing.T) {
	talk := []string{
		"A: SYN seq 0",
		"B: SYN,ACK seq 0 ack 1",
		"A: ACK seq 1 ack 1",
		"A: ACK seq 1 ack 1 len 3",
		"B: ACK seq 1 ack 4",
		"A: ACK seq 4 ack 1 len 4",
		"B: ACK seq 1 ack 8",
		"A: ACK seq 8 ack 1 len 6",
		"B: ACK seq 1 ack 14 len 5",
		"A: ACK seq 14 ack 6 len 7",
	}
	for _, tt := range []struct {
		name     string
		patience time.Duration
		end      []string
	}{
		{"we close first", 40 * ms, []string{
			"A: FIN,ACK seq 21 ack 6",
			"B: ACK seq 6 ack 21",
			"B: ACK seq 6 ack 22",
			"B: FIN,ACK seq 6 ack 22",
			"A: ACK seq 22 ack 7",
		}},
		{"both close at once", 2 * ms, []string{
			"A: FIN,ACK seq 21 ack 6",
			"B: ACK seq 6 ack 21",
			"B: FIN,ACK seq 6 ack 21",
			"A: ACK seq 22 ack 7",
			"B: ACK seq 7 ack 22",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, want := numbers(conversation(t, tt.patience)), append(slices.Clone(talk), tt.end...)
			if !slices.Equal(got, want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

var segmentRow = regexp.MustCompile(`^ *([\d.]+) .*\|(---|<--) (?:PSH,)?((?:SYN|FIN|ACK)[^-]*?)(?: mss.*)? -*>?\|`)

// numbers takes from a diagram what the textbook's table has. Left out is an ACK
// without data whose sender's next segment leaves in the same moment with the same
// numbers and data: the first segments of a connection are acknowledged at once,
// before the application that answers them has read them.
func numbers(diagram string) (lines []string) {
	type entry struct{ at, text string }
	var all []entry
	for line := range strings.Lines(diagram) {
		if m := segmentRow.FindStringSubmatch(line); m != nil {
			all = append(all, entry{m[1], map[string]string{"---": "A: ", "<--": "B: "}[m[2]] + strings.TrimSpace(m[3])})
		}
	}
	for i, e := range all {
		if i+1 < len(all) && all[i+1].at == e.at && strings.HasPrefix(all[i+1].text, e.text+" len ") {
			continue
		}
		lines = append(lines, e.text)
	}
	return lines
}

// connect returns the two ends of a connection to port 80.
func connect(t *testing.T, far *netio.PipeEnd, client, server *mptcp.Stack) (c, s *mptcp.Conn) {
	t.Helper()
	l, err := server.Listen("tcp", far.Addrs()[0].String()+":80")
	if err != nil {
		t.Fatal(err)
	}
	if c, err = client.Dial(context.Background(), "tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if s, err = l.AcceptContext(context.Background()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * ms)
	return c, s
}

func say(t *testing.T, c *mptcp.Conn, text string) {
	t.Helper()
	if _, err := c.Write([]byte(text)); err != nil {
		t.Error(err)
	}
}

func read(t *testing.T, c *mptcp.Conn, text string) {
	t.Helper()
	b := make([]byte, len(text))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != text {
		t.Errorf("read %q, %v, want %q", b, err, text)
	}
}

// Two paths: the second one joins, and the stream ends on both. All numbers are
// relative, those of the stream too.
func TestTwoPaths(t *testing.T) {
	got := two(t, netio.PipeConfig{Links: 2, Mesh: true, Delay: 10 * ms}, mptcp.Config{}, 80,
		func(t *testing.T, near, far *netio.PipeEnd, client, server *mptcp.Stack) {
			near.SetDelay(2, 17*ms)
			far.SetDelay(2, 17*ms)
			c, s := connect(t, far, client, server)
			say(t, c, "ping")
			read(t, s, "ping")
			say(t, s, "pong")
			read(t, c, "pong")
			time.Sleep(200 * ms)
			s.CloseWrite()
			time.Sleep(100 * ms)
			c.Close()
			time.Sleep(100 * ms)
		})
	golden(t, "twopaths.txt", got)
}
