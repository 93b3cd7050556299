package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/mpnc/mpnc/mptcp"
)

// jar returns a run's view of a file that it shares with others.
func jar(t *testing.T, file string) (*cookieJar, []mptcp.FastOpenCookie) {
	t.Helper()
	j := &cookieJar{file: file}
	return j, j.load()
}

func cookieOf(n int) mptcp.FastOpenCookie {
	return mptcp.FastOpenCookie{
		Local:  netip.MustParseAddr("10.0.0.1"),
		Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}), 80),
		Cookie: []byte{1, 2, 3, 4, 5, byte(n)}, MSS: 1460,
	}
}

// What one run keeps the next one has, in a file that nobody else can read.
func TestCookiesAreKept(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	j := openCookieJar()
	if got := j.load(); len(got) != 0 {
		t.Fatalf("the first run has %v", got)
	}
	if err := j.save([]mptcp.FastOpenCookie{cookieOf(1), cookieOf(2)}); err != nil {
		t.Fatal(err)
	}
	j = openCookieJar()
	if got := j.load(); len(got) != 2 || !equalCookies(got[0], cookieOf(1)) || !equalCookies(got[1], cookieOf(2)) {
		t.Errorf("the next run has %v", got)
	}
	st, err := os.Stat(j.file)
	if err != nil {
		t.Fatal(err)
	}
	if mode := st.Mode().Perm(); mode != 0o600 && runtime.GOOS != "windows" {
		t.Errorf("the file has mode %o", mode)
	}
	t.Setenv("XDG_STATE_HOME", "relative")
	t.Setenv("HOME", "")
	t.Setenv("USERPROFILE", "")
	t.Setenv("home", "")
	j = openCookieJar()
	if err := j.save([]mptcp.FastOpenCookie{cookieOf(1)}); j.file != "" || err != nil {
		t.Errorf("without a home: %q, %v", j.file, err)
	}
}

// What is refused goes, what others keep meanwhile stays.
func TestCookiesOfSeveralRuns(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mpnc", "fast-open.json")
	first, _ := jar(t, file)
	if err := first.save([]mptcp.FastOpenCookie{cookieOf(1), cookieOf(2)}); err != nil {
		t.Fatal(err)
	}
	a, known := jar(t, file)
	b, _ := jar(t, file)
	if err := b.save(append(known, cookieOf(3))); err != nil {
		t.Fatal(err)
	}
	changed := cookieOf(2)
	changed.Cookie = []byte{9, 9, 9, 9}
	if err := a.save([]mptcp.FastOpenCookie{changed}); err != nil { // 1 was refused, 2 is another now
		t.Fatal(err)
	}
	_, got := jar(t, file)
	if len(got) != 2 || !equalCookies(got[0], cookieOf(3)) || !equalCookies(got[1], changed) {
		t.Errorf("kept %v", got)
	}
}

// A file that is not ours, or damaged, is as good as none, and is replaced.
func TestCookieFileThatIsWrong(t *testing.T) {
	for name, text := range map[string]string{
		"empty": "", "not JSON": "cookies", "cut": `[{"Local":"10.0.0.1","Remote":"10.0`, "another": `{"a":1}`,
		"large":   "[" + strings.Repeat(" ", mostCookieOctets) + "]",
		"useless": `[{},{"Local":"10.0.0.1","Remote":"10.0.0.2:80"},{"Local":"10.0.0.1","Remote":"10.0.0.2:80","Cookie":"` + strings.Repeat("AAAA", 10) + `"}]`,
	} {
		file := filepath.Join(t.TempDir(), "fast-open.json")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		j, got := jar(t, file)
		if len(got) != 0 {
			t.Errorf("%s: read %v", name, got)
		}
		if err := j.save([]mptcp.FastOpenCookie{cookieOf(1)}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, got = jar(t, file); len(got) != 1 {
			t.Errorf("%s: afterwards %v", name, got)
		}
	}
	if got := readCookies(t.TempDir()); got != nil {
		t.Errorf("of a directory: %v", got)
	}
}

// The file has a bound; the oldest go.
func TestCookiesAreBounded(t *testing.T) {
	file := filepath.Join(t.TempDir(), "fast-open.json")
	for run := range 3 {
		j, known := jar(t, file)
		for i := range 200 {
			known = append(known, cookieOf(200*run+i))
		}
		if err := j.save(known); err != nil {
			t.Fatal(err)
		}
	}
	_, got := jar(t, file)
	if len(got) != mostCookies || !equalCookies(got[len(got)-1], cookieOf(599)) {
		t.Errorf("%d are kept, the last %v", len(got), got[len(got)-1])
	}
	if st, err := os.Stat(file); err != nil || st.Size() > mostCookieOctets {
		t.Errorf("the file: %v, %v", st, err)
	}
}

// Runs that end at once lose nothing of each other's.
func TestCookiesAreLocked(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is no lock on this system")
	}
	file := filepath.Join(t.TempDir(), "fast-open.json")
	var runs sync.WaitGroup
	for i := range 40 {
		runs.Go(func() {
			j := &cookieJar{file: file}
			if err := j.save([]mptcp.FastOpenCookie{cookieOf(i)}); err != nil {
				t.Error(err)
			}
		})
	}
	runs.Wait()
	if _, got := jar(t, file); len(got) != 40 {
		t.Errorf("%d of 40 are kept", len(got))
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(file), ".fast-open-*"))
	if err != nil || len(left) != 0 {
		t.Error("left behind:", fmt.Sprint(left), err)
	}
}
