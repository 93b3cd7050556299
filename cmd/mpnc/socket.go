package main

import (
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"
)

// socketOptions are set on the kernel's sockets before they connect or listen,
// or on our own stack; -1 and 0 octets leave what was chosen there.
type socketOptions struct {
	tos, ttl, minTTL       int
	sendBuffer, recvBuffer int
	broadcast              bool
}

// sockets reads what is written into, or asked of, each IP header.
func (o *options) sockets(c *cli.Context) (err error) {
	o.socket = socketOptions{tos: -1, ttl: -1, minTTL: -1}
	if s := c.String("tos"); s != "" {
		if o.socket.tos, err = parseTOS(s); err != nil {
			return err
		}
	}
	for _, t := range []struct {
		name, text string
		to         *int
	}{{"ttl", "ttl", &o.socket.ttl}, {"min-ttl", "minimum ttl", &o.socket.minTTL}} {
		s := c.String(t.name)
		if s == "" {
			continue
		}
		n, err := strconv.ParseUint(s, 10, 8)
		if err != nil || n == 0 {
			return usage("%s invalid: %s", t.text, s)
		}
		*t.to = int(n)
	}
	return nil
}

// tosNames are the words for a type of service: those of the old octet (RFC
// 1349), and the code points of RFC 2474, 2597, 3246, 5865 and 8622.
var tosNames = map[string]int{
	"lowdelay": 0x10, "minimize-delay": 0x10, "throughput": 0x08, "maximize-throughput": 0x08,
	"reliability": 0x04, "maximize-reliability": 0x04, "lowcost": 0x02, "minimize-cost": 0x02,
	"ef": 46 << 2, "va": 44 << 2, "le": 1 << 2,
	"critical": 5 << 5, "inetcontrol": 6 << 5, "netcontrol": 7 << 5,
}

// parseTOS reads a word, or a number from 0 to 255.
func parseTOS(s string) (int, error) {
	word := strings.ToLower(s)
	if n, ok := tosNames[word]; ok {
		return n, nil
	}
	if len(word) == 4 && word[:2] == "af" && word[2] >= '1' && word[2] <= '4' && word[3] >= '1' && word[3] <= '3' {
		return (int(word[2]-'0')*8 + int(word[3]-'0')*2) << 2, nil
	}
	if len(word) == 3 && word[:2] == "cs" && word[2] >= '0' && word[2] <= '7' {
		return int(word[2]-'0') << 5, nil
	}
	n, err := strconv.ParseUint(word, 0, 8)
	if err != nil {
		return 0, usage("illegal tos value %s", s)
	}
	return int(n), nil
}

// shuffle puts ports in random order.
func shuffle(ports []string) {
	rand.Shuffle(len(ports), func(i, j int) { ports[i], ports[j] = ports[j], ports[i] })
}
