package main

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// args is a play of a command line alone.
func args(line string) func(*stage) {
	return func(s *stage) { s.run(strings.Fields(line)...) }
}

// typed is a play of a command line that is refused before anything happens.
func typed(tool dialect, line string) play {
	return play{topic: "command line", name: line, tool: tool, act: args(line), honest: exitUsage}
}

// spelled is a play of one way to say on what to listen.
func spelled(tool dialect, line string) play {
	return play{topic: "listening", name: line, tool: tool, act: func(s *stage) {
		s.listens(strings.Fields(line)...)
		s.says("hello")
		s.leaves()
		s.shows("hello")
	}}
}

var plays = []play{
	// command lines.
	typed(openbsd, "-w abc host 1"),
	typed(openbsd, "-w -1 host 1"),
	typed(openbsd, "host"),
	typed(openbsd, "host 99999"),
	typed(openbsd, "host 0"),
	typed(openbsd, "host nosuchservice"),
	typed(openbsd, "-k host 1"),
	typed(openbsd, "-z -l 1"),
	typed(openbsd, "-T foo host 1"),
	{topic: "command line", name: "no arguments", tool: openbsd, act: args(""), honest: exitUsage, only: "message", differs: oneLine},
	{topic: "command line", name: "-Q host 1", tool: openbsd, act: args("-Q host 1"), honest: exitUsage, only: "message", differs: oneLine},
	{topic: "command line", name: "-w", tool: openbsd, act: args("-w"), honest: exitUsage, only: "message", differs: oneLine},
	{topic: "command line", name: "no arguments", tool: ncat, act: args(""), only: "message", differs: oneLine},
	{topic: "command line", name: "-Q 127.0.0.1 1", tool: ncat, act: args("-Q 127.0.0.1 1"), only: "message", differs: oneLine},
	{topic: "command line", name: "-w abc", tool: ncat, act: args("-w abc 127.0.0.1 1"), only: "message", differs: oneLine},
	{topic: "command line", name: "-z -l", tool: ncat, act: args("-z -l 1"), only: "message", differs: oneLine},
	{topic: "command line", name: "-zvw30 host port", tool: openbsd, act: func(s *stage) { s.open(); s.run("-zvw30", "127.0.0.1", "PORT") }},
	{topic: "command line", name: "host port -zv", tool: openbsd, act: func(s *stage) { s.open(); s.run("127.0.0.1", "PORT", "-zv") }},
	{topic: "command line", name: "-zv -- host port", tool: openbsd, act: func(s *stage) { s.open(); s.run("-zv", "--", "127.0.0.1", "PORT") }},
	{topic: "command line", name: "-zv4w 30 host port", tool: openbsd, act: func(s *stage) { s.open(); s.run("-zv4w", "30", "127.0.0.1", "PORT") }},
	{topic: "command line", name: "-q-1 -w30 host port -N", tool: openbsd, act: func(s *stage) {
		s.connects("-q-1", "-w30", "127.0.0.1", "PORT", "-N")
		s.types("x")
		s.inputEnds()
		s.hearsEnd("x")
		s.leaves()
	}},

	// what to listen on.
	spelled(openbsd, "-l PORT"), spelled(openbsd, "-l 127.0.0.1 PORT"), spelled(openbsd, "-l -p PORT"),
	spelled(openbsd, "-lp PORT"), spelled(openbsd, "-lpPORT"), spelled(openbsd, "-lvnp PORT"), spelled(openbsd, "-nvlp PORT"),
	spelled(openbsd, "-l -s 127.0.0.1 -p PORT"), spelled(openbsd, "-vl 127.0.0.1 PORT"),
	spelled(ncat, "-l PORT"), spelled(ncat, "-l 127.0.0.1 PORT"), spelled(ncat, "-l -p PORT"),
	spelled(ncat, "-lp PORT"), spelled(ncat, "--listen -v 127.0.0.1 PORT"),
	{topic: "listening", name: "-l -p 1 127.0.0.1 2", tool: openbsd, act: args("-l -p 1 127.0.0.1 2"), honest: exitUsage, only: "message", differs: oneLine},
	{topic: "listening", name: "-l -p 1 2 3 4", tool: openbsd, act: args("-l -p 1 2 3 4"), honest: exitUsage, only: "message", differs: oneLine},
	{topic: "listening", name: "address in use", tool: openbsd, act: func(s *stage) { s.open(); s.run("-l", "127.0.0.1", "PORT") }},
	{topic: "listening", name: "address in use", tool: ncat, act: func(s *stage) { s.open(); s.run("-l", "127.0.0.1", "PORT") }},
	{topic: "listening", name: "foreign address", tool: openbsd, act: args("-l 192.0.2.1 PORT")},
	{topic: "listening", name: "foreign address", tool: ncat, act: args("-l 192.0.2.1 PORT")},
	{topic: "listening", name: "unknown name", tool: openbsd, act: args("-l " + noSuchHost + " PORT")},

	// connecting.
	{topic: "connecting", name: "refused", tool: openbsd, act: args("127.0.0.1 PORT")},
	{topic: "connecting", name: "refused -v", tool: openbsd, act: args("-v 127.0.0.1 PORT")},
	{topic: "connecting", name: "refused -v, by name", tool: openbsd, act: args("-v localhost PORT")},
	{topic: "connecting", name: "refused", tool: ncat, act: args("127.0.0.1 PORT")},
	{topic: "connecting", name: "refused -v", tool: ncat, act: args("-v 127.0.0.1 PORT")},
	{topic: "connecting", name: "unknown name", tool: openbsd, act: args(noSuchHost + " 80")},
	{topic: "connecting", name: "unknown name", tool: ncat, act: args(noSuchHost + " 80")},
	{topic: "connecting", name: "-4 ::1", tool: openbsd, act: args("-4 ::1 PORT")},
	{topic: "connecting", name: "-4 ::1", tool: ncat, act: args("-4 ::1 PORT")},
	{topic: "connecting", name: "foreign source", tool: openbsd, act: args("-s 192.0.2.1 127.0.0.1 PORT")},
	{topic: "connecting", name: "silent host", tool: openbsd, act: func(s *stage) { s.silent(); s.run("-v", "-w1", "127.0.0.1", "PORT") }},
	{topic: "connecting", name: "silent host", tool: ncat, act: func(s *stage) { s.silent(); s.run("-w1", "127.0.0.1", "PORT") }},
	{topic: "connecting", name: "connected -v", tool: openbsd, act: func(s *stage) { s.client("-v"); s.inputEnds(); s.leaves() }},
	{topic: "connecting", name: "connected -vn", tool: openbsd, act: func(s *stage) { s.client("-vn"); s.inputEnds(); s.leaves() }},
	{topic: "connecting", name: "connected -v, by name", tool: openbsd, act: func(s *stage) { s.connects("-v", "localhost", "PORT"); s.inputEnds(); s.leaves() }},
	{topic: "connecting", name: "connected -v", tool: ncat, act: func(s *stage) { s.client("-v"); s.inputEnds(); s.leaves() }},
	{topic: "connecting", name: "accepted -v", tool: openbsd, act: func(s *stage) { s.listener("-v"); s.leaves() }},
	{topic: "connecting", name: "accepted -vn", tool: openbsd, act: func(s *stage) { s.listener("-vn"); s.leaves() }},
	{topic: "connecting", name: "accepted -v", tool: ncat, act: func(s *stage) { s.listener("-v"); s.leaves() }},

	// scans.
	{topic: "scans", name: "one open", tool: openbsd, act: func(s *stage) { s.open(); s.run("-z", "127.0.0.1", "PORT") },
		only: "message", differs: tellsOpen},
	{topic: "scans", name: "one closed", tool: openbsd, act: args("-z 127.0.0.1 PORT")},
	{topic: "scans", name: "range -v", tool: openbsd, act: func(s *stage) { s.open(); s.run("-zv", "127.0.0.1", "PORT-"+s.offset(2)) }},
	{topic: "scans", name: "range backwards", tool: openbsd, act: func(s *stage) { s.open(); s.run("-zv", "127.0.0.1", s.offset(2)+"-PORT") }},
	{topic: "scans", name: "list", tool: openbsd, act: func(s *stage) { s.open(); s.run("-zv", "127.0.0.1", s.offset(2), "PORT", s.offset(1)) }},
	{topic: "scans", name: "range, none open", tool: openbsd, act: func(s *stage) { s.run("-zv", "127.0.0.1", "PORT-"+s.offset(2)) }},
	{topic: "scans", name: "one open", tool: ncat, act: func(s *stage) { s.open(); s.run("-z", "127.0.0.1", "PORT") }},
	{topic: "scans", name: "one closed", tool: ncat, act: args("-z 127.0.0.1 PORT")},

	// ends of file.
	{topic: "ends of file", name: "client, input ends: the peer is not told", tool: openbsd, act: notTold},
	{topic: "ends of file", name: "client -N, input ends: the peer may answer", tool: openbsd, act: halfClosed("-N")},
	{topic: "ends of file", name: "client -q 0, input ends: the peer may answer", tool: openbsd, act: halfClosed("-q0")},
	{topic: "ends of file", name: "client, input ends: the peer may answer", tool: ncat, act: halfClosed()},
	{topic: "ends of file", name: "client --no-shutdown, input ends: the peer is not told", tool: ncat, act: func(s *stage) {
		s.client("--no-shutdown")
		s.types("abc\n")
		s.inputEnds()
		s.hears("abc\n")
		s.hearsNoEnd()
		s.leaves()
	}},
	{topic: "ends of file", name: "client --send-only leaves at the end of the input", tool: ncat, act: func(s *stage) {
		s.client("--send-only")
		s.types("abc\n")
		s.inputEnds()
		s.hearsEnd("abc\n")
	}},
	{topic: "ends of file", name: "client --recv-only", tool: ncat, act: func(s *stage) {
		s.client("--recv-only")
		s.types("abc\n")
		s.says("hello")
		s.shows("hello")
		s.hearsNoEnd()
		s.leaves()
	}},
	{topic: "ends of file", name: "client, peer ends: we go on", tool: openbsd, act: peerFirst("-N")},
	{topic: "ends of file", name: "client, peer ends: we go on", tool: ncat, act: peerFirst()},
	{topic: "ends of file", name: "listener, peer ends: the session is over", tool: openbsd, act: listenerEndsWithPeer},
	{topic: "ends of file", name: "listener, peer ends: the session is over", tool: ncat, act: listenerEndsWithPeer},
	{topic: "ends of file", name: "listener, input ends: the peer is not told", tool: openbsd, act: func(s *stage) {
		s.listener()
		s.types("hello")
		s.inputEnds()
		s.hears("hello")
		s.hearsNoEnd()
		s.says("bye")
		s.leaves()
		s.shows("bye")
	}},
	{topic: "ends of file", name: "listener -N, input ends: the peer may answer", tool: openbsd, act: func(s *stage) {
		s.listener("-N")
		s.types("hello")
		s.inputEnds()
		s.hearsEnd("hello")
		s.says("bye")
		s.leaves()
		s.shows("bye")
	}},
	{topic: "ends of file", name: "client -d reads no input", tool: openbsd, act: func(s *stage) {
		s.client("-d")
		s.hearsNoEnd()
		s.says("hello")
		s.shows("hello")
		s.leaves()
	}},
	{topic: "ends of file", name: "client, input from /dev/null", tool: openbsd, act: func(s *stage) {
		s.client("-N")
		s.inputEnds()
		s.hearsEnd("")
		s.says("hello")
		s.leaves()
		s.shows("hello")
	}},

	// idle time: what is said before must be said within it.
	{topic: "idle time", name: "client -w 4", tool: openbsd, honest: exitIdle, act: func(s *stage) {
		s.client("-w4")
		s.says("x")
		s.hearsEnd("")
	}},
	{topic: "idle time", name: "listener -w 4", tool: openbsd, honest: exitIdle, act: func(s *stage) {
		s.listener("-w4")
		s.says("x")
		s.hearsEnd("")
	}},
	{topic: "idle time", name: "client -i 4", tool: ncat, act: func(s *stage) {
		s.client("-i4")
		s.says("x")
		s.hearsEnd("")
	}},

	// one after the other.
	{topic: "-k", name: "-k serves one after the other", tool: openbsd, act: func(s *stage) {
		s.listener("-k")
		s.says("A ")
		s.shows("A ")
		first := s.peer
		s.meet(s.dial())
		s.says("B ")
		s.peer.CloseWrite()
		first.Write([]byte("A2 "))
		s.shows("A A2 ")
		first.Close()
		s.shows("A A2 B ")
		s.stays()
		s.killed()
	}},
	{topic: "-k", name: "-k serves all at once", tool: ncat, act: func(s *stage) {
		s.listener("-k")
		s.says("A ")
		s.shows("A ")
		first := s.peer
		s.meet(s.dial())
		s.says("B ")
		s.shows("A B ")
		first.Write([]byte("A2"))
		s.shows("A B A2")
		s.types("all")
		s.hears("all")
		b := make([]byte, 3)
		if n, err := first.Read(b); string(b[:n]) != "all" {
			s.Errorf("the first peer heard %q, %v", b[:n], err)
		}
		first.Close()
		s.leaves()
		s.killed()
	}},

	// -C, -t, -W.
	{topic: "-C, -i, -t, -W", name: "-C", tool: openbsd, act: func(s *stage) {
		s.client("-C", "-N")
		s.types("a\nb\r\nc\n\n")
		s.inputEnds()
		s.hearsEnd("a\r\nb\r\nc\r\n\r\n")
		s.says("d\ne")
		s.leaves()
	}},
	{topic: "-C, -i, -t, -W", name: "-C", tool: ncat, act: func(s *stage) {
		s.client("-C")
		s.types("a\nb\r\nc\n\n")
		s.inputEnds()
		s.hearsEnd("a\r\nb\r\nc\r\n\r\n")
		s.says("d\ne")
		s.leaves()
	}},
	{topic: "-C, -i, -t, -W", name: "-t", tool: openbsd, act: telnetPlay},
	{topic: "-C, -i, -t, -W", name: "-t", tool: ncat, act: telnetPlay},
	{topic: "-C, -i, -t, -W", name: "-W 1", tool: openbsd, act: func(s *stage) {
		s.client("-W1")
		s.says("one")
		s.hearsEnd("")
	}},
	{topic: "-C, -i, -t, -W", name: "-i 4 delays lines", tool: openbsd, act: func(s *stage) {
		s.client("-i4", "-N")
		s.types("a\nb\n")
		s.inputEnds()
		s.hears("a\n")
		s.hearsNoEnd()
		s.hearsEnd("b\n")
		s.leaves()
	}},

	// what breaks.
	// -U and -u, which are the kernel's whatever the transport.
	{topic: "-U", name: "client", tool: openbsd, honest: -1, kernel: true, act: unixConnects("-UN")},
	{topic: "-U", name: "client", tool: ncat, kernel: true, act: unixConnects("-U")},
	{topic: "-U", name: "listener", tool: openbsd, honest: -1, kernel: true, act: unixListens},
	{topic: "-U", name: "listener", tool: ncat, kernel: true, act: unixListens},
	{topic: "-U", name: "nobody there", tool: openbsd, kernel: true, act: args("-U /nonexistent/socket")},
	{topic: "-u", name: "client -q 0 leaves at the end of the input", tool: openbsd, kernel: true, act: udpConnects("-u", "-q0")},
	{topic: "-u", name: "client leaves at the end of the input", tool: ncat, kernel: true, act: udpConnects("-u")},
	{topic: "-u", name: "listener -W 2", tool: openbsd, kernel: true, act: func(s *stage) {
		s.run("-ulv", "-W2", "127.0.0.1", "PORT")
		s.p.says(`(?i)(bound|listening) on`)
		c, err := net.Dial("udp", "127.0.0.1:"+s.port)
		if err != nil {
			s.Fatal(err)
		}
		defer c.Close()
		io.WriteString(c, "hello ")
		s.shows("hello ")
		io.WriteString(c, "there")
		s.shows("hello there")
	}},

	{topic: "what breaks", name: "reset by the peer", tool: openbsd, honest: exitTruncated, act: func(s *stage) {
		s.client()
		s.types("x")
		s.hears("x")
		s.resets()
	}},
	{topic: "what breaks", name: "reset by the peer", tool: ncat, act: func(s *stage) {
		s.client()
		s.types("x")
		s.hears("x")
		s.resets()
	}},
	{topic: "what breaks", name: "the peer has left, and more is sent", tool: openbsd, honest: -1, act: sentInVain}, // as mpnc: TestServerLeavesUnderClient; here the kernel's MPTCP acknowledges it
	{topic: "what breaks", name: "the peer has left, and more is sent", tool: ncat, act: sentInVain},
	{topic: "what breaks", name: "disk full", tool: openbsd, honest: exitOutput, act: diskFull},
	{topic: "what breaks", name: "disk full", tool: ncat, act: diskFull},
}

