package mptcp

import (
	"crypto/rand"
	"io"
	"net/netip"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/netio"
	"github.com/mpnc/mpnc/internal/trace"
	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/mptcp/engine"
	"github.com/mpnc/mpnc/pathmgr"
	"github.com/mpnc/mpnc/scheduler"
	"github.com/mpnc/mpnc/subflow"
	"github.com/mpnc/mpnc/subflow/cc"
)

// What users of this package need of the internal packages.
type (
	// Time is nanoseconds since the Stack's epoch.
	Time = mono.Time
	// Device carries packets.
	Device = netio.Device
	// Guard holds a local address and port for a Device.
	Guard = netio.Guard
	// Route is how packets to a remote address leave a Device.
	Route = netio.Route
	// Caps says what a Device can do.
	Caps = netio.Caps
	// Batch is many packets in one slab.
	Batch = wire.Batch
	// Tuple names a subflow by its two ends.
	Tuple = wire.Tuple
	// Tracer is told of events in the core. It must not call back.
	Tracer = trace.Tracer
	// Stats is a snapshot of a connection.
	Stats = engine.Stats
	// SubflowStats is a snapshot of one subflow of a connection.
	SubflowStats = engine.SubflowInfo
	// FallbackReason says why a connection is plain TCP.
	FallbackReason = engine.FallbackReason
	// ResetError is the failure of a connection that one side ended at once.
	ResetError = engine.ResetError
	// SilenceError is the failure of a connection whose peer was not heard.
	SilenceError = engine.SilenceError
	// UnansweredError is the failure of a connection whose peer acknowledged
	// nothing for Config.UserTimeout, or answered no keepalive.
	UnansweredError = engine.UnansweredError
	// UnreachableError is the failure of a dial that ICMP told the reason of.
	UnreachableError = engine.UnreachableError
	// FastOpenCookie is what a client keeps of a server for Fast Open.
	FastOpenCookie = engine.FastOpenCookie
	// AlteredError is the failure of a connection some of whose data was
	// changed on the way, as a checksum told.
	AlteredError = engine.AlteredError
	// ECN says when Explicit Congestion Notification (RFC 3168) is used.
	ECN = engine.ECN
	// Checksum says when DSS checksums (RFC 8684, Section 3.3.1) are used.
	Checksum = engine.Checksum
)

// When DSS checksums are used: if the peer asks for them; always; never.
const (
	ChecksumAccept = engine.ChecksumAccept
	ChecksumAsk    = engine.ChecksumAsk
	ChecksumRefuse = engine.ChecksumRefuse
)

// When ECN is used: if the peer asks for it; always asked for; never.
const (
	ECNAccept = engine.ECNAccept
	ECNAsk    = engine.ECNAsk
	ECNOff    = engine.ECNOff
)

// Reasons for plain TCP.
const (
	NoFallback      = engine.NoFallback
	Configured      = engine.Configured
	PeerPlain       = engine.PeerPlain
	SynUnanswered   = engine.SynUnanswered
	ThirdAckPlain   = engine.ThirdAckPlain
	DataPlain       = engine.DataPlain
	ChecksumsWanted = engine.ChecksumsWanted
	MPFailReceived  = engine.MPFailReceived
	InfiniteMapping = engine.InfiniteMapping
	ChecksumFailed  = engine.ChecksumFailed
	TokenClash      = engine.TokenClash
)

// Bounds of Config.MSS.
const (
	MinMSS = subflow.LeastMSS
	MaxMSS = subflow.MostMSS
)

// Monitor tells what the host's interfaces and addresses do
// (pathmgr/netmon has one).
type Monitor interface {
	// Locals returns the addresses that could reach remote now.
	Locals(remote netip.Addr) []pathmgr.Local
	// Changed receives when interfaces, addresses or routes changed.
	Changed() <-chan struct{}
	Close() error
}

