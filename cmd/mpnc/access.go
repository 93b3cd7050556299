package main

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
)

// accessList says who may connect to a listener. The zero value lets
// everybody.
type accessList struct {
	allow, deny []netip.Prefix
	onlyAllowed bool // there was an --allow, even of names that have no address
}

// permits decides on one peer. Who is denied is denied, even if allowed as
// well.
func (l *accessList) permits(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return !covers(l.deny, a) && (!l.onlyAllowed || covers(l.allow, a))
}

func (l *accessList) empty() bool { return !l.onlyAllowed && len(l.deny) == 0 }

func covers(ps []netip.Prefix, a netip.Addr) bool {
	for _, p := range ps {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// accessFlags reads who may connect.
func (o *options) accessFlags(c *cli.Context) (err error) {
	for _, f := range []struct {
		name, file string
		to         *[]netip.Prefix
	}{{"allow", "allowfile", &o.access.allow}, {"deny", "denyfile", &o.access.deny}} {
		specs := c.StringSlice(f.name)
		if file := c.String(f.file); file != "" {
			more, err := readSpecs(file)
			if err != nil {
				return &failure{code: exitConnect, what: "cannot read --" + f.file + ": " + err.Error(), cause: err}
			}
			specs = append(specs, more...)
		}
		if !c.IsSet(f.name) && !c.IsSet(f.file) {
			continue
		}
		if !o.listen {
			return usage("--%s is for listening: with -l", f.name)
		}
		if o.unix() {
			return usage("--%s is about addresses; a Unix socket has a file's permissions", f.name)
		}
		if f.name == "allow" {
			o.access.onlyAllowed = true
		}
		if *f.to, err = o.prefixes(f.name, specs); err != nil {
			return err
		}
	}
	return nil
}

// readSpecs reads one or more to a line; # begins a comment.
func readSpecs(file string) (specs []string, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	for s.Scan() {
		line, _, _ := strings.Cut(s.Text(), "#")
		specs = append(specs, strings.Fields(line)...)
	}
	return specs, s.Err()
}

// prefixes reads addresses, prefixes, and names, which stand for all their
// addresses now; each argument may be several with commas.
func (o *options) prefixes(flag string, specs []string) (ps []netip.Prefix, err error) {
	for _, arg := range specs {
		for spec := range strings.SplitSeq(arg, ",") {
			if p, err := netip.ParsePrefix(spec); err == nil {
				ps = append(ps, p.Masked())
				continue
			}
			if a, err := netip.ParseAddr(unbracket(spec)); err == nil {
				ps = append(ps, single(a))
				continue
			}
			if spec == "" || strings.ContainsAny(spec, "/ ") || o.numeric {
				return nil, usage("--%s: not an address, a prefix or a name: %q", flag, spec)
			}
			found, err := net.DefaultResolver.LookupNetIP(context.Background(), "ip", spec)
			if err != nil {
				return nil, &failure{code: exitConnect, what: "--" + flag + ": cannot find the address of " + spec + ": " + plain(err), cause: err}
			}
			for _, a := range found {
				ps = append(ps, single(a))
			}
		}
	}
	return ps, nil
}

func single(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	return netip.PrefixFrom(a, a.BitLen())
}

// guarded is a listener that closes connections of those who may not connect.
type guarded struct {
	listener
	list   *accessList
	denied func(from net.Addr)
}

func (l *guarded) accept(ctx context.Context) (conn, error) {
	for {
		c, err := l.listener.accept(ctx)
		if err != nil {
			return nil, err
		}
		if from := peerAddr(c); from.IsValid() && l.list.permits(from) {
			return c, nil
		}
		l.denied(c.RemoteAddr())
		c.Abort()
		if ctx.Err() != nil {
			return nil, errors.Join(errInterrupted, ctx.Err())
		}
	}
}

// peerAddr is the address of a peer that has one.
func peerAddr(c conn) netip.Addr {
	host, _ := hostPort(c.RemoteAddr())
	a, _ := netip.ParseAddr(host)
	return a
}
