package pathmgr

import (
	"slices"
	"testing"
	"time"
)

func make1(t *testing.T, name string, rules ...Rule) Manager {
	t.Helper()
	f, err := New(name, rules...)
	if err != nil {
		t.Fatal(err)
	}
	return f()
}

// One carries, the others are joined and idle; the first of them steps in by a
// word (MP_PRIO), and steps back when the first path is heard again.
func TestBackupOneCarries(t *testing.T) {
	w := client(t, make1(t, "backup"), wifi, cell, cable)
	want(t, "Established", w.handle(Established{}), "open backup wwan0 198.51.100.1:80", "open backup eth0 198.51.100.1:80")
	w.allUp()
	want(t, "the carrier is silent", w.silent(wifi, remote), "carry 1")
	want(t, "and the next", w.silent(cell, remote), "carry 2")
	want(t, "one is heard", w.heard(cell, remote), "backup 2")
	want(t, "the first is heard", w.heard(wifi, remote), "backup 1")
	w.now += at(time.Minute)
	want(t, "the carrier goes", w.down(wifi, remote, Reset), "carry 1", "open backup wlan0 198.51.100.1:80")
	want(t, "it is back where it began", w.up(wifi, remote), "carry 3", "backup 1")
}

func TestBackupByCost(t *testing.T) {
	rules := []Rule{{Iface: "wlan0", Cost: 5}, {Iface: "wwan*", Backup: true}}
	w := client(t, make1(t, "backup", rules...), wifi, cell, cable)
	want(t, "Established", w.handle(Established{}), "open backup eth0 198.51.100.1:80", "open backup wwan0 198.51.100.1:80")
	want(t, "the cheaper is up", w.up(cable, remote), "carry 1", "backup 0")
	want(t, "the backup is up", w.up(cell, remote))
	want(t, "silent", w.silent(cable, remote), "carry 0")
	want(t, "silent, too", w.silent(wifi, remote), "carry 2")
}

// The peer's wish counts after the rules of this side.
func TestBackupPeerPriority(t *testing.T) {
	w := client(t, make1(t, "backup"), wifi, cell)
	w.handle(Established{})
	w.allUp()
	w.find(wifi, remote).PeerBackup = true
	want(t, "the peer's wish", w.handle(PeerPriority{0}), "carry 1", "backup 0")
}

// The listening side follows the client.
func TestBackupServerFollows(t *testing.T) {
	w := server(t, make1(t, "backup"), wifi, cell)
	want(t, "Established", w.handle(Established{}), "advertise wwan0")
	w.v.Subflows = append(w.v.Subflows, Subflow{ID: 4, Local: home(cell.Addr), Remote: port("203.0.113.1:4000"), Established: true, PeerBackup: true})
	want(t, "SubflowUp", w.handle(SubflowUp{w.v.Subflows[1]}))
}

// In every policy a rule's backups are told to the peer, the first path's too,
// and a person's other wish stands until the policy changes its own.
func TestRulesBackup(t *testing.T) {
	w := client(t, make1(t, "fullmesh", Rule{Iface: "wlan0", Backup: true}), wifi, cell)
	want(t, "Established", w.handle(Established{}), "backup 0", "open wwan0 198.51.100.1:80")
	w.v.Subflows[0].Backup = false
	want(t, "a person's wish", w.handle(RouteChanged{}))
	w = server(t, make1(t, "fullmesh", Rule{Iface: "wwan0", Backup: true}), wifi, cell)
	want(t, "server", w.handle(Established{}), "advertise wwan0")
	w.v.Subflows = append(w.v.Subflows, Subflow{ID: 4, Local: home(cell.Addr), Link: cell.Link, Remote: port("203.0.113.1:4000"), Established: true})
	want(t, "joined", w.handle(SubflowUp{w.v.Subflows[1]}), "backup 4")
}

