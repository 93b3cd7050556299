package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"github.com/mpnc/mpnc/mptcp"
)

const (
	// scanWindow is how many ports are tried at once.
	scanWindow = 64
	// scanPause is the time between two of them: five hundred in a second.
	scanPause = 2 * time.Millisecond
)

// probe is what a scan finds at one port.
type probe struct {
	to       target
	attempts []attempt // the last one may have succeeded
	err      error     // no attempt could be made
}

// attempt is the answer of one address; err is nil if the port is open.
type attempt struct {
	address string
	err     error
}

// scan tries every port, several at once, and tells of them in order. It has
// failed if none is open.
func (m *command) scan(sig *signals) error {
	ctx, cancel := context.WithCancel(sig.stop)
	defer cancel()
	targets := m.o.targets()
	addrs, err := m.scanned(ctx, targets[0])
	if err != nil {
		return err
	}
	found := make([]chan probe, len(targets))
	for i := range found {
		found[i] = make(chan probe, 1)
	}
	go m.probeAll(ctx, targets, addrs, found)
	var sum scanSum
	var last error
	for i := range found {
		p := <-found[i]
		if errors.Is(p.err, errInterrupted) {
			return p.err
		}
		for _, a := range p.attempts {
			m.say.probed(p.to, a.address, a.err)
			last = nil
			if a.err != nil {
				f := connectFailure(m.o, p.to, a.err)
				f.scan, last = true, f
			}
		}
		sum.add(p)
	}
	return m.inVain(sum.verdict(m.o, last))
}

// scanned are the addresses to scan, or the name if the transport takes it.
func (m *command) scanned(ctx context.Context, to target) (addrs []string, err error) {
	if m.takesNames() {
		return []string{to.host}, nil
	}
	found, err := m.lookup(ctx, to)
	for _, a := range found {
		addrs = append(addrs, a.String())
	}
	return addrs, err
}

// probeAll starts a probe of each target, at a bounded rate and in a bounded
// number.
func (m *command) probeAll(ctx context.Context, targets []target, addrs []string, found []chan probe) {
	slots := make(chan struct{}, scanWindow)
	pace := time.NewTicker(scanPause)
	defer pace.Stop()
	for i, to := range targets {
		slots <- struct{}{}
		go func() {
			found[i] <- m.probe(ctx, to, addrs)
			<-slots
		}()
		select {
		case <-pace.C:
		case <-ctx.Done():
		}
	}
}

// probe tries the addresses until one accepts.
func (m *command) probe(ctx context.Context, to target, addrs []string) probe {
	p := probe{to: to}
	for _, a := range addrs {
		c, err := m.dialOne(ctx, to, net.JoinHostPort(a, to.port))
		if errors.Is(err, errInterrupted) {
			p.err = err
			return p
		}
		p.attempts = append(p.attempts, attempt{a, err})
		if err == nil {
			c.Close()
			break
		}
	}
	return p
}

// scanSum counts what a scan found.
type scanSum struct{ open, closed, filtered int }

func (s *scanSum) add(p probe) {
	best := "filtered"
	for _, a := range p.attempts {
		switch state, _ := portState(p.to.network, a.err); state {
		case "open":
			best = state
		case "closed":
			if best != "open" {
				best = state
			}
		}
	}
	switch best {
	case "open":
		s.open++
	case "closed":
		s.closed++
	default:
		s.filtered++
	}
}

// verdict is nil if a port is open; else it says why the last, or each, is not.
func (s *scanSum) verdict(o *options, last error) error {
	if s.open > 0 {
		return nil
	}
	if s.closed+s.filtered == 1 {
		return last
	}
	return &failure{code: exitConnect, what: fmt.Sprintf("no port of %s is open: %d closed, %d filtered", o.host, s.closed, s.filtered), told: true, scan: true}
}

// portState says what an attempt to connect tells of a port, and by which
// sign: it is open, closed (the host says no), or filtered (something between
// us says no, or nothing does).
func portState(network string, err error) (state, sign string) {
	var icmp *mptcp.UnreachableError
	switch {
	case err == nil:
		return "open", ""
	case errors.As(err, &icmp) && errors.Is(err, syscall.ECONNREFUSED):
		return "closed", "ICMP: " + icmp.Error()
	case errors.As(err, &icmp):
		return "filtered", "ICMP: " + icmp.Error()
	case errors.Is(err, syscall.ECONNREFUSED) && strings.HasPrefix(network, "udp"):
		return "closed", "ICMP port unreachable"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "closed", "RST"
	case timedOut(err):
		return "filtered", "no answer"
	case errors.Is(err, syscall.EHOSTUNREACH):
		return "filtered", "ICMP host unreachable, or no answer to ARP"
	case errors.Is(err, syscall.ENETUNREACH):
		return "filtered", "no route, or ICMP network unreachable"
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return "filtered", "this host's firewall forbids it"
	}
	return "filtered", plain(err)
}

// timedOut reports whether nobody answered.
func timedOut(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, syscall.ETIMEDOUT)
}

// isLiteral reports whether a host is named by its address.
func isLiteral(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}
