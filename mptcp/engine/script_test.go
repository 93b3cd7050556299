package engine

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/pathmgr"
	"github.com/mpnc/mpnc/scheduler"
	"github.com/mpnc/mpnc/subflow"
)

// Packet scripts. A script plays the peer of one connection, in virtual time.
// A segment is written as one line:
//
//	flags seq[+length] [ack n] [win n] options
//
// with flags as tcpdump shows them (PSH is left out), subflow numbers relative
// to the ISNs (0 is the SYN) and data numbers relative to the IDSNs, so that
// the first octet of either direction is 1. Options:
//
//	mpc4 mpc12 mpc20 mpc22=L [req]  MP_CAPABLE by its length; req asks for checksums
//	mpj12 mpj16 mpj24 [b] [id=n]    MP_JOIN; b is the backup flag
//	An an                           DSS: DATA_ACK of 64 or 32 bits
//	Md:s:l md:s:l [F] [csum|bad]    DSS: mapping of 64 or 32 bits; DATA_FIN; a
//	                                right or wrong checksum (with mpc22, too)
//	addN=ip[:port] echoN=ip[:port]  ADD_ADDR
//	rm=n,n prio+ prio- fail=n fast rst=n
//
// What the script sends has right keys, tokens and HMACs unless a mangler
// changes them; what it hears is checked, and a wrong one has a "!" in its
// line. Payload is a pattern that follows the data sequence number.

const (
	ourKey  uint64 = 0x95f6c2d160266420 // the keys of the golden vectors:
	peerKey uint64 = 0x25243dfc4d59d3e9 // "A" and "B"
	ms             = time.Millisecond
)

