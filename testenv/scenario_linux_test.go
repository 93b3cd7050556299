package testenv

import (
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mpnc/mpnc/mptcp"
	"github.com/mpnc/mpnc/pathmgr"
	"github.com/mpnc/mpnc/subflow"
)

// The kernel has tests of its own MPTCP, tools/testing/selftests/net/mptcp: two
// of its hosts, and the counters that each must show. Here their scenarios are
// played with an end of ours in the place of either host.

// scenario is one of the kernel's cases. A listener ("server", their ns1) and a
// connector ("client", ns2) are joined by four links.
type scenario struct {
	family, name   string // as the kernel's script has them
	v6             bool   // the connection's first addresses
	server, client party
	box            func(link int) Box // from 1; nil: none
	altered        bool               // both take data that was changed on the way
	during         func(*play)        // what happens while the connection is open
	ends           bool               // during has ended the connection
	want           []count

	left               string    // why it is not played at all
	shownBy            []string  // names of the tests that show it instead
	byServer, byClient exception // with us in that place
}

// exception is what is different when we are in one of the two places.
type exception struct {
	left string  // why it is not played so
	want []count // in place of the kernel's, for the reason why
	why  string
}

// party is how one host is set up.
type party struct {
	subflows, accepts int // limits: extra subflows; announced addresses used
	endpoints         []endpoint
	cookies           bool
	checksums         bool
	noJoinFirst       bool // allow_join_initial_addr_port=0
	hasty             bool // add_addr_timeout=1
	userspace         bool // the kernel's path manager is a program; ours does nothing by itself
}

// endpoint is an address for a path manager (ip-mptcp(8)), on the link of that
// number, from 1.
type endpoint struct {
	link     int
	signal   bool
	subflow  bool
	backup   bool
	fullmesh bool
	v6       bool
	bogus    bool // not an address of anybody's
	port     uint16
	id       uint8 // for a kernel; 0: by its place in the list
}

// count is what a counter of one end must show in the end, under the name that
// nstat has for it, without MPTcpExt.
type count struct {
	at   place
	name string
	n    int64 // or anyNumber
}

// anyNumber is a count that may be anything: which is then no sign of trouble.
const anyNumber = -1

// some is any count but 0.
const some = -2

// place is one of the two ends.
type place uint8

const (
	atServer place = iota
	atClient
)

func (p place) String() string { return [...]string{"server", "client"}[p] }

func (p place) other() place { return 1 - p }

// joins: SYNs seen by the server, SYN/ACKs by the client, third packets by the
// server.
func joins(syn, synack, ack int64) []count {
	return []count{{atServer, "MPJoinSynRx", syn}, {atClient, "MPJoinSynAckRx", synack}, {atServer, "MPJoinAckRx", ack}}
}

// told: addresses that the other end has heard of from one, and echoes that came
// back.
func told(by place, heard, echoed int64) []count {
	return []count{{by.other(), "AddAddr", heard}, {by, "EchoAdd", echoed}}
}

// removed: addresses that the other end was told are gone, and subflows that the
// one who told it has closed.
func removed(by place, addrs, subflows int64) []count {
	return []count{{by.other(), "RmAddr", addrs}, {by, "RmSubflow", subflows}}
}

// priorities: MP_PRIO sent and received by the server.
func priorities(tx, rx int64) []count {
	return []count{{atServer, "MPPrioTx", tx}, {atServer, "MPPrioRx", rx}}
}

// refused: joins that the server answered with a reset.
func refused(n int64) []count {
	return []count{{atServer, "MPJoinRejected", n}, {atClient, "MPRstRx", n}}
}

func all(groups ...[]count) []count { return slices.Concat(groups...) }

// scenarioPaths is how many links there are.
const scenarioPaths = 4

// scenarioLinks are the links. They are quick: nothing depends on it.
func scenarioLinks(s *scenario) LabConfig {
	c := LabConfig{Seed: 1}
	for i := 1; i <= scenarioPaths; i++ {
		l := LabLink{Name: linkName(i), Rate: 200e6, RTT: 2 * time.Millisecond}
		if s.box != nil {
			l.Box = s.box(i)
		}
		c.Links = append(c.Links, l)
	}
	return c
}

func linkName(i int) string { return fmt.Sprint("eth", i) }

// scenarioPort is where servers listen.
const scenarioPort = 10000

