package scheduler

import (
	"fmt"
	"strings"
)

// table lists the schedulers by name, the default first.
var table = []struct {
	name string
	make func() Scheduler
}{
	{"minrtt", NewMinRTT},
	{"roundrobin", NewRoundRobin},
}

// New returns what makes schedulers of the kind called name, one for each
// connection; the empty name means the default, the first of Names.
func New(name string) (func() Scheduler, error) {
	for _, t := range table {
		if name == t.name || name == "" {
			return t.make, nil
		}
	}
	return nil, fmt.Errorf("unknown scheduler %q: choose one of %s", name, strings.Join(Names(), ", "))
}

// Names lists what New knows, the default first.
func Names() []string {
	names := make([]string, len(table))
	for i, t := range table {
		names[i] = t.name
	}
	return names
}
