package pathmgr

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

const (
	fromWifi  = "open wlan0 198.51.100.1:80"
	fromCell  = "open wwan0 198.51.100.1:80"
	fromCable = "open eth0 198.51.100.1:80"
)

func TestClientOpensFromEveryAddress(t *testing.T) {
	w := client(t, NewFullMesh(), wifi, cell, cable)
	want(t, "Established", w.handle(Established{}), fromCell, fromCable)
	want(t, "again", w.handle(Established{}))
	w.allUp()
	want(t, "nothing more", w.handle(RouteChanged{}))
}

func TestClientOpensToAdvertisedAddress(t *testing.T) {
	tests := []struct {
		name string
		peer Peer
		cmds []string
	}{
		{"with port", peer(1, "198.51.100.9:81"), []string{"open wlan0 198.51.100.9:81", "open wwan0 198.51.100.9:81"}},
		{"without port", peer(1, "198.51.100.9:0"), []string{"open wlan0 198.51.100.9:80", "open wwan0 198.51.100.9:80"}},
		{"IPv6 without an IPv6 address here", peer(1, "[2001:db8:ffff::9]:80"), nil},
		{"mapped", peer(1, "[::ffff:198.51.100.9]:80"), []string{"open wlan0 198.51.100.9:80", "open wwan0 198.51.100.9:80"}},
		{"the first address again", peer(1, "198.51.100.1:80"), nil},
		{"the first address, other port", peer(1, "198.51.100.1:81"), []string{"open wlan0 198.51.100.1:81", "open wwan0 198.51.100.1:81"}},
		{"loopback", peer(1, "127.0.0.1:80"), nil},
		{"mapped loopback", peer(1, "[::ffff:127.0.0.1]:80"), nil},
		{"unspecified", peer(1, "0.0.0.0:80"), nil},
		{"multicast", peer(1, "224.0.0.1:80"), nil},
		{"broadcast", peer(1, "255.255.255.255:80"), nil},
		{"link-local", peer(1, "169.254.1.1:80"), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := client(t, NewFullMesh(), wifi, cell)
			w.handle(Established{})
			w.allUp()
			want(t, "PeerAdded", w.peerAdded(tt.peer), tt.cmds...)
			want(t, "the same again", w.handle(PeerAdded{tt.peer}))
		})
	}
}

func TestBothFamilies(t *testing.T) {
	w := client(t, NewFullMesh(), wifi, cable, cable6)
	want(t, "Established", w.handle(Established{}), fromCable)
	want(t, "IPv6 peer", w.peerAdded(peer(2, "[2001:db8:ffff::9]:0")), "open eth0 [2001:db8:ffff::9]:80")
}

func TestH12_NoJoinToFirstAddress(t *testing.T) {
	w := client(t, NewFullMesh(), wifi, cell)
	w.v.NoJoin = true
	want(t, "Established", w.handle(Established{}))
	want(t, "LocalUp", w.localUp(cable))
	want(t, "advertised address", w.peerAdded(peer(1, "198.51.100.9:80")),
		"open wlan0 198.51.100.9:80", "open wwan0 198.51.100.9:80", "open eth0 198.51.100.9:80")
	for _, s := range slices.Clone(w.v.Subflows[1:]) {
		w.v.Subflows = slices.DeleteFunc(w.v.Subflows, func(o Subflow) bool { return o.ID == s.ID })
		w.handle(SubflowDown{Subflow: s, Reason: Reset})
	}
	w.peerRemoved(peer(1, "198.51.100.9:80"))
	want(t, "even when nothing is left", w.down(wifi, remote, Reset))
}

