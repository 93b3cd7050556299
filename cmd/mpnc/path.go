package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/mpnc/mpnc/internal/control"
)

var errNoConnection = errors.New("no mpnc process of this user has a connection of Multipath TCP")

const pathHelp = `What can be done:
  list                                       the paths there are
  add FROM [to ADDRESS[:PORT]] [backup]      open a path
  remove PATH                                close a path
  backup PATH, nobackup PATH                 use it only when no other works, or always
  limits [subflows N] [add_addr_accepted N]  bound paths, and addresses learned from the peer

FROM is an address of the process's host, or the name of an interface. PATH is
the number of a path, or where it begins: then all paths are meant that begin
there. A path that was removed stays so until the network changes, or no other
one is left.

Examples:
  mpnc path add wwan0 backup
  mpnc path remove 1
  mpnc path --pid 812 backup 10.0.1.1`

func runPath(args []string, sig *signals, std stdio) error {
	flags := []cli.Flag{
		&cli.StringFlag{Name: "pid", Usage: "the `PROCESS` whose connection is meant (default: the one that has a connection)"},
		&cli.StringFlag{Name: "conn", Usage: "the `NUMBER` of the connection in its process (default: the only one)"},
		&cli.BoolFlag{Name: "json", Usage: "list as JSON"},
	}
	return usageOf("path", runApp(newApp(std, "mpnc path", "the paths of connections of running mpnc processes",
		"mpnc path [options] list|add|remove|backup|nobackup|limits ...", pathHelp, flags, func(c *cli.Context) error {
			p := &pathCommand{std: std, json: c.Bool("json")}
			var err error
			if p.pid, err = parsePID(c.String("pid")); err != nil {
				return err
			}
			if s := c.String("conn"); s != "" {
				n, err := strconv.ParseUint(s, 10, 32)
				if err != nil || n == 0 {
					return usage("connection number invalid: %s", s)
				}
				p.conn = uint32(n)
			}
			return p.run(sig.stop, c.Args().Slice())
		}), args))
}

// pathCommand is one run of mpnc path.
type pathCommand struct {
	std  stdio
	pid  int    // 0: any
	conn uint32 // 0: any
	json bool
}

func (p *pathCommand) run(ctx context.Context, args []string) error {
	if len(args) == 0 || args[0] == "list" {
		if len(args) > 1 {
			return usage("list takes no operands such as %q", args[1])
		}
		return p.list(ctx)
	}
	s, err := parseSteer(args[0], args[1:])
	if err != nil {
		return err
	}
	r, err := p.choose(ctx)
	if err != nil {
		return err
	}
	if s.Do == control.SteerLimits && s.Subflows == nil && s.Accept == nil {
		return p.showLimits(r)
	}
	s.Conn = p.conn
	if s.Conn == 0 && len(r.Conns) == 1 {
		s.Conn = r.Conns[0].ID
	}
	return p.steer(ctx, r.PID, s)
}

// steer asks the process to do it.
func (p *pathCommand) steer(ctx context.Context, pid int, s control.Steer) error {
	all, err := control.Processes()
	for _, proc := range all {
		if proc.PID == pid {
			err = proc.Steer(ctx, s)
			break
		}
	}
	switch {
	case ctx.Err() != nil:
		return errInterrupted
	case err != nil:
		return &failure{code: exitConnect, what: fmt.Sprintf("process %d: %v", pid, err)}
	}
	return nil
}

// parseSteer reads what is to be done.
func parseSteer(do string, args []string) (s control.Steer, err error) {
	s.Do = do
	switch do {
	case control.SteerAdd:
		return s, parseAdd(&s, args)
	case "del", "delete":
		s.Do = control.SteerRemove
	case control.SteerRemove, control.SteerBackup, control.SteerNoBackup:
	case control.SteerLimits:
		return s, parseLimits(&s, args)
	default:
		return s, usage("unknown command %q: list, add, remove, backup, nobackup and limits are known", do)
	}
	if len(args) != 1 {
		return s, usage("%s takes one path: its number, or the address or interface where it begins", do)
	}
	if id, err := strconv.Atoi(strings.TrimPrefix(args[0], "#")); err == nil && id >= 0 {
		s.ID = &id
	} else {
		s.Local = args[0]
	}
	return s, nil
}