// play is a scenario at work.
type play struct {
	*world
	s     *scenario
	ours  place // where we are
	hosts [2]*Host
	conns [2]net.Conn

	conn    *mptcp.Conn // ours
	stack   *mptcp.Stack
	manager *endpointManager // ours, if no built-in one would do
	ids     [2]uint8         // of endpoints of a kernel, the last given here
	eps     [2][]endpoint    // what there is now
	want    []count

	lenient  bool // another attempt follows
	last     bool // none follows, whatever happens
	stood    func() time.Duration
	finished bool
	ended    int64 // subflows of ours, before everything ended
}

func (p *play) kernels() place { return p.ours.other() }

func (p *play) party(at place) party {
	if at == atServer {
		return p.s.server
	}
	return p.s.client
}

// addr is an endpoint's address at one of the ends.
func (p *play) addr(at place, e endpoint) netip.Addr {
	host := [...]int{serverHost, clientHost}[at]
	i := e.link - 1
	if e.bogus {
		i += 200
	}
	if e.v6 {
		return labPrefix6(p.lab.number, i, host).Addr()
	}
	return labPrefix4(p.lab.number, i, host).Addr()
}

// firstID is beyond the identifiers that a kernel gives of itself, to addresses
// that are no endpoints.
const firstID = 20

// perform plays a scenario with us in one of the places.
func (s *scenario) perform(t *testing.T, ours place) {
	const most = 3
	for try := 1; !s.attempt(t, ours, s.chancy(ours) && try < most, try == most); try++ {
		t.Logf("once more, after attempt %d: two joins may have met in a slot of the kernel's table, or the machine was too busy", try)
	}
}

// chancy reports whether the kernel may lose a join: with cookies, it keeps what
// it must know of them in a table of 1024 slots for all namespaces, chosen by a
// hash (net/mptcp/syncookies.c).
func (s *scenario) chancy(ours place) bool { return ours == atClient && s.server.cookies }

// attempt plays it once. It returns false if the counts did not come, which only
// a lenient one may do, and one that is not the last if the machine was late.
func (s *scenario) attempt(t *testing.T, ours place, lenient, last bool) (ok bool) {
	w := newWorld(t, scenarioLinks(s))
	p := &play{world: w, s: s, ours: ours, hosts: [2]*Host{w.lab.Server, w.lab.Client}, want: s.wanted(ours), lenient: lenient, last: last}
	defer func() {
		if spoilt := recover(); spoilt != nil && spoilt != any(p) {
			panic(spoilt)
		}
	}()
	p.ids = [2]uint8{firstID, firstID}
	p.stood = standstill(t)
	p.setUpKernel()
	p.setUpOurs()
	p.connect()
	p.talk(8)
	if s.during != nil {
		s.during(p)
	}
	if !p.settle(p.want) {
		return false
	}
	if !s.ends {
		p.finish()
		if !p.settle(p.want) {
			return false
		}
	}
	p.healthy()
	return true
}

func (s *scenario) exception(ours place) exception {
	if ours == atServer {
		return s.byServer
	}
	return s.byClient
}

func (s *scenario) wanted(ours place) []count {
	if e := s.exception(ours); e.want != nil {
		return e.want
	}
	return s.want
}

func (p *play) setUpKernel() {
	p.t.Helper()
	h, c := p.hosts[p.kernels()], p.party(p.kernels())
	must(p.t, h.SetMPTCPLimits(c.subflows, c.accepts))
	for _, s := range []struct {
		on         bool
		key, value string
	}{
		{c.cookies, "net.ipv4.tcp_syncookies", "2"},
		{c.checksums, "net.mptcp.checksum_enabled", "1"},
		{c.noJoinFirst, "net.mptcp.allow_join_initial_addr_port", "0"},
		{c.hasty, "net.mptcp.add_addr_timeout", "1"},
		{c.userspace, "net.mptcp.pm_type", "1"},
	} {
		if s.on {
			must(p.t, h.Sysctl(s.key, s.value))
		}
	}
	for _, e := range c.endpoints {
		p.add(p.kernels(), e)
	}
}

