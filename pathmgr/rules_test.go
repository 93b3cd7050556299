package pathmgr

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestParseRule(t *testing.T) {
	tests := []struct {
		text string
		want Rule
		err  string
	}{
		{text: "eth0", want: Rule{Iface: "eth0"}},
		{text: "wwan*:backup:cost=10:max=500M", want: Rule{Iface: "wwan*", Backup: true, Cost: 10, Max: 500_000_000}},
		{text: "wlan[01]:max=1k", want: Rule{Iface: "wlan[01]", Max: 1000}},
		{text: "wwan0:max=2G", want: Rule{Iface: "wwan0", Max: 2_000_000_000}},
		{text: "wwan0:max=3t", want: Rule{Iface: "wwan0", Max: 3_000_000_000_000}},
		{text: "wwan0:max=12", want: Rule{Iface: "wwan0", Max: 12}},
		{text: "", err: "the name of the interface is missing"},
		{text: ":backup", err: "the name of the interface is missing"},
		{text: "wlan[0", err: `"wlan[0" is no pattern of names`},
		{text: "eth0:", err: `unknown key "": backup, cost=N and max=SIZE are known`},
		{text: "eth0:bakcup", err: `unknown key "bakcup": backup, cost=N and max=SIZE are known`},
		{text: "eth0:backup=1", err: "backup takes no value"},
		{text: "eth0:cost", err: "cost needs a value: cost=…"},
		{text: "eth0:cost=-1", err: `cost "-1" is not a number from 0 to 1000000`},
		{text: "eth0:cost=cheap", err: `cost "cheap" is not a number from 0 to 1000000`},
		{text: "eth0:max=0", err: `max "0" is not a size such as 500M`},
		{text: "eth0:max=500MB", err: `max "500MB" is not a size such as 500M`},
		{text: "eth0:max=", err: `max "" is not a size such as 500M`},
		{text: "eth0:max=M", err: `max "M" is not a size such as 500M`},
		{text: "eth0:max=18446744073709551615G", err: `max "18446744073709551615G" is not a size such as 500M`},
		{text: "eth0:backup:backup", err: "backup is said twice"},
	}
	for _, tt := range tests {
		r, err := ParseRule(tt.text)
		if tt.err != "" {
			if err == nil || err.Error() != tt.err {
				t.Errorf("%q: error %v, want %s", tt.text, err, tt.err)
			}
			continue
		}
		if err != nil || r != tt.want {
			t.Errorf("%q: %+v, %v", tt.text, r, err)
		}
	}
}

func TestParseRules(t *testing.T) {
	rules, err := ParseRules(strings.NewReader(`
# the phone is for emergencies
path wwan* backup max=500M   # a month's worth
  path eth0 cost=1

no-path docker*
`))
	want := Rules{
		{Iface: "wwan*", Backup: true, Max: 500_000_000}, {Iface: "eth0", Cost: 1}, {Iface: "docker*", Never: true},
	}
	if err != nil || !reflect.DeepEqual(rules, want) {
		t.Errorf("%+v, %v", rules, err)
	}
	for text, msg := range map[string]string{
		"path eth0\npth eth1":         `line 2: unknown key "pth": only path and no-path are known`,
		"\n\npath":                    "line 3: path needs the name of an interface",
		"no-path":                     "line 1: no-path needs the name of an interface, and nothing else",
		"no-path eth0 backup":         "line 1: no-path needs the name of an interface, and nothing else",
		"path eth0 fast":              `line 1: unknown key "fast": backup, cost=N and max=SIZE are known`,
		"path eth0\n#\nno-path eth0":  "line 3: there is another rule for eth0",
		"path x\n" + longLine(70_000): "line 2: bufio.Scanner: token too long",
	} {
		if _, err := ParseRules(strings.NewReader(text)); err == nil || err.Error() != msg {
			t.Errorf("%.20q: error %v, want %s", text, err, msg)
		}
	}
}

