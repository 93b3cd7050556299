package mptcp

import (
	"testing"
	"time"

	"github.com/mpnc/mpnc/subflow"
)

// What ss shows: listeners with their queues, and connections with state,
// queues and names.
func TestInspect(t *testing.T) {
	bubble(t, setup{pipe: twoLinks}, func(t *testing.T, p *pair) {
		l := p.listen()
		c, s := p.connect(l)
		write(t, c, "ping")
		expect(t, s, "pi")
		if _, err := p.client.Dial(t.Context(), "tcp", p.address("80")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // until its last packet has arrived
		ls := p.server.Listeners()
		if len(ls) != 1 || ls[0].Addr.Port() != 80 || ls[0].Waiting != 1 || ls[0].Backlog != backlog {
			t.Errorf("listeners %+v", ls)
		}
		if n := len(p.client.Listeners()); n != 0 {
			t.Errorf("the client listens at %d addresses", n)
		}
		conns := p.client.Conns()
		if len(conns) != 2 || conns[0] != c || conns[0].Info().ID != 1 || conns[1].Info().ID != 2 {
			t.Fatalf("connections %v", conns)
		}
		near, far := c.Info(), s.Info()
		if !near.Client || far.Client || near.State != subflow.StateEstablished || far.State != near.State {
			t.Errorf("client %+v, server %+v", near, far)
		}
		if near.Token == 0 || near.Token != far.PeerToken || near.PeerToken != far.Token {
			t.Errorf("tokens %x/%x and %x/%x", near.Token, near.PeerToken, far.Token, far.PeerToken)
		}
		if near.Local != far.Remote || near.Remote != far.Local || near.HoldSince != never {
			t.Errorf("client %+v, server %+v", near, far)
		}
		if far.RecvQueued != 2 {
			t.Errorf("%d octets wait, want 2", far.RecvQueued)
		}
		c.Close()
		s.Close()
		l.Close()
	})
}
