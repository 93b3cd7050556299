package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/mpnc/mpnc/internal/proxy"
)

// proxyOptions say through which proxy to connect.
type proxyOptions struct {
	proxy.Config
	address string // empty: none
	names   bool   // the proxy looks names up
}

// proxyKinds are what -X and --proxy-type take, in nc's words and in ncat's.
var proxyKinds = map[string]proxy.Kind{
	"5": proxy.SOCKS5, "4": proxy.SOCKS4, "4A": proxy.SOCKS4a, "4a": proxy.SOCKS4a, "connect": proxy.HTTP,
	"socks5": proxy.SOCKS5, "socks4": proxy.SOCKS4a, "socks4a": proxy.SOCKS4a, "http": proxy.HTTP,
}

// proxyAuthVariable holds USER:PASSWORD for those who do not want it to be seen
// on the command line; its name is ncat's.
const proxyAuthVariable = "NCAT_PROXY_AUTH"

// proxies reads the options about proxies.
func (o *options) proxies(c *cli.Context) error {
	address := c.String("proxy")
	if address == "" {
		for _, name := range []string{"proxy-type", "proxy-user", "proxy-auth", "proxy-dns"} {
			if c.IsSet(name) {
				return usage("--%s needs a proxy: -x ADDRESS[:PORT]", name)
			}
		}
		return nil
	}
	switch {
	case o.listen:
		return usage("no proxy support for listen")
	case o.datagrams():
		return usage("no proxy support for UDP mode")
	case o.unix():
		return usage("no proxy support for unix sockets")
	case o.source.IsValid() || o.sourcePort != 0:
		return usage("no proxy support for local source address")
	}
	kind, known := proxyKinds[c.String("proxy-type")]
	switch {
	case !known && c.IsSet("proxy-type"):
		return usage("unsupported proxy protocol")
	case !known && o.dialect == ncat:
		kind = proxy.HTTP
	}
	o.proxy = proxyOptions{Config: proxy.Config{Kind: kind, Auth: proxyAuth(c)}, names: kind.TakesNames()}
	switch c.String("proxy-dns") {
	case "", "remote":
	case "local", "none":
		o.proxy.names = false
	case "both":
	default:
		return usage("--proxy-dns is local, remote, both or none, not %s", c.String("proxy-dns"))
	}
	o.proxy.address = proxyAddress(address, kind)
	return nil
}

// proxyAuth is who we are to the proxy.
func proxyAuth(c *cli.Context) *proxy.Auth {
	text := c.String("proxy-auth")
	if text == "" {
		text = os.Getenv(proxyAuthVariable)
	}
	user, password, _ := strings.Cut(text, ":")
	if u := c.String("proxy-user"); u != "" {
		user = u
	}
	if user == "" {
		return nil
	}
	return &proxy.Auth{User: user, Password: password}
}

// proxyAddress adds the port that such proxies have by custom.
func proxyAddress(s string, kind proxy.Kind) string {
	if _, err := netip.ParseAddr(unbracket(s)); err == nil {
		return net.JoinHostPort(unbracket(s), kind.Port())
	}
	if _, _, err := net.SplitHostPort(s); err == nil {
		return s
	}
	return net.JoinHostPort(s, kind.Port())
}

// proxied is a transport that connects through a proxy.
type proxied struct {
	transport
	o      proxyOptions
	family string // of addresses, where names are looked up here: ip, ip4, ip6
}

// takesNames: the proxy is asked for the name, or the name is looked up here
// for it; in both cases once.
func (p *proxied) takesNames() bool { return true }

func (p *proxied) dial(ctx context.Context, network string, local netip.AddrPort, address string) (conn, error) {
	if !p.o.names {
		var err error
		if address, err = p.numeric(ctx, address); err != nil {
			return nil, err
		}
	}
	c, err := p.transport.dial(ctx, "tcp", local, p.o.address)
	if err != nil {
		return nil, &proxyError{p.o.address, "cannot be reached", err}
	}
	if err := proxy.Connect(ctx, c, p.o.Config, address); err != nil {
		c.Abort()
		if refused := new(proxy.Error); errors.As(err, &refused) || ctx.Err() != nil {
			return nil, err
		}
		return nil, &proxyError{p.o.address, "did not answer as a proxy does", err}
	}
	return c, nil
}

// numeric replaces a name by its first address.
func (p *proxied) numeric(ctx context.Context, address string) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil || isLiteral(host) {
		return address, err
	}
	family := p.family
	if p.o.Kind == proxy.SOCKS4 {
		family = "ip4"
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, family, host)
	if err != nil {
		return "", lookupError(host, family, err)
	}
	return net.JoinHostPort(found[0].Unmap().String(), port), nil
}

// proxyError is trouble with the proxy itself. Its text is whole: nobody takes
// the proxy's address for the target's.
type proxyError struct {
	address, what string
	err           error
}

func (e *proxyError) Error() string {
	return fmt.Sprintf("the proxy %s %s: %s", e.address, e.what, plain(e.err))
}

func (e *proxyError) Unwrap() error { return e.err }
