package engine

import (
	"net/netip"
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/pathmgr"
	"github.com/mpnc/mpnc/scheduler"
)

// Limits of the endpoint that is fuzzed, small enough to be reached.
const (
	fuzzHalfOpen = 4
	fuzzBacklog  = 3
	fuzzSubflows = 3
	fuzzPeers    = 24 // tuples that segments come from
)

// crowd is what an Endpoint has to do with: many peers that know parts of what
// they need, an application that takes its time, and a driver.
type crowd struct {
	*fuzzFeed
	t        *testing.T
	now      mono.Time
	e        *Endpoint
	l        *Listener
	batch    *wire.Batch
	conns    []*Conn // all that live
	accepted []*Conn
	heard    [fuzzPeers]heardOf
	port     uint16
}

// heardOf is what one peer heard from us.
type heardOf struct {
	iss   seq.Num // our last number of a SYN/ACK or SYN
	next  seq.Num // what we may expect of the peer
	key   uint64  // ours, if it was told or guessed
	nonce uint32
	joins bool // its last SYN was for a subflow
}

// peerTuple is the nth tuple: few addresses on both sides, few ports; every
// sixth is to a port where nobody listens.
func peerTuple(n int) wire.Tuple {
	local := uint16(80)
	if n%6 == 5 {
		local = 1000
	}
	return legTuple(n%3, n/3%2, local, uint16(1000+n/6))
}

func newCrowd(t *testing.T, in []byte) *crowd {
	w := &crowd{fuzzFeed: &fuzzFeed{in}, t: t, now: mono.Time(time.Hour), batch: wire.NewBatch(1 << 18), port: 3000}
	mode := w.octet()
	cfg := Config{
		Rand: &scriptRand{}, Scheduler: scheduler.NewMinRTT, Manager: pathmgr.NewFullMesh,
		SendBuffer: 1 << 16, RecvBuffer: 1 << 16, Hold: time.Minute, TimeWait: 10 * time.Second,
		MaxSubflows: fuzzSubflows, HalfOpen: fuzzHalfOpen,
		TCPOnly: mode&1 != 0, NoTimestamps: mode&2 != 0,
	}
	w.e = NewEndpoint(&cfg)
	for _, a := range ours {
		w.e.Hold(netip.AddrPortFrom(a, 80))
		w.e.Hold(netip.AddrPortFrom(a, 1000))
	}
	l, err := w.e.Listen(netip.AddrPortFrom(netip.IPv4Unspecified(), 80), fuzzBacklog)
	if err != nil {
		t.Fatal(err)
	}
	w.l = l
	return w
}

// segment is of one peer, with what it knows and what the fuzzer likes in it.
func (w *crowd) segment(n int) *wire.Segment {
	h, kind := &w.heard[n], w.octet()
	g := &wire.Segment{Tuple: peerTuple(n), Window: 0x4000, Link: 1 + n%3, MTU: 1500}
	g.Seq, g.Ack = h.next, h.iss+1
	switch kind % 8 {
	case 0, 1:
		g.Flags, g.Ack = wire.SYN, 0
		g.Opt.MSS, g.Opt.SACKPermitted = 1460, true
		g.Seq = seq.Num(w.n(1) << 24)
		h.next = g.Seq + 1
	case 2:
		g.Flags = wire.SYN | wire.ACK
	case 3:
		g.Flags = wire.Flags(w.octet())
	default:
		g.Flags = wire.ACK
	}
	if kind&8 != 0 {
		g.Seq, g.Ack = g.Seq.Add(w.near()), g.Ack.Add(w.near())
	}
	if kind&16 != 0 {
		g.Payload = pattern(0, w.octet()*4, true)
	}
	if kind&32 != 0 {
		g.Opt.HasTS, g.Opt.TSVal, g.Opt.TSEcr = true, uint32(w.now/mono.Time(ms)), uint32(w.n(1))
	}
	w.options(g, h)
	return g
}

