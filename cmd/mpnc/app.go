package main

import (
	"bytes"
	"fmt"
	"io"
	"runtime/debug"
	"strings"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v2"
)

// helpTemplate is netcat's way to explain itself.
const helpTemplate = `{{.Name}} - {{.Usage}}

Usage:
  {{.UsageText}}

Options:
{{range .VisibleFlags}}  {{.}}
{{end}}
{{.Description}}
`

const netcatHelp = `Transports:
  mptcp       Multipath TCP of our own, over raw sockets (needs CAP_NET_RAW)
  tcp         plain TCP of our own: one path, but it survives as long
  kernel      the kernel's Multipath TCP
  kernel-tcp  the kernel's plain TCP
  auto        the first of mptcp, kernel and kernel-tcp that can be had (-v tells)

Examples:
  mpnc -l -d 4000 > file             receive a file, and
  mpnc -N host 4000 < file           send it, over every path there is
  mpnc -v -N host 4000 < file        the same, telling of each path
  mpnc -l -k 4000                    show what comes in, one connection after the other
  ssh -o ProxyCommand='mpnc %h %p' host
                                     a login that survives a change of network
  mpnc ss                            list the connections of running mpnc processes
  mpnc monitor                       tell what happens to their paths
  mpnc path add wwan0 backup         open another path for a connection
  mpnc demo                          see it happen on an emulated network
  mpnc -- demo 80                    connect to a host that is called demo

Exit status:
  0 complete, 1 no connection, 2 wrong usage, 3 reset or truncated, 4 idle (-w),
  5 output failed, 128+n stopped by signal n`

const demoHelp = `Two hosts are joined by an emulated "wifi" (50 Mb/s, 20 ms) and "cellular"
(20 Mb/s, 80 ms) link. A file goes across; in the middle the wifi dies without
a word. Then the same with plain TCP, on the wifi alone. As root, or where user
namespaces are allowed, the hosts are network namespaces and the packets real;
elsewhere the network is inside this process.

To connect to a host that is called demo: mpnc -- demo PORT`

// newApp returns an app of one command: urfave/cli's own commands, version
// flag and help command would take operands for themselves.
func newApp(std stdio, name, use, text, description string, flags []cli.Flag, action cli.ActionFunc) *cli.App {
	return &cli.App{
		Name: name, Usage: use, UsageText: text, Description: description,
		CustomAppHelpTemplate: helpTemplate,
		Flags:                 flags,
		Action:                action,
		Writer:                std.out,
		ErrWriter:             std.err,
		HideVersion:           true,
		HideHelpCommand:       true,
		OnUsageError:          func(_ *cli.Context, err error, _ bool) error { return usage("%v", err) },
		ExitErrHandler:        func(*cli.Context, error) {},
	}
}

func init() {
	text := cli.FlagStringer
	cli.FlagStringer = func(f cli.Flag) string { return strings.TrimSuffix(text(f), " (default: false)") }
}

// runApp runs an app on a command line as getopt would read it.
func runApp(app *cli.App, args []string) error {
	return runGrammar(app, grammarOf(app.Flags), args)
}

func runGrammar(app *cli.App, g *grammar, args []string) error {
	normal, err := g.normalize(args)
	if err != nil {
		return usage("%v", err)
	}
	return app.Run(append([]string{app.Name}, normal...))
}

func runNetcat(d dialect, called string, args []string, sig *signals, std stdio) error {
	app := netcatApp(d, std, func(o *options) error { return newCommand(o, called, std).run(sig) })
	return runGrammar(app, tableGrammar(d), args)
}

// netcatApp is the app of a dialect; it runs what the command line means, or
// answers what it asks.
func netcatApp(d dialect, std stdio, run func(*options) error) *cli.App {
	app := newApp(std, "mpnc", "a netcat whose connections survive",
		"mpnc [options] HOST PORT...\n  mpnc -l [options] [HOST] PORT\n  mpnc demo [--help]\n  mpnc ss|path|monitor [--help]",
		netcatHelp, tableFlags(), func(c *cli.Context) error {
			if c.Bool("version") {
				_, err := fmt.Fprintln(std.out, "mpnc", version())
				return err
			}
			if shell := c.String("completion"); shell != "" {
				script, err := completion(shell)
				fmt.Fprint(std.out, script)
				return err
			}
			o, err := parseOptions(d, c)
			if err != nil {
				return err
			}
			return run(o)
		})
	if d == openbsd || d == traditional {
		app.Writer = std.err // where they explain themselves
	}
	app.DisableSliceFlagSeparator = true
	app.CustomAppHelpTemplate = tableHelp(d)
	return app
}

// version is what the build knows of itself.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "(unknown version)"
	}
	v := info.Main.Version
	if v == "" {
		v = "(devel)"
	}
	return v + " " + info.GoVersion
}

// newLogger logs to standard error: warnings; with -v what happens to paths;
// with -vv what the stack has to say.
func newLogger(w io.Writer, verbose int) *logrus.Logger {
	log := logrus.New()
	log.SetOutput(w)
	log.SetFormatter(lineFormatter{})
	log.SetLevel(min(logrus.WarnLevel+logrus.Level(verbose), logrus.TraceLevel))
	return log
}

// lineFormatter prints an entry as a command does: one line after its name.
type lineFormatter struct{}

func (lineFormatter) Format(e *logrus.Entry) ([]byte, error) {
	line := bytes.ReplaceAll([]byte(e.Message), []byte("\n"), []byte(" "))
	return append(append([]byte("mpnc: "), line...), '\n'), nil
}
