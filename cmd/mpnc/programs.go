package main

import (
	"cmp"

	"github.com/urfave/cli/v2"
)

// defaultMaxConns is how many may talk with each other, or be served at once,
// if nobody says how many: ncat's number.
const defaultMaxConns = 100

// programs reads what is done with a connection instead of the relay to
// standard input and output.
func (o *options) programs(c *cli.Context) error {
	o.exec, o.shExec = c.String("exec"), c.String("sh-exec")
	o.chat = c.Bool("chat")
	o.broker = c.Bool("broker") || o.chat
	o.pidFile, o.passFD = c.String("pidfile"), c.Bool("pass-fd")
	o.socket.broadcast = c.Bool("broadcast")
	runs := c.IsSet("exec") || c.IsSet("sh-exec")
	switch {
	case c.IsSet("exec") && c.IsSet("sh-exec"):
		return usage("--exec and --sh-exec exclude each other")
	case runs && cmp.Or(o.exec, o.shExec) == "":
		return usage("--exec and --sh-exec need a command")
	case runs && o.scan:
		return usage("cannot use -z with --exec")
	case o.broker && !o.listen:
		return usage("--broker and --chat connect those who connect with each other: with -l")
	case o.broker && runs:
		return usage("--broker and --exec exclude each other")
	case o.broker && o.datagrams():
		return usage("--broker needs streams: not with -u")
	}
	if o.broker {
		o.keep = true
		if !c.IsSet("max-conns") {
			o.maxConns = defaultMaxConns
		}
	}
	return nil
}