func TestNDiffPorts(t *testing.T) {
	w := client(t, make1(t, "ndiffports"), wifi, cell)
	want(t, "Established", w.handle(Established{}), fromWifi)
	w.allUp()
	want(t, "advertised", w.peerAdded(peer(1, "198.51.100.9:80")))
	want(t, "new address", w.localUp(cable))
	w.now += at(time.Minute)
	want(t, "one lost", w.lose1(0, Reset), fromWifi)
	w.allUp()
	w.now += at(time.Minute)
	want(t, "the address goes", w.localDown(wifi), "withdraw 192.0.2.1", fromCell, fromCell)
	want(t, "one goes", w.lose1(1, LocalGone))
	want(t, "both are gone", w.lose1(2, LocalGone))
	w.allUp()
	want(t, "nothing more", w.handle(RouteChanged{}))
}

func (w *world) lose1(id PathID, why Reason) []string {
	w.t.Helper()
	i := slices.IndexFunc(w.v.Subflows, func(s Subflow) bool { return s.ID == id })
	s := w.v.Subflows[i]
	w.v.Subflows = slices.Delete(w.v.Subflows, i, i+1)
	return w.handle(SubflowDown{Subflow: s, Reason: why})
}

func TestNDiffPortsOneFails(t *testing.T) {
	w := client(t, make1(t, "ndiffports"), wifi)
	w.handle(Established{})
	want(t, "in vain", w.lose1(1, TimedOut))
	wait, cmds := w.ring()
	want(t, "Alarm", cmds, fromWifi)
	if wait != MinBackoff {
		t.Errorf("waited %v", wait)
	}
}

func TestOnePerInterface(t *testing.T) {
	second := cell
	second.Addr = addr("192.0.2.66")
	w := client(t, make1(t, "one-per-interface"), wifi, cell, second)
	want(t, "Established", w.handle(Established{}), fromCell)
	want(t, "advertised", w.peerAdded(peer(1, "198.51.100.9:80")))
	w.allUp()
	w.now += at(time.Minute)
	want(t, "an address goes, another of the interface takes over", w.localDown(cell), "withdraw 192.0.2.65", fromCell)
	if s := w.v.Subflows[len(w.v.Subflows)-1]; s.Local.Addr() != second.Addr {
		t.Errorf("from %v", s.Local)
	}
}

// A path that is silent for a second is tried again from another port: a NAT may
// have forgotten it. What answers first stays.
func TestSilenceIsTriedAgain(t *testing.T) {
	start := func(t *testing.T, name string) *world {
		w := client(t, make1(t, name), wifi)
		w.handle(Established{})
		w.allUp()
		want(t, "PathSuspect", w.silent(wifi, remote))
		wait, cmds := w.ring()
		if wait != doubtFor {
			t.Errorf("after %v", wait)
		}
		want(t, "Alarm", cmds, fromWifi)
		return w
	}
	for _, name := range []string{"fullmesh", "backup", "one-per-interface", "none"} {
		t.Run(name, func(t *testing.T) {
			w := start(t, name)
			w.v.Subflows[1].Established = true
			got := w.handle(SubflowUp{w.v.Subflows[1]})
			want(t, "the new one answers", slices.DeleteFunc(got, func(c string) bool { return c == "carry 1" || c == "backup 1" }), "close 0")
			want(t, "closed", w.lose1(0, Closed))

			w = start(t, name)
			want(t, "the old one answers", w.heard(wifi, remote), "close 1")
			want(t, "closed", w.lose1(1, Closed))

			w = start(t, name)
			for _, s := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
				want(t, "in vain", w.lose1(w.ids, TimedOut))
				wait, cmds := w.ring()
				want(t, "Alarm", cmds, fromWifi)
				if wait != s*time.Second {
					t.Errorf("waited %v, want %v", wait, s*time.Second)
				}
			}
		})
	}
	t.Run("at once when the network changes", func(t *testing.T) {
		w := client(t, make1(t, "fullmesh"), wifi, cell)
		w.handle(Established{})
		w.allUp()
		want(t, "PathSuspect", w.silent(wifi, remote))
		want(t, "RouteChanged", w.handle(RouteChanged{}), fromWifi)
	})
}