func parseAdd(s *control.Steer, args []string) error {
	for i := 0; i < len(args); i++ {
		switch arg := args[i]; {
		case i == 0:
			s.Local = arg
		case arg == "backup":
			s.Backup = true
		case arg == "to" && i+1 < len(args):
			i++
			s.Remote = args[i]
			if _, err := parseEnd(s.Remote); err != nil {
				return usage("%v", err)
			}
		default:
			return usage("%q is not understood: add FROM [to ADDRESS[:PORT]] [backup]", arg)
		}
	}
	if s.Local == "" {
		return usage("from where? add ADDRESS, or add INTERFACE")
	}
	return nil
}

func parseLimits(s *control.Steer, args []string) error {
	for i := 0; i < len(args); i += 2 {
		var to **int
		switch args[i] {
		case "subflows":
			to = &s.Subflows
		case "add_addr_accepted":
			to = &s.Accept
		default:
			return usage("unknown limit %q: subflows and add_addr_accepted are known", args[i])
		}
		if i+1 == len(args) {
			return usage("%s takes a number", args[i])
		}
		n, err := strconv.Atoi(args[i+1])
		if err != nil {
			return usage("limit invalid: %s", args[i+1])
		}
		*to = &n
	}
	return nil
}

// reports asks the processes that may be meant, and leaves of them what may be.
func (p *pathCommand) reports(ctx context.Context) (all []control.Report, err error) {
	found, _, err := control.Reports(ctx)
	switch {
	case ctx.Err() != nil:
		return nil, errInterrupted
	case err != nil:
		return nil, &failure{code: exitConnect, what: "cannot ask: " + err.Error()}
	}
	for _, r := range found {
		conns := []control.Conn{}
		for _, c := range r.Conns {
			if c.MPTCP && (p.conn == 0 || c.ID == p.conn) {
				conns = append(conns, c)
			}
		}
		r.Conns, r.Listeners = conns, []control.Listener{}
		if len(conns) > 0 && (p.pid == 0 || r.PID == p.pid) {
			all = append(all, r)
		}
	}
	return all, nil
}

// choose returns the one process whose connection is meant.
func (p *pathCommand) choose(ctx context.Context) (control.Report, error) {
	all, err := p.reports(ctx)
	if err != nil {
		return control.Report{}, err
	}
	switch len(all) {
	case 0:
		what := errNoConnection.Error()
		if p.pid != 0 || p.conn != 0 {
			what = "there is no such connection of Multipath TCP"
		}
		return control.Report{}, &failure{code: exitConnect, what: what, hint: "mpnc ss lists all connections"}
	case 1:
		return all[0], nil
	}
	var pids []string
	for _, r := range all {
		pids = append(pids, strconv.Itoa(r.PID))
	}
	return control.Report{}, &failure{code: exitUsage, what: "several processes have connections: " + strings.Join(pids, ", "), hint: "--pid chooses one"}
}

var pathHeading = ssRow{"PID", "Conn", "Path", "State", "Local Address:Port", "Peer Address:Port"}

func (p *pathCommand) list(ctx context.Context) error {
	all, err := p.reports(ctx)
	if err != nil {
		return err
	}
	if p.json {
		if all == nil {
			all = []control.Report{}
		}
		return p.wrote(json.NewEncoder(p.std.out).Encode(all))
	}
	if len(all) == 0 {
		fmt.Fprintln(p.std.err, "mpnc:", errNoConnection)
	}
	_, err = io.WriteString(p.std.out, align(pathRows(all)))
	return p.wrote(err)
}

func pathRows(all []control.Report) []ssRow {
	rows := []ssRow{pathHeading}
	for _, r := range all {
		for _, c := range r.Conns {
			for i := range c.Subflows {
				s := &c.Subflows[i]
				rows = append(rows, ssRow{
					strconv.Itoa(r.PID), strconv.Itoa(int(c.ID)), fmt.Sprintf("#%d", s.ID), stateText(s.State),
					endpoint(s.Local, s.Interface), endpoint(s.Peer, ""), subflowText(s),
				})
			}
		}
	}
	return rows
}

func (p *pathCommand) showLimits(r control.Report) error {
	var errs []error
	for _, c := range r.Conns {
		if l := c.Limits; l != nil {
			_, err := fmt.Fprintf(p.std.out, "process %d connection %d: subflows %d add_addr_accepted %d\n", r.PID, c.ID, l.Subflows, l.Accept)
			errs = append(errs, err)
		}
	}
	return p.wrote(errors.Join(errs...))
}

func (p *pathCommand) wrote(err error) error {
	if err != nil {
		return outputFailure("cannot write the output: "+plain(err), err)
	}
	return nil
}
