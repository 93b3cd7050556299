package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// step is one thing a scripted proxy does: it expects octets, then answers.
type step struct{ want, answer string }

// play runs Connect against a script, and returns what is left to read
// afterwards.
func play(t *testing.T, cfg Config, address string, script []step, after string) (rest string, err error) {
	t.Helper()
	near, far := net.Pipe()
	defer near.Close()
	trouble := make(chan string, 1)
	go func() {
		defer close(trouble)
		defer far.Close()
		for _, s := range script {
			got := make([]byte, len(s.want))
			if _, err := io.ReadFull(far, got); err != nil || string(got) != s.want {
				trouble <- "got " + string(got)
				return
			}
			io.WriteString(far, s.answer)
		}
		io.WriteString(far, after)
	}()
	err = Connect(context.Background(), near, cfg, address)
	if err == nil {
		b, _ := io.ReadAll(near)
		rest = string(b)
	}
	near.Close()
	if text := <-trouble; text != "" {
		t.Errorf("the proxy %q", text)
	}
	return rest, err
}

func TestConnect(t *testing.T) {
	auth := &Auth{"ada", "lace"}
	for _, tt := range []struct {
		name    string
		cfg     Config
		address string
		script  []step
	}{
		{"SOCKS 5, IPv4", Config{Kind: SOCKS5}, "192.0.2.7:80", []step{
			{"\x05\x01\x00", "\x05\x00"}, {"\x05\x01\x00\x01\xc0\x00\x02\x07\x00\x50", "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"}}},
		{"SOCKS 5, IPv6", Config{Kind: SOCKS5}, "[2001:db8::1]:443", []step{
			{"\x05\x01\x00", "\x05\x00"},
			{"\x05\x01\x00\x04\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x01\x01\xbb", "\x05\x00\x00\x04" + strings.Repeat("\x00", 18)}}},
		{"SOCKS 5, a name, and a name bound", Config{Kind: SOCKS5}, "example.org:80", []step{
			{"\x05\x01\x00", "\x05\x00"}, {"\x05\x01\x00\x03\x0bexample.org\x00\x50", "\x05\x00\x00\x03\x05proxy\x12\x34"}}},
		{"SOCKS 5, password", Config{SOCKS5, auth}, "a:1", []step{
			{"\x05\x02\x00\x02", "\x05\x02"}, {"\x01\x03ada\x04lace", "\x01\x00"}, {"\x05\x01\x00\x03\x01a\x00\x01", "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"}}},
		{"SOCKS 5, password not wanted", Config{SOCKS5, auth}, "a:1", []step{
			{"\x05\x02\x00\x02", "\x05\x00"}, {"\x05\x01\x00\x03\x01a\x00\x01", "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"}}},
		{"SOCKS 4", Config{SOCKS4, auth}, "192.0.2.7:80", []step{{"\x04\x01\x00\x50\xc0\x00\x02\x07ada\x00", "\x00\x5a\x00\x00\x00\x00\x00\x00"}}},
		{"SOCKS 4a", Config{Kind: SOCKS4a}, "example.org:80", []step{{"\x04\x01\x00\x50\x00\x00\x00\x01\x00example.org\x00", "\x00\x5a\x00\x00\x00\x00\x00\x00"}}},
		{"HTTP", Config{Kind: HTTP}, "[2001:db8::1]:80", []step{{"CONNECT [2001:db8::1]:80 HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK\r\nVia: us\r\n\r\n"}}},
		{"HTTP, password", Config{HTTP, auth}, "a:1", []step{
			{"CONNECT a:1 HTTP/1.0\r\nProxy-Authorization: Basic YWRhOmxhY2U=\r\n\r\n", "HTTP/1.0 200 OK\n\n"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rest, err := play(t, tt.cfg, tt.address, tt.script, "\nthe peer's\n")
			if err != nil || rest != "\nthe peer's\n" {
				t.Errorf("left %q, %v", rest, err)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	for _, tt := range []struct {
		name   string
		cfg    Config
		script []step
		want   string
	}{
		{"SOCKS 5, refused", Config{Kind: SOCKS5}, []step{{"\x05\x01\x00", "\x05\x00"}, {"\x05\x01\x00\x03\x01a\x00\x01", "\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00"}}, "Connection refused"},
		{"SOCKS 5, a strange code", Config{Kind: SOCKS5}, []step{{"\x05\x01\x00", "\x05\x00"}, {"\x05\x01\x00\x03\x01a\x00\x01", "\x05\xf0\x00\x01"}}, "unknown code 240"},
		{"SOCKS 5 wants a password", Config{Kind: SOCKS5}, []step{{"\x05\x01\x00", "\x05\xff"}}, "No acceptable authentication"},
		{"SOCKS 5, a method not offered", Config{Kind: SOCKS5}, []step{{"\x05\x01\x00", "\x05\x02"}}, "not offered"},
		{"SOCKS 5, wrong password", Config{SOCKS5, &Auth{"u", "p"}}, []step{{"\x05\x02\x00\x02", "\x05\x02"}, {"\x01\x01u\x01p", "\x01\x01"}}, "Authentication failed"},
		{"SOCKS 5 is SOCKS 4", Config{Kind: SOCKS5}, []step{{"\x05\x01\x00", "\x00\x5b"}}, "no SOCKS 5"},
		{"SOCKS 5, address type", Config{Kind: SOCKS5}, []step{{"\x05\x01\x00", "\x05\x00"}, {"\x05\x01\x00\x03\x01a\x00\x01", "\x05\x00\x00\x09"}}, "unknown type 9"},
		{"SOCKS 5, closed", Config{Kind: SOCKS5}, []step{{"\x05\x01\x00", "\x05"}}, "without an answer"},
		{"SOCKS 4a, rejected", Config{Kind: SOCKS4a}, []step{{"\x04\x01\x00\x01\x00\x00\x00\x01\x00a\x00", "\x00\x5b\x00\x00\x00\x00\x00\x00"}}, "Request rejected or failed"},
		{"SOCKS 4 and a name", Config{Kind: SOCKS4}, nil, "IPv4 only"},
		{"HTTP, forbidden", Config{Kind: HTTP}, []step{{"CONNECT a:1 HTTP/1.0\r\n\r\n", "HTTP/1.1 403 Forbidden\r\n\r\n"}}, `"HTTP/1.1 403 Forbidden"`},
		{"HTTP, something else", Config{Kind: HTTP}, []step{{"CONNECT a:1 HTTP/1.0\r\n\r\n", "SSH-2.0-OpenSSH\r\n"}}, "no HTTP proxy"},
		{"HTTP, closed", Config{Kind: HTTP}, []step{{"CONNECT a:1 HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK\r\n"}}, "without an answer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := play(t, tt.cfg, "a:1", tt.script, "")
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// A proxy that says nothing, or that never stops, holds nobody.
func TestConnectEnds(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	go io.Copy(io.Discard, far)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if err := Connect(ctx, near, Config{Kind: HTTP}, "a:1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}

	near, far = net.Pipe()
	go func() {
		io.ReadFull(far, make([]byte, len("CONNECT a:1 HTTP/1.0\r\n\r\n")))
		io.WriteString(far, "HTTP/1.1 200 OK\r\n")
		for {
			if _, err := far.Write(bytes.Repeat([]byte("x"), 1000)); err != nil {
				return
			}
		}
	}()
	err := Connect(context.Background(), near, Config{Kind: HTTP}, "a:1")
	near.Close()
	if err == nil || !strings.Contains(err.Error(), "does not end") {
		t.Error(err)
	}
}

func FuzzConnect(f *testing.F) {
	f.Add(uint8(0), []byte("\x05\x00\x05\x00\x00\x03\x05proxy\x12\x34"))
	f.Add(uint8(2), []byte("\x00\x5a\x00\x00\x00\x00\x00\x00"))
	f.Add(uint8(3), []byte("HTTP/1.1 200 OK\r\nVia: us\r\n\r\n"))
	f.Fuzz(func(t *testing.T, kind uint8, answer []byte) {
		c := &canned{r: bytes.NewReader(answer)}
		Connect(context.Background(), c, Config{Kind: Kind(kind % 4), Auth: &Auth{"u", "p"}}, "example.org:80")
	})
}

// canned is a connection to a proxy that does not listen.
type canned struct {
	net.Conn
	r io.Reader
}

func (c *canned) Read(p []byte) (int, error)  { return c.r.Read(p) }
func (c *canned) Write(p []byte) (int, error) { return len(p), nil }
func (c *canned) SetDeadline(time.Time) error { return nil }