// notTold: abc, the end of our input, of which the peer does not hear.
func notTold(s *stage) {
	s.client()
	s.types("abc\n")
	s.inputEnds()
	s.hears("abc\n")
	s.hearsNoEnd()
	s.says("late")
	s.shows("late")
	s.stays()
	s.leaves()
}

// listenerEndsWithPeer: a word each way, and the peer's end is that of the session.
func listenerEndsWithPeer(s *stage) {
	s.listener()
	s.types("hello")
	s.hears("hello")
	s.says("bye")
	s.finishes()
	s.shows("bye")
	s.hearsEnd("")
}

// halfClosed: abc, our end, then the peer's answer and end.
func halfClosed(options ...string) func(*stage) {
	return func(s *stage) {
		s.client(options...)
		s.says("greeting ")
		s.shows("greeting ")
		s.types("abc\n")
		s.inputEnds()
		s.hearsEnd("abc\n")
		s.says("late")
		s.shows("greeting late")
		s.leaves()
	}
}

// peerFirst: the peer ends, and we still have something to say.
func peerFirst(options ...string) func(*stage) {
	return func(s *stage) {
		s.client(options...)
		s.says("hello")
		s.finishes()
		s.shows("hello")
		s.stays()
		s.types("abc\n")
		s.inputEnds()
		s.hearsEnd("abc\n")
		s.leaves()
	}
}

