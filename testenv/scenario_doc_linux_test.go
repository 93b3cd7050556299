package testenv

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// writeScenarios makes TestKernelScenariosDocument write the document.
var writeScenarios = flag.Bool("scenarios.write", false, "write docs/kernel-scenarios.md")

var scenarioDoc = filepath.Join("..", "docs", "kernel-scenarios.md")

const scenarioIntro = `# The kernel's scenarios

Linux tests its Multipath TCP with scripts (` + "`tools/testing/selftests/net/mptcp`" + `): two or more of its hosts, and what each of them
must have counted in the end. These are their cases as of Linux 6.18, with an end of ours in the place of one of the hosts. Each is played
between network namespaces joined by four links by ` + "`TestKernelScenarios`" + ` (testenv): the connection stands until both ends have counted
what is wanted, our connection's statistics under the kernel's names; then 100 kB go each way, nothing more may have been
counted, and the kernel must have counted nothing else that means trouble: no reset, no fallback, no wrong HMAC, no checksum.

"holds" means that the test wants exactly the counts of the second column. With a number, it wants others or is not played so, and why is
said below. A name in the last columns is that of a test that shows the case otherwise. Joins are SYNs that the listener has seen /
SYN/ACKs that the connector has seen / third packets that proved their sender; counts are named as by nstat, without MPTcpExt.

Where mpnc's own path manager, kept to the links of the case by rules (` + "`--no-path`" + `), has the paths that the case wants, it plays
our part. Otherwise (a port of its own for an address, a limit for announcements, an endpoint that comes or goes) one that
follows a list of endpoints as the kernel's does, and only the rest of the stack is what is tried.

This file is written by ` + "`go test ./testenv -run TestKernelScenariosDocument -scenarios.write`" + `.
`

// otherScripts are families that are scripts of their own; the others are
// parts of mptcp_join.sh.
var otherScripts = []string{"mptcp_connect", "simult_flows", "userspace_pm", "diag", "mptcp_sockopt", "pm_netlink"}

// notes number the reasons of a table.
type notes []string

func (n *notes) mark(why string) string {
	i := slices.Index(*n, why)
	if i < 0 {
		i = len(*n)
		*n = append(*n, why)
	}
	return fmt.Sprintf("[%d]", i+1)
}

// renderScenarios writes the document.
func renderScenarios() []byte {
	var b bytes.Buffer
	b.WriteString(scenarioIntro)
	var n notes
	family := ""
	for i := range scenarios {
		s := &scenarios[i]
		if s.family != family {
			family = s.family
			title := family
			if !slices.Contains(otherScripts, family) {
				title = "mptcp_join, " + family
			}
			fmt.Fprintf(&b, "\n## %s\n\n| case | counts | mpnc listens | mpnc connects |\n|---|---|---|---|\n", title)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", s.name, describe(s.want), s.cell(atServer, &n), s.cell(atClient, &n))
	}
	b.WriteString("\n## Why\n\n")
	for i, why := range n {
		fmt.Fprintf(&b, "%d. %s\n", i+1, why)
	}
	return b.Bytes()
}

// cell says what becomes of a scenario with us in one of the places.
func (s *scenario) cell(ours place, n *notes) string {
	e := s.exception(ours)
	switch {
	case s.shownBy != nil:
		return "`" + strings.Join(s.shownBy, "`, `") + "`"
	case s.left != "":
		return "not played " + n.mark(s.left)
	case e.left != "":
		return "not played " + n.mark(e.left)
	case e.want != nil:
		return describe(e.want) + " " + n.mark(e.why)
	}
	return "holds"
}

// describe is counts in words.
func describe(want []count) string {
	var parts []string
	if len(want) >= 3 && slices.Equal(names(want[:3]), names(joins(0, 0, 0))) {
		parts = append(parts, fmt.Sprintf("joins %d/%d/%d", want[0].n, want[1].n, want[2].n))
		want = want[3:]
	}
	for _, end := range []place{atServer, atClient} {
		var list []string
		for _, c := range want {
			switch {
			case c.at != end || c.n == anyNumber:
			case c.n == some:
				list = append(list, c.name+" at least 1")
			default:
				list = append(list, fmt.Sprintf("%s %d", c.name, c.n))
			}
		}
		if len(list) > 0 {
			who := map[place]string{atServer: "listener", atClient: "connector"}[end]
			parts = append(parts, who+" "+strings.Join(list, ", "))
		}
	}
	return strings.Join(parts, "; ")
}

func names(want []count) (n []string) {
	for _, c := range want {
		n = append(n, c.name)
	}
	return n
}

// The document is what the table says.
func TestKernelScenariosDocument(t *testing.T) {
	if *writeScenarios {
		if err := os.WriteFile(scenarioDoc, renderScenarios(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(scenarioDoc)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, renderScenarios()) {
		t.Errorf("%s is stale: run with -scenarios.write", scenarioDoc)
	}
}

// Each case says once what it is, every reason is given, and the tests named
// instead exist.
func TestKernelScenariosTable(t *testing.T) {
	known := testNames(t)
	seen := make(map[string]bool)
	for i := range scenarios {
		s := &scenarios[i]
		name := s.family + ": " + s.name
		if seen[name] {
			t.Errorf("%s is there twice", name)
		}
		seen[name] = true
		for _, test := range s.shownBy {
			if !known[test] {
				t.Errorf("%s: there is no %s", name, test)
			}
		}
		plays := s.played(atServer) || s.played(atClient)
		if plays == (s.want == nil) {
			t.Errorf("%s: wants %v, and is played: %v", name, s.want, plays)
		}
		for _, e := range []exception{s.byServer, s.byClient} {
			if (e.want != nil) != (e.why != "") || e.want != nil && e.left != "" {
				t.Errorf("%s: exception %+v", name, e)
			}
		}
	}
}

// testNames are the tests of this module.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	known := make(map[string]bool)
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		for line := range strings.Lines(string(b)) {
			if rest, ok := strings.CutPrefix(line, "func Test"); ok {
				name, _, _ := strings.Cut(rest, "(")
				known["Test"+name] = true
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return known
}
