package wire

import (
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"

	"github.com/mpnc/mpnc/internal/seq"
)

// mirror is what the receiver of s sees: the ends change places.
func mirror(s Segment) Segment {
	s.Local, s.Remote = s.Remote, s.Local
	if s.TTL == 0 {
		s.TTL = defaultTTL
	}
	return s
}

// randomSegment makes a segment that can be written and read back unchanged:
// its options fit its flags and the 40 octets.
func randomSegment(r *rand.Rand) Segment {
	s := Segment{
		Seq: seq.Num(r.Uint32()), Ack: seq.Num(r.Uint32()),
		Window: uint16(r.Uint32()), Urgent: uint16(r.Uint32()),
		ECN: uint8(r.IntN(4)), TTL: uint8(1 + r.IntN(255)),
		Payload: make([]byte, r.IntN(100)),
	}
	for i := range s.Payload {
		s.Payload[i] = byte(r.Uint32())
	}
	s.Local, s.Remote = randomEnds(r)
	s.Flags = []Flags{SYN, SYN | ACK, ACK, ACK | PSH, ACK | FIN, RST, RST | ACK}[r.IntN(7)]
	s.Flags |= Flags(r.IntN(8)) << 5 // URG, ECE, CWR
	if s.Flags.Has(SYN) {
		s.Opt.MSS = uint16(r.Uint32())
		s.Opt.SACKPermitted = r.IntN(2) == 0
		if s.Opt.HasWScale = r.IntN(2) == 0; s.Opt.HasWScale {
			s.Opt.WScale = uint8(r.IntN(15))
		}
	}
	if s.Opt.HasTS = r.IntN(2) == 0; s.Opt.HasTS {
		s.Opt.TSVal, s.Opt.TSEcr = r.Uint32(), r.Uint32()
	}
	if r.IntN(4) == 0 {
		s.Opt.UserTimeout = uint16(1 + r.IntN(65535))
	}
	if s.Flags.Has(SYN) && r.IntN(4) == 0 {
		var b [MaxCookie]byte
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		if c, ok := MakeCookie(b[:2*r.IntN(5)]); ok || r.IntN(2) == 0 {
			s.Opt.HasFastOpen, s.Opt.FastOpen = true, c
		}
	}
	for range r.IntN(3) {
		addRandomOption(r, &s)
	}
	s.Opt.NSACK = r.IntN(SACKRoom(s.Opt.Len()+s.MP.Len()) + 1)
	for i := range s.Opt.NSACK {
		s.Opt.SACK[i] = SACKBlock{seq.Num(r.Uint32()), seq.Num(r.Uint32())}
	}
	return s
}

func randomEnds(r *rand.Rand) (a, b netip.AddrPort) {
	port := func() uint16 { return uint16(1 + r.IntN(65535)) }
	if r.IntN(2) == 0 {
		return netip.AddrPortFrom(randomAddr4(r), port()), netip.AddrPortFrom(randomAddr4(r), port())
	}
	return netip.AddrPortFrom(randomAddr6(r), port()), netip.AddrPortFrom(randomAddr6(r), port())
}

func randomAddr4(r *rand.Rand) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32())})
}

func randomAddr6(r *rand.Rand) netip.Addr {
	a := [16]byte{0x20, 0x01, 0x0d, 0xb8}
	for i := 4; i < 16; i++ {
		a[i] = byte(r.Uint32())
	}
	return netip.AddrFrom16(a)
}