func TestCautions(t *testing.T) {
	tests := []struct {
		name   string
		mesh   FullMesh
		first  Local
		others []Local
		bound  bool
		remote netip.AddrPort
		cmds   []string
	}{
		{name: "bridge never", first: wifi, others: []Local{docker}},
		{name: "bridge not even by name", mesh: FullMesh{Only: []string{"docker0"}}, first: wifi, others: []Local{docker}},
		{name: "a bridge became the route", first: plain(wifi), others: []Local{preferred(docker)}},
		{name: "loopback never", first: wifi, others: []Local{lo}},
		{name: "a VPN beside others", first: wifi, others: []Local{vpn}, cmds: []string{"open wg0 198.51.100.1:80"}},
		{name: "a VPN is the route", first: preferred(vpn), others: []Local{plain(wifi), cell}},
		{name: "a VPN is the route, one named", mesh: FullMesh{Only: []string{"wwan0"}},
			first: preferred(vpn), others: []Local{plain(wifi), cell}, cmds: []string{fromCell}},
		{name: "a VPN is the route, its second address", first: preferred(vpn),
			others: []Local{{Addr: addr("10.8.0.3"), Link: 4, Name: "wg0", Kind: Tunnel}}, cmds: []string{"open wg0 198.51.100.1:80"}},
		{name: "a VPN became the route", first: plain(wifi), others: []Local{preferred(vpn), cell}, cmds: []string{"open wg0 198.51.100.1:80"}},
		{name: "only the named", mesh: FullMesh{Only: []string{"eth0", "usb0"}}, first: wifi, others: []Local{cell, cable}, cmds: []string{fromCable}},
		{name: "bound", bound: true, first: wifi, others: []Local{cell, cable}},
		{name: "other family", first: wifi, others: []Local{cable6}},
		{name: "first is IPv6", first: preferred(cable6), others: []Local{cell, cable}},
		{name: "peer on loopback", remote: port("127.0.0.2:80"), first: lo,
			others: []Local{{Addr: addr("127.0.0.3"), Name: "lo", Kind: Loopback}, cell}},
		{name: "first on a bridge", first: preferred(docker), others: []Local{cell}, cmds: []string{fromCell}},
		{name: "no address", first: wifi, others: []Local{{}}},
		{name: "limit", mesh: FullMesh{Pairs: 2}, first: wifi, others: []Local{cell, cable}, cmds: []string{fromCell}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := client(t, &tt.mesh, tt.first, tt.others...)
			w.v.Bound = tt.bound
			if tt.remote.IsValid() {
				w.v.Remote, w.v.Subflows[0].Remote = tt.remote, tt.remote
			}
			want(t, "Established", w.handle(Established{}), tt.cmds...)
		})
	}
}

func TestCautionsOfServer(t *testing.T) {
	tests := []struct {
		name   string
		mesh   FullMesh
		first  Local
		others []Local
		bound  bool
		cmds   []string
	}{
		{name: "every other address", first: wifi, others: []Local{cell, cable, cable6}, cmds: []string{"advertise wwan0", "advertise eth0", "advertise eth0"}},
		{name: "bound", bound: true, first: wifi, others: []Local{cell}},
		{name: "bridge", first: wifi, others: []Local{docker, lo}},
		{name: "VPN", first: preferred(vpn), others: []Local{cell}},
		{name: "named", mesh: FullMesh{Only: []string{"eth0"}}, first: preferred(vpn), others: []Local{cell, cable}, cmds: []string{"advertise eth0"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := server(t, &tt.mesh, tt.first, tt.others...)
			w.v.Bound = tt.bound
			want(t, "Established", w.handle(Established{}), tt.cmds...)
			want(t, "again", w.handle(RouteChanged{}))
		})
	}
}

func TestServerAdvertisesAndWithdraws(t *testing.T) {
	w := server(t, NewFullMesh(), wifi, cell)
	want(t, "Established", w.handle(Established{}), "advertise wwan0")
	want(t, "LocalUp", w.localUp(cable), "advertise eth0")
	want(t, "LocalDown", w.localDown(cell), "withdraw 192.0.2.65")
	want(t, "back", w.localUp(cell), "advertise wwan0")
	want(t, "first address goes", w.localDown(wifi), "withdraw 192.0.2.1")
	want(t, "and comes back", w.localUp(wifi), "advertise wlan0")
	want(t, "unknown address goes", w.localDown(docker))
	w.quiet()
}

