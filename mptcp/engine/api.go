// Package engine is Multipath TCP (RFC 8684) without I/O. An Endpoint sorts
// packets into connections; a Conn is one connection and its subflows. They
// talk by events, so that a driver may lock them apart. There is no goroutine,
// lock, clock or socket here: every method takes the time it needs.
package engine

import (
	"io"
	"net/netip"
	"time"

	"github.com/mpnc/mpnc/internal/buf"
	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/trace"
	"github.com/mpnc/mpnc/internal/wire"
	"github.com/mpnc/mpnc/pathmgr"
	"github.com/mpnc/mpnc/scheduler"
	"github.com/mpnc/mpnc/subflow"
	"github.com/mpnc/mpnc/subflow/cc"
)

// Config is what an Endpoint makes connections with. Zero values mean the
// defaults named.
type Config struct {
	Rand io.Reader // keys, nonces, the secret behind ISNs; required

	TCPOnly   bool                       // neither offer nor accept MPTCP
	Scheduler func() scheduler.Scheduler // required
	Manager   func() pathmgr.Manager     // required unless TCPOnly
	CC        cc.Factory                 // if nil, CUBIC

	SendBuffer, RecvBuffer int           // octets; if zero, as it is needed up to 8 MiB, and the first up to the second at least
	Hold                   time.Duration // life without a path; if zero, 15 minutes
	TimeWait               time.Duration // if zero, 60 s
	MaxSubflows            int           // per connection, both directions; if zero, 8
	HalfOpen               int           // per listener: SYNs beyond are answered with cookies; if zero, 128; negative: all
	MSS                    int           // octets a segment in both directions, options included; if zero, what the path takes
	NoTimestamps           bool
	ECN                    ECN // if zero, used if the peer asks for it
	Checksum               Checksum
	NoDelay                bool // no Nagle algorithm (RFC 9293, Section 3.7.4)

	// TakeAltered: when a checksum fails on the only path there ever was, go on
	// as plain TCP with the data as the network left it, as RFC 8684, Section
	// 3.7, has it. If false, that is an *AlteredError.
	TakeAltered bool
	// NoJoinFirst forbids the peer to open further subflows to this side's
	// first address and port (flag C of MP_CAPABLE), for hosts behind a load
	// balancer. Addresses that are advertised may be joined.
	NoJoinFirst bool
	// FastCloseACK has an abort send MP_FASTCLOSE on an ACK, repeated until the
	// peer answers, and not on RSTs, which nobody repeats.
	FastCloseACK bool

	// UserTimeout is how long data, or a SYN, may be unacknowledged, however
	// often it is sent again, before a path is closed, or the connection fails
	// if it is the last one (RFC 9293, Section 3.8.3); if zero, Hold alone counts.
	UserTimeout time.Duration
	// FastOpen is TCP Fast Open (RFC 7413), as a client and as a server: see
	// fastopen.go.
	FastOpen bool
	// UserTimeoutOption has the peer told of UserTimeout (if that is zero, of
	// Hold), and adopts what the peer tells if UserTimeout is zero (RFC 5482).
	UserTimeoutOption bool
	// KeepAlive is the idle time after which a peer is asked whether it is
	// there, and again each KeepAliveInterval (if zero, 75 s); KeepAliveCount
	// (if zero, 9) probes without an answer end a plain TCP connection, and put
	// an MPTCP path in doubt. If zero, no probes.
	KeepAlive, KeepAliveInterval time.Duration
	KeepAliveCount               int

	Shelf Shelf // of spare memory, for all connections; nil: none

	Tracer trace.Tracer // may be nil
	News   bool         // tell what is only for those who watch (news.go)

	tuneSend, tuneRecv bool // the user did not set the size
}

// Shelf keeps spare chunks of buffers, for whichever connection needs some.
type (
	Shelf = buf.Shelf
	Chunk = buf.Chunk
)

// Checksum says when DSS checksums (RFC 8684, Section 3.3.1) are used: they
// find payload that a middlebox has changed.
type Checksum uint8

// If zero, checksums are used when the peer asks for them.
const (
	ChecksumAccept Checksum = iota // if the peer asks for them
	ChecksumAsk                    // always
	ChecksumRefuse                 // never: a peer that requires them is spoken to in plain TCP
)

// Verdict is what to do with a segment that no connection had claimed.
type Verdict uint8

const (
	// Ignore: not for an address and port that this stack holds, or dropped.
	Ignore Verdict = iota
	// Deliver: hand it to the returned connection's HandleSegment.
	Deliver
	// Stray: for a pair this stack holds, but no connection: it gets a RST
	// (AppendReset) unless the host's own TCP has that connection.
	Stray
	// Answer: a SYN that Endpoint.Answer answers, under the same lock.
	Answer
)

// EndpointEvent is what a connection asks of its Endpoint or driver.
type EndpointEvent interface{ isEndpointEvent() }

