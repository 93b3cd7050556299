package pathmgr

import (
	"fmt"
	"strings"
)

// table lists the managers by name, the default first.
var table = []struct {
	name  string
	shape shape
}{
	{"fullmesh", shape{}},
	{"backup", backup},
	{"ndiffports", ndiffports},
	{"one-per-interface", onePerInterface},
	{"none", none},
}

// New returns what makes managers of the kind called name, one for each
// connection, which keep to the rules; the empty name means the default, the
// first of Names.
func New(name string, rules ...Rule) (func() Manager, error) {
	for _, t := range table {
		if name == t.name || name == "" {
			return func() Manager { return &FullMesh{Rules: rules, shape: t.shape} }, nil
		}
	}
	return nil, fmt.Errorf("unknown path manager %q: choose one of %s", name, strings.Join(Names(), ", "))
}

// Names lists what New knows, the default first.
func Names() []string {
	names := make([]string, len(table))
	for i, t := range table {
		names[i] = t.name
	}
	return names
}
