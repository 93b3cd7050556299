package tracefile

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/trace"
)

// Block types, option codes and constants of the pcapng format
// (draft-ietf-opsawg-pcapng).
const (
	blockSection   = 0x0a0d0d0a
	blockInterface = 1
	blockStats     = 5
	blockPacket    = 6

	byteOrderMagic = 0x1a2b3c4d
	linkTypeRaw    = 101 // packets begin with their IPv4 or IPv6 header

	optEnd         = 0
	optComment     = 1
	optApplication = 4 // of a section
	optName        = 2 // of an interface
	optResolution  = 9 // of an interface
	optFlags       = 2 // of a packet

	flagInbound, flagOutbound = 1, 2
)

// maxPending bounds the events that wait for a packet to be its comments.
const maxPending = 32

// PcapConfig configures a Pcap. The zero value is good.
type PcapConfig struct {
	// Epoch is the time at which the packets' mono.Time was 0. If zero, the
	// start of 1970: simulated time is shown as it is.
	Epoch time.Time
	// Snap is how many octets of a packet are kept. If zero, all.
	Snap int
	// LinkName names a link. If nil, "link 1".
	LinkName func(link int) string
}

// Pcap writes packets to a pcapng file, each link as an interface of its own.
// It is also a tracer: events become comments of the next packet written.
// After an error it writes nothing more.
type Pcap struct {
	output
	cfg     PcapConfig
	ids     map[int]uint32 // interface of each link that had a packet
	pending []trace.Event
	lost    int    // events beyond maxPending
	block   []byte // the block being made
	last    mono.Time
}

// NewPcap returns a writer to w, which Close closes if it is an io.Closer.
func NewPcap(w io.Writer, cfg PcapConfig) *Pcap {
	if cfg.Epoch.IsZero() {
		cfg.Epoch = time.Unix(0, 0)
	}
	if cfg.LinkName == nil {
		cfg.LinkName = func(link int) string { return fmt.Sprintf("link %d", link) }
	}
	p := &Pcap{output: newOutput(w), cfg: cfg, ids: map[int]uint32{}}
	p.writeSection()
	return p
}

// CreatePcap returns a writer to the file at path, made by Create.
func CreatePcap(path string, cfg PcapConfig) (*Pcap, error) {
	f, err := Create(path)
	if err != nil {
		return nil, err
	}
	return NewPcap(f, cfg), nil
}

// Packet writes an IP packet that arrived by link at time at or, if out, left
// by it. pkt is not kept.
func (p *Pcap) Packet(link int, out bool, at mono.Time, pkt []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	id := p.iface(link)
	p.last = at
	kept := pkt
	if p.cfg.Snap > 0 {
		kept = pkt[:min(len(pkt), p.cfg.Snap)]
	}
	p.begin(blockPacket)
	p.u32(id)
	p.time(at)
	p.u32(uint32(len(kept)))
	p.u32(uint32(len(pkt)))
	p.padded(kept)
	flags := uint32(flagInbound)
	if out {
		flags = flagOutbound
	}
	p.optionHead(optFlags, 4)
	p.u32(flags)
	p.comments()
	p.end()
}

// Trace keeps e until the next packet, whose comment it becomes.
func (p *Pcap) Trace(e trace.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.pending) < maxPending {
		p.pending = append(p.pending, e)
	} else {
		p.lost++
	}
}

// Close writes what is left and closes the file. Events after the last packet
// become the comments of its interface's statistics.
func (p *Pcap) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed && len(p.ids) > 0 && len(p.pending) > 0 {
		p.begin(blockStats)
		p.u32(0)
		p.time(p.last)
		p.comments()
		p.end()
	}
	return p.finish()
}

// iface returns the interface of link, written now if this is its first packet.
func (p *Pcap) iface(link int) uint32 {
	id, ok := p.ids[link]
	if ok {
		return id
	}
	id = uint32(len(p.ids))
	p.ids[link] = id
	p.begin(blockInterface)
	p.u32(linkTypeRaw)
	p.u32(0) // no limit on a packet's length
	p.option(optName, []byte(p.cfg.LinkName(link)))
	p.option(optResolution, []byte{9}) // nanoseconds
	p.option(optEnd, nil)
	p.end()
	return id
}

func (p *Pcap) writeSection() {
	p.begin(blockSection)
	p.u32(byteOrderMagic)
	p.u32(1) // version 1.0
	p.u32(1<<32 - 1)
	p.u32(1<<32 - 1) // the section's length is not known
	p.option(optApplication, []byte("mpnc"))
	p.option(optEnd, nil)
	p.end()
}

// comments writes the events that wait, and ends the options.
func (p *Pcap) comments() {
	for _, e := range p.pending {
		p.option(optComment, []byte(e.String()))
	}
	if p.lost > 0 {
		p.option(optComment, fmt.Appendf(nil, "%d more events", p.lost))
	}
	p.pending, p.lost = p.pending[:0], 0
	p.option(optEnd, nil)
}

// begin starts a block whose length end fills in.
func (p *Pcap) begin(kind uint32) {
	p.block = p.block[:0]
	p.u32(kind)
	p.u32(0)
}

func (p *Pcap) end() {
	p.u32(uint32(len(p.block) + 4))
	binary.LittleEndian.PutUint32(p.block[4:], uint32(len(p.block)))
	p.buf.Write(p.block) // bufio keeps the error for Flush
}

func (p *Pcap) u32(v uint32) { p.block = binary.LittleEndian.AppendUint32(p.block, v) }

// time appends a timestamp in nanoseconds, its upper half first.
func (p *Pcap) time(at mono.Time) {
	ns := uint64(p.cfg.Epoch.UnixNano() + int64(at))
	p.u32(uint32(ns >> 32))
	p.u32(uint32(ns))
}

func (p *Pcap) option(code uint16, value []byte) {
	value = value[:min(len(value), math.MaxUint16)]
	p.optionHead(code, len(value))
	p.padded(value)
}

func (p *Pcap) optionHead(code uint16, length int) {
	p.block = binary.LittleEndian.AppendUint16(p.block, code)
	p.block = binary.LittleEndian.AppendUint16(p.block, uint16(length))
}

// padded appends b and zeros up to a multiple of four.
func (p *Pcap) padded(b []byte) {
	p.block = append(p.block, b...)
	for len(p.block)%4 != 0 {
		p.block = append(p.block, 0)
	}
}
