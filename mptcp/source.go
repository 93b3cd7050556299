package mptcp

import (
	"errors"
	"net/netip"
	"os"
	"syscall"

	"github.com/mpnc/mpnc/pathmgr"
)

// errNoInterface is the failure of a dial when the rules leave nothing to
// dial from.
var errNoInterface = errors.New("no interface that leads there may be used")

// source chooses where a connection without a given source address begins. The
// zero address leaves it to the host's routing.
func (s *Stack) source(remote netip.Addr, link int) (netip.Addr, int, error) {
	if len(s.cfg.PathRules)+len(s.cfg.LocalAddrs) == 0 || s.cfg.Monitor == nil || link != 0 || remote.IsLinkLocalUnicast() {
		return netip.Addr{}, link, nil
	}
	all := s.cfg.Monitor.Locals(remote)
	switch {
	case len(all) == 0 && len(s.cfg.LocalAddrs) > 0:
		return netip.Addr{}, link, os.NewSyscallError("bind", syscall.EADDRNOTAVAIL)
	case len(all) == 0:
		return netip.Addr{}, link, nil // the device says why
	case len(s.cfg.LocalAddrs) > 0 && len(s.cfg.PathRules) == 0:
		return all[0].Addr, all[0].Link, nil
	}
	chosen := s.cfg.PathRules.Choose(all)
	if len(chosen) == 0 {
		return netip.Addr{}, link, errNoInterface
	}
	if chosen[0].Kind == pathmgr.Loopback {
		return netip.Addr{}, link, nil
	}
	return chosen[0].Addr, chosen[0].Link, nil
}
