package main

import (
	"cmp"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/mpnc/mpnc/mptcp"
	"github.com/mpnc/mpnc/pathmgr"
	"github.com/mpnc/mpnc/scheduler"
	"github.com/mpnc/mpnc/subflow/cc"
)

// options are a command line that makes sense.
type options struct {
	dialect        dialect
	listen, keep   bool
	maxConns       int      // at once, with keep; at least 1
	host           string   // a name, an address, or a path; may be empty with listen
	ports          []string // numbers; one with listen
	network        string   // as package net's: tcp, tcp4 or tcp6
	numeric        bool
	source         netip.Addr    // zero: any
	sourcePort     uint16        // 0: any
	sources        []netip.Addr  // several, one a path: then source is zero
	anyFamily      string        // the network without what the source says of it
	timeout        time.Duration // of connecting; 0: none
	idle           time.Duration // of a session; 0: none
	scan, random   bool
	halfClose      bool
	noInput        bool
	sendOnly       bool
	quit           time.Duration // after the end of the input; 0: not, negative: at once
	crlf, telnet   bool
	interval       time.Duration // after each line sent
	reads          int           // from the connection; 0: no limit
	delay          time.Duration // after each piece sent
	exec, shExec   string        // program to give connections to; empty: none
	broker, chat   bool
	access         accessList
	pidFile        string
	sourcePath     string // our own Unix socket; empty: a new one
	passFD         bool
	inherited      bool // the listening socket is inheritedFD
	inheritedFD    int
	proxy          proxyOptions
	ssl            tlsOptions
	dump           dumpFiles
	socket         socketOptions
	verbose        int
	json           bool
	transport      string
	hold           time.Duration
	scheduler      func() scheduler.Scheduler
	schedulerName  string
	congestion     cc.Factory
	congestionName string
	pathManager    func() pathmgr.Manager
	pathRules      pathmgr.Rules
	tracePath      string // pcapng file; empty: none
	ladderPath     string // diagram; empty: none; ladderToStderr
	noDelay        bool
	fastOpen       bool
	tellTimeout    bool // --user-timeout-option
	checksum       bool
	takeAltered    bool
	timeWait       time.Duration
	userTimeout    time.Duration
	keepAlive      time.Duration
	noOffload      bool
	mss            int // octets; 0: what each path takes
	sendBuffer     int // octets; 0: default
	recvBuffer     int
	ownStackWishes []string // options given that only our own stack can honour
	kernelWishes   []string // options given that only the kernel can honour
	logf           func(string, ...any)
	stderr         io.Writer
	opened         func(inspector) // told of the transport that carries all others; may be nil
}

// port is the first of the ports, or "".
func (o *options) port() string {
	if len(o.ports) == 0 {
		return ""
	}
	return o.ports[0]
}

// listenAddress is where to listen, in package net's notation.
func (o *options) listenAddress() string {
	if p := o.port(); p != "" {
		return net.JoinHostPort(o.host, p)
	}
	return o.host
}

// listenAt is the address to listen on, for people.
func (o *options) listenAt() string {
	switch {
	case o.inherited:
		return "the inherited socket"
	case o.unix():
		return o.host
	}
	host := o.host
	if host == "" {
		host = "*"
	}
	return host + " port " + o.port()
}

