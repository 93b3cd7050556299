package subflow

import "github.com/mpnc/mpnc/subflow/cc"

// fixed is a congestion controller that keeps its window, and what it is told.
type fixed struct {
	wnd    int
	rate   uint64
	acks   []cc.Ack
	losses []cc.Loss
}

func (f *fixed) OnAck(a cc.Ack)     { f.acks = append(f.acks, a) }
func (f *fixed) OnLoss(l cc.Loss)   { f.losses = append(f.losses, l) }
func (f *fixed) Window() int        { return f.wnd }
func (f *fixed) PacingRate() uint64 { return f.rate }

// newFixed returns a factory of windows of wnd octets that are not paced to
// speak of.
func newFixed(wnd int) cc.Factory {
	return func(*cc.Group, int) cc.Controller { return &fixed{wnd: wnd, rate: 1 << 50} }
}

func (b *bench) ctrl() *fixed { return b.sf.ctrl.(*fixed) }

// causes takes what the controller was told of losses.
func (b *bench) causes() []cc.Cause {
	var list []cc.Cause
	for _, l := range b.ctrl().losses {
		list = append(list, l.Cause)
	}
	b.ctrl().losses = nil
	return list
}
