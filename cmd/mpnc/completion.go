package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// completion returns what makes a shell complete mpnc's command line, made of
// the table of options.
func completion(shell string) (string, error) {
	switch shell {
	case "bash":
		return bashCompletion(), nil
	case "zsh":
		return zshCompletion(), nil
	case "fish":
		return fishCompletion(), nil
	}
	return "", usage("no completion for %q: bash, zsh and fish are known", shell)
}

// takesFile reports whether the option's value is a file's name.
func (o *option) takesFile() bool { return len(o.values) == 1 && o.values[0] == "FILE" }

func bashCompletion() string {
	var b strings.Builder
	b.WriteString("# bash completion of mpnc: . <(mpnc --completion bash)\n_mpnc() {\n" +
		"\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n" +
		"\t[ \"$prev\" = = ] && prev=${COMP_WORDS[COMP_CWORD-2]}\n" +
		"\t[ \"$cur\" = = ] && prev=${COMP_WORDS[COMP_CWORD-1]} cur=\n\tcase $prev in\n")
	var all []string
	for i := range table {
		o := &table[i]
		if o.hidden {
			continue
		}
		names := "--" + o.name
		if l := o.letter(mpnc); l != "" {
			names += "|-" + l
		}
		all = append(all, strings.Split(names, "|")...)
		switch {
		case o.takesFile():
			fmt.Fprintf(&b, "\t%s) COMPREPLY=($(compgen -f -- \"$cur\")); return;;\n", names)
		case len(o.values) > 0:
			fmt.Fprintf(&b, "\t%s) COMPREPLY=($(compgen -W '%s' -- \"$cur\")); return;;\n", names, strings.Join(o.values, " "))
		case o.arg != "":
			fmt.Fprintf(&b, "\t%s) return;;\n", names)
		}
	}
	commands := strings.Join(slices.Sorted(maps.Keys(subcommands)), " ")
	fmt.Fprintf(&b, "\tesac\n\tcase $cur in\n\t-*) COMPREPLY=($(compgen -W '%s' -- \"$cur\"));;\n", strings.Join(all, " "))
	fmt.Fprintf(&b, "\t*)\n\t\tCOMPREPLY=($(compgen -A hostname -- \"$cur\"))\n"+
		"\t\t[ \"$COMP_CWORD\" = 1 ] && COMPREPLY+=($(compgen -W '%s' -- \"$cur\"));;\n", commands)
	b.WriteString("\tesac\n}\ncomplete -F _mpnc mpnc\n")
	return b.String()
}

// zshText makes a text safe between the brackets of an _arguments spec, in
// single quotes.
var zshText = strings.NewReplacer("'", `'\''`, "[", `\[`, "]", `\]`, ":", `\:`)

func zshCompletion() string {
	var b strings.Builder
	b.WriteString("#compdef mpnc\n# zsh completion of mpnc: mpnc --completion zsh > a directory of $fpath/_mpnc\n_arguments -s \\\n")
	for i := range table {
		o := &table[i]
		if o.hidden {
			continue
		}
		value, equals := "", ""
		if o.arg != "" {
			value, equals = ":"+strings.ToLower(o.arg)+":", "="
			switch {
			case o.takesFile():
				value += "_files"
			case len(o.values) > 0:
				value += "(" + strings.Join(o.values, " ") + ")"
			}
		}
		names := "'*--" + o.name + equals
		if l := o.letter(mpnc); l != "" {
			plus := ""
			if o.arg != "" {
				plus = "+"
			}
			names = fmt.Sprintf("'*'{-%s%s,--%s%s}'", l, plus, o.name, equals)
		}
		fmt.Fprintf(&b, "  %s[%s]%s' \\\n", names, zshText.Replace(o.use), value)
	}
	b.WriteString("  '1:host:_hosts' '*:port:_ports'\n")
	return b.String()
}

func fishCompletion() string {
	var b strings.Builder
	b.WriteString("# fish completion of mpnc: mpnc --completion fish > ~/.config/fish/completions/mpnc.fish\n")
	for i := range table {
		o := &table[i]
		if o.hidden {
			continue
		}
		line := "complete -c mpnc -l " + o.name
		if l := o.letter(mpnc); l != "" {
			line += " -s " + l
		}
		switch {
		case o.takesFile():
			line += " -r -F"
		case len(o.values) > 0:
			line += " -x -a '" + strings.Join(o.values, " ") + "'"
		case o.arg != "":
			line += " -x"
		}
		fmt.Fprintf(&b, "%s -d '%s'\n", line, strings.ReplaceAll(o.use, "'", `\'`))
	}
	for _, name := range slices.Sorted(maps.Keys(subcommands)) {
		fmt.Fprintf(&b, "complete -c mpnc -n __fish_use_subcommand -a %s\n", name)
	}
	return b.String()
}
