package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/urfave/cli/v2"
)

// tlsOptions say whether and how TLS lies over the transport.
type tlsOptions struct {
	config *tls.Config // nil: no TLS
	trust  string      // who the peer is believed to be, for a client that asks nobody; empty if it is checked
	prints []string    // what a listener's peers can check it by
}

// tlsFlags are what only makes sense with --ssl, which they imply.
var tlsFlags = []string{"ssl-cert", "ssl-key", "ssl-verify", "ssl-trustfile", "ssl-servername", "ssl-alpn", "ssl-pin"}

// tls reads the options about TLS.
func (o *options) tls(c *cli.Context) error {
	want := c.Bool("ssl")
	for _, name := range tlsFlags {
		want = want || c.IsSet(name)
	}
	if !want {
		return nil
	}
	if o.datagrams() {
		return usage("TLS needs a stream: not with -u")
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS13, ServerName: c.String("ssl-servername")}
	if alpn := c.String("ssl-alpn"); alpn != "" {
		cfg.NextProtos = strings.Split(alpn, ",")
	}
	if err := o.certificate(c, cfg); err != nil {
		return err
	}
	if err := o.peerCheck(c, cfg); err != nil {
		return err
	}
	o.ssl.config = cfg
	return nil
}

// certificate loads ours, or makes one if we listen.
func (o *options) certificate(c *cli.Context, cfg *tls.Config) error {
	cert, key := c.String("ssl-cert"), c.String("ssl-key")
	switch {
	case key != "" && cert == "":
		return usage("--ssl-key needs --ssl-cert")
	case cert != "":
		if key == "" {
			key = cert // both in one file
		}
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return &failure{code: exitConnect, what: "cannot load the certificate: " + err.Error()}
		}
		cfg.Certificates = []tls.Certificate{pair}
	case o.listen:
		pair, err := ephemeralCertificate()
		if err != nil {
			return &failure{code: exitConnect, what: "cannot make a certificate: " + err.Error()}
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	for _, pair := range cfg.Certificates {
		o.ssl.prints = append(o.ssl.prints, fingerprint(pair.Certificate[0]))
	}
	return nil
}

// peerCheck says what the peer's certificate must be.
func (o *options) peerCheck(c *cli.Context, cfg *tls.Config) error {
	roots, pin := c.String("ssl-trustfile"), c.String("ssl-pin")
	if roots != "" {
		pem, err := os.ReadFile(roots)
		if err != nil {
			return &failure{code: exitConnect, what: "cannot read the trusted certificates: " + plain(err), cause: err}
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return usage("%s has no certificate in PEM", roots)
		}
		cfg.ClientCAs = cfg.RootCAs
	}
	verify := c.Bool("ssl-verify") || roots != ""
	if o.listen && verify {
		cfg.ClientAuth = tls.RequireAndVerifyClientCert
	}
	if !o.listen {
		cfg.InsecureSkipVerify = !verify
		if !verify && pin == "" {
			o.ssl.trust = "whoever answers is trusted: nothing says which certificate the peer must have (--ssl-verify or --ssl-pin)"
		}
	}
	if pin == "" {
		return nil
	}
	want, err := parsePin(pin)
	if err != nil {
		return err
	}
	if o.listen && cfg.ClientAuth == tls.NoClientCert {
		cfg.ClientAuth = tls.RequireAnyClientCert
	}
	cfg.VerifyConnection = func(s tls.ConnectionState) error {
		got := sha256.Sum256(s.PeerCertificates[0].Raw)
		if subtle.ConstantTimeCompare(got[:], want) != 1 {
			return errors.New("the peer's certificate is " + fingerprint(s.PeerCertificates[0].Raw) + ", not the one of --ssl-pin")
		}
		return nil
	}
	return nil
}

// pinPrefix names the hash of a fingerprint.
const pinPrefix = "sha256:"

// fingerprint identifies a certificate (DER), in the form of --ssl-pin.
func fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return pinPrefix + hex.EncodeToString(sum[:])
}

// parsePin reads a fingerprint; colons between octets, as openssl writes them,
// are fine.
func parsePin(s string) ([]byte, error) {
	digits := strings.ReplaceAll(strings.TrimPrefix(strings.ToLower(s), pinPrefix), ":", "")
	sum, err := hex.DecodeString(digits)
	if err != nil || len(sum) != sha256.Size {
		return nil, usage("--ssl-pin is %s and 64 hexadecimal digits, as the listener prints it", pinPrefix)
	}
	return sum, nil
}