func longLine(n int) string { return strings.Repeat("x", n) }

func FuzzParseRules(f *testing.F) {
	f.Add("path wwan* backup max=500M cost=3\nno-path a[b-c]?\n#")
	f.Fuzz(func(t *testing.T, text string) {
		rules, err := ParseRules(strings.NewReader(text))
		if err != nil {
			return
		}
		for _, r := range rules {
			rules.of(r.Iface) // no pattern that was accepted is an error later
		}
		rules.Choose([]Local{wifi, cell})
	})
}

func TestRuleThatCounts(t *testing.T) {
	rules := Rules{{Iface: "*"}, {Iface: "wlan*"}, {Iface: "wlan0"}, {Iface: "wl*n?"}, {Iface: "w*"}, {Iface: "[e]th0"}}
	for name, want := range map[string]int{"wlan0": 2, "wlan1": 1, "wlxn1": 3, "wwan0": 4, "eth0": 5, "lo": 0} {
		if got := rules.of(name); got != want {
			t.Errorf("%s: rule %d, want %d", name, got, want)
		}
	}
	if got := (Rules{{Iface: "eth0"}}).of("eth1"); got != -1 {
		t.Errorf("eth1: rule %d", got)
	}
}

func TestChoose(t *testing.T) {
	names := func(l []Local) (s []string) {
		for _, l := range l {
			n := l.Name
			if l.Best {
				n += "!"
			}
			s = append(s, n)
		}
		return s
	}
	for _, tt := range []struct {
		rules Rules
		want  []string
	}{
		{nil, []string{"wlan0!", "lo", "wwan0", "eth0"}},
		{Rules{{Iface: "wlan0", Backup: true}}, []string{"lo", "wwan0", "eth0", "wlan0!"}},
		{Rules{{Iface: "w*", Cost: 2}, {Iface: "lo", Cost: 9}}, []string{"eth0", "wlan0!", "wwan0", "lo"}},
		{Rules{{Iface: "*", Never: true}, {Iface: "eth*"}}, []string{"lo!", "eth0"}},
		{Rules{{Iface: "wlan0", Never: true}, {Iface: "lo", Cost: 1}}, []string{"wwan0!", "eth0", "lo"}},
		{Rules{{Iface: "wwan0", Max: 10, Meter: &counter{10}}}, []string{"wlan0!", "lo", "eth0"}},
	} {
		if got := names(tt.rules.Choose([]Local{lo, cell, wifi, cable})); !slices.Equal(got, tt.want) {
			t.Errorf("%+v: %q, want %q", tt.rules, got, tt.want)
		}
	}
}

// counter is a Meter for one goroutine.
type counter struct{ n uint64 }

func (c *counter) Add(n uint64) uint64 { c.n += n; return c.n }

func TestRulesForbid(t *testing.T) {
	w := client(t, make1(t, "fullmesh", Rule{Iface: "wwan*", Never: true}), wifi, cell, cable)
	want(t, "Established", w.handle(Established{}), fromCable)
	w.allUp()
	w.now += at(1e9)
	w.localDown(wifi)
	w.localDown(cable)
	w.lose1(0, LocalGone)
	want(t, "not even when nothing else is left", w.lose1(1, LocalGone))
	w = server(t, make1(t, "fullmesh", Rule{Iface: "wwan*", Never: true}), wifi, cell, cable)
	want(t, "not advertised", w.handle(Established{}), "advertise eth0")
	w.v.Subflows = append(w.v.Subflows, Subflow{ID: 4, Local: home(cell.Addr), Link: cell.Link, Remote: port("203.0.113.1:4000"), Established: true})
	want(t, "a join is not kept", w.handle(SubflowUp{w.v.Subflows[1]}), "close 4")
}

// A VPN that must not be used is no reason to leave others alone.
func TestRulesForbidVPN(t *testing.T) {
	w := client(t, make1(t, "fullmesh", Rule{Iface: "wg0", Never: true}), plain(wifi), preferred(vpn), cell)
	want(t, "Established", w.handle(Established{}), fromCell)
}

