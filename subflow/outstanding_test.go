package subflow

import "github.com/mpnc/mpnc/internal/seq"

// outstanding returns how many octets are assigned and not acknowledged.
func (b *bench) outstanding() (n int) {
	b.sf.Outstanding(func(r seq.Range) { n += r.Len() })
	return n
}
