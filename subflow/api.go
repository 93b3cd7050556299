package subflow

import (
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/seq"
	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/subflow/cc"
)

// State is a state of RFC 9293, Section 3.3.2. LISTEN belongs to the engine's
// Endpoint and is here for its name only.
type State uint8

// The eleven states.
const (
	StateClosed State = iota
	StateListen
	StateSynSent
	StateSynReceived
	StateEstablished
	StateFinWait1
	StateFinWait2
	StateCloseWait
	StateClosing
	StateLastAck
	StateTimeWait
)

// Config is what a subflow is made with. Zero values mean the defaults named.
type Config struct {
	ISS      seq.Num // initial send sequence number, unpredictable (RFC 9293, Section 3.4.1)
	TSOffset uint32  // added to the timestamp clock (1 ms ticks), random per connection
	MTU      int     // largest IP packet the path takes; if zero, 1500
	MSS      int     // the most that our SYN tells the peer to send in a segment, and that we send; if zero, what MTU allows
	WScale   uint8   // window shift to offer; at most 14

	NoTimestamps bool
	NoSACK       bool
	ECN          ECN

	Controller cc.Factory // if nil, CUBIC
	Group      *cc.Group  // may be nil

	MinRTO     time.Duration // if zero, 200 ms (the RFC's SHOULD is 1 s; a named deviation, as Linux)
	MaxRTO     time.Duration // if zero, 60 s
	AckDelay   time.Duration // delayed ACK; if zero, 40 ms
	TimeWait   time.Duration // if zero, 60 s
	SynRetries int           // SYN or SYN/ACK retransmissions before Failed; if zero, 7

	// KeepAlive is how long the peer may be silent while nothing is
	// outstanding before it is asked whether it is there; if zero, for ever.
	// KeepAliveInterval is how long it may take to answer before it is asked
	// again (if zero, 75 s), and after KeepAliveCount (if zero, 9) probes
	// without an answer it is Unanswered.
	KeepAlive, KeepAliveInterval time.Duration
	KeepAliveCount               int
	// UserTimeout is how long what was sent, our SYN included, may be without an
	// acknowledgment before it is TimedOut; if zero, for ever.
	UserTimeout time.Duration
	// TellUserTimeout is what the peer is told in user timeout options
	// (RFC 5482); if zero, there are none.
	TellUserTimeout time.Duration

	FastOpen FastOpen

	// OptionSpace is how many octets of TCP option space a data segment must
	// leave for the engine's MPTCP options (28 with MPTCP, 0 without).
	OptionSpace int
	// Accept is how many octets beyond RCV.NXT are accepted whatever window
	// this subflow has shown: with MPTCP the connection's window decides
	// (RFC 8684, Section 3.3.4). 0: only what was advertised.
	Accept int
}

// Mapping is a run of data with its place on the subflow. Once sent it never
// changes; every copy of every part of it carries the same one
// (RFC 8684, Section 3.3.1). With plain TCP it is implied and not written.
type Mapping struct {
	Data seq.Data   // first data sequence number
	Off  seq.Offset // its subflow sequence number
	Len  int        // octets, at most 65534
	Sum  uint16     // what AssignSummed was given
}

// Kind is what sort of segment is about to leave.
type Kind uint8

// Kinds of outgoing segment.
const (
	KindSYN    Kind = iota // active open
	KindSYNACK             // answer to a SYN (also of a simultaneous open)
	KindACK                // no payload: pure ACK, FIN, window update, probe
	KindData               // payload
	KindRST
)

// Outgoing tells the Host what segment its options are for.
type Outgoing struct {
	Kind  Kind
	Retry int        // of a SYN or SYN/ACK: how many times it was sent before
	Map   Mapping    // of KindData
	Off   seq.Offset // of KindData: offset of the first payload octet
	Fin   bool       // the segment has FIN
	Room  int        // octets left in the option block, TCP's own already counted
}

// Host is what a subflow asks, at the one moment it must be asked: when a
// header is written. The advertised window is relative to the DATA_ACK of the
// same segment, so options made earlier would move the right edge.
type Host interface {
	// Options fills in the MPTCP options of a segment; mp is zero on entry.
	// What it fills must fit in out.Room (wire.MPOptions.Len), but for an
	// ADD_ADDR alone, which goes without padding beside timestamps.
	Options(out *Outgoing, mp *wire.MPOptions)
	// Window is the receive window to advertise now, in octets, unscaled.
	Window() int
}

// Events are what happened to a subflow, for the engine to act on.
type Events uint16

// What a call of HandleSegment or HandleTimeout can report.
const (
	Established Events = 1 << iota // the three-way handshake is done
	FinReceived                    // the peer's FIN arrived and everything before it has
	FinAcked                       // our FIN was acknowledged
	ResetByPeer                    // a valid RST; the state is now CLOSED
	Refused                        // a valid RST in SYN-SENT; the state is now CLOSED
	Failed                         // the handshake ran out of retries; now CLOSED
	Suspect                        // the retransmission timer fired; first time since progress
	Trusted                        // progress after Suspect
	Closed                         // TIME-WAIT is over, or LAST-ACK done; now CLOSED
	Unanswered                     // Config.KeepAliveCount probes of an idle peer had no answer
	TimedOut                       // nothing was acknowledged for Config.UserTimeout
)

// Has reports whether all of f are in e.
func (e Events) Has(f Events) bool { return e&f == f }

// Accepted is the verdict on one segment.
type Accepted struct {
	// OK: the segment passed the checks of RFC 9293, Section 3.10.7.4, and
	// RFC 5961, so that its MPTCP options may be acted on (RFC 8684,
	// Section 3).
	OK     bool
	Events Events
	// Payload is the part of the segment's payload that lies in the window
	// and was not all received before; nil if none. It borrows. Off is the
	// offset of its first octet (its subflow sequence number).
	Payload []byte
	Off     seq.Offset
	// Retired are the data ranges that the peer newly acknowledged on this
	// subflow, in order; valid until the next call.
	Retired []seq.Range
}

// Info is a snapshot of a subflow for statistics.
type Info struct {
	State                State
	SRTT, RTTVar, MinRTT time.Duration
	RTO                  time.Duration
	Cwnd, InFlight       int // octets
	SndWnd, RcvWnd       int // octets: what the peer advertised, what we did
	MSS                  int // payload octets of a full data segment
	Backoff              int // consecutive retransmission timeouts
	Retries              int // timeouts and probes without an answer, since the last progress

	SegsOut, SegsIn          uint64
	BytesOut, BytesIn        uint64 // payload, first transmissions; in-order and out-of-order arrivals once
	BytesRetrans             uint64
	BytesAcked               uint64
	Retransmits, RTOs, TLPs  uint64 // segments sent again; timer expiries; tail-loss probes
	Spurious, DSACKs         uint64
	DelayedAcks, DupAcksSent uint64
	ZeroWindows              uint64 // times we advertised a zero window
	Dropped                  uint64 // segments that failed the checks

	Trains                 uint64 // packets of several segments
	Lane                   bool   // they leave by the device's fast lane
	PathMTU                int    // octets of the largest packet sent
	SizeProbes, BlackHoles uint64 // larger packets tried; times that full segments were found to vanish
	ICMPNoted, ICMPIgnored uint64 // ICMP errors about what was in flight; others, and those beyond the budget
	ECN                    bool   // both ends understand Explicit Congestion Notification
	CEIn, ECEIn            uint64 // segments that arrived with a mark; that echoed one

	LastRecv, LastSend, LastProgress mono.Time
}
