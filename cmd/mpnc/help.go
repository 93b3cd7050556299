package main

import (
	"fmt"
	"strings"
)

// helpWidth is the column in which the explanations of options begin.
const helpWidth = 26

// tableHelp is the template of --help in a dialect: the table by sections.
func tableHelp(d dialect) string {
	var b strings.Builder
	b.WriteString("{{.Name}} - {{.Usage}}\n\nUsage:\n  {{.UsageText}}\n")
	for p := range parts {
		lines := ""
		for i := range table {
			if o := &table[i]; o.part == p && !o.hidden {
				lines += o.help(d)
			}
		}
		if lines != "" {
			fmt.Fprintf(&b, "\n%s:\n%s", partTitles[p], lines)
		}
	}
	b.WriteString("\n{{.Description}}\n")
	return b.String()
}

// help is an option's line of --help.
func (o *option) help(d dialect) string {
	head := "      --" + o.name
	if l := o.letter(d); l != "" {
		head = "  -" + l + ", --" + o.name
	}
	switch {
	case o.alone != "":
		head += "[=" + o.arg + "]"
	case o.arg != "":
		head += " " + o.arg
	}
	indent := strings.Repeat(" ", helpWidth)
	if len(head) >= helpWidth {
		head += "\n" + indent
	} else {
		head += indent[len(head):]
	}
	use := o.use
	if o.def != "" {
		use += " (default: " + o.def + ")"
	}
	return head + strings.ReplaceAll(wrap(use, 80-helpWidth), "\n", "\n"+indent) + "\n"
}

// wrap breaks a text between words into lines of at most width characters.
func wrap(text string, width int) string {
	lines, line := "", ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines, line = lines+line+"\n", ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return lines + line
}
