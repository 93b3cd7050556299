package mptcp

import (
	"github.com/mpnc/mpnc/internal/netio"
	"github.com/mpnc/mpnc/pathmgr/netmon"
)

// NewRaw returns a Stack on this host's own addresses, for which it needs
// CAP_NET_RAW.
func NewRaw(cfg Config) (*Stack, error) {
	if cfg.Now == nil {
		cfg.Now = clock()
	}
	dev, err := netio.NewRaw(netio.RawConfig{Now: cfg.Now, Logf: cfg.Logf, NoLanes: cfg.NoOffload})
	if err != nil {
		return nil, err
	}
	s, err := New(cfg, dev)
	if err != nil {
		dev.Close()
	}
	return s, err
}

func hasRaw(devs []Device) bool {
	for _, d := range devs {
		if _, ok := d.(*netio.Raw); ok {
			return true
		}
	}
	return false
}

func newMonitor(cfg *Config) (Monitor, error) { return netmon.New(cfg.Logf) }