func TestServerNeverOpens(t *testing.T) {
	w := server(t, NewFullMesh(), wifi, cell)
	w.handle(Established{})
	want(t, "PeerAdded", w.peerAdded(peer(1, "198.51.100.9:80")))
	want(t, "lost the only one", w.down(wifi, remote, Reset))
	want(t, "LocalUp", w.localUp(cable), "advertise eth0")
	want(t, "Alarm", w.handle(Alarm{}))
	w.quiet()
}

func TestShortSilenceChangesNothing(t *testing.T) {
	w := client(t, NewFullMesh(), wifi, cell)
	w.handle(Established{})
	w.allUp()
	w.alarm = 0
	want(t, "PathSuspect", w.silent(wifi, remote))
	w.now = w.now.Add(doubtFor - 1)
	want(t, "PathTrusted", w.heard(wifi, remote))
	if w.alarm != 0 {
		_, cmds := w.ring()
		want(t, "Alarm", cmds)
	}
}

// But if no other path is left, one that was refused may do better now: the
// peer may have been restarted.
func TestSuspicionOfTheLastPath(t *testing.T) {
	w := client(t, NewFullMesh(), wifi, cell)
	w.handle(Established{})
	w.allUp()
	want(t, "refused", w.down(cell, remote, Refused))
	w.now = w.now.Add(MinBackoff)
	w.find(wifi, remote).Suspect = true
	want(t, "PathSuspect", w.handle(PathSuspect{ID: 0}), fromCell)
	want(t, "again", w.handle(PathSuspect{ID: 0}))
}

func TestLocalDownWithdrawsAndLocalUpOpens(t *testing.T) {
	w := client(t, NewFullMesh(), wifi, cell)
	w.handle(Established{})
	w.allUp()
	w.now += at(time.Minute)
	want(t, "LocalDown", w.localDown(cell), "withdraw 192.0.2.65")
	want(t, "its subflow ends", w.down(cell, remote, LocalGone))
	for range 5 { // a flapping link
		w.now += at(300 * time.Millisecond)
		want(t, "LocalUp", w.localUp(cell), fromCell)
		w.up(cell, remote)
		want(t, "LocalDown", w.localDown(cell), "withdraw 192.0.2.65")
		want(t, "its subflow ends", w.down(cell, remote, LocalGone))
	}
	want(t, "never used", w.localDown(cable))
}

// The engine may keep a subflow, silent, whose address went, and go on with it
// when the address is back: it is neither counted as a path nor made twice.
func TestSilentSubflowGoesOn(t *testing.T) {
	for _, f := range []func() Manager{NewFullMesh, NewOnePerInterface, NewNone} {
		w := client(t, f(), wifi)
		w.handle(Established{})
		w.now += at(time.Minute)
		want(t, "address gone", w.localDown(wifi), "withdraw 192.0.2.1")
		want(t, "back", w.localUp(wifi))
		want(t, "gone again", w.localDown(wifi), "withdraw 192.0.2.1")
		want(t, "another", w.localUp(preferred(cell)), fromCell)
		w.up(cell, remote)
		want(t, "the first is back", w.localUp(plain(wifi)))
		want(t, "the silent one ends", w.down(wifi, remote, Closed))
	}
}

func TestLocalGoneAndBackBeforeTheNews(t *testing.T) {
	w := client(t, NewFullMesh(), wifi, cell)
	w.handle(Established{})
	w.allUp()
	w.now += at(time.Minute)
	want(t, "lost, and the address is there", w.down(cell, remote, LocalGone), fromCell)
}