// options are those of one peer: half of the time what belongs there.
func (w *crowd) options(g *wire.Segment, h *heardOf) {
	kind := w.octet()
	if len(w.conns) > 0 && kind&64 != 0 && g.Flags == wire.SYN {
		h.key, h.joins = w.conns[w.octet()%len(w.conns)].key, true
	} else if g.Flags == wire.SYN {
		h.joins = false
	}
	mp := &g.MP
	mp.Capable.Version, mp.Capable.Flags = 1, wire.CapSHA256
	mp.Capable.Sender, mp.Capable.Receiver = peerKey, h.key
	mp.Join.Form = wire.JoinSYN
	switch {
	case g.Flags.Has(wire.SYN | wire.ACK):
		mp.Join.Form, mp.Capable.Keys = wire.JoinSYNACK, 1
	case !g.Flags.Has(wire.SYN):
		mp.Join.Form, mp.Capable.Keys = wire.JoinACK, 2
	}
	mp.Join.Token, mp.Join.Nonce, mp.Join.AddrID = wire.Token(h.key), 7, uint8(kind>>4&3)
	mac := wire.JoinMAC(peerKey, h.key, 7, h.nonce)
	copy(mp.Join.MAC[:], mac[:])
	d := &mp.DSS
	d.HasAck, d.Ack64, d.HasMap, d.Seq64 = true, true, len(g.Payload) > 0, true
	d.Ack, d.Seq = wire.IDSN(h.key)+1, wire.IDSN(peerKey)+1
	d.SSN, d.Length = 1, uint16(len(g.Payload))
	mp.Add.Addr, mp.Add.ID = theirs[2], uint8(kind)
	mp.Remove.N = 1
	mp.Fast.Key = h.key
	switch {
	case kind&3 == 0: // plain
	case kind&128 != 0:
		mp.Has = wire.MPKind(1) << (w.octet() % 9)
		mp.Capable.Keys = w.octet() % 3
		if kind&4 != 0 {
			mp.Has |= wire.DSS
		}
		if kind&8 != 0 {
			d.Ack, d.Seq = d.Ack.Add(w.near()), d.Seq.Add(w.near())
		}
	case h.joins:
		mp.Has = wire.MPJoin
	case kind&4 == 0 || g.Flags.Has(wire.SYN):
		mp.Has = wire.MPCapable
	default:
		mp.Has = wire.DSS
	}
}

// sends is one segment on its way through the wire form to whom it belongs.
func (w *crowd) sends(n int) {
	g := w.segment(n)
	w.batch.Reset()
	back := mirrored(g)
	if !wire.AppendSegment(w.batch, &back, 0) {
		return // more options than fit
	}
	var in wire.Segment
	if wire.Parse(w.batch.Bytes(0), &in, wire.CsumFull) != wire.None {
		return
	}
	in.At, in.Link, in.MTU = w.now, g.Link, 1500
	in.Payload = append([]byte(nil), in.Payload...) // the batch is used for the answers
	for range 2 {
		if !w.handle(&in) {
			return
		}
	}
	w.t.Fatal("a segment is handed back for ever")
}

func mirrored(g *wire.Segment) wire.Segment {
	return wire.Segment{
		Tuple: wire.Tuple{Local: g.Remote, Remote: g.Local}, Seq: g.Seq, Ack: g.Ack, Flags: g.Flags,
		Window: g.Window, Opt: g.Opt, MP: g.MP, Payload: g.Payload,
	}
}

// handle is the driver's part. again: a connection made way for the segment.
func (w *crowd) handle(in *wire.Segment) (again bool) {
	c, verdict := w.e.Lookup(in.Tuple), Deliver
	if c == nil {
		c, verdict = w.e.HandleSegment(w.now, in)
	}
	w.batch.Reset()
	switch verdict {
	case Stray:
		AppendReset(w.batch, in)
		w.hear()
	case Answer:
		a := w.e.Answer(w.now, in)
		wire.AppendSegment(w.batch, &a, 0)
		w.hear()
	case Deliver:
		w.knows(c)
		again = c.HandleSegment(w.now, in)
		w.drain(c)
	}
	return again
}

func (w *crowd) knows(c *Conn) {
	for _, o := range w.conns {
		if o == c {
			return
		}
	}
	w.conns = append(w.conns, c)
}

// hear has the peers note what we sent them; the batch is empty then.
func (w *crowd) hear() {
	for i := range w.batch.Pkts {
		var out wire.Segment
		if d := wire.Parse(w.batch.Bytes(i), &out, w.batch.Pkts[i].Csum); d != wire.None {
			w.t.Fatalf("we sent a bad packet: %v", d)
		}
		for n := range w.heard {
			p := peerTuple(n)
			if out.Local != p.Remote || out.Remote != p.Local {
				continue
			}
			h := &w.heard[n]
			if out.Flags.Has(wire.SYN) {
				h.iss = out.Seq
			}
			if out.MP.Has&wire.MPCapable != 0 && out.MP.Capable.Keys > 0 {
				h.key = out.MP.Capable.Sender
			}
			if out.MP.Has&wire.MPJoin != 0 {
				h.nonce = out.MP.Join.Nonce
			}
			if out.Flags.Has(wire.ACK) {
				h.next = out.Ack
			}
		}
	}
	w.batch.Reset()
}

// drain does what a connection asks for, until it asks for nothing.
func (w *crowd) drain(c *Conn) {
	for rounds := 0; ; rounds++ {
		if rounds > 1000 {
			w.t.Fatal("a connection is never done")
		}
		links := c.PollReady(w.now, nil)
		for _, link := range links {
			for w.batch.Reset(); c.PollTransmit(w.now, link, w.batch) > 0; w.batch.Reset() {
				w.hear()
			}
		}
		if len(links) == 0 && !w.events(c) {
			return
		}
	}
}

// events passes on what a connection has to say; false if that is nothing.
func (w *crowd) events(c *Conn) (any bool) {
	for ev, ok := c.PollEndpoint(); ok; ev, ok = c.PollEndpoint() {
		any = true
		w.e.HandleEvent(c, ev)
		switch ev := ev.(type) {
		case WantPath:
			w.port++
			t := wire.Tuple{Local: netip.AddrPortFrom(ev.Local, w.port), Remote: ev.Remote}
			c.OpenPath(w.now, ev.Req, t, ev.Link, 1500)
		case Gone:
			for i, o := range w.conns {
				if o == c {
					w.conns = append(w.conns[:i], w.conns[i+1:]...)
					break
				}
			}
		}
	}
	return any
}

