package emu

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mpnc/mpnc/mptcp"
)

// Two paths carry random octets whole, each its part, in the time that their
// rates allow; then one falls silent and the other goes on.
func TestTwoPathsThenOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(Link{20e6, 20 * time.Millisecond}, Link{10e6, 60 * time.Millisecond})
		defer n.Close()
		server, err := n.Server(mptcp.Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		client, err := n.Client(mptcp.Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		l, err := server.Listen("tcp", ":80")
		if err != nil {
			t.Fatal(err)
		}
		data := make([]byte, 8<<20)
		rand.NewChaCha8([32]byte{1}).Read(data)
		began := time.Now()
		go func() {
			c, err := client.Dial(context.Background(), "tcp", n.ServerAddr(1).String()+":80")
			if err != nil {
				t.Error(err)
				return
			}
			c.Write(data[:4<<20])
			c.Write(data[4<<20:])
			c.CloseWrite()
		}()
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(data))
		if _, err := io.ReadFull(c, got[:4<<20]); err != nil {
			t.Fatal(err)
		}
		const ideal = time.Second * (4 << 20) * 8 / 30e6
		if d := time.Since(began); d < ideal || d > 2*ideal {
			t.Errorf("half took %v, the links' rates allow %v", d, ideal)
		}
		for link := 1; link <= 2; link++ {
			if got := carried(c.(*mptcp.Conn), n.ClientAddr(link)); got < 4<<20/10 {
				t.Errorf("link %d carried only %d octets", link, got)
			}
		}
		n.SetSilent(1, true)
		died := time.Now()
		if _, err := io.ReadFull(c, got[4<<20:]); err != nil {
			t.Fatal(err)
		}
		const rest = time.Second * (4 << 20) * 8 / 10e6
		if d := time.Since(died); d > 2*rest {
			t.Errorf("the rest took %v, the link's rate allows %v", d, rest)
		}
		if !bytes.Equal(got, data) {
			t.Error("streams differ")
		}
	})
}

// carried is what arrived from an address of the peer.
func carried(c *mptcp.Conn, from netip.Addr) (octets uint64) {
	for _, f := range c.Subflows() {
		if f.Tuple.Remote.Addr() == from {
			octets += f.BytesIn
		}
	}
	return octets
}