// Config is what a Stack is made with. The zero value is useful.
type Config struct {
	// Rand gives keys, nonces and initial sequence numbers. If nil,
	// crypto/rand.
	Rand io.Reader
	// TCPOnly neither offers nor accepts MPTCP.
	TCPOnly bool
	// Scheduler makes the scheduler of each connection. If nil,
	// scheduler.NewMinRTT.
	Scheduler func() scheduler.Scheduler
	// PathManager makes the path manager of each connection. If nil,
	// pathmgr.NewFullMesh.
	PathManager func() pathmgr.Manager
	// PathRules say which interfaces connections may leave by, and which are
	// preferred: by them the source address of a Dial is chosen. For further paths
	// the managers have to be made with the same rules (pathmgr.New).
	PathRules pathmgr.Rules
	// LocalAddrs are those of the host's addresses that connections begin at (the
	// first that leads to the peer) and go on from; a dialer's LocalAddr goes
	// before them. If empty, all.
	LocalAddrs []netip.Addr
	// Congestion makes the congestion controller of each subflow, coupled with
	// the connection's others (cc.NewLIA and its like) or not. If nil, CUBIC,
	// uncoupled.
	Congestion cc.Factory
	// SendBuffer and RecvBuffer bound what a connection holds, in octets. If
	// zero, they follow the need: the receive window grows from 256 KiB to several
	// times what arrives and is read in a round trip, and a Write may be ahead of
	// what is sent by 256 KiB or, if that is more, the congestion windows; up to
	// 8 MiB, and SendBuffer at least to RecvBuffer (RFC 8684, Section 3.3.5).
	SendBuffer, RecvBuffer int
	// MSS is the largest segment: what the peers are told to send at most, and
	// what is sent at most, in octets of options and payload; from MinMSS to
	// MaxMSS. A path that takes less is not given more. If zero, what each path
	// takes.
	MSS int
	// TTL is the TTL or hop limit of what is sent. If zero, 64.
	TTL uint8
	// MinTTL has packets with a lower TTL or hop limit than this dropped, as from
	// farther than a peer can be (RFC 5082). If zero, none.
	MinTTL uint8
	// TrafficClass is the octet of what is sent whose upper six bits are the DSCP
	// (RFC 2474). The other two are Explicit Congestion Notification's, and do not
	// count here.
	TrafficClass uint8
	// Hold is how long a connection lives without a path. If zero, 15 minutes.
	Hold time.Duration
	// TimeWait is how long a subflow stays in TIME-WAIT. If zero, 60 s.
	TimeWait time.Duration
	// NoDelay switches the Nagle algorithm off (RFC 9293, Section 3.7.4): a
	// small write leaves at once, though an earlier one is not acknowledged.
	NoDelay bool
	// FastOpen is TCP Fast Open (RFC 7413), which saves a round trip: as a client
	// ask servers for cookies, and send Dialer.Early with the SYN to those that
	// gave one; as a server give cookies, hand a connection whose cookie is good to
	// Accept with its data before the handshake is done, and send plain TCP's
	// answers at once. (With MPTCP answers wait for the third packet.) What came
	// with a SYN may come twice: only for applications that do not mind.
	FastOpen bool
	// ECN says when Explicit Congestion Notification is used. If zero
	// (ECNAccept), when the peer asks for it.
	ECN ECN
	// Checksum says when DSS checksums are used, which find data that a
	// middlebox has changed. If zero (ChecksumAccept), when the peer asks for
	// them. They cost a pass over the data on each side.
	Checksum Checksum
	// TakeAltered: when a checksum fails on the only path there ever was, go on
	// as plain TCP with the data as the network left it (RFC 8684, Section
	// 3.7). If false, the connection fails with an *AlteredError. Beside
	// another path the data comes again on that.
	TakeAltered bool
	// NoJoinFirst forbids the peer to open further subflows to this side's
	// first address and port, as a server behind a load balancer has to (flag C
	// of MP_CAPABLE); those to addresses that are advertised are welcome.
	NoJoinFirst bool
	// FastCloseACK has an abort wait for the peer's answer, for some seconds at
	// most: MP_FASTCLOSE goes on an ACK, which is repeated. If false, it goes on
	// a RST for each path.
	FastCloseACK bool
	// UserTimeout is how long data, or the SYN of a Dial, may be unacknowledged,
	// however often it is sent again: longer, and a path is closed while another
	// one lives, or else the connection fails with an *UnansweredError. If zero,
	// the connection is held for Hold.
	UserTimeout time.Duration
	// UserTimeoutOption has peers told of UserTimeout (of Hold, if that is zero)
	// by TCP's user timeout option (RFC 5482). If UserTimeout is zero, a peer that
	// tells of a longer time than Hold has its connection held so long, at most
	// four hours; keepalives then wait until that is over. Linux knows nothing of
	// the option.
	UserTimeoutOption bool
	// KeepAlive is the idle time after which a peer is asked whether it is
	// there, and again each KeepAliveInterval (if zero, 75 s). KeepAliveCount
	// (if zero, 9) probes without an answer end a plain TCP connection with an
	// *UnansweredError, close an MPTCP path beside others, and put the last one
	// in doubt. If zero, no probes are sent; if negative, after two hours.
	KeepAlive, KeepAliveInterval time.Duration
	KeepAliveCount               int
	// MaxSubflows bounds the subflows of a connection, in both directions
	// together. If zero, 8.
	MaxSubflows int
	// HalfOpen bounds the connections of a listener whose handshake runs; SYNs
	// beyond are answered with cookies (RFC 4987, Section 3.6), which work with
	// MPTCP too and keep nothing. If zero, 128; if negative, none are kept.
	HalfOpen int

	// NoOffload has NewRaw send packets one by one, through routing and the rules
	// for output of this host. If false, a path that has carried some 100 KB and
	// leads by an Ethernet interface sends trains of up to 64 KB, which the
	// interface or the kernel cuts, many times as fast; those pass by the firewall's
	// rules for output, address translation, connection tracking and IPsec. No path
	// does so for which there is an IPsec policy, nor one whose packets turn out to
	// need the rest (see docs/architecture.md).
	NoOffload bool
	// OffloadFrom is how many octets a second have to leave by a path whose round
	// trip is a millisecond or longer before it sends trains: on a slow link they
	// save nobody anything, and the first one is waited for. If zero, 64 MiB (half a
	// gigabit a second).
	OffloadFrom uint64

	// Now is the clock: nanoseconds since any epoch, never going back. The
	// devices must have been given the same. If nil, the time since New; that
	// is of use only with NewRaw, or with devices that do not stamp.
	Now func() Time
	// Portable makes the alarm of the runtime's timers (precise to a
	// millisecond) instead of a timerfd. It is needed in a synctest bubble,
	// and set by itself if no device is a raw one.
	Portable bool
	// Monitor tells of this host's addresses. If nil and there is a raw
	// device, netmon's; else connections use only the addresses they were
	// opened with. The Stack closes it.
	Monitor Monitor

	// Tracer is told of events in the core. It may be nil.
	Tracer Tracer
	// Tap sees each packet, in its own goroutine's time: out after it was
	// queued and just before it is written. A train is one packet. pkt is
	// valid during the call. Calls are concurrent. It may be nil.
	Tap func(link int, out bool, at Time, pkt []byte)
	// OnPath is told when a path of a connection comes up or goes, and of a
	// fallback. Calls for one connection may be concurrent. It may call the
	// connection's methods, but must neither block nor close the Stack. It may
	// be nil.
	OnPath func(*Conn, PathEvent)
	// OnEvent is told of what the kernel's path managers are told of (ip mptcp
	// monitor), in the order in which it happens. It is called with locks held:
	// it must return at once, and call nothing of this package. It may be nil.
	OnEvent func(Event)
	// Logf gets the few things a Stack has to say. It may be nil.
	Logf func(format string, args ...any)
}