var (
	ours   = [3]netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.1.1"), netip.MustParseAddr("10.0.2.1")}
	theirs = [3]netip.Addr{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.1.2"), netip.MustParseAddr("10.0.2.2")}
)

// leg is one subflow as the script knows it.
type leg struct {
	tuple               wire.Tuple
	ourISS, peerISS     seq.Num
	known               bool // ourISS was seen
	ourNonce, peerNonce uint32
	out                 []string
	segs                []wire.Segment
	tsVal               uint32 // of the last segment heard
}

type script struct {
	t       *testing.T
	now     mono.Time
	rand    *scriptRand
	e       *Endpoint
	l       *Listener
	c       *Conn
	client  bool
	key     uint64 // ours
	peerKey uint64
	legs    []*leg
	mgr     *scriptManager
	steer   *steer
	ts      bool
	req     string // " req" if we ask for checksums
	batch   *wire.Batch
	verdict Verdict
	events  []EndpointEvent
	wants   []WantPath
	wrote   int  // octets the application wrote
	read    int  // octets it read
	crowd   bool // packets to legs that the script has dropped are no mistake
}

// scriptRand gives the numbers it was told to, then made-up ones.
type scriptRand struct {
	next []uint64
	n    uint64
}

func (r *scriptRand) Read(p []byte) (int, error) {
	for i := 0; i+8 <= len(p); i += 8 {
		r.n++
		v := r.n * 0x9e3779b97f4a7c15
		if len(r.next) > 0 {
			v, r.next = r.next[0], r.next[1:]
		}
		binary.BigEndian.PutUint64(p[i:], v)
	}
	return len(p), nil
}

// scriptManager does what the script says at the next event, and remembers
// what it was told.
type scriptManager struct {
	do   []pathmgr.Command
	told []string
	view pathmgr.View
}

func (m *scriptManager) Handle(_ mono.Time, ev pathmgr.Event, v *pathmgr.View, do []pathmgr.Command) []pathmgr.Command {
	m.told = append(m.told, strings.TrimPrefix(fmt.Sprintf("%T", ev), "pathmgr."))
	m.view = *v
	do = append(do, m.do...)
	m.do = nil
	return do
}

// steer puts lost data, then new data, on one path.
type steer struct{ to scheduler.PathID }

func (s *steer) Schedule(_ mono.Time, q *scheduler.Queue, paths []scheduler.Path, g []scheduler.Grant) ([]scheduler.Grant, mono.Time) {
	p := paths[0]
	for _, o := range paths {
		if o.ID == s.to {
			p = o
		}
	}
	grant := func(r seq.Range) {
		for !r.Empty() && p.Room > 0 {
			n := min(r.Len(), p.Room, p.MSS)
			g = append(g, scheduler.Grant{Path: p.ID, Data: seq.Range{From: r.From, To: r.From.Add(n)}})
			r.From, p.Room = r.From.Add(n), p.Room-n
		}
	}
	for _, r := range q.Lost {
		grant(r)
	}
	grant(seq.Range{From: q.Next, To: q.End.Min(q.Limit)})
	return g, mono.Never
}

// noDelay switches the Nagle algorithm off.
func noDelay(c *Config) { c.NoDelay = true }

// newScript makes an Endpoint and no connection. The changes are applied to
// its Config.
func newScript(t *testing.T, changes ...func(*Config)) *script {
	s := &script{
		t: t, now: mono.Time(time.Hour), rand: &scriptRand{},
		key: ourKey, peerKey: peerKey, mgr: &scriptManager{}, steer: &steer{},
		batch: wire.NewBatch(4 << 20),
	}
	cfg := Config{
		Rand:         s.rand,
		Scheduler:    func() scheduler.Scheduler { return s.steer },
		Manager:      func() pathmgr.Manager { return s.mgr },
		SendBuffer:   1 << 20,
		RecvBuffer:   60000,
		NoTimestamps: true,
	}
	for _, change := range changes {
		change(&cfg)
	}
	s.ts = !cfg.NoTimestamps
	if cfg.Checksum == ChecksumAsk {
		s.req = " req"
	}
	s.e = NewEndpoint(&cfg)
	s.rand.next = []uint64{ourKey}
	for _, a := range ours {
		s.e.Hold(netip.AddrPortFrom(a, 80))
		s.e.Hold(netip.AddrPortFrom(a, 1000))
	}
	return s
}

// addLeg notes a subflow between the nth addresses of both sides.
func (s *script) addLeg(t wire.Tuple) int {
	n := len(s.legs)
	s.legs = append(s.legs, &leg{tuple: t, peerISS: seq.Num(0xfffffff0 + uint32(n)*0x1000), peerNonce: 0x0a3ad9bd + uint32(n)})
	return n
}

func legTuple(local, remote int, lport, rport uint16) wire.Tuple {
	return wire.Tuple{Local: netip.AddrPortFrom(ours[local], lport), Remote: netip.AddrPortFrom(theirs[remote], rport)}
}

// dialing starts an active open; its SYN has left.
func dialing(t *testing.T, changes ...func(*Config)) *script {
	t.Helper()
	s := newScript(t, changes...)
	s.client = true
	s.addLeg(legTuple(0, 0, 1000, 80))
	c, err := s.e.Dial(s.now, s.legs[0].tuple, 1, 1500, false)
	if err != nil {
		t.Fatal(err)
	}
	s.c = c
	s.key = c.key
	s.poll()
	return s
}

// dial is an active open whose peer speaks MPTCP and has sent a DSS.
func dial(t *testing.T, changes ...func(*Config)) *script {
	t.Helper()
	s := dialing(t, changes...)
	s.expect(0, "S 0 mpc4"+s.req)
	s.advance(10 * ms)
	s.send(0, "S. 0 ack 1 mpc12"+s.req)
	s.expect(0, ". 1 ack 1 mpc20"+s.req)
	s.send(0, ". 1 ack 1 A1")
	s.expectNothing()
	return s
}

// listening waits for a SYN.
func listening(t *testing.T, changes ...func(*Config)) *script {
	t.Helper()
	s := newScript(t, changes...)
	l, err := s.e.Listen(netip.AddrPortFrom(netip.IPv4Unspecified(), 80), 16)
	if err != nil {
		t.Fatal(err)
	}
	s.l = l
	s.addLeg(legTuple(0, 0, 80, 1000))
	return s
}

// accept is a passive open whose peer speaks MPTCP; it has sent no data.
func accept(t *testing.T, changes ...func(*Config)) *script {
	t.Helper()
	s := listening(t, changes...)
	s.send(0, "S 0 mpc4"+s.req)
	s.expect(0, "S. 0 ack 1 mpc12"+s.req)
	s.advance(10 * ms)
	s.send(0, ". 1 ack 1 mpc20"+s.req)
	s.expect(0, ". 1 ack 1 A1")
	s.expectNothing()
	if s.l.Accept() != s.c || s.c == nil {
		t.Fatal("not accepted")
	}
	return s
}

// open has the manager ask for a subflow between the nth addresses, and binds
// a port for it. Its SYN has left.
func (s *script) open(local, remote int) int {
	s.t.Helper()
	s.command(pathmgr.Open{Local: s.local(local), Remote: netip.AddrPortFrom(theirs[remote], 80)})
	return s.bind()
}

// bind answers the oldest WantPath.
func (s *script) bind() int {
	s.t.Helper()
	if len(s.wants) == 0 {
		s.t.Fatal("no path is wanted")
	}
	w := s.wants[0]
	s.wants = s.wants[1:]
	port := w.Port
	if port == 0 {
		port = uint16(2000 + len(s.legs))
	}
	n := s.addLeg(wire.Tuple{Local: netip.AddrPortFrom(w.Local, port), Remote: w.Remote})
	s.c.OpenPath(s.now, w.Req, s.legs[n].tuple, w.Link, 1500)
	s.poll()
	return n
}

func (s *script) local(n int) pathmgr.Local {
	return pathmgr.Local{Addr: ours[n], Link: n + 1, Name: "eth" + strconv.Itoa(n)}
}

// join has us open a subflow; it is up.
func (s *script) join(local, remote int) int {
	s.t.Helper()
	n := s.open(local, remote)
	s.expectOne(n, "S 0 mpj12")
	s.advance(10 * ms)
	s.send(n, "S. 0 ack 1 mpj16")
	s.expectOne(n, ". 1 ack 1 mpj24")
	s.send(n, ". 1 ack 1 A1")
	s.expectNothing()
	return n
}

// joined has the peer open a subflow; it is up.
func (s *script) joined(local, remote int) int {
	s.t.Helper()
	n := s.addLeg(legTuple(local, remote, 80, 1000))
	s.send(n, "S 0 mpj12 id="+strconv.Itoa(remote))
	s.expectOne(n, "S. 0 ack 1 mpj16")
	s.advance(10 * ms)
	s.send(n, ". 1 ack 1 mpj24")
	for range fourthPackets {
		s.expectOne(n, ". 1 ack 1 A")
	}
	s.expectNothing()
	return n
}

// command lets the manager give commands.
func (s *script) command(do ...pathmgr.Command) {
	s.t.Helper()
	s.mgr.do = append(s.mgr.do, do...)
	s.c.HandleLocal(s.now, pathmgr.RouteChanged{})
	s.poll()
	if len(s.mgr.do) > 0 {
		s.t.Fatal("the manager was not asked")
	}
}

func (s *script) localUp(n int) {
	s.t.Helper()
	s.c.HandleLocal(s.now, pathmgr.LocalUp{Local: s.local(n)})
	s.poll()
}

func (s *script) localDown(n int) {
	s.t.Helper()
	s.c.HandleLocal(s.now, pathmgr.LocalDown{Local: s.local(n)})
	s.poll()
}

// --- the peer sends

type mangler func(*wire.Segment)

// send has the peer send a segment on leg n.
func (s *script) send(n int, text string, mangle ...mangler) {
	s.t.Helper()
	s.deliver(s.segment(n, text, mangle...))
	s.poll()
}

// deliver passes a segment through its wire form to whom it belongs.
func (s *script) deliver(seg *wire.Segment) {
	s.t.Helper()
	var b wire.Batch
	b.Slab = make([]byte, 0, 70000)
	if !wire.AppendSegment(&b, &wire.Segment{
		Tuple: wire.Tuple{Local: seg.Remote, Remote: seg.Local}, Seq: seg.Seq, Ack: seg.Ack, Flags: seg.Flags,
		Window: seg.Window, Urgent: seg.Urgent, Opt: seg.Opt, MP: seg.MP, Payload: seg.Payload,
	}, 0) {
		s.t.Fatal("the segment cannot be written")
	}
	s.deliverPacket(b.Bytes(0), seg.Link)
}

func (s *script) deliverPacket(pkt []byte, link int) {
	s.t.Helper()
	var in wire.Segment
	if d := wire.Parse(pkt, &in, wire.CsumFull); d != wire.None {
		s.t.Fatalf("own packet: %v", d)
	}
	in.At, in.Link, in.MTU = s.now, link, 1500
	c := s.e.Lookup(in.Tuple)
	s.verdict = Deliver
	if c == nil {
		c, s.verdict = s.e.HandleSegment(s.now, &in)
	}
	switch s.verdict {
	case Deliver:
		if s.c == nil {
			s.c, s.key = c, c.key
		}
		c.HandleSegment(s.now, &in)
	case Stray:
		s.batch.Reset()
		AppendReset(s.batch, &in)
		s.collect()
	case Answer:
		a := s.e.Answer(s.now, &in)
		if s.c == nil && a.MP.Has != 0 {
			s.key = a.MP.Capable.Sender
		}
		s.batch.Reset()
		wire.AppendSegment(s.batch, &a, 0)
		s.collect()
	}
}

// segment makes a segment of its line.
func (s *script) segment(n int, text string, mangle ...mangler) *wire.Segment {
	s.t.Helper()
	lg := s.legs[n]
	words := strings.Fields(text)
	seg := &wire.Segment{Tuple: lg.tuple, Flags: parseFlags(s.t, words[0]), Window: 60000, Link: n + 1}
	seqText, lenText, _ := strings.Cut(words[1], "+")
	off, length := s.num(seqText), 0
	if lenText != "" {
		length = s.num(lenText)
	}
	seg.Seq = lg.peerISS.Add(off)
	if seg.Flags.Has(wire.SYN) {
		seg.Opt.MSS, seg.Opt.SACKPermitted = 1460, true
	}
	if s.ts {
		seg.Opt.HasTS, seg.Opt.TSVal, seg.Opt.TSEcr = true, uint32(s.now/mono.Time(ms)), lg.tsVal
	}
	at := off
	for i := 2; i < len(words); i++ {
		w := words[i]
		switch {
		case w == "ack":
			i++
			seg.Ack = lg.ourISS.Add(s.num(words[i]))
		case w == "win":
			i++
			seg.Window = uint16(s.num(words[i]))
		case w[0] == '@':
			at = s.num(w[1:])
		default:
			if a, ok := s.option(lg, seg, w, off); ok {
				at = a
			}
		}
	}
	seg.Payload = pattern(at, length, s.client)
	for _, m := range mangle {
		m(seg)
	}
	return seg
}

func (s *script) num(text string) int {
	s.t.Helper()
	v, err := strconv.Atoi(text)
	if err != nil {
		s.t.Fatalf("script: %q is not a number", text)
	}
	return v
}

func parseFlags(t *testing.T, text string) (f wire.Flags) {
	for _, r := range text {
		i := strings.IndexRune("FSRP.U", r)
		if i < 0 {
			t.Fatalf("script: flag %q", r)
		}
		f |= 1 << i
	}
	return f
}

// option adds the option of one word; at is where the payload lies in the
// stream, if the option says so.
func (s *script) option(lg *leg, seg *wire.Segment, w string, off int) (at int, ok bool) {
	s.t.Helper()
	mp := &seg.MP
	name, val, _ := strings.Cut(w, "=")
	dss := func() { mp.Has |= wire.DSS }
	switch {
	case strings.HasPrefix(w, "mpc"):
		mp.Has |= wire.MPCapable
		c := &mp.Capable
		c.Version, c.Flags = 1, wire.CapSHA256
		c.Keys = map[string]int{"mpc4": 0, "mpc12": 1, "mpc20": 2, "mpc22": 2}[name]
		c.Sender, c.Receiver = s.peerKey, s.key
		if name == "mpc22" {
			c.HasLength, c.Length = true, uint16(s.num(val))
		}
	case strings.HasPrefix(w, "mpj"):
		mp.Has |= wire.MPJoin
		j := &mp.Join
		j.Form = map[string]wire.JoinForm{"mpj12": wire.JoinSYN, "mpj16": wire.JoinSYNACK, "mpj24": wire.JoinACK}[w]
		j.Token, j.Nonce = wire.Token(s.key), lg.peerNonce
		mac := wire.JoinMAC(s.peerKey, s.key, lg.peerNonce, lg.ourNonce)
		copy(j.MAC[:], mac[:20])
	case w == "b":
		mp.Join.Backup = true
	case name == "id":
		mp.Join.AddrID = uint8(s.num(val))
	case w[0] == 'A' || w[0] == 'a' && w[1] >= '0' && w[1] <= '9':
		dss()
		mp.DSS.HasAck, mp.DSS.Ack64 = true, w[0] == 'A'
		mp.DSS.Ack = wire.IDSN(s.key).Add(s.num(w[1:]))
	case w[0] == 'M' || w[0] == 'm':
		dss()
		part := strings.Split(w[1:], ":")
		mp.DSS.HasMap, mp.DSS.Seq64 = true, w[0] == 'M'
		mp.DSS.Seq = wire.IDSN(s.peerKey).Add(s.num(part[0]))
		mp.DSS.SSN, mp.DSS.Length = uint32(s.num(part[1])), uint16(s.num(part[2]))
		return s.num(part[0]) + off - s.num(part[1]), true
	case w == "F":
		mp.DSS.Fin = true
	case w == "req":
		mp.Capable.Flags |= wire.CapChecksum
	case w == "csum", w == "bad":
		wrong := uint16(0)
		if w == "bad" {
			wrong = 0x0100
		}
		if c := &mp.Capable; mp.Has&wire.MPCapable != 0 {
			c.HasCsum = true
			c.Csum = s.sum(s.peerKey, wire.IDSN(s.peerKey)+1, 1, c.Length, false, s.client) ^ wrong
			return 0, false
		}
		d := &mp.DSS
		d.HasCsum = true
		d.Csum = s.sum(s.peerKey, d.Seq, d.SSN, d.Length, d.Fin, s.client) ^ wrong
	case strings.HasPrefix(w, "add"), strings.HasPrefix(w, "echo"):
		mp.Has |= wire.AddAddr
		a := &mp.Add
		a.Echo = name[0] == 'e'
		a.ID = uint8(s.num(strings.TrimLeft(name, "adecho")))
		if ap, err := netip.ParseAddrPort(val); err == nil {
			a.Addr, a.Port = ap.Addr(), ap.Port()
		} else {
			a.Addr = netip.MustParseAddr(val)
		}
		a.MAC = wire.AddAddrMAC(s.peerKey, s.key, a.ID, a.Addr, a.Port)
	case name == "rm":
		mp.Has |= wire.RemoveAddr
		for _, id := range strings.Split(val, ",") {
			mp.Remove.IDs[mp.Remove.N] = uint8(s.num(id))
			mp.Remove.N++
		}
	case name == "prio+", name == "prio-":
		mp.Has |= wire.MPPrio
		mp.Prio.Backup = name == "prio+"
	case name == "fail":
		mp.Has |= wire.MPFail
		mp.Fail.Seq = wire.IDSN(s.key).Add(s.num(val))
	case name == "fast":
		mp.Has |= wire.FastClose
		mp.Fast.Key = s.key
	case name == "rst":
		mp.Has |= wire.TCPReset
		mp.Rst.Reason = wire.ResetReason(s.num(val))
	default:
		s.t.Fatalf("script: option %q", w)
	}
	return 0, false
}

// sum is the checksum of a mapping whose payload is the pattern.
func (s *script) sum(key uint64, at seq.Data, ssn uint32, length uint16, fin, fromServer bool) uint16 {
	n := int(length)
	if fin {
		n--
	}
	return wire.DSSChecksum(at, ssn, length, wire.Sum(pattern(at.Sub(wire.IDSN(key)), n, fromServer), 0))
}

// pattern is n octets of a stream from data sequence number at on. The two
// directions differ.
func pattern(at, n int, fromServer bool) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte((at+i)*7 + (at+i)>>8)
		if fromServer {
			b[i] ^= 0x55
		}
	}
	return b
}

