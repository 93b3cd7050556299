package testenv

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/mpnc/mpnc/mptcp"
)

// goodputPair is two links on which our stack and the kernel's MPTCP with
// CUBIC take turns.
type goodputPair struct {
	name  string
	links []LabLink
}

var goodputPairs = []goodputPair{
	{"50Mbps20ms-20Mbps80ms", []LabLink{
		{Name: "wifi", Rate: 50e6, RTT: 20 * time.Millisecond}, {Name: "cell", Rate: 20e6, RTT: 80 * time.Millisecond}}},
	{"10Mbps2ms-10Mbps100ms", []LabLink{
		{Name: "wifi", Rate: 10e6, RTT: 2 * time.Millisecond}, {Name: "cell", Rate: 10e6, RTT: 100 * time.Millisecond}}},
}

// benchSize is how much one transfer moves.
const benchSize = 16 << 20

// BenchmarkGoodput measures an upload over two links, our stack at both ends
// and the kernel's at both ends in turn, and reports the medians and their
// ratio. One iteration is a round of both:
//
//	go test ./testenv -run '^$' -bench Goodput -benchtime 5x
func BenchmarkGoodput(b *testing.B) {
	for _, pair := range goodputPairs {
		b.Run(pair.name, func(b *testing.B) { pair.bench(b) })
	}
}

func (g goodputPair) bench(b *testing.B) {
	lab, err := NewLab(LabConfig{Links: g.links})
	if err != nil {
		b.Skipf("needs namespaces: %v", err)
	}
	defer lab.Close()
	if err := lab.Client.AddEndpoints(4, Endpoint{Subflow: true}); err != nil {
		b.Fatal(err)
	}
	at := lab.Server.Addr(g.links[0].Name, 4)
	var ours, kernels []float64
	for i := range b.N {
		kernels = append(kernels, benchKernel(b, lab, netip.AddrPortFrom(at, uint16(6000+i))))
		ours = append(ours, benchOurs(b, lab, netip.AddrPortFrom(at, uint16(7000+i))))
	}
	b.Logf("kernel %.1f Mb/s, ours %.1f Mb/s", kernels, ours)
	b.ReportMetric(median(ours), "Mb/s")
	b.ReportMetric(median(kernels), "kernel-Mb/s")
	b.ReportMetric(median(ours)/median(kernels), "ratio")
	b.ReportMetric(0, "ns/op")
}

func median(v []float64) float64 {
	s := slices.Clone(v)
	slices.Sort(s)
	return s[len(s)/2]
}

func megabits(n int64, d time.Duration) float64 { return float64(n) * 8 / d.Seconds() / 1e6 }

// benchKernel uploads over the kernel's MPTCP; from the first octet written to
// the end of stream that answers the last one's arrival.
func benchKernel(b *testing.B, lab *Lab, at netip.AddrPort) float64 {
	server, err := KernelServer(lab.Server, at, PeerConfig{MPTCP: true, Mode: Sink})
	if err != nil {
		b.Fatal(err)
	}
	defer server.Close()
	client, err := KernelClient(lab.Client, at, PeerConfig{MPTCP: true, Mode: Source, Bytes: benchSize, Seed: 1})
	if err != nil {
		b.Fatal(err)
	}
	r := client.Wait(2 * time.Minute)
	if r.Err != nil || !r.MPTCP {
		b.Fatalf("kernel client: %+v", r)
	}
	return megabits(benchSize, r.Took)
}

// benchOurs does the same with our stack at both ends.
func benchOurs(b *testing.B, lab *Lab, at netip.AddrPort) float64 {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	server, client := benchStack(b, lab.Server), benchStack(b, lab.Client)
	defer server.Close()
	defer client.Close()
	l, err := server.Listen("tcp", at.String())
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		c, err := l.AcceptContext(ctx)
		if err != nil {
			done <- err
			return
		}
		n, err := io.Copy(io.Discard, c)
		if err == nil && n != benchSize {
			err = fmt.Errorf("%d octets arrived", n)
		}
		c.Close()
		done <- err
	}()
	c, err := client.Dial(ctx, "tcp", at.String())
	if err != nil {
		b.Fatal(err)
	}
	start := time.Now()
	if _, err := io.Copy(c, io.LimitReader(RandomStream(1), benchSize)); err != nil {
		b.Fatal(err)
	}
	c.CloseWrite()
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		b.Fatal(err)
	}
	took := time.Since(start)
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	c.Close()
	return megabits(benchSize, took)
}

func benchStack(b *testing.B, h *Host) (s *mptcp.Stack) {
	err := h.Do(func() (err error) {
		s, err = mptcp.NewRaw(mptcp.Config{})
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return s
}
