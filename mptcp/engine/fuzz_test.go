package engine

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/pathmgr"
	"github.com/mpnc/mpnc/scheduler"
)

// fuzzFeed hands out the fuzzer's octets, zeros at the end.
type fuzzFeed struct{ b []byte }

func (f *fuzzFeed) n(size int) uint64 {
	var v [8]byte
	n := copy(v[:size], f.b)
	f.b = f.b[n:]
	return binary.LittleEndian.Uint64(v[:])
}

func (f *fuzzFeed) octet() int { return int(f.n(1)) }

// near is a number around 0: mostly close, at times anywhere.
func (f *fuzzFeed) near() int {
	switch o := f.octet(); {
	case o < 160:
		return o & 7
	case o < 224:
		return int(int16(f.n(2)))
	default:
		return int(int32(f.n(4)))
	}
}

// segment is one of the peer's on a leg, with what the fuzzer likes in it.
func (f *fuzzFeed) segment(s *script, n int) *wire.Segment {
	lg := s.legs[n]
	g := &wire.Segment{Tuple: lg.tuple, Flags: wire.ACK, Window: uint16(f.n(2)), Link: n + 1}
	if o := f.octet(); o < 64 {
		g.Flags = wire.Flags(f.octet())
	}
	next, una := seq.Offset(1), seq.Offset(1)
	if p := s.c.pathOf(lg.tuple); p != nil {
		next, una = p.sf.RcvNxt(), p.sf.SndNxt()
	}
	g.Seq = next.Num(lg.peerISS).Add(f.near())
	g.Ack = una.Num(lg.ourISS).Add(-f.near())
	g.Payload = pattern(0, f.octet()*f.octet()/40, true)
	f.options(s, lg, g)
	return g
}

func (f *fuzzFeed) options(s *script, lg *leg, g *wire.Segment) {
	mp := &g.MP
	mp.Has = wire.MPKind(1) << (f.octet() % 9)
	if f.octet() < 96 {
		mp.Has |= wire.DSS
	}
	bits := f.octet()
	mp.Capable.Version, mp.Capable.Flags, mp.Capable.Keys = 1, uint8(1|bits&0xa0), bits%3
	mp.Capable.Sender, mp.Capable.Receiver = s.peerKey, s.key
	if mp.Has&wire.MPCapable != 0 && bits&4 != 0 {
		mp.Capable.Keys, mp.Capable.HasLength, mp.Capable.Length = 2, true, uint16(f.n(2))
	}
	mp.Join.Form = wire.JoinForm(1 + bits%3)
	mp.Join.Token, mp.Join.Nonce, mp.Join.AddrID = wire.Token(s.key), lg.peerNonce, uint8(bits)
	mac := wire.JoinMAC(s.peerKey, s.key, lg.peerNonce, lg.ourNonce)
	copy(mp.Join.MAC[:], mac[:])
	d := &mp.DSS
	d.HasAck, d.Ack64, d.HasMap, d.Seq64 = bits&1 == 0, bits&2 == 0, bits&4 == 0, bits&8 == 0
	d.Fin, d.HasCsum = bits&0x30 == 0x30, bits&0xc0 == 0xc0 && d.HasMap
	d.Ack = s.c.tx.next.Add(-f.near())
	expected := wire.IDSN(s.peerKey) + 1
	if s.c.rcv != nil {
		expected = s.c.rcv.Next()
	}
	d.Seq = expected.Add(f.near())
	d.SSN, d.Length = uint32(g.Seq-lg.peerISS)-uint32(f.near()), uint16(len(g.Payload)+f.near())
	if s.c.csum {
		// Mostly there, and right half of the time for a mapping of the segment.
		d.HasCsum = d.HasMap && bits&0xc0 != 0xc0
		d.Csum = wire.DSSChecksum(d.Seq, d.SSN, d.Length, wire.Sum(g.Payload, 0)) + uint16(bits>>7)
	}
	a := &mp.Add
	a.Echo, a.ID, a.Addr, a.Port = bits&1 != 0, uint8(bits), theirs[bits%3], uint16(bits&2)*40
	a.MAC = wire.AddAddrMAC(s.peerKey, s.key, a.ID, a.Addr, a.Port)
	mp.Remove.N = 1 + bits%4
	copy(mp.Remove.IDs[:], []byte{byte(bits % 4), byte(bits), 0, 1})
	mp.Prio.Backup = bits&1 != 0
	mp.Fail.Seq = d.Ack
	mp.Fast.Key = s.key + uint64(bits&0x70)
	mp.Rst.Reason = wire.ResetReason(bits % 8)
}

// fuzzNoise is 400 octets of a seed's.
func fuzzNoise(seed uint64) []byte {
	b := make([]byte, 400)
	for i := range b {
		seed = seed*6364136223846793005 + 1442695040888963407
		b[i] = byte(seed >> 40)
	}
	return b
}

