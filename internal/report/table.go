package report

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// Table is rows of cells under a heading. The first column is set to the left,
// the others to the right.
type Table struct {
	Heading []string
	Rows    [][]string
}

// Add appends a row. Cells are printed with %v.
func (t *Table) Add(cells ...any) {
	row := make([]string, len(cells))
	for i, c := range cells {
		row[i] = fmt.Sprint(c)
	}
	t.Rows = append(t.Rows, row)
}

// WriteTo prints the table with a rule under the heading.
func (t *Table) WriteTo(w io.Writer) (int64, error) {
	widths := t.widths()
	var b strings.Builder
	writeRow(&b, t.Heading, widths)
	rule := make([]string, len(widths))
	for i, n := range widths {
		rule[i] = strings.Repeat("─", n)
	}
	writeRow(&b, rule, widths)
	for _, r := range t.Rows {
		writeRow(&b, r, widths)
	}
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}

func (t *Table) widths() []int {
	widths := make([]int, len(t.Heading))
	for _, r := range append([][]string{t.Heading}, t.Rows...) {
		for i, c := range r {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(c))
		}
	}
	return widths
}

func writeRow(b *strings.Builder, cells []string, widths []int) {
	var line strings.Builder
	for i, c := range cells {
		pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c))
		if i == 0 {
			line.WriteString("  " + c + pad)
		} else {
			line.WriteString("   " + pad + c)
		}
	}
	b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
}

// Bytes formats a number of octets: "12.3 MiB".
func Bytes(n uint64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	f, prefix := float64(n)/unit, 0
	for f >= unit && prefix < 5 {
		f, prefix = f/unit, prefix+1
	}
	return fmt.Sprintf("%.1f %ciB", f, "KMGTPE"[prefix])
}

// Rate formats octets in a time as bits a second: "48.1 Mb/s".
func Rate(octets uint64, d time.Duration) string {
	if d <= 0 {
		return "-"
	}
	bits, prefix := float64(octets)*8/d.Seconds(), 0
	for bits >= 1000 && prefix < 4 {
		bits, prefix = bits/1000, prefix+1
	}
	return fmt.Sprintf("%.1f %sb/s", bits, []string{"", "k", "M", "G", "T"}[prefix])
}

// Seconds formats a duration: "1.25 s".
func Seconds(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%.2f s", d.Seconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// Share formats a part of a whole: "38 %".
func Share(part, whole uint64) string {
	if whole == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f %%", 100*float64(part)/float64(whole))
}
