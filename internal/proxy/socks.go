package proxy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// socks4 speaks SOCKS 4, and for names the extension 4a: an address that
// cannot be, and the name behind the request.
func socks4(c io.ReadWriter, cfg Config, to destination) error {
	request := binary.BigEndian.AppendUint16([]byte{4, 1}, to.port)
	addr := to.addr.Unmap()
	switch {
	case addr.Is4():
		request = append(request, addr.AsSlice()...)
	case cfg.Kind == SOCKS4:
		return fmt.Errorf("SOCKS 4 takes addresses of IPv4 only, not %s", to.host)
	default:
		request = append(request, 0, 0, 0, 1)
	}
	if cfg.Auth != nil {
		if strings.IndexByte(cfg.Auth.User, 0) >= 0 {
			return errors.New("the user's name has a NUL")
		}
		request = append(request, cfg.Auth.User...)
	}
	request = append(request, 0)
	if !addr.Is4() {
		if len(to.host) > 255 || strings.IndexByte(to.host, 0) >= 0 {
			return errors.New("not a host's name")
		}
		request = append(append(request, to.host...), 0)
	}
	if _, err := c.Write(request); err != nil {
		return err
	}
	var answer [8]byte
	if _, err := io.ReadFull(c, answer[:]); err != nil {
		return cut(err)
	}
	switch answer[1] {
	case 90:
		return nil
	case 91:
		return &Error{Kind: cfg.Kind, Text: "Request rejected or failed"}
	case 92:
		return &Error{Kind: cfg.Kind, Text: "Client has no identd"}
	case 93:
		return &Error{Kind: cfg.Kind, Text: "The user's name is not that of identd"}
	}
	return &Error{Kind: cfg.Kind, Text: fmt.Sprintf("unknown code %d", answer[1])}
}

// The protocol's numbers (RFC 1928, RFC 1929).
const (
	socks5Version   = 5
	noAuth          = 0
	passwordAuth    = 2
	noneAcceptable  = 0xff
	passwordVersion = 1
	connectCommand  = 1
	addrIPv4        = 1
	addrName        = 3
	addrIPv6        = 4
)

// socks5Texts are those of RFC 1928, Section 6.
var socks5Texts = [...]string{
	"", "General SOCKS server failure", "Connection not allowed by ruleset", "Network unreachable",
	"Host unreachable", "Connection refused", "TTL expired", "Command not supported", "Address type not supported",
}

func socks5(c io.ReadWriter, cfg Config, to destination) error {
	if err := socks5Greet(c, cfg.Auth); err != nil {
		return err
	}
	request := []byte{socks5Version, connectCommand, 0}
	switch addr := to.addr.Unmap(); {
	case addr.Is4():
		request = append(append(request, addrIPv4), addr.AsSlice()...)
	case addr.Is6():
		request = append(append(request, addrIPv6), addr.AsSlice()...)
	case to.host == "" || len(to.host) > 255:
		return errors.New("not a host's name")
	default:
		request = append(append(request, addrName, byte(len(to.host))), to.host...)
	}
	request = binary.BigEndian.AppendUint16(request, to.port)
	if _, err := c.Write(request); err != nil {
		return err
	}
	var answer [4]byte
	if _, err := io.ReadFull(c, answer[:]); err != nil {
		return cut(err)
	}
	if answer[0] != socks5Version {
		return &Error{Kind: SOCKS5, Text: fmt.Sprintf("it is no SOCKS 5: version %d", answer[0])}
	}
	if code := int(answer[1]); code >= len(socks5Texts) {
		return &Error{Kind: SOCKS5, Text: fmt.Sprintf("unknown code %d", code)}
	} else if code != 0 {
		return &Error{Kind: SOCKS5, Text: socks5Texts[code]}
	}
	return skipBound(c, answer[3])
}

// socks5Greet agrees on who we are.
func socks5Greet(c io.ReadWriter, auth *Auth) error {
	greeting := []byte{socks5Version, 1, noAuth}
	if auth != nil {
		greeting = []byte{socks5Version, 2, noAuth, passwordAuth}
	}
	if _, err := c.Write(greeting); err != nil {
		return err
	}
	var choice [2]byte
	if _, err := io.ReadFull(c, choice[:]); err != nil {
		return cut(err)
	}
	switch {
	case choice[0] != socks5Version:
		return &Error{Kind: SOCKS5, Text: fmt.Sprintf("it is no SOCKS 5: version %d", choice[0])}
	case choice[1] == noAuth:
		return nil
	case choice[1] == passwordAuth && auth != nil:
		return socks5Password(c, auth)
	case choice[1] == noneAcceptable:
		return &Error{Kind: SOCKS5, Text: "No acceptable authentication method"}
	}
	return &Error{Kind: SOCKS5, Text: fmt.Sprintf("authentication method %d, which was not offered", choice[1])}
}

// socks5Password is RFC 1929.
func socks5Password(c io.ReadWriter, a *Auth) error {
	if len(a.User) == 0 || len(a.User) > 255 || len(a.Password) == 0 || len(a.Password) > 255 {
		return errors.New("SOCKS 5 takes a user and a password of 1 to 255 octets each")
	}
	p := append([]byte{passwordVersion, byte(len(a.User))}, a.User...)
	p = append(append(p, byte(len(a.Password))), a.Password...)
	if _, err := c.Write(p); err != nil {
		return err
	}
	var answer [2]byte
	if _, err := io.ReadFull(c, answer[:]); err != nil {
		return cut(err)
	}
	if answer[1] != 0 {
		return &Error{Kind: SOCKS5, Text: "Authentication failed"}
	}
	return nil
}

// skipBound reads the address that the proxy connects from, of any kind.
func skipBound(c io.Reader, kind byte) error {
	n := 0
	switch kind {
	case addrIPv4:
		n = 4
	case addrIPv6:
		n = 16
	case addrName:
		var length [1]byte
		if _, err := io.ReadFull(c, length[:]); err != nil {
			return cut(err)
		}
		n = int(length[0])
	default:
		return &Error{Kind: SOCKS5, Text: fmt.Sprintf("address of unknown type %d", kind)}
	}
	if _, err := io.CopyN(io.Discard, c, int64(n+2)); err != nil {
		return cut(err)
	}
	return nil
}

// cut says what the end of the stream means here.
func cut(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errors.New("the proxy closed the connection without an answer")
	}
	return err
}