// Back-off: 1 s, doubling to 60 s.
func TestBackoff(t *testing.T) {
	w := client(t, NewFullMesh(), wifi, cell)
	w.handle(Established{})
	w.allUp()
	w.now += at(time.Minute)
	want(t, "timed out", w.down(cell, remote, TimedOut))
	for _, s := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60, 60} {
		wait, cmds := w.ring()
		if wait != s*time.Second {
			t.Errorf("waited %v, want %v", wait, s*time.Second)
		}
		want(t, "Alarm", cmds, fromCell)
		want(t, "in vain", w.down(cell, remote, TimedOut))
	}
	// A subflow that lived settles it.
	w.ring()
	w.up(cell, remote)
	w.now += at(stableAfter)
	want(t, "timed out", w.down(cell, remote, TimedOut))
	if wait, _ := w.ring(); wait != time.Second {
		t.Errorf("waited %v after a good subflow, want 1s", wait)
	}
}

// One that comes up and is reset at once must not be made again and again
// without a pause.
func TestResetAtOnceThenBackoff(t *testing.T) {
	w := client(t, NewFullMesh(), wifi, cell)
	w.handle(Established{})
	w.allUp()
	w.now += at(time.Minute)
	want(t, "reset", w.down(cell, remote, Reset), fromCell)
	for _, s := range []time.Duration{1, 2, 4} {
		w.up(cell, remote)
		want(t, "reset again", w.down(cell, remote, Reset))
		wait, cmds := w.ring()
		if wait != s*time.Second {
			t.Errorf("waited %v, want %v", wait, s*time.Second)
		}
		want(t, "Alarm", cmds, fromCell)
	}
}

func TestJ16_RefusedUntilNews(t *testing.T) {
	other := peer(3, "198.51.100.9:80")
	refused := func(t *testing.T) *world {
		w := client(t, NewFullMesh(), wifi, cell)
		w.peerAdded(other)
		w.up(cell, remote)
		w.up(wifi, other.Addr)
		w.alarm = 0
		want(t, "refused", w.down(cell, other.Addr, Refused))
		w.quiet()
		w.now += at(time.Hour)
		want(t, "Alarm", w.handle(Alarm{}))
		want(t, "RouteChanged", w.handle(RouteChanged{}))
		return w
	}
	t.Run("advertised afresh", func(t *testing.T) {
		w := refused(t)
		w.peerRemoved(other)
		want(t, "PeerAdded", w.peerAdded(other), "open wwan0 198.51.100.9:80")
	})
	t.Run("another advertised", func(t *testing.T) {
		w := refused(t)
		want(t, "PeerAdded", w.peerAdded(peer(4, "198.51.100.10:80")), "open wlan0 198.51.100.10:80", "open wwan0 198.51.100.10:80")
	})
	t.Run("address up", func(t *testing.T) {
		w := refused(t)
		want(t, "LocalUp", w.handle(LocalUp{cell}), "open wwan0 198.51.100.9:80")
	})
	t.Run("other address up", func(t *testing.T) {
		w := refused(t)
		want(t, "LocalUp", w.localUp(cable), fromCable, "open eth0 198.51.100.9:80")
	})
	t.Run("nothing else left", func(t *testing.T) {
		w := refused(t)
		w.down(cell, remote, TimedOut)
		w.down(wifi, other.Addr, TimedOut)
		got := w.down(wifi, remote, TimedOut)
		slices.Sort(got)
		want(t, "the last goes", got, fromWifi, "open wlan0 198.51.100.9:80", fromCell, "open wwan0 198.51.100.9:80")
	})
}

func TestRefusedForNow(t *testing.T) {
	w := client(t, NewFullMesh(), wifi, cell)
	w.handle(Established{})
	want(t, "refused, T set", w.lose(cell, remote, Refused, true))
	if wait, cmds := w.ring(); wait != MinBackoff || !slices.Equal(cmds, []string{fromCell}) {
		t.Errorf("after %v: %q", wait, cmds)
	}
}

