package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/mpnc/mpnc/internal/netcat"
)

// roomAction connects all connections with each other: what one says goes to
// all others. Standard input and output have no part in it.
type roomAction struct {
	m    *command
	room netcat.Room
	chat bool // each line is sent whole, after the name of who said it
	n    atomic.Int32
}

func (a *roomAction) serve(ctx context.Context, c conn) (netcat.Result, error) {
	place := a.room.Join()
	defer place.Close()
	r := a.m.relay()
	r.EndWithPeer, r.HalfCloseOnEOF, r.SendOnly, r.NoInput = true, false, false, false
	if !a.chat {
		return netcat.Relay(ctx, c, place, place, r)
	}
	who := &speaker{name: fmt.Sprintf("user%d", a.n.Add(1)-1), place: place}
	a.announce(who, fmt.Sprintf("is connected from %v", c.RemoteAddr()))
	defer a.announce(who, "has left")
	defer who.flush()
	return netcat.Relay(ctx, c, place, who, r)
}

func (a *roomAction) announce(s *speaker, what string) {
	a.room.Say(fmt.Appendf(nil, "<announce> <%s> %s\n", s.name, what), s.place)
}

// longestLine is cut where it is longer, in octets.
const longestLine = 4096

// speaker says whole lines, after a name. What could move others' cursors is
// taken out.
type speaker struct {
	name  string
	place *netcat.Member
	line  []byte
}

func (s *speaker) Write(p []byte) (int, error) {
	for _, b := range p {
		if b != '\n' {
			s.line = append(s.line, b)
		}
		if b == '\n' || len(s.line) >= longestLine {
			s.say()
		}
	}
	return len(p), nil
}

// flush says what the speaker did not end.
func (s *speaker) flush() {
	if len(s.line) > 0 {
		s.say()
	}
}

func (s *speaker) say() {
	text := strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r >= 0x7f && r < 0xa0 {
			return -1
		}
		return r
	}, string(bytes.ToValidUTF8(s.line, []byte("?"))))
	s.line = s.line[:0]
	fmt.Fprintf(s.place, "<%s> %s\n", s.name, text)
}