type (
	// Register: segments of Tuple belong to this connection from now on.
	Register struct{ Tuple wire.Tuple }
	// Unregister: they no longer do; a guard made for the tuple's local end
	// can go.
	Unregister struct{ Tuple wire.Tuple }
	// Ready: the connection finished its handshake; a passive one enters its
	// listener's accept queue.
	Ready struct{}
	// WantPath: bind a port on Local for a subflow to Remote, then call
	// OpenPath, or PathRefused if it cannot be had.
	WantPath struct {
		Req    PathRequest
		Local  netip.Addr
		Port   uint16 // the port to prefer; another will do
		Remote netip.AddrPort
		Link   int
	}
	// PathUp: a subflow is usable. PathDown: it is gone, or could not be had
	// (Info.Up tells which). FellBack: the connection is plain TCP from here on.
	PathUp   struct{ Info SubflowInfo }
	PathDown struct{ Info SubflowInfo }
	FellBack struct{ Reason FallbackReason }
	// PeerAddress: the peer advertised an address. Local addresses that lead to
	// it, and not to the peer's first, become worth a LocalUp.
	PeerAddress struct{ Addr netip.Addr }
	// WantLane: find out whether trains to Tuple's remote end may leave by Link's
	// fast lane, then call SetLane.
	WantLane struct {
		Tuple wire.Tuple
		Link  int
	}
	// Gone: the connection is over; nothing more will come from it.
	Gone struct{}
)

// PathRequest names a WantPath in its answer.
type PathRequest int

func (Register) isEndpointEvent()    {}
func (Unregister) isEndpointEvent()  {}
func (Ready) isEndpointEvent()       {}
func (WantPath) isEndpointEvent()    {}
func (PathUp) isEndpointEvent()      {}
func (PathDown) isEndpointEvent()    {}
func (FellBack) isEndpointEvent()    {}
func (PeerAddress) isEndpointEvent() {}
func (WantLane) isEndpointEvent()    {}
func (Gone) isEndpointEvent()        {}

// SubflowInfo is a subflow in statistics.
type SubflowInfo struct {
	ID     scheduler.PathID
	Tuple  wire.Tuple
	Link   int
	AddrID uint8 // address identifier of the side that opened it
	// Address identifiers of both ends (RFC 8684, Section 3.2); 0 for the first
	// subflow's.
	LocalID, RemoteID uint8
	Active            bool // this side opened it
	Backup            bool
	Up                bool // its handshake, MP_JOIN included, is done
	Gone              bool // its local address or link is gone; it waits for its return
	Ended             bool
	Reason            pathmgr.Reason // if Ended
	First             bool           // the subflow that the connection began with
	// HasReset: the peer's RST gave a reason (MP_TCPRST).
	HasReset       bool
	ResetReason    wire.ResetReason
	ResetTransient bool
	subflow.Info
}

// Stats is a snapshot of a connection. Names follow the kernel's MPTcpExt
// counters where one exists.
type Stats struct {
	Multipath bool
	Checksums bool // DSS checksums were negotiated
	Fallback  FallbackReason
	Opened    mono.Time
	Closed    mono.Time // Never while it lives

	BytesWritten, BytesRead uint64 // by the application
	BytesAcked              uint64 // by DATA_ACK
	SendQueued, RecvQueued  int

	// Segments that had urgent data (RFC 9293, Section 3.8.5); it was read in
	// line, as RFC 6093 wants it.
	UrgentRx uint64

	// Octets of the first SYN that the other end took (RFC 7413).
	FastOpenSent, FastOpenReceived int

	PeerUserTimeout                time.Duration // as the peer last told (RFC 5482); 0: it did not
	MPJoinSynTx, MPJoinSynRx       uint64
	MPJoinSynAckRx, MPJoinAckRx    uint64
	MPJoinRejected, MPJoinHMACFail uint64
	AddAddrTx, AddAddrRx           uint64
	EchoAddTx, EchoAddRx           uint64
	RmAddrTx, RmAddrRx             uint64 // addresses, however many options told of them
	MPPrioTx, MPPrioRx             uint64
	MPFastcloseTx, MPFastcloseRx   uint64
	MPRstTx, MPRstRx               uint64
	DataCsumErr                    uint64 // mappings whose checksum failed
	MPFailTx, MPFailRx             uint64
	InfiniteMapTx, InfiniteMapRx   uint64
	DuplicateData                  uint64 // octets that arrived again
	NoDSSInWindow                  uint64
	Reinjections                   uint64 // ranges granted again
	ReinjectedBytes                uint64
	WinProbes                      uint64
	DataFinRetrans                 uint64
	Held                           time.Duration // longest time without a path
	InvalidGrants                  uint64

	Subflows []SubflowInfo // ended ones included
}

// FallbackReason says why a connection that could have spoken MPTCP does not.
type FallbackReason uint8

// Reasons for plain TCP.
const (
	NoFallback      FallbackReason = iota
	Configured                     // TCPOnly
	PeerPlain                      // the peer's SYN or SYN/ACK had no usable MP_CAPABLE
	SynUnanswered                  // the SYN was answered only once it went without MP_CAPABLE
	ThirdAckPlain                  // the third packet had no usable MP_CAPABLE
	DataPlain                      // options vanished after the handshake
	ChecksumsWanted                // the peer requires DSS checksums that we refuse, or has others than were agreed on
	MPFailReceived                 // the peer saw a checksum failure
	InfiniteMapping                // the peer fell back
	ChecksumFailed                 // data was changed on the way here (Config.TakeAltered)
	TokenClash                     // a stateless answer's key became another connection's (RFC 8684, Section 3.1)
)