// PathEvent is what happened to the paths of a connection.
type PathEvent struct {
	Kind     PathEventKind
	Path     SubflowStats   // of PathUp and PathDown
	Fallback FallbackReason // of FellBack
}

// PathEventKind is what sort of thing happened.
type PathEventKind uint8

// Kinds of PathEvent.
const (
	// PathUp: a path is usable.
	PathUp PathEventKind = iota + 1
	// PathDown: a path is gone, or (if Path.Up is false) could not be had.
	PathDown
	// FellBack: the connection is plain TCP from here on.
	FellBack
)

func (k PathEventKind) String() string {
	switch k {
	case PathUp:
		return "path up"
	case PathDown:
		return "path down"
	case FellBack:
		return "fallback"
	}
	return "no event"
}

func (cfg *Config) engine() *engine.Config {
	ec := &engine.Config{
		Rand:        cfg.Rand,
		TCPOnly:     cfg.TCPOnly,
		Scheduler:   cfg.Scheduler,
		Manager:     cfg.PathManager,
		CC:          cfg.Congestion,
		SendBuffer:  cfg.SendBuffer,
		RecvBuffer:  cfg.RecvBuffer,
		MSS:         cfg.MSS,
		Hold:        cfg.Hold,
		TimeWait:    cfg.TimeWait,
		MaxSubflows: cfg.MaxSubflows,
		HalfOpen:    cfg.HalfOpen,
		ECN:         cfg.ECN,
		NoDelay:     cfg.NoDelay,
		Checksum:    cfg.Checksum,
		TakeAltered: cfg.TakeAltered,
		NoJoinFirst: cfg.NoJoinFirst,
		UserTimeout: cfg.UserTimeout,
		KeepAlive:   cfg.KeepAlive,

		UserTimeoutOption: cfg.UserTimeoutOption,
		FastOpen:          cfg.FastOpen,
		KeepAliveInterval: cfg.KeepAliveInterval,
		KeepAliveCount:    cfg.KeepAliveCount,
		FastCloseACK:      cfg.FastCloseACK,
		Shelf:             new(shelf),
		Tracer:            cfg.Tracer,
		News:              cfg.OnEvent != nil,
	}
	if ec.KeepAlive < 0 {
		ec.KeepAlive = 2 * time.Hour // RFC 9293, Section 3.8.4, MUST-28
	}
	if ec.Rand == nil {
		ec.Rand = rand.Reader
	}
	if ec.Scheduler == nil {
		ec.Scheduler = func() scheduler.Scheduler { return scheduler.NewMinRTT() }
	}
	if ec.Manager == nil {
		ec.Manager = func() pathmgr.Manager { return pathmgr.NewFullMesh() }
	}
	return ec
}