// --- what we send

// poll drains the connection: timeouts, packets, events. The first and second
// law of polling are asserted.
func (s *script) poll() {
	s.t.Helper()
	if s.c == nil {
		return
	}
	for rounds := 0; ; rounds++ {
		if rounds > 1000 {
			s.t.Fatalf("no end of polling\n%s", s.c.Deadlines())
		}
		if s.c.PollTimeout() <= s.now {
			s.c.HandleTimeout(s.now)
		}
		n := 0
		s.batch.Reset()
		for _, link := range s.c.PollReady(s.now, nil) {
			n += s.c.PollTransmit(s.now, link, s.batch)
		}
		s.collect()
		n += s.drainEvents()
		if n == 0 && s.c.PollTimeout() > s.now {
			return
		}
	}
}

func (s *script) drainEvents() (n int) {
	for {
		ev, ok := s.c.PollEndpoint()
		if !ok {
			return n
		}
		n++
		s.events = append(s.events, ev)
		if w, ok := ev.(WantPath); ok {
			s.wants = append(s.wants, w)
		}
		s.e.HandleEvent(s.c, ev)
	}
}

// collect notes the packets of the batch.
func (s *script) collect() {
	s.t.Helper()
	for i := range s.batch.Pkts {
		pkt := append([]byte(nil), s.batch.Bytes(i)...)
		var seg wire.Segment
		if d := wire.Parse(pkt, &seg, s.batch.Pkts[i].Csum); d != wire.None {
			s.t.Fatalf("our packet cannot be read: %v", d)
		}
		seg.Tuple = wire.Tuple{Local: seg.Remote, Remote: seg.Local}
		s.hear(&seg)
	}
	s.batch.Reset()
}