func (p *play) setUpOurs() {
	p.t.Helper()
	c := p.party(p.ours)
	p.eps[p.ours] = slices.Clone(c.endpoints)
	cfg := mptcp.Config{MaxSubflows: 1 + c.subflows, NoJoinFirst: c.noJoinFirst, TakeAltered: p.s.altered}
	if c.cookies {
		cfg.HalfOpen = -1
	}
	if c.checksums {
		cfg.Checksum = mptcp.ChecksumAsk
	}
	if rules, ok := p.builtin(); ok {
		cfg.PathManager = func() pathmgr.Manager { return &pathmgr.FullMesh{Rules: rules} }
	} else {
		p.manager = newEndpointManager(p)
		cfg.PathManager = func() pathmgr.Manager { return p.manager }
	}
	p.stack = p.world.stack(p.hosts[p.ours], cfg)
}

// builtin reports whether mpnc's own path manager, kept to some links, has the
// same paths as the kernel's with these endpoints, and returns the rules for that.
func (p *play) builtin() (rules pathmgr.Rules, ok bool) {
	c, peer := p.party(p.ours), p.party(p.kernels())
	if p.s.during != nil || c.userspace {
		return nil, false
	}
	use := []int{1}
	for _, e := range c.endpoints {
		if e.link == 1 || e.bogus || e.v6 != p.s.v6 || e.port != 0 || e.backup || e.fullmesh || e.signal != (p.ours == atServer) {
			return nil, false
		}
		use = append(use, e.link)
	}
	signals := 0
	for _, e := range peer.endpoints {
		if e.signal {
			signals++
		}
	}
	if p.ours == atClient && (signals > c.accepts && !peer.noJoinFirst || signals > 0 && len(c.endpoints) > 0) {
		return nil, false
	}
	for i := 1; i <= scenarioPaths; i++ {
		if !slices.Contains(use, i) {
			rule, err := pathmgr.NeverRule(linkName(i))
			must(p.t, err)
			rules = append(rules, rule)
		}
	}
	return rules, true
}

// connect makes the connection over the first link.
func (p *play) connect() {
	p.t.Helper()
	first := p.addr(atServer, endpoint{link: 1, v6: p.s.v6})
	at := netip.AddrPortFrom(first, scenarioPort)
	everywhere := fmt.Sprint("0.0.0.0:", scenarioPort)
	if p.s.v6 {
		everywhere = fmt.Sprint("[::]:", scenarioPort)
	}
	accepted := make(chan error, 1)
	if p.ours == atServer {
		ln, err := p.stack.Listen("tcp", fmt.Sprint(":", scenarioPort))
		must(p.t, err)
		for _, port := range p.ports() {
			also, err := p.stack.Listen("tcp", fmt.Sprint(":", port))
			must(p.t, err)
			p.t.Cleanup(func() { _ = also.Close() })
		}
		go func() {
			var err error
			p.conn, err = ln.AcceptContext(p.ctx)
			accepted <- err
		}()
		d := net.Dialer{Timeout: dialTimeout}
		d.SetMultipathTCP(true)
		must(p.t, p.hosts[atClient].Do(func() (err error) {
			p.conns[atClient], err = d.Dial("tcp", at.String())
			return err
		}))
		must(p.t, <-accepted)
	} else {
		var lc net.ListenConfig
		lc.SetMultipathTCP(true)
		var ln net.Listener
		must(p.t, p.hosts[atServer].Do(func() (err error) {
			ln, err = lc.Listen(p.ctx, "tcp", everywhere)
			return err
		}))
		p.t.Cleanup(func() { _ = ln.Close() })
		go func() {
			var err error
			p.conns[atServer], err = ln.Accept()
			accepted <- err
		}()
		var err error
		p.conn, err = p.stack.Dial(p.ctx, "tcp", at.String())
		must(p.t, err)
		must(p.t, <-accepted)
	}
	p.conns[p.ours] = p.conn
	p.known("ours", p.conn)
	kernels := p.conns[p.kernels()]
	p.t.Cleanup(func() { _ = kernels.Close() })
	deadline, _ := p.ctx.Deadline()
	must(p.t, kernels.SetDeadline(deadline))
}

// ports are those other than the connection's that our server announces.
func (p *play) ports() (ports []uint16) {
	for _, e := range p.party(atServer).endpoints {
		if e.port != 0 && !slices.Contains(ports, e.port) {
			ports = append(ports, e.port)
		}
	}
	return ports
}

