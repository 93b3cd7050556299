package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/mpnc/mpnc/internal/control"
)

const ssHelp = `A connection is a row, and each of its paths another one below it. States are
those of TCP; that of a Multipath TCP connection is its stream's. Recv-Q are
octets that the program has not read, Send-Q octets that the peer has not
acknowledged; of a listener, connections that wait, and how many may. Sizes are
octets, but cwnd counts segments; rtt is its mean and deviation in milliseconds.

Shown are the mpnc processes of this user; to root, those of all users.`

// ssOptions are a command line of mpnc ss.
type ssOptions struct {
	listening bool // only
	tcp       bool // paths only, each as the TCP connection that it is
	mptcp     bool // only
	v4, v6    bool
	info      bool
	noHeader  bool
	json      bool
}

func runSS(args []string, sig *signals, std stdio) error {
	flags := []cli.Flag{
		&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "listening sockets and connections (this is the default)"},
		&cli.BoolFlag{Name: "listening", Aliases: []string{"l"}, Usage: "listening sockets only"},
		&cli.BoolFlag{Name: "tcp", Aliases: []string{"t"}, Usage: "TCP connections: each path of its own"},
		&cli.BoolFlag{Name: "mptcp", Aliases: []string{"M"}, Usage: "Multipath TCP only"},
		&cli.BoolFlag{Name: "ipv4", Aliases: []string{"4"}, Usage: "IPv4 only"},
		&cli.BoolFlag{Name: "ipv6", Aliases: []string{"6"}, Usage: "IPv6 only"},
		&cli.BoolFlag{Name: "info", Aliases: []string{"i"}, Usage: "more of each path"},
		&cli.BoolFlag{Name: "numeric", Aliases: []string{"n"}, Usage: "numbers, no names (this is always so)"},
		&cli.BoolFlag{Name: "processes", Aliases: []string{"p"}, Usage: "show the processes (this is always so)"},
		&cli.BoolFlag{Name: "no-header", Aliases: []string{"H"}, Usage: "no heading"},
		&cli.BoolFlag{Name: "json", Usage: "all that is known, as JSON: an array with an object for each process"},
	}
	return usageOf("ss", runApp(newApp(std, "mpnc ss", "the connections of the mpnc processes that run",
		"mpnc ss [options]", ssHelp, flags, func(c *cli.Context) error {
			if c.Args().Present() {
				return &failure{code: exitUsage, what: fmt.Sprintf("ss takes no operands such as %q", c.Args().First()),
					hint: "to reach a host called ss: mpnc -- ss PORT"}
			}
			o := ssOptions{
				listening: c.Bool("listening") && !c.Bool("all"), tcp: c.Bool("tcp"), mptcp: c.Bool("mptcp"),
				v4: c.Bool("ipv4"), v6: c.Bool("ipv6"), info: c.Bool("info"), noHeader: c.Bool("no-header"),
				json: c.Bool("json"),
			}
			return o.run(sig.stop, std)
		}), args))
}

// usageOf makes an error about a command line name the right help.
func usageOf(subcommand string, err error) error {
	var f *failure
	if errors.As(err, &f) && f.code == exitUsage && f.hint == usage("").hint {
		f.hint = "mpnc " + subcommand + " --help lists the options"
	}
	return err
}

func (o *ssOptions) run(ctx context.Context, std stdio) error {
	reports, failed, err := control.Reports(ctx)
	switch {
	case ctx.Err() != nil:
		return errInterrupted
	case err != nil:
		return &failure{code: exitConnect, what: "cannot ask: " + err.Error()}
	}
	if err := o.print(std.out, reports); err != nil {
		return outputFailure("cannot write the output: "+plain(err), err)
	}
	for _, pid := range slices.Sorted(maps.Keys(failed)) {
		err = &failure{code: exitConnect, what: fmt.Sprintf("process %d does not tell what it has: %v", pid, failed[pid])}
	}
	if len(reports) == 0 && len(failed) == 0 && !o.json {
		fmt.Fprintln(std.err, "mpnc: no other mpnc of this user runs")
	}
	return err
}

// print prints what the options select of the reports.
func (o *ssOptions) print(w io.Writer, reports []control.Report) error {
	selected := make([]control.Report, 0, len(reports))
	for _, r := range reports {
		selected = append(selected, o.choose(r))
	}
	if o.json {
		return json.NewEncoder(w).Encode(selected)
	}
	_, err := io.WriteString(w, o.table(selected))
	return err
}

// choose leaves out what the options do not ask for.
func (o *ssOptions) choose(r control.Report) control.Report {
	r.Listeners = slices.DeleteFunc(slices.Clone(r.Listeners), func(l control.Listener) bool {
		all := l.Local.Addr().IsUnspecified() && l.Local.Addr().Is6() // both families
		return o.mptcp && !o.tcp && !l.MPTCP || !all && !o.family(l.Local.Addr().Is6())
	})
	conns := []control.Conn{}
	for _, c := range r.Conns {
		switch {
		case o.listening, o.mptcp && !c.MPTCP && !o.tcp:
		case o.tcp && !o.mptcp:
			conns = append(conns, asTCP(c)...)
		default:
			conns = append(conns, c)
		}
	}
	r.Conns = slices.DeleteFunc(conns, func(c control.Conn) bool { return !o.family(c.Local.Addr().Is6()) })
	return r
}

// family reports whether a family was asked for.
func (o *ssOptions) family(six bool) bool { return o.v4 == o.v6 || o.v6 == six }

// asTCP takes a connection apart into the TCP connections that it consists of.
func asTCP(c control.Conn) (all []control.Conn) {
	for _, s := range c.Subflows {
		part := c
		part.MPTCP, part.Token, part.Held = false, "", 0
		part.State, part.Local, part.Peer = s.State, s.Local, s.Peer
		if c.MPTCP { // the stream's octets wait for no path in particular
			part.RecvQ, part.SendQ = 0, s.SendQ
		}
		part.Subflows = []control.Subflow{s}
		all = append(all, part)
	}
	return all
}