func (s *script) hear(seg *wire.Segment) {
	s.t.Helper()
	for _, lg := range s.legs {
		if lg.tuple == seg.Tuple {
			if seg.Flags.Has(wire.SYN) || !lg.known {
				lg.ourISS, lg.known = seg.Seq, true
			}
			if seg.Opt.HasTS {
				lg.tsVal = seg.Opt.TSVal
			}
			lg.out = append(lg.out, s.line(lg, seg))
			lg.segs = append(lg.segs, *seg)
			return
		}
	}
	if !s.crowd {
		s.t.Fatalf("a packet on no leg: %v", seg)
	}
}

// line writes a segment of ours as a script has it.
func (s *script) line(lg *leg, seg *wire.Segment) string {
	var b strings.Builder
	for i, r := range "FSR" {
		if seg.Flags.Has(1 << i) {
			b.WriteRune(r)
		}
	}
	if seg.Flags.Has(wire.ACK) {
		b.WriteByte('.')
	}
	off := seg.Seq.Sub(lg.ourISS)
	fmt.Fprintf(&b, " %d", off)
	if n := len(seg.Payload); n > 0 {
		fmt.Fprintf(&b, "+%d", n)
	}
	if seg.Flags.Has(wire.ACK) {
		fmt.Fprintf(&b, " ack %d", seg.Ack.Sub(lg.peerISS))
	}
	s.describe(&b, lg, seg, off)
	return b.String()
}