// Naming an interface admits it beside a VPN; a pattern of all names does not,
// and nothing admits a bridge.
func TestRulesName(t *testing.T) {
	for _, tt := range []struct {
		rule string
		cmds []string
	}{{"wwan0", []string{fromCell}}, {"wwan*", []string{fromCell}}, {"*", nil}, {"docker0", nil}} {
		w := client(t, make1(t, "fullmesh", Rule{Iface: tt.rule}), preferred(vpn), plain(wifi), cell, docker)
		want(t, tt.rule, w.handle(Established{}), tt.cmds...)
	}
}

func TestCostOrders(t *testing.T) {
	w := client(t, make1(t, "fullmesh", Rule{Iface: "wwan0", Cost: 1}, Rule{Iface: "eth0", Backup: true}), wifi, cell, cable)
	want(t, "Established", w.handle(Established{}), fromCell, "open backup eth0 198.51.100.1:80")
}

// The octets of an interface are counted over all its paths and connections, and
// when they are spent its paths are closed and no others opened.
func TestQuota(t *testing.T) {
	meter := &counter{}
	rule := Rule{Iface: "wwan*", Backup: true, Max: 1 << 20, Meter: meter}
	w := client(t, make1(t, "fullmesh", rule), wifi, cell)
	want(t, "Established", w.handle(Established{}), "open backup wwan0 198.51.100.1:80")
	want(t, "up", w.up(cell, remote), "watch 1 16384")
	carry := func(n uint64) []string {
		w.find(cell, remote).Carried += n
		return w.handle(Carried{1})
	}
	want(t, "some", carry(20_000), "watch 1 36384")
	meter.Add(1<<20 - 25_000)
	want(t, "another connection's", carry(4_900), "watch 1 25000")
	if rules := (Rules{rule}); !rules.Allows("wwan0") {
		t.Error("not spent yet")
	}
	want(t, "the last", carry(100), "close 1")
	want(t, "once", carry(100))
	if rules := (Rules{rule}); rules.Allows("wwan0") || !rules.Allows("wlan0") {
		t.Error("spent")
	}
	want(t, "closed", w.lose1(1, Spent))
	if meter.n != 1<<20 {
		t.Errorf("%d counted", meter.n)
	}
	w.now += at(1e12)
	want(t, "not again", w.handle(RouteChanged{}))
	w.localDown(wifi)
	want(t, "not even alone", w.lose1(0, LocalGone))
}

// The first path counts, too, and without a Meter each connection for itself.
func TestQuotaOfFirstPath(t *testing.T) {
	m := make1(t, "none", Rule{Iface: "wlan0", Max: 100_000})
	w := client(t, m, wifi)
	want(t, "Established", w.handle(Established{}), "watch 0 4096")
	w.v.Subflows[0].Carried = 60_000
	want(t, "lost", w.lose1(0, Reset), fromWifi)
	want(t, "up", w.up(wifi, remote), "watch 1 4096")
	w.v.Subflows[0].Carried = 40_000
	want(t, "spent", w.handle(Carried{1}), "close 1")
	want(t, "closed", w.lose1(1, Spent))
	want(t, "new address", w.localUp(cell), fromCell)
}

// A server whose octets are spent closes what the client opens there.
func TestQuotaOfServer(t *testing.T) {
	w := server(t, make1(t, "fullmesh", Rule{Iface: "wwan*", Max: 100, Meter: &counter{100}}), wifi, cell)
	want(t, "not advertised", w.handle(Established{}))
	w.v.Subflows = append(w.v.Subflows, Subflow{ID: 4, Local: home(cell.Addr), Link: cell.Link, Remote: port("203.0.113.1:4000"), Established: true})
	want(t, "joined", w.handle(SubflowUp{w.v.Subflows[1]}), "close 4")
}
