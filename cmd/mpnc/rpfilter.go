package main

import (
	"os"
	"path/filepath"
	"strings"
)

// strictFilter reports whether the host drops packets that come in by an
// interface by which it would not answer them: strict reverse-path filtering,
// which keeps the second path of many a host from ever coming up. The larger
// of the interface's value and that for all counts (ip-sysctl of the kernel's
// documentation); 1 is strict.
func strictFilter(conf, iface string) bool {
	value := func(name string) string {
		b, err := os.ReadFile(filepath.Join(conf, name, "rp_filter"))
		if err != nil {
			return "0" // not Linux, or the interface has gone
		}
		return strings.TrimSpace(string(b))
	}
	return iface != "" && max(value("all"), value(iface)) == "1"
}

// confIPv4 is where the kernel keeps its interfaces' settings.
const confIPv4 = "/proc/sys/net/ipv4/conf"