// talk sends a little to and fro, n times.
func (p *play) talk(n int) {
	p.t.Helper()
	buf := make([]byte, 1000)
	for range n {
		for _, from := range []place{atClient, atServer} {
			_, err := p.conns[from].Write(buf)
			must(p.t, err)
			_, err = io.ReadFull(p.conns[from.other()], buf)
			must(p.t, err)
		}
	}
}

// scenarioBytes go each way at the end.
const scenarioBytes = 100_000

// finish moves data both ways, to the end of both streams.
func (p *play) finish() {
	p.t.Helper()
	p.ended, p.finished = p.ourCounters()["RmSubflow"], true
	errs := make(chan error, 4)
	for from := range p.conns {
		go func() {
			_, err := io.CopyN(p.conns[from], RandomStream(uint64(from)), scenarioBytes)
			if err == nil {
				err = p.conns[from].(interface{ CloseWrite() error }).CloseWrite()
			}
			errs <- err
		}()
		go func() {
			got, err := io.ReadAll(p.conns[place(from).other()])
			want := make([]byte, scenarioBytes)
			_, _ = io.ReadFull(RandomStream(uint64(from)), want) // never fails
			if most := p.alters(place(from)); err == nil && (len(got) != len(want) || different(got, want) > most) {
				err = fmt.Errorf("%d octets arrived at the %v, other ones than %d that were sent", len(got), place(from).other(), len(want))
			}
			errs <- err
		}()
	}
	for range 4 {
		if err := <-errs; err != nil {
			p.t.Error(err)
		}
	}
}

// alters is how many octets of what one end sends are changed on the way.
func (p *play) alters(from place) int {
	if p.s.altered && from == atClient {
		return 1
	}
	return 0
}

// different is in how many places two equally long slices differ.
func different(a, b []byte) (n int) {
	for i := range a {
		if a[i] != b[i] {
			n++
		}
	}
	return n
}

// settle waits until the counters are as wanted.
func (p *play) settle(want []count) bool {
	p.t.Helper()
	limit := patience
	if p.lenient {
		limit = lenience
	}
	var wrong []string
	for deadline := time.Now().Add(limit); ; time.Sleep(3 * time.Millisecond) {
		if wrong = p.compare(want); len(wrong) == 0 {
			return true
		}
		if time.Now().After(deadline) {
			break
		}
	}
	late := !p.last && p.late()
	report := p.t.Fatal
	if p.lenient || late {
		report = p.t.Log
	}
	report("still not as the kernel's test has it: ", strings.Join(wrong, ", "))
	if late {
		panic(p) // nothing that is still to happen makes sense
	}
	return false
}

// late reports whether this process stood still, or either end has sent something
// again. Links lose nothing but what a scenario is about: the machine did not get
// round to somebody for longer than the protocol waits, and then what is counted
// is another story.
func (p *play) late() bool {
	p.t.Helper()
	kernels, err := p.hosts[p.kernels()].Counters()
	must(p.t, err)
	again := p.stood() > 300*time.Millisecond || kernels["TcpRetransSegs"] > 0
	for _, sf := range p.conn.Stats().Subflows {
		again = again || sf.Retransmits > 0 || sf.RTOs > 0
	}
	return again
}

// lenience is how long an attempt that may fail waits for its counts.
const lenience = 5 * time.Second

// compare returns what is not as wanted.
func (p *play) compare(want []count) (wrong []string) {
	p.t.Helper()
	have := p.counters()
	for _, c := range want {
		n, ok := have[c.at][c.name]
		switch {
		case c.n == anyNumber:
			continue
		case c.n == some && n > 0:
			continue
		case !ok:
			p.t.Fatalf("no counter %s at the %v", c.name, c.at)
		}
		if n != c.n && !(again(c.name) && n == c.n+p.repeats(have, want)) {
			wrong = append(wrong, fmt.Sprintf("%v %s is %d, want %d", c.at, c.name, n, c.n))
		}
	}
	return wrong
}

// again reports whether a counter is one of those that a late echo makes grow.
func again(name string) bool { return strings.Contains(name, "Add") }

// repeats is how many of our ADD_ADDRs were sent again because this machine was
// too slow to let the echo come in time.
func (p *play) repeats(have [2]map[string]int64, want []count) int64 {
	for _, c := range want {
		if c.at == p.kernels() && c.name == "AddAddr" && c.n > 0 && !p.echoesLost() {
			return have[p.ours]["AddAddrTx"] - c.n
		}
	}
	return 0
}