// describe writes the MPTCP options, and checks them.
func (s *script) describe(b *strings.Builder, lg *leg, seg *wire.Segment, off int) {
	mp := &seg.MP
	put := func(ok bool, format string, args ...any) {
		fmt.Fprintf(b, " "+format, args...)
		if !ok {
			b.WriteByte('!')
		}
	}
	at := off
	if mp.Bad != 0 {
		put(false, "malformed")
	}
	if mp.Has&wire.MPCapable != 0 {
		c := &mp.Capable
		ok := c.Version == 1 && c.Flags&^(wire.CapChecksum|wire.CapNoJoin) == wire.CapSHA256 &&
			(!c.HasCsum || c.Csum == s.sum(s.key, wire.IDSN(s.key)+1, 1, c.Length, false, !s.client)) &&
			(c.Keys == 0 || c.Sender == s.key) && (c.Keys < 2 || c.Receiver == s.peerKey)
		if c.HasLength {
			put(ok, "mpc22=%d", c.Length)
		} else {
			put(ok, "mpc%d", 4+8*c.Keys)
		}
		if c.Flags&wire.CapChecksum != 0 {
			put(true, "req")
		}
		if c.HasCsum {
			put(true, "csum")
		}
	}
	if mp.Has&wire.MPJoin != 0 {
		s.describeJoin(lg, mp, put)
	}
	if mp.Has&wire.DSS != 0 {
		d := &mp.DSS
		ourIDSN, peerIDSN := wire.IDSN(s.key), wire.IDSN(s.peerKey)
		if d.HasAck {
			put(d.Ack64, "A%d", d.Ack.Sub(peerIDSN))
		}
		if d.HasMap {
			put(d.Seq64, "M%d:%d:%d", d.Seq.Sub(ourIDSN), d.SSN, d.Length)
			at = d.Seq.Sub(ourIDSN) + off - int(d.SSN)
			if d.Fin {
				put(true, "F")
			}
		}
		if d.HasCsum {
			put(d.Length == 0 && d.Csum == 0 || d.Csum == s.sum(s.key, d.Seq, d.SSN, d.Length, d.Fin, !s.client), "csum")
		}
	}
	if mp.Has&wire.AddAddr != 0 {
		a := &mp.Add
		name := "add"
		if a.Echo {
			name = "echo"
		}
		ok := a.Echo || a.MAC == wire.AddAddrMAC(s.key, s.peerKey, a.ID, a.Addr, a.Port)
		if a.Port != 0 {
			put(ok, "%s%d=%v", name, a.ID, netip.AddrPortFrom(a.Addr, a.Port))
		} else {
			put(ok, "%s%d=%v", name, a.ID, a.Addr)
		}
	}
	if mp.Has&wire.RemoveAddr != 0 {
		put(true, "rm=%s", strings.ReplaceAll(strings.Trim(fmt.Sprint(mp.Remove.IDs[:mp.Remove.N]), "[]"), " ", ","))
	}
	if mp.Has&wire.MPPrio != 0 {
		put(true, "prio%c", "-+"[map[bool]int{true: 1}[mp.Prio.Backup]])
	}
	if mp.Has&wire.MPFail != 0 {
		put(true, "fail=%d", mp.Fail.Seq.Sub(wire.IDSN(s.peerKey)))
	}
	if mp.Has&wire.FastClose != 0 {
		put(mp.Fast.Key == s.peerKey, "fast")
	}
	if mp.Has&wire.TCPReset != 0 {
		put(true, "rst=%d", mp.Rst.Reason)
	}
	if string(seg.Payload) != string(pattern(at, len(seg.Payload), !s.client)) {
		put(false, "payload")
	}
}

