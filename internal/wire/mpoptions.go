package wire

import (
	"net/netip"

	"github.com/mpnc/mpnc/internal/seq"
)

// MPKind is a set of MPTCP options, one bit for each subtype.
type MPKind uint16

// Which MPTCP options a segment carries (RFC 8684, Section 8.1: subtype n is
// bit n).
const (
	MPCapable MPKind = 1 << iota
	MPJoin
	DSS
	AddAddr
	RemoveAddr
	MPPrio
	MPFail
	FastClose
	TCPReset
)

// Flags of MP_CAPABLE (RFC 8684, Section 3.1).
const (
	CapChecksum   = 0x80 // A: checksums required
	CapExtensible = 0x40 // B: extensibility; must be zero
	CapNoJoin     = 0x20 // C: do not join to my source address and port
	CapSHA256     = 0x01 // H: HMAC-SHA256
)

// MPOptions are the MPTCP options of one segment. Has says which fields count.
// Options whose length or form RFC 8684 does not know are not in Has; Bad has
// their bits, so that a handshake can tell "mangled" from "absent". Two options
// of one subtype in one segment: the first counts.
type MPOptions struct {
	Has, Bad MPKind

	Capable struct {
		Version   uint8
		Flags     uint8
		Keys      int    // 0 (SYN), 1 (SYN/ACK: Sender), 2 (ACK: Sender, Receiver)
		Sender    uint64 // sender's key
		Receiver  uint64 // receiver's key
		HasLength bool   // the form on the first data: DSN = IDSN+1, SSN = 1
		Length    uint16 // data-level length
		HasCsum   bool
		Csum      uint16
	}
	Join struct {
		Form   JoinForm
		Backup bool
		AddrID uint8
		Token  uint32   // JoinSYN
		Nonce  uint32   // JoinSYN, JoinSYNACK
		MAC    [20]byte // JoinSYNACK: the first 8; JoinACK: all
	}
	DSS struct {
		HasAck  bool
		Ack64   bool
		Ack     seq.Data // low 32 bits only if !Ack64
		HasMap  bool
		Seq64   bool
		Seq     seq.Data // low 32 bits only if !Seq64
		SSN     uint32   // subflow sequence number, relative
		Length  uint16   // data-level length, DATA_FIN included
		HasCsum bool
		Csum    uint16
		Fin     bool // DATA_FIN
	}
	Add struct {
		Echo bool
		ID   uint8
		Addr netip.Addr
		Port uint16 // 0: absent
		MAC  uint64 // rightmost 64 bits; only if !Echo
	}
	Remove struct {
		N   int
		IDs [37]uint8 // as many as an option block can hold
	}
	Prio struct{ Backup bool }
	Fail struct{ Seq seq.Data }
	Fast struct{ Key uint64 }
	Rst  struct {
		Transient bool
		Reason    ResetReason
	}
}

// JoinForm tells the three forms of MP_JOIN apart, by their length.
type JoinForm uint8

// The forms of MP_JOIN (RFC 8684, Section 3.2).
const (
	JoinSYN    JoinForm = 1
	JoinSYNACK JoinForm = 2
	JoinACK    JoinForm = 3
)

// ResetReason is the reason code of MP_TCPRST (RFC 8684, Section 3.6).
type ResetReason uint8

// Reason codes of MP_TCPRST.
const (
	ResetUnspecified ResetReason = iota
	ResetMPTCPError
	ResetNoResources
	ResetProhibited
	ResetTooMuchOutstanding
	ResetBadPerformance
	ResetMiddlebox
)
