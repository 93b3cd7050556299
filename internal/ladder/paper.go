package ladder

import (
	"fmt"
	"strings"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/subflow"
)

// Columns of a row, from the left: time, subflow, our state, the arrow between
// its bars, the peer's state.
const (
	timeWidth  = 11
	markWidth  = 4
	stateWidth = len("SYN-RECEIVED")
	fixedWidth = timeWidth + 1 + markWidth + 1 + stateWidth + 1 + 1 + 1 + 1 + stateWidth + 2
	leastWidth = 80
	mostArrow  = 72 // more is not easier to read
)

// paper is what the diagram is drawn on.
type paper struct{ arrow int }

func newPaper(width int) paper {
	return paper{min(max(width, leastWidth)-fixedWidth, mostArrow)}
}

// row is a segment to be drawn.
type row struct {
	flow    *flow
	at      mono.Time
	out     bool
	text    words
	near    string
	far     string
	remarks []string
	set     bool // the states are those of its time
}

func (r *row) remark(text string) {
	if text != "" {
		r.remarks = append(r.remarks, text)
	}
}

// states notes the states that a segment leads to. Ours is known only once a
// segment that arrived was handled.
func (r *row) states(f *flow) {
	r.set = true
	if r.far = stateText(&f.far); r.far != "" {
		r.far = "(" + r.far + ")"
	}
}

func stateText(x *side) string {
	if !x.spoke && x.state == subflow.StateClosed {
		return ""
	}
	return x.state.String()
}

// finish is called when the row is drawn.
func (r *row) finish() {
	r.near = stateText(&r.flow.near)
	if r.flow.traced {
		r.near = r.flow.near.state.String()
	}
	if !r.set {
		r.states(r.flow)
	}
	if len(r.remarks) > 0 {
		r.text = append(r.text, "["+strings.Join(r.remarks, ", ")+"]")
	}
}

func (p paper) legend() string {
	const explained = "(STATE) is the peer's, inferred from what was exchanged; numbers are relative"
	return explained + "\n" + p.line("seconds", "path", "this side", strings.Repeat(" ", p.arrow), "(the peer)")
}

// mark names a subflow in its rows.
func (f *flow) mark() string {
	n := f.number
	if f.traced {
		n = int(f.path)
	}
	if f.stream.number > 1 {
		return fmt.Sprintf("%d#%d", f.stream.number, n)
	}
	return fmt.Sprintf("#%d", n)
}

// heading introduces a subflow.
func (p paper) heading(f *flow) string {
	link := ""
	if f.link != "" {
		link = " (" + f.link + ")"
	}
	return fmt.Sprintf("%*s %-*s %v%s - %v\n", timeWidth, "", markWidth, f.mark(), f.tuple.Local, link, f.tuple.Remote)
}

func (p paper) note(f *flow, at time.Duration, text string) string {
	return fmt.Sprintf("%*.6f %-*s %-*s * %s\n", timeWidth, at.Seconds(), markWidth, f.mark(), stateWidth, "", text)
}

// row draws an arrow, in as many lines as its text takes.
func (p paper) row(r *row, at time.Duration) string {
	lines := wrap(r.text, p.arrow-len("-- ")-len(" -->"))
	var b strings.Builder
	b.WriteString(p.line(fmt.Sprintf("%*.6f", timeWidth, at.Seconds()), r.flow.mark(), r.near, p.shaft(r.out, lines[0]), r.far))
	for _, text := range lines[1:] {
		b.WriteString(p.line("", "", "", fmt.Sprintf("    %-*s", p.arrow-4, text), ""))
	}
	return b.String()
}

func (p paper) line(at, mark, near, arrow, far string) string {
	bar := "|"
	if strings.TrimSpace(arrow) == "" {
		bar = " "
	}
	line := fmt.Sprintf("%*s %-*s %*s "+bar+"%s"+bar+" %s", timeWidth, at, markWidth, mark, stateWidth, near, arrow, far)
	return strings.TrimRight(line, " ") + "\n"
}

// shaft is the arrow itself with the first line of its text.
func (p paper) shaft(out bool, text string) string {
	head := "--- " + text + " "
	if !out {
		head = "<-- " + text + " "
	}
	fill := strings.Repeat("-", max(p.arrow-len(head), 1))
	if out {
		fill = fill[:len(fill)-1] + ">"
	}
	return head + fill
}

// wrap breaks words into lines of at most width characters: those that are
// longer at their spaces, if they have any.
func wrap(w words, width int) []string {
	var whole words
	for _, word := range w {
		if len(word) > width {
			whole = append(whole, strings.Fields(word)...)
		} else {
			whole = append(whole, word)
		}
	}
	lines := []string{""}
	for _, word := range whole {
		last := &lines[len(lines)-1]
		switch {
		case *last == "":
			*last = word
		case len(*last)+1+len(word) <= width:
			*last += " " + word
		default:
			lines = append(lines, word)
		}
	}
	return lines
}
