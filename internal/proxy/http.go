package proxy

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// longestHead bounds what an HTTP proxy may say before its tunnel, in octets.
const longestHead = 64 << 10

// connectHTTP asks for a tunnel. The address is in brackets if it has colons,
// as package net writes it.
func connectHTTP(c io.ReadWriter, cfg Config, address string) error {
	if strings.ContainsAny(address, " \r\n\t") {
		return errors.New("not a host's name")
	}
	var b strings.Builder
	fmt.Fprintf(&b, "CONNECT %s HTTP/1.0\r\n", address)
	if cfg.Auth != nil {
		token := base64.StdEncoding.EncodeToString([]byte(cfg.Auth.User + ":" + cfg.Auth.Password))
		fmt.Fprintf(&b, "Proxy-Authorization: Basic %s\r\n", token)
	}
	b.WriteString("\r\n")
	if _, err := io.WriteString(c, b.String()); err != nil {
		return err
	}
	first, err := readHead(c)
	if err != nil {
		return err
	}
	status, ok := parseStatus(first)
	switch {
	case !ok:
		return &Error{Kind: HTTP, Text: "it is no HTTP proxy: " + strconv.QuoteToASCII(first[:min(len(first), 80)])}
	case status/100 != 2:
		return &Error{Kind: HTTP, Text: first, Status: status}
	}
	return nil
}

// readHead reads to the empty line, and not an octet more: what follows is the
// peer's. It returns the first line.
func readHead(c io.Reader) (first string, err error) {
	var line []byte
	var octet [1]byte
	for n, lines := 0, 0; n < longestHead; n++ {
		if _, err := io.ReadFull(c, octet[:]); err != nil {
			return "", cut(err)
		}
		if octet[0] != '\n' {
			line = append(line, octet[0])
			continue
		}
		text := strings.TrimSuffix(string(line), "\r")
		line = line[:0]
		if lines++; lines == 1 {
			first = text
			if _, ok := parseStatus(first); !ok {
				return first, nil // it will never end as HTTP does
			}
		}
		if text == "" {
			return first, nil
		}
	}
	return "", &Error{Kind: HTTP, Text: "its answer does not end"}
}

// parseStatus reads a status line (RFC 9112, Section 4).
func parseStatus(line string) (int, bool) {
	version, rest, _ := strings.Cut(line, " ")
	if version != "HTTP/1.0" && version != "HTTP/1.1" {
		return 0, false
	}
	code, _, _ := strings.Cut(rest, " ")
	n, err := strconv.Atoi(code)
	return n, err == nil && n >= 100 && n <= 999
}