func (s *script) describeJoin(lg *leg, mp *wire.MPOptions, put func(bool, string, ...any)) {
	j := &mp.Join
	if j.Form != wire.JoinACK {
		lg.ourNonce = j.Nonce
	}
	mac := wire.JoinMAC(s.key, s.peerKey, lg.ourNonce, lg.peerNonce)
	switch j.Form {
	case wire.JoinSYN:
		put(j.Token == wire.Token(s.peerKey), "mpj12")
	case wire.JoinSYNACK:
		put(string(j.MAC[:8]) == string(mac[:8]), "mpj16")
	case wire.JoinACK:
		put(string(j.MAC[:]) == string(mac[:20]) && !j.Backup && j.AddrID == 0, "mpj24")
	}
	if j.Backup {
		put(true, "b")
	}
	if j.Form != wire.JoinACK {
		put(true, "id=%d", j.AddrID)
	}
}

// expect takes the oldest segment of leg n, which has to be as written. It
// returns the segment.
func (s *script) expect(n int, want string) wire.Segment {
	s.t.Helper()
	lg := s.legs[n]
	if len(lg.out) == 0 {
		s.t.Fatalf("leg %d: expected %q, got nothing\n%s", n, want, s.c.Deadlines())
	}
	if got := lg.out[0]; got != want {
		s.t.Fatalf("leg %d: expected %q\n              got %q\nthen %q", n, want, got, lg.out[1:])
	}
	return s.drop(n)
}

