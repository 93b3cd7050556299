package tracefile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/trace"
)

// packet is a packet as read back from a file.
type packet struct {
	link     string
	at       int64 // nanoseconds since 1970
	out      bool
	data     string
	length   int
	comments []string
}

// contents is a file as read back.
type contents struct {
	packets []packet
	stats   []string // comments of the interface statistics
}

// readPcapng reads a file of one little-endian section and fails the test at
// whatever the format does not allow.
func readPcapng(t *testing.T, file []byte) contents {
	t.Helper()
	var c contents
	var links []string
	for n := 0; len(file) > 0; n++ {
		kind, body, rest := readBlock(t, file)
		file = rest
		if (n == 0) != (kind == blockSection) {
			t.Fatalf("block %d is of type %#x", n, kind)
		}
		switch kind {
		case blockSection:
			wantSection(t, body)
		case blockInterface:
			links = append(links, readInterface(t, body))
		case blockPacket:
			c.packets = append(c.packets, readPacket(t, body, links))
		case blockStats:
			c.stats = append(c.stats, readComments(readOptions(t, body[12:]))...)
		default:
			t.Fatalf("block of unknown type %#x", kind)
		}
	}
	return c
}

func readBlock(t *testing.T, file []byte) (kind uint32, body, rest []byte) {
	t.Helper()
	if len(file) < 12 {
		t.Fatalf("%d octets at the end", len(file))
	}
	kind, length := u32(file), int(u32(file[4:]))
	if length%4 != 0 || length < 12 || length > len(file) {
		t.Fatalf("block of type %#x has length %d, %d octets left", kind, length, len(file))
	}
	if again := int(u32(file[length-4:])); again != length {
		t.Fatalf("block of type %#x has length %d before and %d after", kind, length, again)
	}
	return kind, file[8 : length-4], file[length:]
}

func u32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }

func wantSection(t *testing.T, body []byte) {
	t.Helper()
	if u32(body) != 0x1a2b3c4d || u32(body[4:]) != 1 || binary.LittleEndian.Uint64(body[8:]) != 1<<64-1 {
		t.Errorf("section header % x", body[:16])
	}
	if got := readOptions(t, body[16:])[optApplication]; len(got) != 1 || string(got[0]) != "mpnc" {
		t.Errorf("application %q", got)
	}
}

func readInterface(t *testing.T, body []byte) string {
	t.Helper()
	options := readOptions(t, body[8:])
	if u32(body) != 101 || len(options[optResolution]) != 1 || !bytes.Equal(options[optResolution][0], []byte{9}) {
		t.Errorf("interface: link type %d, resolution %v", u32(body), options[optResolution])
	}
	return string(options[optName][0])
}

func readPacket(t *testing.T, body []byte, links []string) packet {
	t.Helper()
	kept, options := int(u32(body[12:])), readOptions(t, body[20+(int(u32(body[12:]))+3)/4*4:])
	flags := options[optFlags]
	if len(flags) != 1 || len(flags[0]) != 4 || u32(flags[0]) != 1 && u32(flags[0]) != 2 {
		t.Fatalf("packet flags % x", flags)
	}
	return packet{
		link:     links[u32(body)],
		at:       int64(u32(body[4:]))<<32 | int64(u32(body[8:])),
		out:      u32(flags[0]) == 2,
		data:     string(body[20 : 20+kept]),
		length:   int(u32(body[16:])),
		comments: readComments(options),
	}
}

func readComments(options map[uint16][][]byte) (comments []string) {
	for _, c := range options[optComment] {
		comments = append(comments, string(c))
	}
	return comments
}

// readOptions reads options up to their end, which must be the block's.
func readOptions(t *testing.T, b []byte) map[uint16][][]byte {
	t.Helper()
	options := map[uint16][][]byte{}
	for {
		code, n := binary.LittleEndian.Uint16(b), int(binary.LittleEndian.Uint16(b[2:]))
		padded := (n + 3) / 4 * 4
		if code == optEnd {
			if len(b) != 4 || n != 0 {
				t.Fatalf("end of options with length %d and %d octets left", n, len(b)-4)
			}
			return options
		}
		if !bytes.Equal(b[4+n:4+padded], make([]byte, padded-n)) {
			t.Errorf("option %d is padded with % x", code, b[4+n:4+padded])
		}
		options[code] = append(options[code], b[4:4+n])
		b = b[4+padded:]
	}
}

func wantPackets(t *testing.T, got, want []packet) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("packets differ\ngot  %+v\nwant %+v", got, want)
	}
}

func TestPcapReadsBack(t *testing.T) {
	var file bytes.Buffer
	epoch := time.Date(2026, 1, 2, 3, 4, 5, 678, time.UTC)
	p := NewPcap(&file, PcapConfig{Epoch: epoch, Snap: 9, LinkName: func(l int) string { return fmt.Sprint("eth", l) }})
	p.Packet(4, true, 0, []byte("12345"))
	p.Packet(2, false, 1, []byte("123456789"))
	p.Packet(4, false, 3_000_000_001, []byte("1234567890"))
	p.Packet(4, false, 5, nil)
	if err := p.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	zero := epoch.UnixNano()
	wantPackets(t, readPcapng(t, file.Bytes()).packets, []packet{
		{link: "eth4", at: zero, out: true, data: "12345", length: 5},
		{link: "eth2", at: zero + 1, data: "123456789", length: 9},
		{link: "eth4", at: zero + 3_000_000_001, data: "123456789", length: 10},
		{link: "eth4", at: zero + 5},
	})
}

