package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/mpnc/mpnc/mptcp"
	"github.com/mpnc/mpnc/pathmgr"
	"github.com/mpnc/mpnc/scheduler"
	"github.com/mpnc/mpnc/subflow/cc"
)

// option is a row of the table of options: what is parsed, what --help says,
// what shells complete and what the manual page must have all come from here.
type option struct {
	// name is the long name, by which the value is asked for.
	name string
	// letters has the option's letter in each dialect, in the order of their
	// constants; a dot where there is none. Empty: none anywhere.
	letters string
	// arg is what the value is called; empty if the option takes none.
	arg string
	// def is the value if nothing is given.
	def string
	// values are what the value may be, for completion; or "FILE" alone.
	values []string
	// alone is the value of the option given without one, which it then may be;
	// empty if it may not. A value is then attached: --name=VALUE.
	alone string
	// many allows the option more than once (as flags do anyway: -vv).
	many bool
	// more allows it more than once, too: its value is the first one, and
	// values has all.
	more bool
	// own options mean something to our own stack only, kernel ones to the
	// kernel's sockets only.
	own, kernel bool
	part        part
	use         string
	// hidden options are parsed only.
	hidden bool
}

// part is a section of --help.
type part uint8

const (
	partConnection part = iota
	partData
	partListening
	partTransport
	partTuning
	partProxy
	partTLS
	partOutput
	partOther
	parts
)

var partTitles = [parts]string{
	"Connecting", "Data and its end", "Listening", "Transport", "Tuning of our own stack",
	"Proxies", "TLS", "What is told", "Other",
}