// expectOne takes the oldest segment of leg n, whose line has to begin with
// want, and checks that nothing in it is wrong.
func (s *script) expectOne(n int, want string) wire.Segment {
	s.t.Helper()
	lg := s.legs[n]
	if len(lg.out) == 0 || !strings.HasPrefix(lg.out[0], want) || strings.Contains(lg.out[0], "!") {
		s.t.Fatalf("leg %d: expected %q…, got %q\n%s", n, want, lg.out, s.c.Deadlines())
	}
	return s.drop(n)
}

func (s *script) drop(n int) wire.Segment {
	lg := s.legs[n]
	seg := lg.segs[0]
	lg.out, lg.segs = lg.out[1:], lg.segs[1:]
	return seg
}

// expectNothing says that we sent nothing more.
func (s *script) expectNothing() {
	s.t.Helper()
	for n, lg := range s.legs {
		if len(lg.out) > 0 {
			s.t.Fatalf("leg %d: expected nothing, got %q", n, lg.out)
		}
	}
}

// ignore forgets what we sent, and returns the lines of leg n.
func (s *script) ignore(n int) []string {
	s.t.Helper()
	out := s.legs[n].out
	for _, lg := range s.legs {
		for _, l := range lg.out {
			if strings.Contains(l, "!") {
				s.t.Fatalf("a wrong segment: %q", l)
			}
		}
		lg.out, lg.segs = nil, nil
	}
	return out
}

