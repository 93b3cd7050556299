package cc

import (
	"fmt"
	"strings"
)

// table lists the controllers by name, the default first.
var table = []struct {
	name string
	make Factory
}{
	{"cubic", NewCUBIC},
	{"reno", NewReno},
	{"bbr", NewBBR},
	{"lia", NewLIA},
	{"olia", NewOLIA},
	{"balia", NewBALIA},
}

// New returns the factory of the controller called name; the empty name means
// the default, the first of Names.
func New(name string) (Factory, error) {
	for _, t := range table {
		if name == t.name || name == "" {
			return t.make, nil
		}
	}
	return nil, fmt.Errorf("unknown congestion control %q: choose one of %s", name, strings.Join(Names(), ", "))
}

// Names lists what New knows, the default first.
func Names() []string {
	names := make([]string, len(table))
	for i, t := range table {
		names[i] = t.name
	}
	return names
}
