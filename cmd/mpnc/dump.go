package main

import (
	"fmt"
	"io"
	"os"
	"sync"
)

// dumpFiles are where a session is written besides; empty names are none.
type dumpFiles struct {
	raw, hex string
	append   bool
}

// dump writes what sessions send and receive to files.
type dump struct {
	mu    sync.Mutex
	raw   io.WriteCloser // or nil
	hex   io.WriteCloser // or nil
	at    [2]int         // octets received and sent so far
	lines []byte
}

// openDump opens the files; nil if there are none.
func openDump(f dumpFiles) (*dump, error) {
	if f.raw == "" && f.hex == "" {
		return nil, nil
	}
	d := &dump{}
	for _, x := range []struct {
		name string
		to   *io.WriteCloser
	}{{f.raw, &d.raw}, {f.hex, &d.hex}} {
		if x.name == "" {
			continue
		}
		mode := os.O_WRONLY | os.O_CREATE | os.O_TRUNC
		if f.append {
			mode = os.O_WRONLY | os.O_CREATE | os.O_APPEND
		}
		file, err := os.OpenFile(x.name, mode, 0o666)
		if err != nil {
			return nil, &failure{code: exitOutput, what: fmt.Sprintf("cannot write %s: %s", x.name, plain(err)), cause: err}
		}
		*x.to = file
	}
	return d, nil
}

// tap is told of octets; its error is that of a file.
func (d *dump) tap(sent bool, p []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.raw != nil {
		if _, err := d.raw.Write(p); err != nil {
			return err
		}
	}
	if d.hex == nil {
		return nil
	}
	mark, side := "<", 0
	if sent {
		mark, side = ">", 1
	}
	d.lines = d.lines[:0]
	for i := 0; i < len(p); i += hexWidth {
		d.lines = appendHex(d.lines, mark, d.at[side]+i, p[i:min(i+hexWidth, len(p))])
	}
	d.at[side] += len(p)
	_, err := d.hex.Write(d.lines)
	return err
}

// hexWidth is how many octets a line has.
const hexWidth = 16

// appendHex appends a line as the first netcat writes them.
func appendHex(b []byte, mark string, at int, p []byte) []byte {
	b = fmt.Appendf(b, "%s %08x ", mark, at)
	for i := range hexWidth {
		if i < len(p) {
			b = fmt.Appendf(b, "%02x ", p[i])
		} else {
			b = append(b, "   "...)
		}
	}
	b = append(b, "# "...)
	for _, c := range p {
		if c < ' ' || c > '~' {
			c = '.'
		}
		b = append(b, c)
	}
	return append(b, '\n')
}

// close ends the files.
func (d *dump) close() error {
	if d == nil {
		return nil
	}
	var first error
	for _, f := range []io.WriteCloser{d.raw, d.hex} {
		if f == nil {
			continue
		}
		if err := f.Close(); err != nil && first == nil {
			first = &failure{code: exitOutput, what: "the dump is not complete: " + plain(err), cause: err}
		}
	}
	return first
}
