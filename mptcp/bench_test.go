package mptcp

import (
	"io"
	"testing"

	"github.com/mpnc/mpnc/internal/netio"
)

// BenchmarkStream measures one direction of one connection over the pipe, both
// stacks in this process.
func BenchmarkStream(b *testing.B) {
	for _, bb := range []struct {
		name string
		pipe netio.PipeConfig
		csum Checksum
	}{
		{"packets", netio.PipeConfig{}, ChecksumAccept},
		{"packets, checksums", netio.PipeConfig{}, ChecksumAsk},
		{"trains", netio.PipeConfig{MaxTrain: 60000, Checksum: true}, ChecksumAccept},
		{"trains, checksums", netio.PipeConfig{MaxTrain: 60000, Checksum: true}, ChecksumAsk},
	} {
		b.Run(bb.name, func(b *testing.B) {
			p := newPair(b, setup{pipe: bb.pipe, client: Config{Checksum: bb.csum}})
			defer p.close()
			c, s := p.conns()
			chunk := make([]byte, 64<<10)
			b.SetBytes(int64(len(chunk)))
			b.ReportAllocs()
			b.ResetTimer()
			go func() {
				for range b.N {
					if _, err := c.Write(chunk); err != nil {
						b.Error(err)
						return
					}
				}
			}()
			if _, err := io.CopyN(io.Discard, s, int64(b.N)*int64(len(chunk))); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkCopy is BenchmarkStream by io.Copy at both ends, from a reader and to
// a writer that do nothing: no copy is left but into a packet, and out of one.
func BenchmarkCopy(b *testing.B) {
	p := newPair(b, setup{pipe: netio.PipeConfig{MaxTrain: 60000, Checksum: true}})
	defer p.close()
	c, s := p.conns()
	const piece = 64 << 10
	b.SetBytes(piece)
	b.ReportAllocs()
	b.ResetTimer()
	go func() {
		if _, err := c.ReadFrom(io.LimitReader(nothing{}, int64(b.N)*piece)); err != nil {
			b.Error(err)
		}
		c.CloseWrite()
	}()
	if n, err := s.WriteTo(nothing{}); n != int64(b.N)*piece || err != nil {
		b.Fatal(n, err)
	}
}

// nothing reads and writes without touching an octet.
type nothing struct{}

func (nothing) Read(p []byte) (int, error)  { return len(p), nil }
func (nothing) Write(p []byte) (int, error) { return len(p), nil }

// BenchmarkPingPong measures the way there and back of one octet.
func BenchmarkPingPong(b *testing.B) {
	p := newPair(b, setup{})
	defer p.close()
	c, s := p.conns()
	go io.Copy(s, s)
	buf := []byte{1}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Write(buf); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(c, buf); err != nil {
			b.Fatal(err)
		}
	}
}
