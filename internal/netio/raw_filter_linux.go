package netio

import (
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// accept is a filter's verdict for "the whole packet".
const accept = 0x40000

// netOff makes a load relative to the network header (SKF_NET_OFF): the filter
// of an IPv6 raw socket otherwise sees the transport header first.
const netOff = 0xfff00000

// A few names for classic BPF.
func load(size uint16, off uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_ABS | size, K: off}
}

func ret(k uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k} }

// jump compares the accumulator and skips yes or no instructions.
func jump(op uint16, k uint32, yes, no uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_K | op, Jt: yes, Jf: no, K: k}
}

// loadPort loads the destination port of a TCP packet.
func loadPort(v6 bool) []unix.SockFilter {
	if v6 {
		return []unix.SockFilter{load(unix.BPF_H, 2)}
	}
	return []unix.SockFilter{
		{Code: unix.BPF_LDX | unix.BPF_MSH | unix.BPF_B, K: 0}, // X = length of the IP header
		{Code: unix.BPF_LD | unix.BPF_IND | unix.BPF_H, K: 2},
	}
}

// addrOffset returns the offset of the destination address.
func addrOffset(v6 bool) uint32 {
	if v6 {
		return netOff + 24
	}
	return netOff + 16
}

// exactFilter accepts segments for the pairs.
func exactFilter(pairs []netip.AddrPort, v6 bool) []unix.SockFilter {
	if len(pairs) == 0 {
		return []unix.SockFilter{ret(0)}
	}
	prog := append(loadPort(v6), unix.SockFilter{Code: unix.BPF_ST, K: 0}) // keep the port
	for _, p := range pairs {
		prog = appendPair(prog, p, v6)
	}
	return append(prog, ret(0))
}

// rangeFilter accepts segments for ports from lo to hi.
func rangeFilter(lo, hi uint32, v6 bool) []unix.SockFilter {
	return append(loadPort(v6),
		jump(unix.BPF_JGE, lo, 0, 2),
		jump(unix.BPF_JGT, hi, 1, 0),
		ret(accept),
		ret(0))
}

// appendPair appends: if port and address are p's, accept.
func appendPair(prog []unix.SockFilter, p netip.AddrPort, v6 bool) []unix.SockFilter {
	var words []byte
	if !p.Addr().IsUnspecified() {
		words = p.Addr().AsSlice()
	}
	skip := uint8(len(words)/4*2 + 1)
	prog = append(prog,
		unix.SockFilter{Code: unix.BPF_LD | unix.BPF_MEM, K: 0},
		jump(unix.BPF_JEQ, uint32(p.Port()), 0, skip))
	for i := 0; i < len(words); i += 4 {
		k := uint32(words[i])<<24 | uint32(words[i+1])<<16 | uint32(words[i+2])<<8 | uint32(words[i+3])
		skip -= 2
		prog = append(prog,
			load(unix.BPF_W, addrOffset(v6)+uint32(i)),
			jump(unix.BPF_JEQ, k, 0, skip))
	}
	return append(prog, ret(accept))
}

// icmpFilter accepts errors that quote a TCP segment.
func icmpFilter(v6 bool) []unix.SockFilter {
	prog := []unix.SockFilter{load(unix.BPF_B, 8+6)} // the quoted next header
	if !v6 {
		prog = []unix.SockFilter{
			{Code: unix.BPF_LDX | unix.BPF_MSH | unix.BPF_B, K: 0},
			{Code: unix.BPF_LD | unix.BPF_IND | unix.BPF_B, K: 8 + 9}, // the quoted protocol
		}
	}
	return append(prog,
		jump(unix.BPF_JEQ, unix.IPPROTO_TCP, 0, 1),
		ret(accept),
		ret(0))
}

// attach gives fd a filter, in place of any it had.
func attach(fd int, prog []unix.SockFilter) error {
	return os.NewSyscallError("attach filter", unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET,
		unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}))
}