// advance lets d pass, and every deadline in it.
func (s *script) advance(d time.Duration) {
	s.t.Helper()
	end := s.now.Add(d)
	for steps := 0; ; steps++ {
		if steps > 100000 {
			s.t.Fatalf("no end of timeouts\n%s", s.c.Deadlines())
		}
		at := mono.Never
		if s.c != nil {
			at = s.c.PollTimeout()
		}
		if at > end {
			break
		}
		s.now = at
		s.c.HandleTimeout(s.now)
		s.poll()
	}
	s.now = end
	s.poll()
}

// --- the application

func (s *script) write(n int) {
	s.t.Helper()
	if got := s.c.Write(s.now, pattern(1+s.wrote, n, !s.client)); got != n {
		s.t.Fatalf("wrote %d of %d", got, n)
	}
	s.wrote += n
	s.poll()
}

// expectRead reads, and has to get n octets, the ones that are next.
func (s *script) expectRead(n int) {
	s.t.Helper()
	b := make([]byte, 1<<20)
	got := s.c.Read(s.now, b)
	if got != n {
		s.t.Fatalf("read %d octets, expected %d", got, n)
	}
	if string(b[:got]) != string(pattern(1+s.read, n, s.client)) {
		s.t.Fatalf("octets %d to %d are not what was sent", 1+s.read, s.read+n)
	}
	s.read += n
	s.poll()
}

func (s *script) closeWrite() { s.t.Helper(); s.c.CloseWrite(s.now); s.poll() }
func (s *script) close()      { s.t.Helper(); s.c.Close(s.now); s.poll() }
func (s *script) abort()      { s.t.Helper(); s.c.Abort(s.now); s.poll() }

// expectPlain says that the connection is TCP for the reason given.
func (s *script) expectPlain(want FallbackReason) {
	s.t.Helper()
	if s.c.Multipath() || s.c.Fallback() != want || s.c.Err() != nil {
		s.t.Fatalf("multipath %t, fallback %d, error %v; expected fallback %d", s.c.Multipath(), s.c.Fallback(), s.c.Err(), want)
	}
}

func (s *script) expectMultipath() {
	s.t.Helper()
	if !s.c.Multipath() || s.c.Err() != nil {
		s.t.Fatalf("multipath %t, fallback %d, error %v", s.c.Multipath(), s.c.Fallback(), s.c.Err())
	}
}

// state returns the TCP state of leg n, CLOSED if it is gone.
func (s *script) state(n int) subflow.State {
	if p := s.c.pathOf(s.legs[n].tuple); p != nil {
		return p.sf.State()
	}
	return subflow.StateClosed
}

func (s *script) expectState(n int, want subflow.State) {
	s.t.Helper()
	if got := s.state(n); got != want {
		s.t.Fatalf("leg %d: state %v, expected %v", n, got, want)
	}
}

// gone reports whether the connection said that it is over.
func (s *script) gone() bool {
	for _, ev := range s.events {
		if _, ok := ev.(Gone); ok {
			return true
		}
	}
	return false
}
