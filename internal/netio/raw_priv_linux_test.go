package netio

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mpnc/mpnc/internal/netio/nstest"
)

// droppriv runs testdata/droppriv in a namespace and returns its lines. It is
// a program of its own because privileges given up are gone, and because this
// test may have been built with cgo.
func droppriv(t *testing.T, args ...string) (lines []string) {
	t.Helper()
	ns := nstest.New(t)
	exe := filepath.Join(t.TempDir(), "droppriv")
	build := exec.Command("go", "build", "-o", exe, "./testdata/droppriv")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	ns.Do(func() {
		out, err := exec.Command(exe, args...).CombinedOutput()
		if err != nil {
			t.Errorf("%v: %s", err, out)
		}
		lines = strings.Split(strings.TrimSpace(string(out)), "\n")
	})
	return lines
}

// Every thread keeps CAP_NET_RAW and CAP_NET_BIND_SERVICE, nothing else, and
// that is enough for what comes after.
func TestKeepOnlyNetRaw(t *testing.T) {
	lines := droppriv(t)
	if len(lines) < 6 || lines[0] != "<nil>" {
		t.Fatalf("%q", lines)
	}
	threads, rest := lines[1:len(lines)-3], lines[len(lines)-3:]
	for _, l := range threads {
		if !strings.HasSuffix(l, "\t0000000000002400") {
			t.Errorf("a thread has %q", l)
		}
	}
	if want := []string{"<nil>", "<nil> 1 0", "<nil>"}; !slices.Equal(rest, want) {
		t.Errorf("afterwards: %q, want %q", rest, want)
	}
}

// Without the privilege the error says which one is missing.
func TestProbeWithoutPrivilege(t *testing.T) {
	lines := droppriv(t, "nothing")
	if len(lines) != 3 || lines[0] != "true" {
		t.Fatalf("%q", lines)
	}
	for _, l := range lines[1:] {
		if !strings.Contains(l, "CAP_NET_RAW") || !strings.Contains(l, "operation not permitted") {
			t.Errorf("%q", l)
		}
	}
}
