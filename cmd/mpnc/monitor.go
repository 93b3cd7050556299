package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"

	"github.com/urfave/cli/v2"

	"github.com/mpnc/mpnc/internal/control"
)

const monitorHelp = `Prints what happens to Multipath TCP connections, and to listeners, in the words
of "ip mptcp monitor", with the process at the end:
  CREATED          a connection speaks Multipath TCP
  ESTABLISHED      the peer has shown that it does, so that there may be more paths
  ANNOUNCED        the peer advertised an address
  REMOVED          the peer withdrew an address
  SF_ESTABLISHED   a further path is usable
  SF_CLOSED        a path has ended
  SF_PRIO          a path became a backup, or is none any more
  CLOSED           this side closed the connection, or it is over
  LISTENER_CREATED, LISTENER_CLOSED
It goes on until it is stopped, and follows processes that start later.`

func runMonitor(args []string, sig *signals, std stdio) error {
	flags := []cli.Flag{
		&cli.StringFlag{Name: "pid", Usage: "of this `PROCESS` only, until it ends"},
		&cli.BoolFlag{Name: "timestamp", Aliases: []string{"t"}, Usage: "begin each line with the time"},
		&cli.BoolFlag{Name: "json", Usage: "one JSON object a line"},
	}
	return usageOf("monitor", runApp(newApp(std, "mpnc monitor", "what happens to connections and their paths",
		"mpnc monitor [options]", monitorHelp, flags, func(c *cli.Context) error {
			if c.Args().Present() {
				return &failure{code: exitUsage, what: fmt.Sprintf("monitor takes no operands such as %q", c.Args().First()),
					hint: "to reach a host called monitor: mpnc -- monitor PORT"}
			}
			pid, err := parsePID(c.String("pid"))
			if err != nil {
				return err
			}
			printer := &eventPrinter{w: std.out, json: c.Bool("json"), timestamp: c.Bool("timestamp")}
			err = control.MonitorAll(sig.stop, pid, printer.print)
			switch {
			case printer.err != nil:
				return outputFailure("cannot write the output: "+plain(printer.err), printer.err)
			case sig.stop.Err() != nil:
				return nil // the usual end
			case err != nil:
				return &failure{code: exitConnect, what: "cannot monitor: " + err.Error()}
			}
			return nil
		}), args))
}

// parsePID reads the number of a process that can be asked; nothing is 0.
func parsePID(s string) (int, error) {
	if s == "" {
		return 0, nil
	}
	pid, err := strconv.Atoi(s)
	if err != nil || pid <= 0 {
		return 0, usage("process number invalid: %s", s)
	}
	all, err := control.Processes()
	if err != nil {
		return 0, &failure{code: exitConnect, what: "cannot ask: " + err.Error()}
	}
	for _, p := range all {
		if p.PID == pid {
			return pid, nil
		}
	}
	return 0, &failure{code: exitConnect, what: fmt.Sprintf("process %d is no mpnc that can be asked", pid), hint: "mpnc ss lists those"}
}

// eventPrinter prints events, each as soon as it is told.
type eventPrinter struct {
	w               io.Writer
	json, timestamp bool
	err             error
}

func (p *eventPrinter) print(e control.Event) error {
	if p.json {
		p.err = json.NewEncoder(p.w).Encode(&e)
		return p.err
	}
	line := eventText(&e)
	if p.timestamp {
		line = e.Time.Local().Format("15:04:05.000000 ") + line
	}
	_, p.err = fmt.Fprintln(p.w, line)
	return p.err
}
