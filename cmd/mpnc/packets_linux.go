package main

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// connectPackets makes the kernel drop what others send, and tell of a peer
// that is gone. Without, both still works but for that news.
func connectPackets(s net.PacketConn, to net.Addr) {
	u, ok := to.(*net.UDPAddr)
	raw, has := s.(syscall.Conn)
	if !ok || !has {
		return
	}
	rc, err := raw.SyscallConn()
	if err != nil {
		return
	}
	ap := u.AddrPort()
	rc.Control(func(fd uintptr) {
		if local, err := unix.Getsockname(int(fd)); err == nil {
			if _, v4 := local.(*unix.SockaddrInet4); v4 {
				unix.Connect(int(fd), &unix.SockaddrInet4{Addr: ap.Addr().Unmap().As4(), Port: int(ap.Port())})
				return
			}
		}
		zone := 0
		if i, err := net.InterfaceByName(ap.Addr().Zone()); err == nil {
			zone = i.Index
		}
		unix.Connect(int(fd), &unix.SockaddrInet6{Addr: ap.Addr().As16(), Port: int(ap.Port()), ZoneId: uint32(zone)})
	})
}