// Simulated time is shown as it is, and a train is one packet of any length.
func TestPcapZeroConfig(t *testing.T) {
	var file bytes.Buffer
	train := bytes.Repeat([]byte("x"), 65_535)
	p := NewPcap(&file, PcapConfig{})
	p.Packet(7, true, mono.Time(time.Hour), train)
	p.Close()
	wantPackets(t, readPcapng(t, file.Bytes()).packets, []packet{
		{link: "link 7", at: int64(time.Hour), out: true, data: string(train), length: 65_535},
	})
}

// Events are comments of the next packet, in order; those after the last
// packet are not lost, and too many are counted.
func TestPcapEventsAreComments(t *testing.T) {
	var file bytes.Buffer
	p := NewPcap(&file, PcapConfig{})
	rto := trace.Event{At: 5, Conn: 1, Kind: trace.TimeoutRTO, A: 3}
	hold := trace.Event{At: 6, Conn: 1, Subflow: -1, Kind: trace.HoldStart}
	p.Trace(rto)
	p.Trace(hold)
	p.Packet(1, true, 7, []byte("a"))
	p.Packet(1, true, 8, []byte("b"))
	many := []string{}
	for i := range maxPending + 5 {
		p.Trace(hold)
		if i < maxPending {
			many = append(many, hold.String())
		}
	}
	many = append(many, "5 more events")
	p.Packet(1, true, 9, []byte("c"))
	p.Trace(rto)
	p.Close()
	c := readPcapng(t, file.Bytes())
	wantPackets(t, c.packets, []packet{
		{link: "link 1", at: 7, out: true, data: "a", length: 1, comments: []string{rto.String(), hold.String()}},
		{link: "link 1", at: 8, out: true, data: "b", length: 1},
		{link: "link 1", at: 9, out: true, data: "c", length: 1, comments: many},
	})
	if want := []string{rto.String()}; !slices.Equal(c.stats, want) {
		t.Errorf("comments after the last packet: %q, want %q", c.stats, want)
	}
}

// Many goroutines write; each packet comes out whole.
func TestPcapConcurrently(t *testing.T) {
	var file bytes.Buffer
	p := NewPcap(&file, PcapConfig{})
	var writers sync.WaitGroup
	const each = 200
	for link := range 4 {
		writers.Go(func() {
			for i := range each {
				p.Trace(trace.Event{Conn: uint32(link), Kind: trace.Granted})
				p.Packet(link, true, mono.Time(i), bytes.Repeat([]byte{byte(link)}, i))
			}
		})
	}
	writers.Wait()
	p.Close()
	count := map[string]int{}
	for _, pk := range readPcapng(t, file.Bytes()).packets {
		if i := count[pk.link]; pk.at != int64(i) || pk.length != i || pk.data != string(bytes.Repeat([]byte{pk.link[len(pk.link)-1] - '0'}, i)) {
			t.Fatalf("%s, packet %d: %+v", pk.link, i, pk)
		}
		count[pk.link]++
	}
	for link := range 4 {
		if name := fmt.Sprint("link ", link); count[name] != each {
			t.Errorf("%s has %d packets, want %d", name, count[name], each)
		}
	}
}

var errFull = errors.New("full")

// fullDisk takes some octets and then fails.
type fullDisk struct {
	bytes.Buffer
	room   int
	closes int
}

func (d *fullDisk) Write(p []byte) (int, error) {
	if d.Len()+len(p) > d.room {
		return 0, errFull
	}
	return d.Buffer.Write(p)
}

func (d *fullDisk) Close() error {
	d.closes++
	return nil
}

func TestErrorIsToldAndStaysTold(t *testing.T) {
	disk := &fullDisk{room: 200}
	p := NewPcap(disk, PcapConfig{})
	if err := p.Flush(); err != nil {
		t.Fatalf("Flush with room left: %v", err)
	}
	p.Packet(1, true, 0, make([]byte, 1000))
	if err := p.Flush(); !errors.Is(err, errFull) {
		t.Errorf("Flush: %v, want %v", err, errFull)
	}
	p.Packet(1, true, 0, make([]byte, 1))
	if err := p.Close(); !errors.Is(err, errFull) {
		t.Errorf("Close: %v, want %v", err, errFull)
	}
	if err := p.Close(); err != nil || disk.closes != 1 {
		t.Errorf("second Close: %v, closed %d times", err, disk.closes)
	}
	readPcapng(t, disk.Bytes()) // what was written is whole
}

func TestNothingIsWrittenAfterClose(t *testing.T) {
	disk := &fullDisk{room: 1 << 20}
	p, j := NewPcap(disk, PcapConfig{}), NewJSON(disk, JSONConfig{})
	p.Close()
	j.Close()
	n := disk.Len()
	p.Packet(1, true, 0, []byte("late"))
	j.Trace(trace.Event{})
	if p.Flush() != nil || j.Flush() != nil || disk.Len() != n {
		t.Errorf("%d octets after Close", disk.Len()-n)
	}
}

func TestPcapDoesNotAllocatePerPacket(t *testing.T) {
	p := NewPcap(&fullDisk{room: 0}, PcapConfig{})
	pkt := make([]byte, 1500)
	if n := testing.AllocsPerRun(100, func() { p.Packet(1, true, 0, pkt) }); n != 0 {
		t.Errorf("%v allocations a packet", n)
	}
}
