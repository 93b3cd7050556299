package netio

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// silence makes a TCP socket drop every segment without an answer, by a filter
// that lets nothing in. Since 2026 kernels want CAP_NET_ADMIN for a filter on a
// TCP socket; there a password does it: a socket that expects TCP MD5
// signatures (RFC 2385) silently drops what has none, from the first SYN on,
// and nobody knows the key.
func silence(fd int, addr netip.Addr) error {
	if attachShut(fd) {
		return nil
	}
	return silenceAnew(fd, addr)
}

// silenceAnew is silence without a program that was loaded before.
func silenceAnew(fd int, addr netip.Addr) error {
	err := attach(fd, []unix.SockFilter{ret(0)})
	if err == nil || !errors.Is(err, unix.EPERM) {
		return err
	}
	if errKey := requireSignature(fd, addr); errKey != nil {
		return fmt.Errorf("keep the kernel silent on a port: this kernel wants CAP_NET_ADMIN for a filter (%w), "+
			"and has no TCP MD5 signatures (%v)", err, errKey)
	}
	return nil
}

// requireSignature has fd, a socket for addr that is neither bound nor
// connected, expect signatures of a random key from everybody.
func requireSignature(fd int, addr netip.Addr) error {
	if err := addKey(fd, addr.Is6(), netip.IPv6Unspecified()); err != nil {
		return err
	}
	if addr != netip.IPv6Unspecified() {
		return nil
	}
	// A socket for both families has keys for both.
	return addKey(fd, true, netip.AddrFrom16(netip.IPv4Unspecified().As16()))
}

// addKey adds a key for every peer, of the family of all, to an IPv4 or IPv6
// socket.
func addKey(fd int, is6 bool, all netip.Addr) error {
	sig := unix.TCPMD5Sig{Flags: unix.TCP_MD5SIG_FLAG_PREFIX, Prefixlen: 0, Keylen: 16}
	rand.Read(sig.Key[:16]) // it never fails
	sig.Addr.Family = unix.AF_INET
	if is6 {
		sa := (*unix.RawSockaddrInet6)(unsafe.Pointer(&sig.Addr))
		sa.Family, sa.Addr = unix.AF_INET6, all.As16()
	}
	return os.NewSyscallError("setsockopt", unix.SetsockoptTCPMD5Sig(fd, unix.IPPROTO_TCP, unix.TCP_MD5SIG_EXT, &sig))
}