// echoesLost: then how often an address is told is what the case is about.
func (p *play) echoesLost() bool { return p.s.family == "add_addr_timeout" }

// standstill returns a function that tells for how long this process was not run,
// at most, since.
func standstill(t *testing.T) (longest func() time.Duration) {
	const beat = 20 * time.Millisecond
	var most atomic.Int64
	quit := make(chan struct{})
	t.Cleanup(func() { close(quit) })
	go func() {
		for last := time.Now(); ; {
			select {
			case <-quit:
				return
			case <-time.After(beat):
			}
			now := time.Now()
			most.Store(max(most.Load(), int64(now.Sub(last)-beat)))
			last = now
		}
	}()
	return func() time.Duration { return time.Duration(most.Load()) }
}

// counters reads those of both ends.
func (p *play) counters() (have [2]map[string]int64) {
	p.t.Helper()
	have[p.ours] = p.ourCounters()
	kernels, err := p.hosts[p.kernels()].Counters()
	must(p.t, err)
	have[p.kernels()] = make(map[string]int64)
	for name, n := range kernels { // any order: into a map
		if short, ok := strings.CutPrefix(name, "MPTcpExt"); ok {
			have[p.kernels()][short] = n
		}
	}
	return have
}

// ourCounters are our connection's under the kernel's names.
func (p *play) ourCounters() map[string]int64 {
	st := p.conn.Stats()
	ended, otherPort := int64(0), int64(0)
	for _, sf := range st.Subflows {
		if sf.Up && (sf.Ended || sf.State != subflow.StateEstablished) {
			ended++
		}
		server := sf.Tuple.Remote
		if p.ours == atServer {
			server = sf.Tuple.Local
		}
		if server.Port() != scenarioPort && sf.Up {
			otherPort++
		}
	}
	if p.finished { // then all end
		ended = p.ended
	}
	c := map[string]int64{"RmSubflow": ended, "MPJoinPortAckRx": otherPort}
	maps.Copy(c, counted(map[string]uint64{
		"MPJoinSynTx": st.MPJoinSynTx, "MPJoinSynRx": st.MPJoinSynRx, "MPJoinSynAckRx": st.MPJoinSynAckRx,
		"MPJoinAckRx": st.MPJoinAckRx, "MPJoinRejected": st.MPJoinRejected,
		"AddAddr": st.AddAddrRx, "AddAddrTx": st.AddAddrTx, "EchoAdd": st.EchoAddRx, "EchoAddTx": st.EchoAddTx,
		"RmAddr": st.RmAddrRx, "RmAddrTx": st.RmAddrTx, "MPPrioTx": st.MPPrioTx, "MPPrioRx": st.MPPrioRx,
		"MPFastcloseTx": st.MPFastcloseTx, "MPFastcloseRx": st.MPFastcloseRx, "MPRstTx": st.MPRstTx, "MPRstRx": st.MPRstRx,
		"MPFailTx": st.MPFailTx, "MPFailRx": st.MPFailRx, "DataCsumErr": st.DataCsumErr,
		"InfiniteMapTx": st.InfiniteMapTx, "InfiniteMapRx": st.InfiniteMapRx,
	}))
	return c
}

func counted(m map[string]uint64) map[string]int64 {
	c := make(map[string]int64)
	for name, n := range m { // any order: into a map
		c[name] = int64(n)
	}
	return c
}

// healthy checks that the kernel counted nothing bad that the case does not
// want. NoDSSInWindow may be counted under load, with many subflows: data beyond
// the window that the kernel has by then, which it drops, and which comes again.
func (p *play) healthy() {
	p.t.Helper()
	have := p.counters()
	for _, end := range []place{atServer, atClient} {
		for _, name := range slices.Sorted(maps.Keys(have[end])) {
			bad := slices.ContainsFunc(badNames, func(part string) bool { return strings.Contains(name, part) })
			wanted := slices.ContainsFunc(p.want, func(c count) bool { return c.at == end && c.name == name })
			if n := have[end][name]; bad && n != 0 && !wanted && name != "NoDSSInWindow" {
				p.t.Errorf("%v: %s is %d", end, name, n)
			}
		}
	}
}