// options of mpnc HOST PORT and mpnc -l PORT.
var table = []option{
	{name: "ipv4", letters: "4444", part: partConnection, use: "IPv4 only"},
	{name: "ipv6", letters: "666.", part: partConnection, use: "IPv6 only"},
	{name: "source", letters: "ssss", arg: "ADDRESS", more: true, part: partConnection, use: "source address, several times for a path from each; with -l the address to listen on"},
	{name: "source-port", letters: "pppp", arg: "PORT", part: partConnection, use: "source port; with -l the port to listen on"},
	{name: "nodns", letters: "nnnn", part: partConnection, use: "numeric addresses and ports only"},
	{name: "wait", letters: "wwww", arg: "TIME", part: partConnection, use: "give up after TIME without connection, or with nothing moving (seconds, or 500ms, 2m)"},
	{name: "scan", letters: "zzzz", part: partConnection, use: "only tell which ports accept a connection (a list of ports and ranges); with -v what the others do"},
	{name: "random-ports", letters: "rr.r", part: partConnection, use: "ports in random order"},
	{name: "udp", letters: "uuuu", part: partConnection, kernel: true, use: "UDP: what is read at once is a datagram"},
	{name: "unixsock", letters: "UUU.", part: partConnection, kernel: true, use: "a Unix socket: the operand is its path, or @NAME in Linux's abstract name space; with -u of datagrams"},
	{name: "broadcast", letters: "bb.b", part: partConnection, kernel: true, use: "allow broadcast addresses (with -u)"},
	{name: "pass-fd", letters: "FF..", part: partConnection, kernel: true, use: "connect, pass the socket on over standard output, and leave (ssh's ProxyUseFdpass)"},
	{name: "tos", letters: "TT.T", arg: "VALUE", part: partConnection, use: "type of service: a number, a DSCP like af21, or lowdelay, throughput, reliability (the ECN bits do not count)"},
	{name: "ttl", letters: "MM..", arg: "N", part: partConnection, use: "TTL or hop limit of what is sent"},
	{name: "min-ttl", letters: "mm..", arg: "N", part: partConnection, use: "TTL or hop limit that what comes must at least have"},

	{name: "shutdown", letters: "NN..", part: partData, use: "end our direction when standard input ends"},
	{name: "no-shutdown", part: partData, use: "do not (that is what happens without -N)"},
	{name: "quit", letters: "qqqq", arg: "SECONDS", part: partData, use: "like -N, and leave so long after standard input ended, if the peer has not ended before; 0 waits for the peer, -1 is as without"},
	{name: "idle-timeout", letters: "..i.", arg: "TIME", part: partData, use: "end the session when nothing moved for TIME"},
	{name: "no-stdin", letters: "dd..", part: partData, use: "do not read standard input"},
	{name: "send-only", part: partData, use: "ignore what the peer sends, and leave when standard input is sent"},
	{name: "recv-only", part: partData, use: "do not read standard input, and leave when the peer ends"},
	{name: "crlf", letters: "CCCC", part: partData, use: "send line ends as CR LF"},
	{name: "interval", letters: "ii.i", arg: "TIME", part: partData, use: "pause after each line sent"},
	{name: "delay", letters: "..d.", arg: "TIME", part: partData, use: "pause after each piece sent"},
	{name: "telnet", letters: "tttt", part: partData, use: "refuse every Telnet option that the peer proposes"},
	{name: "reads", letters: "WW..", arg: "N", part: partData, use: "leave after N reads from the connection"},

	{name: "listen", letters: "llll", part: partListening, use: "listen for a connection"},
	{name: "keep-open", letters: "kkk.", part: partListening, use: "with -l: go on listening, one connection after the other"},
	{name: "max-conns", letters: "..m.", arg: "N", part: partListening, use: "with -k: serve up to N connections at once (standard input goes to all of them)"},

	{name: "exec", letters: "..ee", arg: "COMMAND", part: partListening, use: "give the connection to a program (NCAT_REMOTE_ADDR and others tell it of the peer); without -l, too"},
	{name: "sh-exec", letters: "..cc", arg: "COMMAND", part: partListening, use: "the same with a command line of /bin/sh"},
	{name: "allow", arg: "ADDRESS", many: true, part: partListening, use: "let only these addresses, prefixes (192.0.2.0/24) and names connect"},
	{name: "allowfile", arg: "FILE", values: []string{"FILE"}, part: partListening, use: "those in FILE"},
	{name: "deny", arg: "ADDRESS", many: true, part: partListening, use: "do not let these connect"},
	{name: "denyfile", arg: "FILE", values: []string{"FILE"}, part: partListening, use: "nor those in FILE"},
	{name: "broker", part: partListening, use: "connect all who connect with each other: what one says goes to all others"},
	{name: "chat", part: partListening, use: "the same by lines, each with the name of who said it"},
	{name: "pidfile", arg: "FILE", values: []string{"FILE"}, part: partListening, use: "write the process's number to FILE while it runs"},

	{name: "proxy", letters: "xx..", arg: "ADDRESS[:PORT]", part: partProxy, use: "connect through a proxy (default port: 1080, of HTTP proxies 3128)"},
	{name: "proxy-type", letters: "XX..", arg: "KIND", values: []string{"5", "4", "4A", "connect", "socks5", "socks4", "http"}, part: partProxy, use: "what it speaks: 5, 4, 4A (SOCKS), connect (HTTP); socks5, socks4, http are ncat's words (default: 5)"},
	{name: "proxy-user", letters: "PP..", arg: "USER", part: partProxy, use: "who we are to it"},
	{name: "proxy-auth", arg: "USER:PASSWORD", part: partProxy, use: "with a password (better in the environment, where it is not seen: " + proxyAuthVariable + ")"},
	{name: "proxy-dns", arg: "WHERE", values: []string{"remote", "local"}, part: partProxy, use: "who looks names up: remote (the proxy, the default but for SOCKS 4) or local"},

	{name: "ssl", part: partTLS, use: "TLS 1.3; as a listener with a certificate made for the occasion, whose fingerprint is told"},
	{name: "ssl-cert", arg: "FILE", values: []string{"FILE"}, part: partTLS, use: "our certificate (PEM)"},
	{name: "ssl-key", arg: "FILE", values: []string{"FILE"}, part: partTLS, use: "and its key (default: in the same file)"},
	{name: "ssl-verify", part: partTLS, use: "refuse a peer whose certificate no authority of this system vouches for"},
	{name: "ssl-trustfile", arg: "FILE", values: []string{"FILE"}, part: partTLS, use: "or no certificate in FILE (PEM)"},
	{name: "ssl-pin", arg: "FINGERPRINT", part: partTLS, use: "refuse a peer that has another certificate than this, as the listener prints it (sha256:...)"},
	{name: "ssl-servername", arg: "NAME", part: partTLS, use: "the name to ask for and to verify (default: the host's)"},
	{name: "ssl-alpn", arg: "LIST", part: partTLS, use: "protocols to offer, the best first"},

	{name: "transport", arg: "KIND", def: "auto", values: transportNames, part: partTransport, use: "what carries the connection: " + strings.Join(transportNames, ", ")},
	{name: "hold", arg: "TIME", def: "15m", own: true, part: partTransport, use: "how long a connection lives without any path"},
	{name: "scheduler", arg: "NAME", def: "minrtt", values: scheduler.Names(), own: true, part: partTransport, use: "which path carries what: " + strings.Join(scheduler.Names(), ", ")},
	{name: "path-manager", arg: "NAME", def: "fullmesh", values: pathmgr.Names(), own: true, part: partTransport, use: "which paths to have: " + strings.Join(pathmgr.Names(), ", ")},
	{name: "path", arg: "IFACE[:backup][:cost=N][:max=SIZE]", many: true, own: true, part: partTransport, use: "how to use the interfaces of a name or pattern"},
	{name: "no-path", arg: "IFACE", many: true, own: true, part: partTransport, use: "do not use the interfaces of a name or pattern"},
	{name: "path-file", arg: "FILE", values: []string{"FILE"}, own: true, part: partTransport, use: "read such rules from FILE"},
	{name: "congestion", arg: "NAME", def: "cubic", values: cc.Names(), own: true, part: partTransport, use: "congestion control: " + strings.Join(cc.Names(), ", ")},

	{name: "nodelay", own: true, part: partTuning, use: "send small writes at once (no Nagle algorithm)"},
	{name: "fast-open", own: true, part: partTuning, use: "send the first input with the SYN to servers that know us; with -l take such data (TCP Fast Open; it may arrive twice)"},
	{name: "checksum", own: true, part: partTuning, use: "find data that the network changes: MPTCP with checksums"},
	{name: "take-altered", own: true, part: partTuning, use: "take changed data as plain TCP does where there is no other path for it, and do not fail"},
	{name: "keepalive", arg: "TIME", own: true, part: partTuning, use: "ask a peer that was silent for TIME whether it is there (default: never)"},
	{name: "user-timeout", arg: "TIME", own: true, part: partTuning, use: "fail a connection whose data nobody acknowledges for TIME (default: that of --hold)"},
	{name: "user-timeout-option", own: true, part: partTuning, use: "tell the peer of it (RFC 5482), and without it hold a connection as long as the peer asks"},
	{name: "time-wait", arg: "TIME", own: true, part: partTuning, use: "how long a closed subflow stays in TIME-WAIT (default: 60s)"},
	{name: "mss", arg: "NUMBER", own: true, part: partTuning, use: fmt.Sprintf("largest segment that we send and ask for, from %d to %d octets (default: what each path takes)", mptcp.MinMSS, mptcp.MaxMSS)},
	{name: "offload", arg: "WHEN", def: "auto", values: offloadNames, own: true, part: partTuning, use: "send trains of segments that the interface cuts, past this host's rules for output: auto (where a path does not need those) or off (default: what " + offloadVariable + " says, or auto)"},
	{name: "sndbuf", letters: "OO..", arg: "SIZE", part: partTuning, use: "send buffer in octets, or with K or M (default: as needed, up to 8M)"},
	{name: "rcvbuf", letters: "II..", arg: "SIZE", part: partTuning, use: "receive buffer in octets, or with K or M (default: as needed, up to 8M)"},
	{name: "ladder", arg: "FILE", alone: ladderToStderr, values: []string{"FILE"}, own: true, part: partTuning, use: "draw the exchange as a ladder diagram, on standard error as it happens, or into FILE"},
	{name: "trace", arg: "FILE", values: []string{"FILE"}, own: true, part: partTuning, use: "write every packet to FILE, as pcapng for Wireshark, with what the stack made of it (it holds the connection's keys)"},

	{name: "verbose", letters: "vvvv", part: partOutput, use: "tell what happens, on standard error; twice: more"},
	{name: "output", letters: "..o.", arg: "FILE", values: []string{"FILE"}, part: partOutput, use: "write what is sent and received to FILE, too"},
	{name: "hex-dump", letters: "..xo", arg: "FILE", values: []string{"FILE"}, part: partOutput, use: "write it in hexadecimal to FILE, > what is sent and < what is received"},
	{name: "append-output", part: partOutput, use: "append to these files instead of starting them anew"},
	{name: "debug", letters: "DD..", part: partOutput, use: "tell what the stack has to say, too"},
	{name: "json", part: partOutput, use: "final statistics as one JSON object on standard error"},

	{name: "compat", arg: "NAME", values: dialectNames[1:], part: partOther, use: "be another netcat: its letters, messages and exit statuses: " + strings.Join(dialectNames[1:], ", ")},
	{name: "completion", arg: "SHELL", values: []string{"bash", "zsh", "fish"}, part: partOther, use: "print what makes a shell complete this command line: bash, zsh, fish"},
	{name: "socket-keepalive", letters: "...k", hidden: true}, // what every socket of ours has
	{name: "help", letters: "hhhh", part: partOther, use: "this help"},
	{name: "version", part: partOther, use: "print the version"},
}

