package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/mpnc/mpnc/pathmgr"
)

// parsePaths reads a command line of path options.
func parsePaths(t *testing.T, args ...string) (rules pathmgr.Rules, err error) {
	t.Helper()
	app := &cli.App{
		Flags:          tableFlags(),
		Action:         func(c *cli.Context) error { rules, err = pathRules(c); return nil },
		ExitErrHandler: func(*cli.Context, error) {},
	}
	if aerr := app.Run(append([]string{"mpnc"}, args...)); aerr != nil {
		t.Fatal(aerr)
	}
	return rules, err
}

func TestPathRulesOfFlagsAndFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "paths")
	if err := os.WriteFile(file, []byte("path wwan* cost=9\n# or not\npath eth0 cost=1\nno-path usb*\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	rules, err := parsePaths(t, "--path", "wwan*:backup:max=500M", "--no-path", "docker*", "--no-path", "veth*", "--path-file", file)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range rules {
		got = append(got, fmt.Sprint(r.Iface, r.Never, r.Backup, r.Cost, r.Max, r.Meter != nil))
	}
	const want = "wwan*false true 0 500000000 true docker*true false 0 0 false veth*true false 0 0 false eth0false false 1 0 false usb*true false 0 0 false"
	if s := strings.Join(got, " "); s != want {
		t.Errorf("rules %s\nwant  %s", s, want)
	}
}

func TestPathRulesWrong(t *testing.T) {
	file := filepath.Join(t.TempDir(), "paths")
	if err := os.WriteFile(file, []byte("path eth0\n\npath wlan0 bakcup\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--path", "wwan0:max=0"}, `--path wwan0:max=0: max "0" is not a size such as 500M`},
		{[]string{"--path", "eth0", "--no-path", "eth0"}, "--no-path eth0: there is another rule for eth0"},
		{[]string{"--no-path", ""}, "--no-path : the name of the interface is missing"},
		{[]string{"--path-file", file}, file + `: line 3: unknown key "bakcup": backup, cost=N and max=SIZE are known`},
		{[]string{"--path-file", file + "x"}, "--path-file: open " + file + "x: "},
	} {
		if _, err := parsePaths(t, tt.args...); err == nil || !strings.HasPrefix(err.Error(), tt.want) || exitCode(err) != exitUsage {
			t.Errorf("%q: %v, want %s", tt.args, err, tt.want)
		}
	}
}

func TestMeterSaysOnce(t *testing.T) {
	rules, err := parsePaths(t, "--path", "wwan0:max=1k")
	if err != nil {
		t.Fatal(err)
	}
	said := make(chan string, 9)
	tellSpent(rules, func(format string, args ...any) { said <- fmt.Sprintf(format, args...) })
	m := rules[0].Meter
	if m.Add(999) != 999 || m.Add(1) != 1000 || m.Add(5) != 1005 {
		t.Error("it does not count")
	}
	select {
	case s := <-said:
		if s != "wwan0 has carried its 1000 octets and is not used any more" {
			t.Error(s)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("nothing said")
	}
	if len(said) > 0 {
		t.Error(<-said)
	}
}
