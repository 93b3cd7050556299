package engine

import (
	"testing"

	"github.com/mpnc/mpnc/subflow"
)

func (s *script) isIn(want subflow.State) {
	s.t.Helper()
	if got := s.c.State(); got != want {
		s.t.Errorf("the connection is in %v, want %v", got, want)
	}
}

// The state of a connection is that of its stream: DATA_FIN stands for FIN.
func TestStateOfTheStream(t *testing.T) {
	const ourFIN, theirFIN = ". 1 ack 1 A2", ". 1 ack 1 A1 M1:0:1 F"
	t.Run("we close first", func(t *testing.T) {
		s := dial(t)
		s.isIn(subflow.StateEstablished)
		s.close()
		s.isIn(subflow.StateFinWait1)
		s.send(0, ourFIN)
		s.isIn(subflow.StateFinWait2)
		s.send(0, ". 1 ack 1 A2 M1:0:1 F")
		s.isIn(subflow.StateTimeWait)
	})
	t.Run("the peer closes first", func(t *testing.T) {
		s := dial(t)
		s.send(0, theirFIN)
		s.isIn(subflow.StateCloseWait)
		s.close()
		s.isIn(subflow.StateLastAck)
		s.send(0, ". 1 ack 1 A2")
		s.isIn(subflow.StateTimeWait) // the subflows' FINs follow
	})
	t.Run("both at once", func(t *testing.T) {
		s := dial(t)
		s.close()
		s.send(0, theirFIN)
		s.isIn(subflow.StateClosing)
	})
	t.Run("a subflow ends", func(t *testing.T) {
		s := dial(t)
		s.localUp(1)
		s.join(1, 0)
		s.send(0, "F. 1 ack 1 A1")
		s.isIn(subflow.StateEstablished)
	})
	t.Run("abort", func(t *testing.T) {
		s := dial(t)
		s.abort()
		s.isIn(subflow.StateClosed)
	})
	t.Run("plain", func(t *testing.T) {
		s := plainDial(t)
		s.isIn(subflow.StateEstablished)
		s.close()
		s.isIn(subflow.StateFinWait1)
		if ours, peers := s.c.Token(); ours != 0 || peers != 0 {
			t.Errorf("tokens %x, %x", ours, peers)
		}
	})
	t.Run("passive", func(t *testing.T) {
		s := listening(t)
		s.send(0, "S 0 mpc4")
		s.isIn(subflow.StateSynReceived)
	})
}
