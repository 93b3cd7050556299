package netcat

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// -q: after the end of the input, the peer's end or the time, whichever is
// first.
func TestQuitAfterEOF(t *testing.T) {
	for _, tt := range []struct {
		name          string
		quit          time.Duration
		peerEndsAfter time.Duration
		want          time.Duration
	}{
		{"at once", -1, time.Hour, 0},
		{"the time", 3 * time.Second, time.Hour, 3 * time.Second},
		{"the peer", time.Hour, 3 * time.Second, 3 * time.Second},
		{"never", 0, time.Hour, time.Hour},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := halfPipe()
				began := time.Now()
				done := start(t.Context(), a, strings.NewReader("abc"), io.Discard,
					Options{HalfCloseOnEOF: true, QuitAfterEOF: tt.quit})
				if got, err := io.ReadAll(b); err != nil || string(got) != "abc" {
					t.Errorf("peer read %q, %v", got, err)
				}
				peer := time.AfterFunc(tt.peerEndsAfter, func() { b.Close() })
				(<-done).want(t, Complete, 3, 0)
				if d := time.Since(began); d != tt.want {
					t.Errorf("ended after %v, want %v", d, tt.want)
				}
				peer.Stop()
				b.Close()
			})
		})
	}
}

// The old netcat's -w: a silent peer may be waited for as long as we could
// still say something.
func TestIdleFromEOF(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := halfPipe()
		in, feed := io.Pipe()
		began := time.Now()
		done := start(t.Context(), a, in, io.Discard, Options{IdleTimeout: time.Second, IdleFromEOF: true})
		time.Sleep(time.Minute)
		feed.Close()
		(<-done).want(t, Idle, 0, 0)
		if d := time.Since(began) - time.Minute; d < time.Second || d > 2*time.Second {
			t.Errorf("idle %v after the end of the input", d)
		}
		b.Close()
	})
}

// SendOnly leaves when everything is sent, and does not choke on what the peer
// says meanwhile.
func TestSendOnly(t *testing.T) {
	a, b := tcpPair(t)
	data := randomBytes(3, 4<<20)
	var out bytes.Buffer
	done := start(t.Context(), a, bytes.NewReader(data), &out, Options{HalfCloseOnEOF: true, SendOnly: true})
	b.Write(randomBytes(4, 4<<20)) // more than the buffers hold: it must be read
	got, err := io.ReadAll(b)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("the peer got %d octets, %v", len(got), err)
	}
	(<-done).want(t, Complete, len(data), 0)
	if out.Len() != 0 {
		t.Errorf("%d octets of output", out.Len())
	}
}

// -W ends the session after so many reads, with both directions open.
func TestReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := halfPipe()
		var out bytes.Buffer
		in, feed := io.Pipe()
		done := start(t.Context(), a, in, &out, Options{Reads: 2})
		b.Write([]byte("one "))
		b.Write([]byte("two "))
		(<-done).want(t, Complete, 0, 8)
		feed.Close()
		b.Close()
	})
}

// -i sends a line, waits, and sends the next; receiving goes on.
func TestLineDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := halfPipe()
		var out bytes.Buffer
		began := time.Now()
		done := start(t.Context(), a, strings.NewReader("a\nbb\nc"), &out, Options{HalfCloseOnEOF: true, LineDelay: time.Second})
		b.Write([]byte("at once"))
		p := make([]byte, 8)
		for i, want := range []string{"a\n", "bb\n", "c"} {
			n, err := b.Read(p)
			if err != nil || string(p[:n]) != want || time.Since(began) != time.Duration(i)*time.Second {
				t.Errorf("after %v: %q, %v, want %q", time.Since(began), p[:n], err, want)
			}
		}
		if n, err := b.Read(p); err != io.EOF {
			t.Errorf("read %q, %v", p[:n], err)
		}
		b.Close()
		(<-done).want(t, Complete, 6, 7)
	})
}

func TestMaxWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := halfPipe()
		done := start(t.Context(), a, strings.NewReader("abcdefgh"), io.Discard, Options{HalfCloseOnEOF: true, MaxWrite: 3})
		p := make([]byte, 8)
		for _, want := range []string{"abc", "def", "gh"} {
			if n, err := b.Read(p); err != nil || string(p[:n]) != want {
				t.Errorf("read %q, %v, want %q", p[:n], err, want)
			}
		}
		b.Close()
		<-done
	})
}

// -C, whatever the cuts between reads, and between writes that take only a
// part.
func TestCRLF(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", ""}, {"a\n", "a\r\n"}, {"a\r\n", "a\r\n"}, {"\n\n", "\r\n\r\n"}, {"\r\r\n\n", "\r\r\n\r\n"},
		{"a\rb\nc", "a\rb\r\nc"}, {"\r", "\r"}, {"\n", "\r\n"},
	} {
		for cut := range len(tt.in) + 1 {
			for most := 1; most < 4; most++ {
				var c crlf
				got := ""
				for _, p := range []string{tt.in[:cut], tt.in[cut:]} {
					for len(p) > 0 {
						q := c.encode([]byte(p))
						n := min(most, len(q))
						got += string(q[:n])
						p = p[c.used([]byte(p), n):]
					}
				}
				if got != tt.want {
					t.Errorf("%q cut at %d, written by %d: %q, want %q", tt.in, cut, most, got, tt.want)
				}
			}
		}
	}
}