// A join for which no port could be had has no identifier yet.
func TestRefusedWithoutSubflow(t *testing.T) {
	w := client(t, NewFullMesh(), wifi, cell)
	w.deaf = true
	want(t, "Established", w.handle(Established{}), fromCell)
	s := Subflow{Local: netip.AddrPortFrom(cell.Addr, 0), Remote: remote}
	want(t, "no port", w.handle(SubflowDown{Subflow: s, Reason: Refused}))
	want(t, "RouteChanged", w.handle(RouteChanged{}))
}

func TestOpenWithoutAnswerIsTriedAgain(t *testing.T) {
	w := client(t, NewFullMesh(), wifi, cell)
	w.deaf = true
	want(t, "Established", w.handle(Established{}), fromCell)
	want(t, "not twice", w.handle(RouteChanged{}))
	wait, cmds := w.ring()
	want(t, "Alarm", cmds, fromCell)
	if wait != MaxBackoff {
		t.Errorf("after %v, want %v", wait, MaxBackoff)
	}
}

func TestOpenWithoutAnswerIsTriedAgainAlone(t *testing.T) {
	w := client(t, NewNone(), wifi)
	w.handle(Established{})
	w.now += at(time.Minute)
	w.deaf = true
	want(t, "lost", w.down(wifi, remote, Reset), fromWifi)
	_, cmds := w.ring()
	want(t, "Alarm", cmds, fromWifi)
}

// Late news of a subflow whose pair has a new one already.
func TestLateNews(t *testing.T) {
	w := client(t, NewFullMesh(), wifi, cell)
	w.handle(Established{})
	w.allUp()
	w.now += at(time.Minute)
	old := *w.find(cell, remote)
	w.find(cell, remote).ID = 17
	want(t, "late news", w.handle(SubflowDown{Subflow: old, Reason: Reset}))
}

func TestAlarmIsForTheFirstOfMany(t *testing.T) {
	w := client(t, NewFullMesh(), wifi, cell, cable)
	w.handle(Established{})
	w.allUp()
	w.now += at(time.Minute)
	w.down(cell, remote, TimedOut)
	w.now += at(600 * time.Millisecond)
	w.down(cable, remote, TimedOut)
	wait, cmds := w.ring()
	want(t, "first alarm", cmds, fromCell)
	if wait != 400*time.Millisecond {
		t.Errorf("waited %v, want 400ms", wait)
	}
	wait, cmds = w.ring()
	want(t, "second alarm", cmds, fromCable)
	if wait != 600*time.Millisecond {
		t.Errorf("waited %v, want 600ms", wait)
	}
}

func TestClosedInGoodOrderStaysClosed(t *testing.T) {
	w := client(t, NewFullMesh(), wifi, cell)
	w.handle(Established{})
	w.allUp()
	w.alarm = 0
	w.now += at(time.Minute)
	want(t, "closed", w.down(cell, remote, Closed))
	w.quiet()
}

