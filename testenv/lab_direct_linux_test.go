package testenv

import (
	"errors"
	"testing"

	"github.com/vishvananda/netlink"
)

// The hosts of a direct lab reach each other over every link, with trains or
// without, and nothing of an emulator is there.
func TestLabDirect(t *testing.T) {
	const n = 4 << 20
	for _, offloads := range []bool{true, false} {
		c := twoLinks
		c.Direct, c.Offloads = true, offloads
		lab := newTestLab(t, c)
		must(t, lab.Client.AddEndpoints(4, Endpoint{Subflow: true}))
		joinedBulk(t, lab, n)
		if mean := meanPacket(t, lab.Server); (mean > 1514) != offloads {
			t.Errorf("offloads: %v, packets of %d octets on average", offloads, mean)
		}
		_, capture := lab.Capture(lab.Client, "wifi", t.TempDir()+"/x.pcap")
		for what, err := range map[string]error{
			"SetLink":    lab.SetLink("wifi", BothWays, func(*LinkConfig) {}),
			"SetSilent":  lab.SetSilent("wifi", BothWays, true),
			"SetCarrier": lab.SetCarrier(lab.Client, "wifi", false),
			"Capture":    capture,
		} {
			if !errors.Is(err, ErrDirect) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if s := lab.Stats("wifi", ToServer); s != (LinkStats{}) || lab.Lost() != 0 {
			t.Errorf("statistics of what is not there: %+v, %d", s, lab.Lost())
		}
	}
	if _, err := NewLab(LabConfig{Links: twoLinks.Links, Offloads: true}); err == nil {
		t.Error("an emulated lab with offloads was built")
	}
}

// meanPacket is how large what a host received was on average, in octets.
func meanPacket(t *testing.T, h *Host) uint64 {
	t.Helper()
	var octets, packets uint64
	must(t, h.Do(func() error {
		for _, name := range h.Links() {
			dev, err := netlink.LinkByName(name)
			if err != nil {
				return err
			}
			s := dev.Attrs().Statistics
			octets, packets = octets+s.RxBytes, packets+s.RxPackets
		}
		return nil
	}))
	return octets / packets
}
