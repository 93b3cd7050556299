package main

import (
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"github.com/mpnc/mpnc/mptcp"
)

func TestPathUsage(t *testing.T) {
	for _, tt := range []struct{ args, words string }{
		{"path frob", `unknown command "frob"`},
		{"path list 3", `takes no operands such as "3"`},
		{"path add", "from where"},
		{"path add eth0 backup now", `"now" is not understood`},
		{"path add eth0 to", `"to" is not understood`},
		{"path add eth0 to nowhere", `"nowhere" is not an address`},
		{"path remove", "remove takes one path"},
		{"path backup 1 2", "backup takes one path"},
		{"path limits subflows", "subflows takes a number"},
		{"path limits subflows many", "limit invalid: many"},
		{"path limits speed 3", `unknown limit "speed"`},
		{"path --conn 0 remove 1", "connection number invalid"},
		{"path --pid x list", "process number invalid"},
		{"path -x", "mpnc path --help"},
		{"monitor 80", "mpnc -- monitor PORT"},
		{"monitor --pid -1", "process number invalid"},
	} {
		t.Run(tt.args, func(t *testing.T) { run(t, strings.Fields(tt.args)...).fails(2, tt.words) })
	}
	env := withSockets(t)
	runWith(t, env, "path", "remove", "1").fails(1, "no mpnc process of this user has a connection", "mpnc ss")
	runWith(t, env, "path", "--pid", "1", "remove", "1").fails(1, "process 1 is no mpnc that can be asked")
}

func TestParseSteer(t *testing.T) {
	s, err := parseSteer("add", strings.Fields("wwan0 to [fd00::2]:80 backup"))
	if err != nil || s.Do != "add" || s.Local != "wwan0" || s.Remote != "[fd00::2]:80" || !s.Backup || s.ID != nil {
		t.Errorf("%+v, %v", s, err)
	}
	if s, err = parseSteer("del", []string{"#2"}); err != nil || s.Do != "remove" || s.ID == nil || *s.ID != 2 {
		t.Errorf("%+v, %v", s, err)
	}
	if s, err = parseSteer("backup", []string{"10.0.0.1"}); err != nil || s.Local != "10.0.0.1" || s.ID != nil {
		t.Errorf("%+v, %v", s, err)
	}
	s, err = parseSteer("limits", strings.Fields("add_addr_accepted 0 subflows 3"))
	if err != nil || s.Accept == nil || *s.Accept != 0 || s.Subflows == nil || *s.Subflows != 3 {
		t.Errorf("%+v, %v", s, err)
	}
	for text, want := range map[string]string{
		"": "invalid AddrPort", "10.0.0.1": "10.0.0.1:0", "10.0.0.1:80": "10.0.0.1:80", "[::1]": "[::1]:0", "::ffff:1.2.3.4": "1.2.3.4:0",
	} {
		if got, err := parseEnd(text); err != nil || got.String() != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

// Events as ip mptcp monitor prints them, with the fields that it has for each.
func TestEventText(t *testing.T) {
	at := netip.MustParseAddrPort
	sub := mptcp.Event{
		Conn: 1, Token: 0xc0ffee, Local: at("10.0.0.1:5000"), Remote: at("10.0.0.2:80"), LocalID: 1, RemoteID: 2, Link: 3,
	}
	kind := func(k mptcp.EventKind, change func(*mptcp.Event)) mptcp.Event {
		e := sub
		e.Kind = k
		if change != nil {
			change(&e)
		}
		return e
	}
	for _, tt := range []struct {
		e    mptcp.Event
		want string
	}{
		{kind(mptcp.ConnCreated, func(e *mptcp.Event) { e.ServerSide = true }),
			"[         CREATED] token=00c0ffee remid=2 locid=1 saddr4=10.0.0.1 daddr4=10.0.0.2 sport=5000 dport=80 server_side"},
		{kind(mptcp.ConnEstablished, nil),
			"[     ESTABLISHED] token=00c0ffee remid=2 locid=1 saddr4=10.0.0.1 daddr4=10.0.0.2 sport=5000 dport=80"},
		{kind(mptcp.ConnClosed, nil), "[          CLOSED] token=00c0ffee"},
		{kind(mptcp.AddrAnnounced, func(e *mptcp.Event) { e.Remote = at("[fd00::7]:0") }),
			"[       ANNOUNCED] token=00c0ffee remid=2 daddr6=fd00::7"},
		{kind(mptcp.AddrRemoved, nil), "[         REMOVED] token=00c0ffee remid=2"},
		{kind(mptcp.SubflowEstablished, func(e *mptcp.Event) { e.Backup, e.ServerSide = true, true }),
			"[  SF_ESTABLISHED] token=00c0ffee remid=2 locid=1 saddr4=10.0.0.1 daddr4=10.0.0.2 sport=5000 dport=80 backup=1 ifindex=3"},
		{kind(mptcp.SubflowClosed, func(e *mptcp.Event) {
			e.Error, e.HasReset, e.ResetReason, e.ResetTransient = syscall.Errno(104), true, 5, true
		}), "[       SF_CLOSED] token=00c0ffee remid=2 locid=1 saddr4=10.0.0.1 daddr4=10.0.0.2 sport=5000 dport=80 backup=0 error=104 ifindex=3 reset_reason=5 reset_flags=0x1"},
		{kind(mptcp.SubflowPriority, nil),
			"[         SF_PRIO] token=00c0ffee remid=2 locid=1 saddr4=10.0.0.1 daddr4=10.0.0.2 sport=5000 dport=80 backup=0 ifindex=3"},
		{mptcp.Event{Kind: mptcp.ListenerCreated, Local: at("[::]:4000")}, "[LISTENER_CREATED] saddr6=:: sport=4000"},
		{mptcp.Event{Kind: mptcp.ListenerClosed, Local: at("0.0.0.0:4000")}, "[ LISTENER_CLOSED] saddr4=0.0.0.0 sport=4000"},
	} {
		d := describeEvent(tt.e)
		d.PID = 7
		if got := eventText(&d); got != tt.want+" pid=7" {
			t.Errorf("got  %s\nwant %s pid=7", got, tt.want)
		}
	}
}