func TestBreakBeforeMake(t *testing.T) {
	managers := map[string]func() Manager{"fullmesh": NewFullMesh, "one-per-interface": NewOnePerInterface, "none": NewNone}
	for name := range managers {
		t.Run(name, func(t *testing.T) {
			alone := func(first Local) *world {
				w := client(t, managers[name](), first)
				want(t, "Established", w.handle(Established{}))
				w.now += at(time.Minute)
				return w
			}
			for _, why := range []Reason{Reset, TimedOut, LocalGone, PeerGone} {
				w := alone(wifi)
				want(t, "lost, the same address again", w.down(wifi, remote, why), fromWifi)
				want(t, "in vain", w.down(wifi, remote, Refused))
				for _, s := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
					wait, cmds := w.ring()
					if wait != s*time.Second {
						t.Errorf("reason %d: waited %v, want %v", why, wait, s*time.Second)
					}
					want(t, "Alarm", cmds, fromWifi)
					want(t, "in vain", w.down(wifi, remote, Refused))
				}
			}

			w := alone(wifi)
			want(t, "closed", w.down(wifi, remote, Closed))
			if wait, cmds := w.ring(); wait != MinBackoff || len(cmds) != 1 {
				t.Errorf("after %v: %q", wait, cmds)
			}

			w = alone(wifi)
			want(t, "address gone", w.localDown(wifi), "withdraw 192.0.2.1")
			want(t, "subflow gone", w.down(wifi, remote, LocalGone))
			w.now += at(time.Minute)
			want(t, "another address", w.localUp(preferred(cell)), fromCell)

			w = alone(wifi)
			want(t, "address gone", w.localDown(wifi), "withdraw 192.0.2.1")
			w.now += at(time.Second / 2)
			want(t, "another before the news", w.localUp(preferred(cell)), fromCell)
			want(t, "the news", w.down(wifi, remote, LocalGone))
			want(t, "up", w.up(cell, remote))

			w = alone(wifi)
			w.v.Bound = true
			w.localDown(wifi)
			w.down(wifi, remote, LocalGone)
			want(t, "bound", w.localUp(preferred(cell)))
			want(t, "bound, back", w.localUp(wifi), fromWifi)

			w = alone(preferred(vpn))
			w.localDown(vpn)
			w.down(vpn, remote, LocalGone)
			want(t, "VPN gone, no route", w.localUp(plain(docker)), "open docker0 198.51.100.1:80")

			w = alone(preferred(vpn))
			w.v.Locals = append(w.v.Locals, preferred(docker))
			want(t, "VPN gone, routing moved", w.localDown(vpn), "withdraw 10.8.0.2", "open docker0 198.51.100.1:80")

			w = alone(preferred(vpn))
			w.v.Locals = append(w.v.Locals, plain(cell), preferred(docker))
			got := w.localDown(vpn)
			if name == "none" {
				got = append(got, fromCell) // it has the one that routing prefers
			}
			want(t, "VPN gone, routing moved beside another", got, "withdraw 10.8.0.2", "open docker0 198.51.100.1:80", fromCell)
		})
	}
}

// A pair that waits need not wait any longer when the last subflow goes.
func TestLastLossEndsWaiting(t *testing.T) {
	w := client(t, NewFullMesh(), wifi, cell)
	w.handle(Established{})
	w.now += at(time.Minute)
	for range 6 { // up to a wait of 32 s
		w.down(cell, remote, TimedOut)
		w.ring()
	}
	w.down(cell, remote, TimedOut)
	w.now += at(2 * time.Second)
	want(t, "last one lost", w.down(wifi, remote, TimedOut), fromWifi, fromCell)
}

// An address that is reported again is new: its back-off starts from scratch.
func TestLocalUpIsACleanSlate(t *testing.T) {
	w := client(t, NewFullMesh(), wifi, cell)
	w.handle(Established{})
	for range 5 {
		w.down(cell, remote, TimedOut)
		w.ring()
	}
	w.down(cell, remote, TimedOut)
	w.now += at(2 * time.Second)
	want(t, "LocalUp", w.handle(LocalUp{cell}), fromCell)
	w.down(cell, remote, TimedOut)
	if wait, _ := w.ring(); wait != MinBackoff {
		t.Errorf("waited %v", wait)
	}
}

func TestRouteChangeEndsWaiting(t *testing.T) {
	w := client(t, NewFullMesh(), wifi, cell)
	w.handle(Established{})
	w.now += at(time.Minute)
	for range 5 {
		w.down(cell, remote, TimedOut)
		w.ring()
	}
	w.down(cell, remote, TimedOut)
	want(t, "at once", w.handle(RouteChanged{})) // tried just now
	w.now += at(time.Second)
	want(t, "a second later", w.handle(RouteChanged{}), fromCell)
	opened := 0
	for range 1000 { // a storm of route events
		w.now += at(10 * time.Millisecond)
		opened += len(w.handle(RouteChanged{}))
		if len(w.v.Subflows) > 1 {
			w.down(cell, remote, Refused)
		}
	}
	if opened > 10 {
		t.Errorf("%d joins in 10 s of route changes", opened)
	}
}

