package testenv

import (
	"encoding/binary"
	"net/netip"
)

// RebindingNAT translates the source address and port of what leaves a network,
// and the destination of what comes back (RFC 3022), until it forgets: what does
// not belong to something that left since is dropped. Out and In are the
// middleboxes of the two directions of a link. One goroutine at a time may use
// it. (NAT is one that never forgets.)
type RebindingNAT struct {
	outside netip.Addr
	next    uint16
	ports   map[netip.AddrPort]uint16 // outside, by inside
	inside  map[uint16]netip.AddrPort
}

// NewRebindingNAT returns one with an address of its own, of the family of the
// packets that it is to translate.
func NewRebindingNAT(outside netip.Addr) *RebindingNAT {
	n := &RebindingNAT{next: 20000}
	n.Rebind(outside)
	return n
}

// Rebind forgets all translations, as a NAT does that restarts or has been
// asked for too much: what is sent from now on comes from outside, and from
// ports that were not used before.
func (n *RebindingNAT) Rebind(outside netip.Addr) {
	n.outside = outside
	n.ports = make(map[netip.AddrPort]uint16)
	n.inside = make(map[uint16]netip.AddrPort)
}

// Outside returns the address that it has now.
func (n *RebindingNAT) Outside() netip.Addr { return n.outside }

// Out is the Middlebox of what leaves. What is not TCP passes as it is.
func (n *RebindingNAT) Out(pkt []byte) []byte {
	t, ok := viewTCP(pkt)
	if !ok {
		return pkt
	}
	src, _ := addressesOf(pkt)
	from := netip.AddrPortFrom(src, binary.BigEndian.Uint16(t.seg))
	port, known := n.ports[from]
	if !known {
		n.next++
		port = n.next
		n.ports[from], n.inside[port] = port, from
	}
	t.setAddress(pkt, sourceAddress, n.outside)
	t.set16(0, port)
	return pkt
}

// In is the Middlebox of what comes back.
func (n *RebindingNAT) In(pkt []byte) []byte {
	t, ok := viewTCP(pkt)
	if !ok {
		return pkt
	}
	_, dst := addressesOf(pkt)
	to, known := n.inside[binary.BigEndian.Uint16(t.seg[2:])]
	if !known || dst != n.outside {
		return nil
	}
	t.setAddress(pkt, destinationAddress, to.Addr())
	t.set16(2, to.Port())
	return pkt
}

// addressesOf returns the source and destination of an IP packet.
func addressesOf(pkt []byte) (src, dst netip.Addr) {
	if pkt[0]>>4 == 4 {
		return netip.AddrFrom4([4]byte(pkt[12:16])), netip.AddrFrom4([4]byte(pkt[16:20]))
	}
	return netip.AddrFrom16([16]byte(pkt[8:24])), netip.AddrFrom16([16]byte(pkt[24:40]))
}

// Which of a packet's addresses.
const (
	sourceAddress = iota
	destinationAddress
)

// setAddress replaces an address of the packet that t is in, and corrects the
// checksums of TCP and IPv4 (RFC 1624).
func (t tcpView) setAddress(pkt []byte, which int, a netip.Addr) {
	to := a.AsSlice()
	at := 12 + 4*which
	if len(to) == 16 {
		at = 8 + 16*which
	}
	for i := 0; i < len(to); i += 2 {
		old, new := binary.BigEndian.Uint16(pkt[at+i:]), binary.BigEndian.Uint16(to[i:])
		adjustSum(t.seg[tcpSumAt:], old, new)
		if len(to) == 4 {
			adjustSum(pkt[10:], old, new)
		}
	}
	copy(pkt[at:], to)
}