// certificateLife is long enough for a session and useless afterwards.
const certificateLife = 7 * 24 * time.Hour

// ephemeralCertificate signs itself; it is worth what --ssl-pin makes of it.
func ephemeralCertificate() (pair tls.Certificate, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return pair, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "mpnc"}, DNSNames: []string{"mpnc"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(certificateLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// secured is a transport with TLS over it.
type secured struct {
	transport
	config *tls.Config
}

func (t *secured) takesNames() bool {
	n, ok := t.transport.(interface{ takesNames() bool })
	return ok && n.takesNames()
}

func (t *secured) dial(ctx context.Context, network string, local netip.AddrPort, address string) (conn, error) {
	c, err := t.transport.dial(ctx, network, local, address)
	if err != nil {
		return nil, err
	}
	cfg := t.config
	if cfg.ServerName == "" {
		cfg = cfg.Clone()
		if cfg.ServerName, _, err = net.SplitHostPort(address); err != nil {
			cfg.ServerName = address
		}
	}
	return handshake(ctx, secure(c, cfg, tls.Client))
}

func (t *secured) listen(ctx context.Context, network, address string) (listener, error) {
	l, err := t.transport.listen(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &securedListener{l, t.config}, nil
}

// securedListener accepts at once: the handshake comes with the first use, so
// that a silent client keeps nobody waiting.
type securedListener struct {
	listener
	config *tls.Config
}

func (l *securedListener) accept(ctx context.Context) (conn, error) {
	c, err := l.listener.accept(ctx)
	if err != nil {
		return nil, err
	}
	return secure(c, l.config, tls.Server), nil
}

// handshakeTime bounds what a peer may take for it if the user sets no bound.
const handshakeTime = 30 * time.Second

func handshake(ctx context.Context, c *securedConn) (conn, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	if err := c.HandshakeContext(ctx); err != nil {
		c.Abort()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, &tlsError{err}
	}
	return c, nil
}

// tlsError is a handshake that failed.
type tlsError struct{ err error }

func (e *tlsError) Error() string { return "TLS: " + strings.TrimPrefix(e.err.Error(), "tls: ") }
func (e *tlsError) Unwrap() error { return e.err }

// securedConn is a connection with TLS over it.
type securedConn struct {
	*tls.Conn
	under *endNoted
}

func secure(c conn, cfg *tls.Config, side func(net.Conn, *tls.Config) *tls.Conn) *securedConn {
	under := &endNoted{conn: c}
	return &securedConn{side(under, cfg), under}
}

// endNoted notes that the stream below TLS has ended.
type endNoted struct {
	conn
	ended atomic.Bool
}

func (c *endNoted) Read(p []byte) (int, error) {
	n, err := c.conn.Read(p)
	if n == 0 && err == io.EOF {
		c.ended.Store(true)
	}
	return n, err
}

// errCut is the end of a stream that TLS did not end: anybody on the way can
// make one (RFC 8446, Section 6.1). Package tls takes it for an end.
var errCut = errors.New("the stream was cut off: it ended without TLS's own end")

func (c *securedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err == io.EOF && c.under.ended.Load() {
		err = errCut
	}
	return n, err
}

// CloseWrite says so in TLS, which is what tells the peer that nothing was cut
// off, and in the stream below.
func (c *securedConn) CloseWrite() error {
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTime)
	defer cancel()
	if err := c.HandshakeContext(ctx); err != nil {
		return &tlsError{err}
	}
	return errors.Join(c.Conn.CloseWrite(), c.under.CloseWrite())
}

func (c *securedConn) Abort() error   { return c.under.Abort() }
func (c *securedConn) lost() error    { return c.under.lost() }
func (c *securedConn) status() status { return c.under.status() }

// tellTLS prints what a listener's clients can check, and warns a client that
// checks nothing.
func (m *command) tellTLS() {
	for _, p := range m.o.ssl.prints {
		if m.o.listen && m.o.dialect == mpnc {
			fmt.Fprintf(m.stderr, "mpnc: certificate %s (connect with --ssl-pin %[1]s)\n", p)
		}
	}
	if m.o.ssl.trust != "" {
		m.log.Warn(m.o.ssl.trust)
	}
}
