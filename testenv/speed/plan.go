package main

import (
	"github.com/mpnc/mpnc/testenv/speed/end"
)

// The contestants' names.
const (
	mpnc        = "mpnc"         // the command or the library, as the scene has it
	kernelMPTCP = "kernel-mptcp" // a Go program over the kernel's Multipath TCP
	kernelTCP   = "kernel-tcp"   // the same over its TCP
	gvisor      = "gvisor"       // gVisor's netstack, TCP
	quicGo      = "quic-go"      // a stream of quic-go's
	floor       = "floor"        // trains without a protocol
	floorKept   = "floor-kept"   // the same, of memory that is kept until it has arrived
	floorFile   = "floor-file"   // the same, and read from a file before

	ncMPTCP    = "nc-mptcp" // OpenBSD's nc over the kernel's Multipath TCP
	ncTCP      = "nc-tcp"
	socatMPTCP = "socat-mptcp"
	socatTCP   = "socat-tcp"
)

// scene is what contestants are measured at.
type scene struct {
	name        string
	about       string // for the document
	contestants []string
	command     bool     // programs with a file, not ends
	work        end.Work // of the ends
	size        int      // octets of their calls
	conns       int      // at once
	paths       int      // veth pairs
	mtu         bool     // offloads off: packets of the MTU only
	checksum    bool     // DSS checksums
	long        bool     // left out of a quick run
}

// call is how much is read and written at once in bulk.
const call = 256 << 10

// idle is how many connections rest.
const idle = 1000

// scenes is the plan.
func scenes() []scene {
	bulk := scene{work: end.Bulk, size: call, conns: 1, paths: 2}
	with := func(name, about string, who []string, change func(*scene)) scene {
		s := bulk
		s.name, s.about, s.contestants = name, about, who
		if change != nil {
			change(&s)
		}
		return s
	}
	multipath := []string{mpnc, kernelMPTCP}
	kernels := []string{mpnc, kernelMPTCP, kernelTCP}
	all := []string{mpnc, kernelMPTCP, kernelTCP, gvisor, quicGo}
	conns := func(n int) func(*scene) { return func(s *scene) { s.conns, s.long = n, n >= 100 } }
	paths := func(n int) func(*scene) { return func(s *scene) { s.paths, s.long = n, n == 4 } }
	ping := func(n int) func(*scene) { return func(s *scene) { s.work, s.size = end.Ping, n } }
	open := func(n int) func(*scene) { return func(s *scene) { s.work, s.size, s.conns = end.Open, 1, n } }
	return []scene{
		with("command", "a file to /dev/null, from command to command, two paths",
			[]string{mpnc, ncMPTCP, ncTCP, socatMPTCP, socatTCP}, func(s *scene) { s.command = true }),
		with("bulk", "in memory, one connection, two paths", append(all, floor, floorKept, floorFile), nil),
		with("mtu", "the same with offloads off: nothing but packets of 1,500 octets", all, func(s *scene) { s.mtu = true }),
		with("checksum", "the same with DSS checksums", multipath, func(s *scene) { s.checksum = true }),
		with("paths-1", "one path", multipath, paths(1)),
		with("paths-4", "four paths", multipath, paths(4)),
		with("paths-8", "eight paths", multipath, paths(8)),
		with("conns-10", "10 connections at once", kernels, conns(10)),
		with("conns-100", "100 connections at once", kernels, conns(100)),
		with("conns-1000", "1,000 connections at once", kernels, conns(1000)),
		with("ping-1", "a word of one octet and its echo", all, ping(1)),
		with("ping-1000", "a word of 1,000 octets and its echo", all, ping(1000)),
		with("open-1", "connections opened, used for an octet, and closed, one after the other", kernels, open(1)),
		with("open-16", "the same, 16 at once", kernels, open(16)),
		with("idle", "connections at rest", []string{mpnc},
			func(s *scene) { s.work, s.size, s.conns = end.Idle, 1, idle }),
	}
}

// checked is how many MB are compared, once for each contestant that moves many.
const checked = 64
