package testenv

import (
	"bufio"
	"encoding/binary"
	"io"
	"time"
)

// pcapWriter writes Ethernet frames in the classic capture format, with
// nanoseconds (draft-ietf-opsawg-pcap).
type pcapWriter struct {
	w     *bufio.Writer
	close io.Closer
	err   error
}

const (
	pcapMagicNano    = 0xa1b23c4d
	linkTypeEthernet = 1
)

func newPcapWriter(f io.WriteCloser) *pcapWriter {
	p := &pcapWriter{w: bufio.NewWriterSize(f, 256<<10), close: f}
	var h [24]byte
	binary.LittleEndian.PutUint32(h[0:], pcapMagicNano)
	binary.LittleEndian.PutUint16(h[4:], 2) // version 2.4
	binary.LittleEndian.PutUint16(h[6:], 4)
	binary.LittleEndian.PutUint32(h[16:], 262144) // snapshot length
	binary.LittleEndian.PutUint32(h[20:], linkTypeEthernet)
	p.write(h[:])
	return p
}

// packet records one frame. After an error nothing more is written.
func (p *pcapWriter) packet(at time.Time, frame []byte) {
	var h [16]byte
	binary.LittleEndian.PutUint32(h[0:], uint32(at.Unix()))
	binary.LittleEndian.PutUint32(h[4:], uint32(at.Nanosecond()))
	binary.LittleEndian.PutUint32(h[8:], uint32(len(frame)))
	binary.LittleEndian.PutUint32(h[12:], uint32(len(frame)))
	p.write(h[:])
	p.write(frame)
}

func (p *pcapWriter) write(b []byte) {
	if p.err == nil {
		_, p.err = p.w.Write(b)
	}
}

// Close flushes, and returns the first error there was.
func (p *pcapWriter) Close() error {
	if p.err == nil {
		p.err = p.w.Flush()
	}
	if err := p.close.Close(); p.err == nil {
		p.err = err
	}
	return p.err
}
