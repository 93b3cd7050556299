package main

// hobbits is a play of a command line alone, by the traditional netcat.
func hobbits(topic, line string) play {
	return play{topic: topic, name: line, tool: traditional, act: args(line)}
}

// misused is one of a command line that is refused.
func misused(line string) play {
	return play{topic: "command line", name: line, tool: traditional, act: args(line), only: "message", differs: oneLine}
}

// traditionalPlays are those of the first netcat, as Debian has it.
var traditionalPlays = []play{
	// command lines.
	misused("127.0.0.1"),
	misused("127.0.0.1 nosuchservice"),
	misused("-w abc 127.0.0.1 PORT"),
	misused("-n localhost PORT"),
	misused("-Q 127.0.0.1 1"),
	misused("-w"),

	// what to listen on.
	spelled(traditional, "-l -p PORT"), spelled(traditional, "-lp PORT"), spelled(traditional, "-lpPORT"),
	spelled(traditional, "-lvnp PORT"), spelled(traditional, "-nvlp PORT"), spelled(traditional, "-v -l -p PORT"),
	spelled(traditional, "-l -s 127.0.0.1 -p PORT"),
	hobbits("listening", "-l -p PORT -s 192.0.2.1"),
	hobbits("listening", "-l -p PORT -w 1"),

	// connecting.
	hobbits("connecting", "127.0.0.1 PORT"), // where nobody listens
	hobbits("connecting", "-v 127.0.0.1 PORT"),
	hobbits("connecting", "-vn 127.0.0.1 PORT"),
	hobbits("connecting", "-vvn 127.0.0.1 PORT"),
	hobbits("connecting", "localhost PORT"),
	hobbits("connecting", noSuchHost+" 80"),
	hobbits("connecting", "-s 192.0.2.1 127.0.0.1 PORT"),
	hobbits("connecting", "-s 192.0.2.1 -p PORT 127.0.0.1 1"),
	{topic: "connecting", name: "silent host", tool: traditional, act: func(s *stage) { s.silent(); s.run("-vn", "-w1", "127.0.0.1", "PORT") }},
	{topic: "connecting", name: "connected -v", tool: traditional, act: func(s *stage) { s.client("-v"); s.leaves() }},
	{topic: "connecting", name: "connected -vn", tool: traditional, act: func(s *stage) { s.client("-vn"); s.leaves() }},
	{topic: "connecting", name: "connected -vvn, with what went across", tool: traditional, act: func(s *stage) {
		s.client("-vvn")
		s.types("abc")
		s.hears("abc")
		s.says("hello")
		s.shows("hello")
		s.leaves()
	}},
	{topic: "connecting", name: "connected -v, by name", tool: traditional, act: func(s *stage) { s.connects("-v", "localhost", "PORT"); s.leaves() }},
	{topic: "connecting", name: "accepted -v", tool: traditional, act: func(s *stage) { s.listens("-lvp", "PORT"); s.leaves() }},
	{topic: "connecting", name: "accepted -vn", tool: traditional, act: func(s *stage) { s.listens("-lvnp", "PORT"); s.leaves() }},

	// scans: from the highest port down.
	{topic: "scans", name: "one open -z", tool: traditional, act: func(s *stage) { s.open(); s.run("-z", "127.0.0.1", "PORT") }},
	{topic: "scans", name: "one open -zv", tool: traditional, act: func(s *stage) { s.open(); s.run("-zv", "127.0.0.1", "PORT") }},
	hobbits("scans", "-z 127.0.0.1 PORT"),
	hobbits("scans", "-zv 127.0.0.1 PORT"),
	{topic: "scans", name: "range -zv", tool: traditional, act: func(s *stage) { s.open(); s.run("-zv", "127.0.0.1", "PORT-"+s.offset(2)) }},
	{topic: "scans", name: "range -zvvn", tool: traditional, act: func(s *stage) { s.open(); s.run("-zvvn", "127.0.0.1", "PORT-"+s.offset(2)) }},
	{topic: "scans", name: "list -zvv", tool: traditional, act: func(s *stage) { s.open(); s.run("-zvv", "127.0.0.1", s.offset(2), "PORT", s.offset(1)) }},
	{topic: "scans", name: "range -z, none open", tool: traditional, act: func(s *stage) { s.run("-z", "127.0.0.1", "PORT-"+s.offset(2)) }},
	{topic: "scans", name: "range -zv, none open", tool: traditional, act: func(s *stage) { s.run("-zv", "127.0.0.1", "PORT-"+s.offset(2)) }},
	{topic: "scans", name: "two ports without -z, none open", tool: traditional, act: func(s *stage) { s.run("127.0.0.1", "PORT", s.offset(1)) }},

	// ends of file.
	{topic: "ends of file", name: "client, input ends: the peer is not told", tool: traditional, act: notTold},
	{topic: "ends of file", name: "client, peer ends: we leave", tool: traditional, act: func(s *stage) {
		s.client()
		s.types("abc")
		s.hears("abc")
		s.says("hello")
		s.finishes()
		s.shows("hello")
		s.hearsEnd("")
	}},
	{topic: "ends of file", name: "client -q 0 leaves at the end of the input", tool: traditional, act: func(s *stage) {
		s.client("-q0")
		s.types("abc\n")
		s.inputEnds()
		s.hearsEnd("abc\n")
	}},
	{topic: "ends of file", name: "client -q 4: the peer may answer until then", tool: traditional, act: func(s *stage) {
		s.client("-q4")
		s.types("abc\n")
		s.inputEnds()
		s.hears("abc\n")
		s.says("late")
		s.shows("late")
		s.hearsEnd("")
	}},
	{topic: "ends of file", name: "listener, peer ends: the session is over", tool: traditional, act: func(s *stage) {
		s.listens("-lp", "PORT")
		s.types("hello")
		s.hears("hello")
		s.says("bye")
		s.finishes()
		s.shows("bye")
		s.hearsEnd("")
	}},
	{topic: "ends of file", name: "listener, input ends: the peer is not told", tool: traditional, act: func(s *stage) {
		s.listens("-lp", "PORT")
		s.types("hello")
		s.inputEnds()
		s.hears("hello")
		s.hearsNoEnd()
		s.says("bye")
		s.shows("bye")
		s.leaves()
	}},

	// idle time.
	{topic: "idle time", name: "client -w 4: from the end of the input on", tool: traditional, act: func(s *stage) {
		s.client("-w4")
		s.says("x")
		s.shows("x")
		s.inputEnds()
		s.hearsEnd("")
	}},

	// what breaks.
	{topic: "what breaks", name: "reset by the peer", tool: traditional, act: func(s *stage) {
		s.client()
		s.types("x")
		s.hears("x")
		s.resets()
	}},
	{topic: "what breaks", name: "SIGTERM", tool: traditional, only: "message", differs: signalEnds, act: func(s *stage) {
		s.client()
		s.says("x")
		s.shows("x")
		s.killed()
	}},
	{topic: "what breaks", name: "disk full", tool: traditional, act: diskFull},
}
