package netio

import (
	"time"

	"github.com/mpnc/mpnc/internal/wire"
)

// lane is the packets on their way by one link in one direction, in order. It
// keeps the memory of packets that have arrived for those to come.
type lane struct {
	delay time.Duration
	queue []flight // from head on
	head  int
	free  [][]byte
}

// flight is a packet on its way.
type flight struct {
	data []byte
	pkt  wire.Packet
	due  time.Time
}

func (l *lane) len() int { return len(l.queue) - l.head }

// push copies a packet.
func (l *lane) push(data []byte, pkt wire.Packet, now time.Time) {
	var buf []byte
	if n := len(l.free); n > 0 {
		buf, l.free = l.free[n-1], l.free[:n-1]
	}
	if l.head > 0 && len(l.queue) == cap(l.queue) {
		n := copy(l.queue, l.queue[l.head:])
		clear(l.queue[n:])
		l.queue, l.head = l.queue[:n], 0
	}
	due := now.Add(l.delay)
	if l.len() > 0 {
		if last := l.queue[len(l.queue)-1].due; due.Before(last) {
			due = last
		}
	}
	l.queue = append(l.queue, flight{append(buf[:0], data...), pkt, due})
}

// first returns the packet that arrives first, nil if none is on its way.
func (l *lane) first() *flight {
	if l.len() == 0 {
		return nil
	}
	return &l.queue[l.head]
}

// pop removes the first packet.
func (l *lane) pop() {
	f := &l.queue[l.head]
	l.free = append(l.free, f.data)
	*f = flight{}
	l.head++
	if l.head == len(l.queue) {
		l.queue, l.head = l.queue[:0], 0
	}
}

func (l *lane) clear() {
	for l.len() > 0 {
		l.pop()
	}
}