// letter is the option's letter in a dialect, or "".
func (o *option) letter(d dialect) string {
	if o.letters == "" || o.letters[d] == '.' {
		return ""
	}
	return o.letters[d : d+1]
}

// flag is what package cli parses the option with, in its long form.
func (o *option) flag() cli.Flag {
	switch {
	case o.arg == "":
		return &cli.BoolFlag{Name: o.name, Count: new(int)}
	case o.more:
		return &cli.GenericFlag{Name: o.name, Value: new(valueList)}
	case o.many:
		return &cli.StringSliceFlag{Name: o.name}
	}
	return &cli.StringFlag{Name: o.name, Value: o.def}
}

// valueList is the value of an option that may be given more than once.
type valueList []string

// Set implements flag.Value.
func (l *valueList) Set(s string) error {
	*l = append(*l, s)
	return nil
}

// String is the first value, or "".
func (l *valueList) String() string {
	if l == nil || len(*l) == 0 {
		return ""
	}
	return (*l)[0]
}

// values are all that were given of an option with more.
func values(c *cli.Context, name string) []string {
	if l, ok := c.Generic(name).(*valueList); ok {
		return *l
	}
	return nil
}

// tableFlags are the flags of the whole table.
func tableFlags() (flags []cli.Flag) {
	for i := range table {
		if table[i].name != "help" { // package cli has its own
			flags = append(flags, table[i].flag())
		}
	}
	return flags
}

// tableGrammar is how a command line of a dialect is read.
func tableGrammar(d dialect) *grammar {
	g := &grammar{letters: map[string]string{}, long: map[string]bool{}, alone: map[string]string{}, hint: d.hints()}
	for i := range table {
		o := &table[i]
		g.long[o.name] = o.arg != ""
		g.alone[o.name] = o.alone
		if l := o.letter(d); l != "" {
			g.letters[l] = o.name
		}
	}
	return g
}