// parseOptions makes options of a parsed command line.
func parseOptions(d dialect, c *cli.Context) (*options, error) {
	o := &options{
		dialect: d, listen: c.Bool("listen"), keep: c.Bool("keep-open"), maxConns: 1, network: "tcp",
		numeric: c.Bool("nodns"), scan: c.Bool("scan"), random: c.Bool("random-ports"),
		halfClose: c.Bool("shutdown") && !c.Bool("no-shutdown"),
		noInput:   c.Bool("no-stdin") || c.Bool("recv-only"), sendOnly: c.Bool("send-only"),
		crlf: c.Bool("crlf"), telnet: c.Bool("telnet"),
		dump:    dumpFiles{raw: c.String("output"), hex: c.String("hex-dump"), append: c.Bool("append-output")},
		verbose: c.Count("verbose") + 2*c.Count("debug"), json: c.Bool("json"), transport: c.String("transport"),
	}
	for _, step := range []func(*cli.Context) error{o.family, o.operands, o.ends, o.times, o.counts, o.sockets, o.proxies, o.tls, o.accessFlags, o.programs, o.tuning, o.plugins, o.habits, o.sense} {
		if err := step(c); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// sense refuses what contradicts itself.
func (o *options) sense(c *cli.Context) error {
	_, notNumeric := netip.ParseAddr(o.host)
	if o.unix() {
		notNumeric = nil
	}
	switch {
	case o.keep && !o.listen:
		return usage("must use -l with -k")
	case c.IsSet("max-conns") && !o.keep:
		return usage("must use -k with --max-conns")
	case o.inherited && (o.source.IsValid() || o.sourcePort != 0):
		return usage("the inherited socket has its address already")
	case o.passFD && (o.listen || o.scan || o.exec != "" || o.shExec != "" || o.ssl.config != nil):
		return usage("-F connects, passes the socket on and leaves: there is nothing to do with it here")
	case c.IsSet("broadcast") && !strings.HasPrefix(o.network, "udp"):
		return usage("-b is for UDP: -u -b")
	case o.scan && o.listen:
		return usage("cannot use -z and -l")
	case o.sendOnly && o.noInput:
		return usage("cannot send only without reading standard input")
	case c.Bool("shutdown") && c.Bool("no-shutdown"):
		return usage("-N and --no-shutdown exclude each other")
	case c.Bool("append-output") && o.dump.raw == "" && o.dump.hex == "":
		return usage("--append-output needs --output or --hex-dump")
	case o.numeric && notNumeric != nil && o.host != "":
		return usage("%s is not a numeric address, and with -n names are not looked up", o.host)
	}
	return nil
}

func (o *options) family(c *cli.Context) error {
	switch {
	case c.Bool("ipv4") && c.Bool("ipv6"):
		return usage("-4 and -6 exclude each other")
	case c.Bool("unixsock") && c.Bool("udp"):
		o.network = "unixgram"
		return nil
	case c.Bool("unixsock"):
		o.network = "unix"
		return nil
	case c.Bool("udp"):
		o.network = "udp"
	}
	if c.Bool("ipv4") {
		o.network += "4"
	}
	if c.Bool("ipv6") {
		o.network += "6"
	}
	return nil
}

// unix reports whether the other end is a path.
func (o *options) unix() bool { return strings.HasPrefix(o.network, "unix") }

// datagrams reports whether what is sent has borders and no end.
func (o *options) datagrams() bool {
	return strings.HasPrefix(o.network, "udp") || o.network == "unixgram"
}

// operands reads HOST PORT, or with -l [HOST] PORT, where -s may stand for the
// host and -p for the port.
func (o *options) operands(c *cli.Context) (err error) {
	args := c.Args().Slice()
	if o.unix() {
		return o.path(args)
	}
	if o.listen && len(args) == 0 && !c.IsSet("source-port") && !c.IsSet("source") {
		if o.inheritedFD, o.inherited = inheritedSocket(); o.inherited {
			return nil
		}
	}
	if !o.listen {
		switch {
		case len(args) == 0:
			return usage("missing host and port")
		case len(args) == 1 && o.dialect == ncat:
			args = append(args, ncatPort)
		case len(args) == 1:
			return usage("missing port number")
		}
		if o.host = unbracket(args[0]); o.host == "" {
			return usage("the host's name is empty")
		}
		if o.ports, err = o.portList(args[1:]); err == nil && o.random {
			shuffle(o.ports)
		}
		return err
	}
	if p := c.String("source-port"); p != "" {
		args = append(args, p)
	}
	if s := c.String("source"); s != "" {
		args = append([]string{s}, args...)
	}
	if len(args) == 0 && o.dialect == ncat {
		args = []string{ncatPort}
	}
	switch len(args) {
	case 0:
		return usage("missing port number to listen on")
	case 1, 2:
		o.host = unbracket(strings.Join(args[:len(args)-1], ""))
		port, err := o.portNumber(args[len(args)-1])
		o.ports = []string{port}
		return err
	}
	return usage("the address or the port to listen on is given twice")
}

// ncatPort is where ncat connects to and listens if nothing is said.
const ncatPort = "31337"

// path reads a Unix socket's.
func (o *options) path(args []string) error {
	switch {
	case len(args) == 0:
		return usage("missing the path of the socket")
	case len(args) > 1:
		return usage("cannot use port with -U")
	case args[0] == "":
		return usage("the path of the socket is empty")
	}
	o.host = args[0]
	return nil
}

func unbracket(host string) string {
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		return host[1 : len(host)-1]
	}
	return host
}

// portNumber reads a number or, without -n, a service's name. Port 0 is for
// listening only: any free one.
func (o *options) portNumber(s string) (string, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	switch {
	case err == nil && n > 65535:
		return "", usage("port number too large: %s", s)
	case err == nil && n == 0 && !o.listen:
		return "", usage("port number too small: %s", s)
	case err == nil:
		return strconv.FormatUint(n, 10), nil
	case o.numeric:
		return "", usage("port number invalid: %s (with -n names are not looked up)", s)
	}
	port, err := net.LookupPort(protocol(o.network), s)
	if err != nil {
		return "", usage("port number invalid: %s", s)
	}
	return strconv.Itoa(port), nil
}

// mostPorts bounds what one command line can ask for: each port of a host once.
const mostPorts = 65535

// portList reads ports and ranges of ports.
func (o *options) portList(args []string) (ports []string, err error) {
	for _, arg := range args {
		lo, hi, isRange := strings.Cut(arg, "-")
		if _, err := o.portNumber(arg); err == nil || !isRange {
			lo, hi = arg, arg // a number, or a name with a hyphen
		}
		from, err := o.portNumber(lo)
		if err != nil {
			return nil, err
		}
		to, err := o.portNumber(hi)
		if err != nil {
			return nil, err
		}
		first, _ := strconv.Atoi(from)
		last, _ := strconv.Atoi(to)
		if first > last {
			first, last = last, first
		}
		span := len(ports)
		for p := first; p <= last; p++ {
			ports = append(ports, strconv.Itoa(p))
		}
		if o.dialect == traditional {
			slices.Reverse(ports[span:])
		}
		if len(ports) > mostPorts {
			return nil, usage("too many ports")
		}
	}
	return ports, nil
}

// ends reads the source address and port of a client.
func (o *options) ends(c *cli.Context) error {
	if o.listen {
		return nil
	}
	if o.unix() {
		o.sourcePath = c.String("source")
		if o.sourcePath != "" && o.network == "unix" {
			return usage("a source address has a meaning for datagrams only: -u -U -s PATH")
		}
		return nil
	}
	o.anyFamily = o.network
	if s := c.String("source"); s != "" {
		a, err := netip.ParseAddr(unbracket(s))
		if err != nil {
			return usage("source address invalid: %s", s)
		}
		if err := o.restrict(a); err != nil {
			return err
		}
		o.source = a.Unmap()
	}
	if err := o.furtherSources(values(c, "source")); err != nil {
		return err
	}
	if p := c.String("source-port"); p != "" {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil {
			return usage("source port invalid: %s", p)
		}
		o.sourcePort = uint16(n)
	}
	return nil
}

// furtherSources reads several source addresses: the first path begins at the
// first that leads to the peer, and the others go on from the rest.
func (o *options) furtherSources(all []string) error {
	if len(all) < 2 {
		return nil
	}
	network := o.network
	for _, s := range all {
		a, err := netip.ParseAddr(unbracket(s))
		if err != nil {
			return usage("source address invalid: %s", s)
		}
		o.sources = append(o.sources, a.Unmap())
		o.network = o.anyFamily
		if err := o.restrict(a); err != nil {
			return err
		}
		if o.network != network {
			network = o.anyFamily // of both families
		}
	}
	o.network, o.source = network, netip.Addr{}
	o.ownStackWishes = append(o.ownStackWishes, "more than one -s")
	return nil
}

// restrict narrows the family to that of the source address.
func (o *options) restrict(a netip.Addr) error {
	family := protocol(o.network) + "6"
	if a.Unmap().Is4() {
		family = protocol(o.network) + "4"
	}
	if o.network != protocol(o.network) && o.network != family {
		return usage("source address %v is not of the family asked for", a)
	}
	o.network = family
	return nil
}

// times reads the options that are times. A time-out of 0 is as short as can
// be.
func (o *options) times(c *cli.Context) error {
	for _, t := range []struct {
		name, text string
		to         *time.Duration
	}{
		{"wait", "timeout", &o.timeout}, {"idle-timeout", "idle timeout", &o.idle}, {"interval", "interval", &o.interval}, {"delay", "delay", &o.delay},
	} {
		s := c.String(t.name)
		if s == "" {
			continue
		}
		d, err := parseAnyTime(s)
		switch {
		case err != nil:
			return usage("%s invalid: %s", t.text, s)
		case d < 0:
			return usage("%s too small: %s", t.text, s)
		}
		*t.to = max(d, time.Millisecond)
	}
	if q := c.String("quit"); q != "" {
		d, err := parseAnyTime(q)
		if err != nil {
			return usage("quit time invalid: %s", q)
		}
		if d >= 0 {
			o.halfClose, o.quit = true, d
		}
	}
	var err error
	if o.hold, err = parseTime(c.String("hold")); err != nil {
		return usage("hold time invalid: %s", c.String("hold"))
	}
	return nil
}

// counts reads the options that are numbers from 1.
func (o *options) counts(c *cli.Context) error {
	for _, n := range []struct {
		name, text string
		most       uint64
		to         *int
	}{{"reads", "number of reads", 1 << 31, &o.reads}, {"max-conns", "number of connections", 1 << 20, &o.maxConns}} {
		s := c.String(n.name)
		if s == "" {
			continue
		}
		v, err := strconv.ParseUint(s, 10, 32)
		if err != nil || v == 0 || v > n.most {
			return usage("%s invalid: %s", n.text, s)
		}
		*n.to = int(v)
	}
	return nil
}

// habits sets what each dialect understands by its options, and has without.
func (o *options) habits(c *cli.Context) error {
	switch o.dialect {
	case mpnc:
		o.idle = cmp.Or(o.idle, o.timeout)
	case openbsd:
		o.idle = cmp.Or(o.idle, o.timeout)
		o.quit = 0 // it waits for the peer, whatever the time
	case ncat:
		o.halfClose = !c.Bool("no-shutdown") && !o.noInput
		if o.keep && !c.IsSet("max-conns") {
			o.maxConns = defaultMaxConns
		}
	case traditional:
		o.idle = cmp.Or(o.idle, o.timeout)
		if c.IsSet("quit") && o.quit == 0 && o.halfClose {
			o.quit = -1
		}
		o.halfClose = false
	}
	if o.sendOnly {
		o.halfClose = true
	}
	if o.datagrams() && o.quit == 0 && (o.dialect == ncat || c.IsSet("quit") && o.halfClose) {
		o.quit = -1 // there is no end of the peer's to wait for
	}
	if o.listen && o.dialect != mpnc && o.host == "" && (o.network == "tcp" || o.network == "udp") {
		o.network += "4" // what no address means to them
	}
	return nil
}

// tuning reads what our own stack is tuned by.
func (o *options) tuning(c *cli.Context) (err error) {
	defer func() { o.socket.sendBuffer, o.socket.recvBuffer = o.sendBuffer, o.recvBuffer }()
	o.tracePath, o.ladderPath, o.noDelay = c.String("trace"), c.String("ladder"), c.Bool("nodelay")
	o.fastOpen, o.tellTimeout = c.Bool("fast-open"), c.Bool("user-timeout-option")
	o.checksum, o.takeAltered = c.Bool("checksum"), c.Bool("take-altered")
	for _, t := range []struct {
		name, text string
		to         *time.Duration
	}{
		{"time-wait", "TIME-WAIT time", &o.timeWait},
		{"user-timeout", "user timeout", &o.userTimeout},
		{"keepalive", "keepalive time", &o.keepAlive},
	} {
		if s := c.String(t.name); s != "" {
			if *t.to, err = parseTime(s); err != nil {
				return usage("%s invalid: %s", t.text, s)
			}
		}
	}
	if o.mss, err = parseMSS(c.String("mss")); err != nil {
		return err
	}
	if o.noOffload, err = parseOffload(c); err != nil {
		return err
	}
	if o.sendBuffer, err = parseSize(c.String("sndbuf")); err != nil {
		return usage("send buffer size invalid: %s", c.String("sndbuf"))
	}
	if o.recvBuffer, err = parseSize(c.String("rcvbuf")); err != nil {
		return usage("receive buffer size invalid: %s", c.String("rcvbuf"))
	}
	return nil
}

// offloadVariable is what stands for --offload where that is not given.
const offloadVariable = "MPNC_OFFLOAD"

var offloadNames = []string{"auto", "off"}

// parseOffload reports whether no trains are wanted.
func parseOffload(c *cli.Context) (off bool, err error) {
	name, value := "--offload", c.String("offload")
	if v := os.Getenv(offloadVariable); v != "" && !c.IsSet("offload") {
		name, value = offloadVariable, v
	}
	if !slices.Contains(offloadNames, value) {
		return false, usage("%s is auto or off, not %q", name, value)
	}
	return value == "off", nil
}

// parseMSS reads the largest segment in octets. Nothing is 0.
func parseMSS(s string) (int, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n < mptcp.MinMSS || n > mptcp.MaxMSS {
		return 0, usage("segment size invalid: %s (from %d to %d octets)", s, mptcp.MinMSS, mptcp.MaxMSS)
	}
	return int(n), nil
}

// minBuffer and maxBuffer bound the buffers that can be asked for.
const (
	minBuffer = 4 << 10
	maxBuffer = 1 << 30
)

// parseSize reads a number of octets, kibioctets (K) or mebioctets (M). Nothing
// is 0.
func parseSize(s string) (int, error) {
	if s == "" {
		return 0, nil
	}
	digits, unit := s, 1
	switch s[len(s)-1] {
	case 'k', 'K':
		digits, unit = s[:len(s)-1], 1<<10
	case 'm', 'M':
		digits, unit = s[:len(s)-1], 1<<20
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil {
		return 0, err
	}
	if n*uint64(unit) < minBuffer || n*uint64(unit) > maxBuffer {
		return 0, fmt.Errorf("not from %d to %d octets", minBuffer, maxBuffer)
	}
	return int(n) * unit, nil
}

// parseTime reads seconds, or a number with a unit. It must be positive.
func parseTime(s string) (time.Duration, error) {
	d, err := parseAnyTime(s)
	if err == nil && d <= 0 {
		err = fmt.Errorf("not positive")
	}
	return d, err
}

// parseAnyTime is parseTime of any number.
func parseAnyTime(s string) (time.Duration, error) {
	if n, err := strconv.ParseFloat(s, 64); err == nil && n > -1e9 && n < 1e9 {
		return time.Duration(n * float64(time.Second)), nil
	}
	return time.ParseDuration(s)
}

// plugins looks up what our own stack is to be made of.
func (o *options) plugins(c *cli.Context) (err error) {
	for i := range table {
		name := "--" + table[i].name
		switch {
		case !c.IsSet(table[i].name):
		case table[i].own:
			o.ownStackWishes = append(o.ownStackWishes, name)
		case table[i].kernel:
			o.kernelWishes = append(o.kernelWishes, name)
		}
	}
	o.schedulerName, o.congestionName = c.String("scheduler"), c.String("congestion")
	if o.scheduler, err = scheduler.New(o.schedulerName); err != nil {
		return usage("%v", err)
	}
	if o.congestion, err = cc.New(o.congestionName); err != nil {
		return usage("%v", err)
	}
	if o.pathRules, err = pathRules(c); err != nil {
		return err
	}
	if o.pathManager, err = pathmgr.New(c.String("path-manager"), o.pathRules...); err != nil {
		return usage("%v", err)
	}
	return nil
}