// addRandomOption adds one MPTCP option, if it fits.
func addRandomOption(r *rand.Rand, s *Segment) {
	before := s.MP
	kind := MPKind(1) << r.IntN(9)
	if before.Has&kind != 0 {
		return
	}
	form := shake(s.Flags)
	yes := func() bool { return r.IntN(2) == 0 }
	switch mp := &s.MP; kind {
	case MPCapable:
		if form == 0 {
			return
		}
		c := &mp.Capable
		c.Version, c.Flags = uint8(r.IntN(16)), uint8(r.Uint32())
		if form > JoinSYN {
			c.Keys, c.Sender = 1, r.Uint64()
		}
		if form == JoinACK {
			c.Keys, c.Receiver = 2, r.Uint64()
			if c.HasLength = yes(); c.HasLength {
				c.Length = uint16(r.Uint32())
				if c.HasCsum = yes(); c.HasCsum {
					c.Csum = uint16(r.Uint32())
				}
			}
		}
	case MPJoin:
		if form == 0 {
			return
		}
		j := &mp.Join
		j.Form = form
		if form != JoinACK {
			j.Backup, j.AddrID, j.Nonce = yes(), uint8(r.Uint32()), r.Uint32()
		}
		mac := JoinMAC(r.Uint64(), r.Uint64(), 1, 2)
		switch form {
		case JoinSYN:
			j.Token = r.Uint32()
		case JoinSYNACK:
			copy(j.MAC[:8], mac[:])
		case JoinACK:
			copy(j.MAC[:], mac[:])
		}
	case DSS:
		d := &mp.DSS
		number := func(wide bool) seq.Data {
			if wide {
				return seq.Data(r.Uint64())
			}
			return seq.Data(r.Uint32())
		}
		if d.HasAck = yes(); d.HasAck {
			d.Ack64 = yes()
			d.Ack = number(d.Ack64)
		}
		if d.HasMap = yes(); d.HasMap {
			d.Seq64, d.Fin = yes(), yes()
			d.Seq, d.SSN, d.Length = number(d.Seq64), r.Uint32(), uint16(r.Uint32())
			if d.HasCsum = yes(); d.HasCsum {
				d.Csum = uint16(r.Uint32())
			}
		}
	case AddAddr:
		a := &mp.Add
		a.ID, a.Addr = uint8(r.Uint32()), randomAddr4(r)
		if yes() {
			a.Addr = randomAddr6(r)
		}
		if yes() {
			a.Port = uint16(1 + r.IntN(65535))
		}
		if a.Echo = yes(); !a.Echo {
			a.MAC = r.Uint64()
		}
	case RemoveAddr:
		mp.Remove.N = 1 + r.IntN(len(mp.Remove.IDs))
		for i := range mp.Remove.N {
			mp.Remove.IDs[i] = uint8(r.Uint32())
		}
	case MPPrio:
		mp.Prio.Backup = yes()
	case MPFail:
		mp.Fail.Seq = seq.Data(r.Uint64())
	case FastClose:
		mp.Fast.Key = r.Uint64()
	case TCPReset:
		if !s.Flags.Has(RST) {
			return
		}
		mp.Rst.Transient, mp.Rst.Reason = yes(), ResetReason(r.Uint32())
	}
	s.MP.Has |= kind
	if s.Opt.Len()+s.MP.Len() > maxOpt {
		s.MP = before
	}
}

// What is written is what is read, for every option and both families.
func TestRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	b := NewBatch(4096)
	var seen MPKind
	for i := range 40000 {
		want := randomSegment(r)
		seen |= want.MP.Has
		b.Reset()
		b.Offload = i%2 == 0
		if !AppendSegment(b, &want, 0) {
			t.Fatalf("no room for %+v", want)
		}
		if n := HeaderLen(&want) + len(want.Payload); n != int(b.Pkts[0].Len) {
			t.Fatalf("HeaderLen says %d octets in all, written %d", n, b.Pkts[0].Len)
		}
		var got Segment
		csum := CsumFull
		if b.Offload {
			csum = CsumEither
		}
		if d := Parse(b.Bytes(0), &got, csum); d != None {
			t.Fatalf("dropped, reason %d: %+v", d, want)
		}
		want = mirror(want)
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got  %+v\nwant %+v", got, want)
		}
	}
	if seen != TCPReset<<1-1 {
		t.Errorf("options tried: %b", seen)
	}
}