// FuzzConnSegments: whatever a peer sends to an established connection: no
// panic, an end to every poll, bounded memory, a right edge that never goes
// back, and no octet read twice.
func FuzzConnSegments(f *testing.F) {
	f.Add(false, []byte("\x00\x01\x02\x03\x04\x05\x06\x07"))
	f.Add(true, []byte{0x80, 0xff, 0xff, 0xff, 0, 0, 10, 10, 1, 0, 0xf0, 2, 200, 3, 4, 9, 9, 9})
	for seed := range uint64(80) {
		f.Add(seed&1 == 0, fuzzNoise(seed))
	}
	f.Fuzz(func(t *testing.T, client bool, in []byte) {
		// The input says whether there are checksums, and what changed data is.
		csum := len(in) > 0 && in[0]&1 != 0
		s := fuzzConn(t, client, csum, len(in) > 0 && in[0]&2 != 0)
		feed := &fuzzFeed{in}
		if len(feed.b) > 4096 {
			feed.b = feed.b[:4096]
		}
		buf := make([]byte, 1<<16)
		for len(feed.b) > 0 {
			o := feed.octet()
			switch {
			case o < 200:
				s.deliver(feed.segment(s, o%len(s.legs)))
			case o < 215:
				s.c.Write(s.now, buf[:feed.octet()*16])
			case o < 225:
				s.c.Read(s.now, buf)
			case o < 228:
				s.c.CloseWrite(s.now)
			case o < 229:
				s.c.Close(s.now)
			case o < 233:
				s.localDown(o % 2)
			case o < 240:
				s.localUp(o % 2)
			default:
				s.advance(time.Duration(feed.octet()) * 20 * ms)
			}
			s.poll()
			s.fuzzLaws()
		}
		s.advance(40 * time.Minute)
		s.fuzzLaws()
	})
}

// fuzzConn is a connection with two subflows.
func fuzzConn(t *testing.T, client, csum, take bool) *script {
	full := func(c *Config) {
		c.Manager, c.Scheduler = pathmgr.NewFullMesh, scheduler.NewMinRTT
		c.TakeAltered = take
		if csum {
			c.Checksum = ChecksumAsk
		}
	}
	if client {
		s := dial(t, full)
		s.localUp(0)
		s.open2(1, 0)
		return s
	}
	s := accept(t, full)
	if csum {
		s.send(0, ". 1+1 ack 1 A1 M1:1:1 csum")
	} else {
		s.send(0, ". 1+1 ack 1 A1 M1:1:1")
	}
	s.ignore(0)
	s.joined(0, 1)
	return s
}

// fuzzLaws asserts what holds after every step.
func (s *script) fuzzLaws() {
	s.t.Helper()
	c := s.c
	for _, lg := range s.legs {
		lg.out, lg.segs = nil, nil
	}
	s.events, s.wants = nil, nil
	if n := len(c.paths); n > c.cfg.MaxSubflows+maxLeaving+1 {
		s.t.Fatalf("%d paths", n)
	}
	staged := 0
	for _, p := range c.paths {
		staged += p.in.size
		if len(p.in.maps) > maxMaps || len(p.in.staged) > 2*maxMaps || len(p.sendEcho) > maxAdverts || len(p.sendRemove) > 256 {
			s.t.Fatalf("%d mappings, %d pieces, %d echoes", len(p.in.maps), len(p.in.staged), len(p.sendEcho))
		}
	}
	if c.stage.size > 2*c.cfg.RecvBuffer+1<<16 {
		s.t.Fatalf("%d octets of mappings", c.stage.size)
	}
	if staged > len(c.paths)*(maxStage+65536) || len(c.addrs.peers) > maxPeers || len(c.ended) > maxEnded {
		s.t.Fatalf("%d octets staged, %d peers, %d ended", staged, len(c.addrs.peers), len(c.ended))
	}
	if c.tx.next.Less(c.snd.Una()) || c.snd.End().Less(c.tx.next) {
		s.t.Fatalf("una %d, next %d, end %d", c.snd.Una(), c.tx.next, c.snd.End())
	}
	if c.rcv != nil && c.rcv.Edge().Less(c.rx.shownEdge) {
		s.t.Fatal("the right edge went back")
	}
	for _, r := range c.tx.lost.Spans() {
		if r.From.Less(c.snd.Una()) || c.tx.next.Less(r.To) {
			s.t.Fatalf("lost %v outside of %d to %d", r, c.snd.Una(), c.tx.next)
		}
	}
	if c.stats.InvalidGrants > 0 {
		s.t.Fatalf("%d unlawful grants", c.stats.InvalidGrants)
	}
}
