package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestStrictFilter(t *testing.T) {
	for _, tt := range []struct {
		all, iface string
		want       bool
	}{
		{"0", "0", false}, {"0", "1", true}, {"1", "0", true}, {"1", "2", false}, {"2", "1", false}, {"", "1", true}, {"1", "", true},
	} {
		conf := t.TempDir()
		for name, v := range map[string]string{"all": tt.all, "eth0": tt.iface} {
			dir := filepath.Join(conf, name)
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if v == "" {
				continue
			}
			if err := os.WriteFile(filepath.Join(dir, "rp_filter"), []byte(v+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got := strictFilter(conf, "eth0"); got != tt.want {
			t.Errorf("all %q, interface %q: %v", tt.all, tt.iface, got)
		}
		if strictFilter(conf, "") {
			t.Error("no interface is strict")
		}
	}
}
