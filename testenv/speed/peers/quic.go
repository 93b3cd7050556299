package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"net/netip"
	"time"

	"github.com/mpnc/mpnc/testenv/speed/end"
	"github.com/quic-go/quic-go"
)

// quicStreams is quic-go: a connection with one stream for each that is asked for,
// over UDP with its offloads, and with windows that never decide; 3 MiB and 32 MiB
// were slower. What it cannot do without is encryption.
func quicStreams(*end.Job) (*end.Transport, error) {
	const window = 8 << 20
	config := &quic.Config{
		InitialStreamReceiveWindow: window, MaxStreamReceiveWindow: window,
		InitialConnectionReceiveWindow: window, MaxConnectionReceiveWindow: window,
	}
	security, err := selfSigned()
	if err != nil {
		return nil, err
	}
	return &end.Transport{
		Listen: func(at netip.AddrPort) (net.Listener, error) {
			ln, err := quic.ListenAddr(at.String(), security, config)
			if err != nil {
				return nil, err
			}
			return quicListener{ln}, nil
		},
		Dial: func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			conn, err := quic.DialAddr(ctx, to.String(), security, config)
			if err != nil {
				return nil, err
			}
			stream, err := conn.OpenStreamSync(ctx)
			if err != nil {
				return nil, err
			}
			return quicConn{stream, conn}, nil
		},
	}, nil
}

// selfSigned is a certificate that nobody checks.
func selfSigned() (*tls.Config, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}},
		NextProtos:   []string{"speed"}, InsecureSkipVerify: true,
	}, nil
}

// quicListener accepts the first stream of each connection.
type quicListener struct{ *quic.Listener }

// Accept implements net.Listener.
func (l quicListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept(context.Background())
	if err != nil {
		return nil, err
	}
	stream, err := conn.AcceptStream(context.Background())
	if err != nil {
		return nil, err
	}
	return quicConn{stream, conn}, nil
}

// quicConn is a stream with its connection's addresses.
type quicConn struct {
	*quic.Stream
	conn *quic.Conn
}

// LocalAddr implements net.Conn.
func (c quicConn) LocalAddr() net.Addr { return c.conn.LocalAddr() }

// RemoteAddr implements net.Conn.
func (c quicConn) RemoteAddr() net.Addr { return c.conn.RemoteAddr() }

// CloseWrite ends the stream's direction.
func (c quicConn) CloseWrite() error { return c.Stream.Close() }

// Close ends the stream; its connection lives on until what was written is there.
func (c quicConn) Close() error {
	c.CancelRead(0)
	return errors.Join(c.Stream.Close())
}
