package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
)

// grammar says how a command line is read: which options exist, and which of
// them take a value.
type grammar struct {
	letters map[string]string // a letter's long name
	long    map[string]bool   // whether an option takes a value
	// alone has what long options mean that may have a value, attached with =,
	// or none.
	alone map[string]string
	// hint says what to do instead of a letter that others have; may be nil.
	hint map[string]string
}

// grammarOf reads the flags of a subcommand.
func grammarOf(flags []cli.Flag) *grammar {
	g := &grammar{letters: map[string]string{"h": "help"}, long: map[string]bool{"help": false}}
	for _, f := range flags {
		_, isBool := f.(*cli.BoolFlag)
		for _, name := range f.Names() {
			if len(name) == 1 {
				g.letters[name] = f.Names()[0]
			}
			g.long[name] = !isBool
		}
	}
	return g
}

// normalize rewrites a command line as getopt_long(3) reads it into long
// options as package flag reads them: clusters are taken apart (-lvnp 1234),
// values are attached (-w1 becomes --wait=1), beginnings of long names are
// completed, options after operands come before them, and what follows -- is
// left alone. The result always ends in "--" and the operands.
func (g *grammar) normalize(args []string) ([]string, error) {
	var options, operands []string
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			operands = append(operands, args[i+1:]...)
			break
		}
		if len(arg) < 2 || arg[0] != '-' {
			operands = append(operands, arg)
			continue
		}
		read := g.cluster
		if strings.HasPrefix(arg, "--") {
			read = g.readLong
		}
		found, open, err := read(arg)
		if err != nil {
			return nil, err
		}
		if open != "" {
			if i++; i == len(args) {
				return nil, fmt.Errorf("option requires an argument -- '%s'", open)
			}
			found[len(found)-1] += "=" + args[i]
		}
		options = append(options, found...)
	}
	return append(append(options, "--"), operands...), nil
}

// cluster takes -abc apart. If the value of the last option is still to come,
// in the next argument, it is called open.
func (g *grammar) cluster(arg string) (found []string, open string, err error) {
	for i := 1; i < len(arg); i++ {
		letter := arg[i : i+1]
		name, known := g.letters[letter]
		switch {
		case !known:
			return nil, "", g.unknown(arg[i:])
		case !g.long[name]:
			found = append(found, "--"+name)
		case i+1 == len(arg):
			return append(found, "--"+name), letter, nil
		default:
			return append(found, "--"+name+"="+arg[i+1:]), "", nil
		}
	}
	return found, "", nil
}

// readLong reads --name, --name=value, and any unambiguous beginning of a name.
func (g *grammar) readLong(arg string) (found []string, open string, err error) {
	given, value, attached := strings.Cut(arg[2:], "=")
	name, err := g.complete(given)
	if err != nil {
		return nil, "", err
	}
	switch takesValue := g.long[name]; {
	case attached && !takesValue:
		return nil, "", fmt.Errorf("option '--%s' doesn't allow an argument", name)
	case attached:
		return []string{"--" + name + "=" + value}, "", nil
	case g.alone[name] != "":
		return []string{"--" + name + "=" + g.alone[name]}, "", nil
	case takesValue:
		return []string{"--" + name}, name, nil
	}
	return []string{"--" + name}, "", nil
}

// complete returns the one long option that begins with given.
func (g *grammar) complete(given string) (string, error) {
	if _, exact := g.long[given]; exact && len(given) > 1 {
		return given, nil
	}
	var match []string
	for name := range g.long {
		if len(name) > 1 && given != "" && strings.HasPrefix(name, given) {
			match = append(match, name)
		}
	}
	switch len(match) {
	case 1:
		return match[0], nil
	case 0:
		return "", fmt.Errorf("unrecognized option '--%s'", given)
	default:
		return "", fmt.Errorf("option '--%s' is ambiguous", given)
	}
}

func (g *grammar) unknown(rest string) error {
	letter := []rune(rest)[0]
	if hint, ok := g.hint[string(letter)]; ok {
		return fmt.Errorf("invalid option -- '%c': %s", letter, hint)
	}
	return fmt.Errorf("invalid option -- '%c'", letter)
}