// passes lets time go by, from deadline to deadline.
func (w *crowd) passes(d time.Duration) {
	until := w.now.Add(d)
	for steps := 0; ; steps++ {
		next, whose := mono.Never, (*Conn)(nil)
		for _, c := range w.conns {
			if at := c.PollTimeout(); at < next {
				next, whose = at, c
			}
		}
		if next > until {
			break
		}
		if steps > 200_000 {
			w.t.Fatalf("no end of deadlines: %s", whose.Deadlines())
		}
		w.now = w.now.Latest(next)
		whose.HandleTimeout(w.now)
		w.drain(whose)
	}
	w.now = until
}

// acts is something that the application does.
func (w *crowd) acts(what int) {
	if c := w.l.Accept(); c != nil && what%2 == 0 {
		w.accepted = append(w.accepted, c)
	} else if c != nil {
		c.Abort(w.now)
		w.drain(c)
	}
	if len(w.accepted) == 0 {
		return
	}
	c := w.accepted[what/8%len(w.accepted)]
	buf := make([]byte, 1<<12)
	switch what % 8 {
	case 0, 1:
		c.Write(w.now, buf[:1000])
	case 2, 3, 4:
		c.Read(w.now, buf)
	case 5:
		c.CloseWrite(w.now)
	case 6:
		c.Close(w.now)
	case 7:
		c.Abort(w.now)
	}
	w.drain(c)
}

// laws asserts what holds after every step.
func (w *crowd) laws() {
	w.t.Helper()
	e := w.e
	if w.l.halfway > fuzzHalfOpen+cookieSlack || w.l.halfway < 0 || len(w.l.ready) > fuzzBacklog+cookieSlack || len(e.reopened) != 0 {
		w.t.Fatalf("%d half open, %d ready, %d reopened", w.l.halfway, len(w.l.ready), len(e.reopened))
	}
	if len(e.tokens) != len(w.conns) {
		w.t.Fatalf("%d tokens of %d connections", len(e.tokens), len(w.conns))
	}
	if most := len(w.conns) * (fuzzSubflows + maxLeaving + 1); len(e.tuples) > most {
		w.t.Fatalf("%d tuples of %d connections", len(e.tuples), len(w.conns))
	}
	for _, c := range w.conns {
		if n := len(c.paths); n > fuzzSubflows+maxLeaving+1 {
			w.t.Fatalf("%d paths", n)
		}
	}
}

// FuzzEndpoint: whatever many peers send to a listener and to the connections
// they opened: no panic, an end to everything, a bound on what is kept, and
// nothing kept once all is closed.
func FuzzEndpoint(f *testing.F) {
	opens, joins := "\x00\x00\x01\x01"+"\x00\x04\x01", "\x01\x00\x02\x41\x00"+"\x01\x04\x01"
	data, accepts, later := "\x00\x14\x32\x05", "\xbe\x00", "\xf0\xff\xff"
	full := ""
	for peer := range byte(12) { // SYNs, more than are kept
		full += string([]byte{peer, 0, 1, 1})
	}
	for peer := range byte(12) {
		full += string([]byte{peer, 4, 1, peer, 20, 50, 5})
	}
	for _, in := range []string{
		"\x00" + opens + data + accepts + joins + data + later,
		"\x00" + opens + data + accepts + "\xbe\x05" + joins + "\xe2" + later + data,
		"\x00" + full + accepts + accepts + full + later,
		"\x01" + full + accepts + "\xbe\x06" + full, // TCP only
		"\x02" + full + later + accepts + full,      // no timestamps
	} {
		f.Add([]byte(in))
	}
	for seed := range uint64(24) {
		f.Add(fuzzNoise(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		w := newCrowd(t, in[:min(len(in), 2048)])
		for len(w.b) > 0 {
			switch o := w.octet(); {
			case o < 190:
				w.sends(o % fuzzPeers)
			case o < 225:
				w.acts(w.octet())
			case o < 228 && len(w.conns) > 0:
				c := w.conns[o%len(w.conns)]
				c.HandleLocal(w.now, pathmgr.LocalUp{Local: pathmgr.Local{Addr: ours[1], Link: 2, Name: "if2"}})
				w.drain(c)
			default:
				w.passes(time.Duration(w.octet()) * time.Duration(w.octet()) * 5 * ms)
			}
			w.laws()
		}
		for _, c := range append([]*Conn(nil), w.conns...) {
			c.Abort(w.now)
			w.drain(c)
		}
		w.passes(time.Hour)
		if n := len(w.e.tuples) + len(w.e.tokens) + w.l.halfway; n != 0 {
			t.Fatalf("left: %d tuples, %d tokens, %d half open", len(w.e.tuples), len(w.e.tokens), w.l.halfway)
		}
	})
}