func telnetPlay(s *stage) {
	s.client("-t")
	s.says("\xff\xfd\x18")
	s.hears("\xff\xfc\x18")
	s.shows("\xff\xfd\x18") // the real nc answers again what it has not yet written
	s.says("\xff\xfb\x01")
	s.hears("\xff\xfe\x01")
	s.says("login: ")
	s.shows("\xff\xfd\x18\xff\xfb\x01login: ")
	s.inputEnds()
	s.leaves()
}

// sentInVain: the peer takes a line and leaves; the next one is answered with a
// reset.
func sentInVain(s *stage) {
	s.client()
	s.types("abc\n")
	s.hears("abc\n")
	s.leaves()
	s.stays()
	s.types("def\n")
	s.inputEnds()
}

// diskFull lets the tool write to a disk that has no room.
func diskFull(s *stage) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		s.Fatal(err)
	}
	defer full.Close()
	ln := s.listenAt()
	defer ln.Close()
	s.p = s.cast.prepare(s.T, "127.0.0.1", s.port)
	s.p.Stdout = full
	s.p.begin()
	c, err := ln.Accept()
	if err != nil {
		s.Fatal(err)
	}
	s.meet(c)
	s.inputEnds()
	s.says("x")
	s.leaves()
}

// unixConnects: a session with a peer on a Unix socket.
func unixConnects(options ...string) func(*stage) {
	return func(s *stage) {
		path := s.path()
		l, err := net.Listen("unix", path)
		if err != nil {
			s.Fatal(err)
		}
		defer l.Close()
		if err := os.Chmod(path, 0o777); err != nil {
			s.Fatal(err)
		}
		s.run(append(options, path)...)
		l.(*net.UnixListener).SetDeadline(time.Now().Add(patience))
		c, err := l.Accept()
		if err != nil {
			s.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		io.WriteString(c, "hello")
		s.shows("hello")
		s.types("abc")
		s.inputEnds()
		if got, err := io.ReadAll(c); err != nil || string(got) != "abc" {
			s.Errorf("the peer heard %q, %v", got, err)
		}
	}
}

// unixListens: a session with a peer that connects to a Unix socket, and
// ends.
func unixListens(s *stage) {
	path := s.path()
	s.run("-lU", path)
	var c net.Conn
	for late := time.Now().Add(patience); c == nil; {
		var err error
		if c, err = net.Dial("unix", path); err != nil && time.Now().After(late) {
			s.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
	io.WriteString(c, "hello")
	s.shows("hello")
	c.Close()
}

// path is a name for a socket in a directory where everybody may make one.
func (s *stage) path() string {
	dir, err := os.MkdirTemp("", "mpnc-test")
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		s.Fatal(err)
	}
	return filepath.Join(dir, "s")
}

// udpConnects: a datagram to a peer, and the end of the input.
func udpConnects(options ...string) func(*stage) {
	return func(s *stage) {
		l, err := net.ListenPacket("udp", "127.0.0.1:"+s.port)
		if err != nil {
			s.Fatal(err)
		}
		defer l.Close()
		s.run(append(options, "127.0.0.1", "PORT")...)
		s.types("abc\n")
		b := make([]byte, 64)
		l.SetReadDeadline(time.Now().Add(patience))
		n, _, err := l.ReadFrom(b)
		if err != nil || string(b[:n]) != "abc\n" {
			s.Errorf("the peer heard %q, %v", b[:n], err)
		}
		s.inputEnds()
		s.ends()
	}
}