func FuzzCRLF(f *testing.F) {
	f.Add([]byte("a\r\nb\nc\n\r\n"), uint16(3), uint16(2))
	f.Fuzz(func(t *testing.T, p []byte, cut, most uint16) {
		var whole, parts crlf
		want := string(whole.encode(p))
		got := ""
		for len(p) > 0 {
			piece := p[:min(len(p), int(cut)%7+1)]
			q := parts.encode(piece)
			n := min(len(q), int(most)%5+1)
			got += string(q[:n])
			p = p[parts.used(piece, n):]
		}
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

func TestTelnet(t *testing.T) {
	stream := "hi\xff\xfd\x18\xff\xfb\x01there\xff\xfe\x03\xff\xff\xff\xfc\x05\xff\xf1!\xff\xfd\x1f"
	const want = "\xff\xfc\x18\xff\xfe\x01\xff\xfc\x1f"
	for cut := range len(stream) {
		var n telnet
		got := append([]byte(nil), n.refuse([]byte(stream[:cut]))...)
		got = append(got, n.refuse([]byte(stream[cut:]))...)
		if string(got) != want {
			t.Errorf("cut at %d: % x, want % x", cut, got, want)
		}
	}
}

// -t answers on the wire and leaves the output alone.
func TestTelnetInRelay(t *testing.T) {
	a, b := tcpPair(t)
	var out bytes.Buffer
	done := start(t.Context(), a, strings.NewReader(""), &out, Options{Telnet: true})
	b.Write([]byte("\xff\xfd\x18login: "))
	p := make([]byte, 3)
	if _, err := io.ReadFull(b, p); err != nil || string(p) != "\xff\xfc\x18" {
		t.Errorf("answer % x, %v", p, err)
	}
	b.Close()
	(<-done).want(t, Complete, 0, 10)
	if out.String() != "\xff\xfd\x18login: " {
		t.Errorf("output %q", out.String())
	}
}

// The tap sees both directions as they go over the wire; if it fails, so does
// the session.
func TestTap(t *testing.T) {
	a, b := tcpPair(t)
	var up, down bytes.Buffer
	tap := func(sent bool, p []byte) error {
		if sent {
			up.Write(p)
		} else {
			down.Write(p)
		}
		return nil
	}
	done := start(t.Context(), a, strings.NewReader("a\nb\n"), io.Discard, Options{HalfCloseOnEOF: true, CRLF: true, Tap: tap})
	io.Copy(io.Discard, b)
	b.Write([]byte("answer"))
	b.Close()
	(<-done).want(t, Complete, 6, 6)
	if up.String() != "a\r\nb\r\n" || down.String() != "answer" {
		t.Errorf("tapped %q and %q", up.String(), down.String())
	}

	full := errors.New("full")
	a, b = tcpPair(t)
	done = start(t.Context(), a, strings.NewReader("x"), io.Discard, Options{Tap: func(bool, []byte) error { return full }})
	if o := <-done; o.Why != Failed || !errors.Is(o.err, full) {
		t.Errorf("got %+v", o)
	}
	b.Close()
}

// A hub's feeds get the same octets; who joins late gets what comes later, who
// leaves holds up nobody, and with nobody there nothing is lost.
func TestHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, feed := io.Pipe()
		h := NewHub(NewSource(in))
		one := h.Join()
		feed.Write([]byte("first "))
		synctest.Wait()
		two := h.Join()
		synctest.Wait()
		go feed.Write([]byte("both "))
		p := make([]byte, 64)
		for _, want := range []string{"first ", "both "} {
			if n, err := one.Read(p); err != nil || string(p[:n]) != want {
				t.Errorf("one read %q, %v", p[:n], err)
			}
		}
		synctest.Wait()
		if n, err := two.Read(p); err != nil || string(p[:n]) != "both " {
			t.Errorf("two read %q, %v", p[:n], err)
		}
		one.Close()
		two.Close()
		go func() {
			feed.Write([]byte("later"))
			feed.Close()
		}()
		time.Sleep(time.Second)
		three := h.Join()
		if got, err := io.ReadAll(three); err != nil || string(got) != "later" {
			t.Errorf("three read %q, %v", got, err)
		}
		if got, err := io.ReadAll(h.Join()); err != nil || len(got) != 0 {
			t.Errorf("after the end: %q, %v", got, err)
		}
	})
}

// A feed that nobody reads does not hold up the others once it is closed.
func TestHubStuckFeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, feed := io.Pipe()
		h := NewHub(NewSource(in))
		stuck, other := h.Join(), h.Join()
		go func() {
			feed.Write(make([]byte, 8*bufferSize))
			feed.Close()
		}()
		time.AfterFunc(time.Second, func() { stuck.Close() })
		if n, err := io.Copy(io.Discard, other); err != nil || n != 8*bufferSize {
			t.Errorf("copied %d, %v", n, err)
		}
	})
}

// Peek shows what is there, takes nothing away, and waits for nobody.
func TestPeek(t *testing.T) {
	r, w := io.Pipe()
	s := NewSource(r)
	defer s.Close()
	if got := s.Peek(time.Millisecond, 10); len(got) != 0 {
		t.Errorf("of nothing: %q", got)
	}
	go func() {
		io.WriteString(w, "hello")
		w.Close()
	}()
	for _, n := range []int{3, 10} {
		if got := string(s.Peek(20*time.Second, n)); got != "hello"[:min(n, 5)] {
			t.Errorf("at most %d: %q", n, got)
		}
	}
	if got, err := io.ReadAll(s); string(got) != "hello" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
	if got := s.Peek(20*time.Second, 10); len(got) != 0 {
		t.Errorf("at the end: %q", got)
	}
}