func TestP8_PeerOpenedTheSamePath(t *testing.T) {
	w := client(t, NewFullMesh(), wifi)
	w.handle(Established{})
	w.v.Subflows = append(w.v.Subflows, Subflow{ID: 7, Local: home(wifi.Addr), Remote: port("198.51.100.9:33333"), Established: true})
	want(t, "PeerAdded", w.peerAdded(peer(5, "198.51.100.9:80")))
}

func TestPeerRemoved(t *testing.T) {
	w := client(t, NewFullMesh(), wifi, cell)
	w.handle(Established{})
	other := peer(3, "198.51.100.9:80")
	w.peerAdded(other)
	w.allUp()
	w.now += at(time.Minute)
	want(t, "removed", w.peerRemoved(other))
	want(t, "its subflow goes", w.down(cell, other.Addr, PeerGone))
	want(t, "later", w.handle(RouteChanged{}))

	// The address first connected to: still used if nothing else is left.
	want(t, "first removed", w.handle(PeerRemoved{Peer{ID: 0, Addr: remote}}))
	want(t, "new address here", w.localUp(cable))
	want(t, "one lost", w.down(cell, remote, Reset))
	want(t, "one more", w.down(wifi, other.Addr, PeerGone))
	want(t, "the last", w.down(wifi, remote, Reset), fromWifi, fromCell, fromCable)
}

func TestP16_HostileAdvertisements(t *testing.T) {
	t.Run("255 addresses", func(t *testing.T) {
		w := client(t, NewFullMesh(), wifi, cell)
		opened := len(w.handle(Established{}))
		for i := 1; i <= 255; i++ {
			opened += len(w.peerAdded(Peer{ID: uint8(i), Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}), 80)}))
		}
		if opened != 7 { // with the first: 8
			t.Errorf("%d joins", opened)
		}
	})
	t.Run("255 addresses that refuse", func(t *testing.T) {
		w := client(t, NewFullMesh(), wifi, cell)
		opened := len(w.handle(Established{}))
		w.allUp()
		for i := 1; i <= 255; i++ {
			opened += len(w.peerAdded(Peer{ID: uint8(i), Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}), 80)}))
		}
		for range 10000 {
			i := slices.IndexFunc(w.v.Subflows, func(s Subflow) bool { return !s.Established })
			if i < 0 {
				if w.alarm == 0 {
					break
				}
				_, cmds := w.ring()
				opened += len(cmds)
				continue
			}
			s := w.v.Subflows[i]
			opened += len(w.lose(Local{Addr: s.Local.Addr()}, s.Remote, Refused, false))
		}
		if most := 1 + 2*maxPeers; opened != most { // each pair looked at, once
			t.Errorf("%d joins, want %d", opened, most)
		}
	})
	t.Run("always another", func(t *testing.T) {
		m := &FullMesh{}
		w := client(t, m, wifi, cell)
		w.handle(Established{})
		w.allUp()
		opened := 0
		const seconds = 50
		for i := range seconds * 100 {
			w.now += at(10 * time.Millisecond)
			p := Peer{ID: uint8(1 + i%255), Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, byte(i >> 8), byte(i)}), 80)}
			opened += len(w.peerAdded(p))
			for len(w.v.Subflows) > 2 {
				s := w.v.Subflows[2]
				opened += len(w.lose(Local{Addr: s.Local.Addr()}, s.Remote, Refused, false))
			}
			opened += len(w.peerRemoved(p))
			if len(m.records) > maxRecords {
				t.Fatalf("%d records", len(m.records))
			}
		}
		if opened == 0 || opened > maxCredit+seconds {
			t.Errorf("%d joins in %d s", opened, seconds)
		}
	})
	t.Run("many local addresses too", func(t *testing.T) {
		m := &FullMesh{Pairs: 64}
		w := client(t, m, wifi)
		for i := range 60 {
			l := Local{Addr: netip.AddrFrom4([4]byte{192, 0, 3, byte(i)}), Link: 10 + i, Name: "many"}
			w.v.Locals = append(w.v.Locals, l)
		}
		n := len(w.handle(Established{}))
		if n != maxLocals-1 {
			t.Errorf("%d joins, want %d", n, maxLocals-1)
		}
	})
}

// Eight at once, then one a second, to the nanosecond.
func TestP16_Credit(t *testing.T) {
	var c credit
	now := at(time.Hour)
	for i := range maxCredit {
		if c.next(now) != now || !c.take(now) {
			t.Fatalf("attempt %d refused", i)
		}
	}
	steps := []struct {
		after time.Duration // since the first
		ok    bool
	}{
		{0, false}, {sec - 1, false}, {sec * 3 / 2, true}, {2*sec - 1, false}, {2 * sec, true},
		{2 * sec, false}, {4 * sec, true}, {4 * sec, true}, {4 * sec, false},
	}
	for _, s := range steps {
		if ok := c.take(now.Add(s.after)); ok != s.ok {
			t.Errorf("after %v: %v", s.after, ok)
		}
	}
	if next := c.next(now.Add(4 * sec)); next != now.Add(5*sec) {
		t.Errorf("next after %v", next.Sub(now))
	}
}

const sec = time.Second

// Subflows that the peer opens and resets leave bounded traces, and push out
// nothing that matters.
func TestP16_HostileSubflows(t *testing.T) {
	m := &FullMesh{}
	w := client(t, m, wifi, cell)
	w.handle(Established{})
	want(t, "refused", w.down(cell, remote, Refused))
	for i := range 2000 {
		s := Subflow{ID: PathID(1000 + i), Local: home(wifi.Addr), Remote: netip.AddrPortFrom(addr("198.51.100.9"), uint16(1024+i)), Established: true}
		want(t, "SubflowUp", w.handle(SubflowUp{s}))
		want(t, "SubflowDown", w.handle(SubflowDown{Subflow: s, Reason: Reset}))
		if len(m.records) > maxRecords {
			t.Fatalf("%d records", len(m.records))
		}
	}
	if r := m.find(pair{cell.Addr, remote}); r == nil || !r.refused {
		t.Error("the refusal was forgotten")
	}
}

func TestNoneOpensNothingExtra(t *testing.T) {
	w := client(t, NewNone(), wifi, cell)
	want(t, "Established", w.handle(Established{}))
	want(t, "LocalUp", w.localUp(cable))
	want(t, "PeerAdded", w.peerAdded(peer(1, "198.51.100.9:80")))
	want(t, "unused address goes", w.localDown(cable))
	w.quiet()
	w.now += at(time.Minute)
	want(t, "lost", w.down(wifi, remote, Reset), fromWifi)
	want(t, "in vain: the next", w.down(wifi, remote, TimedOut), fromCell)
	want(t, "in vain: the next", w.down(cell, remote, TimedOut), "open wlan0 198.51.100.9:80")

	w = server(t, NewNone(), wifi, cell)
	want(t, "server", w.handle(Established{}))
	want(t, "LocalUp", w.localUp(cable))
}

func TestNames(t *testing.T) {
	for _, name := range append(Names(), "") {
		f, err := New(name)
		if err != nil || f() == nil || f() == f() {
			t.Errorf("New(%q): %v", name, err)
		}
	}
	if _, err := New("star"); err == nil || err.Error() != `unknown path manager "star": choose one of fullmesh, backup, ndiffports, one-per-interface, none` {
		t.Errorf("error %v", err)
	}
}
