package main

import (
	"debug/buildinfo"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"syscall"
)

// peak is the most memory that an ended process had, in octets.
func peak(s *os.ProcessState) int64 {
	u, ok := s.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0
	}
	return u.Maxrss << 10
}

// processor is the model of the first.
func processor() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// versions are those of gVisor and quic-go, by what the program says that has them.
func versions(program string) (all []string) {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return nil
	}
	for _, d := range info.Deps {
		if strings.HasPrefix(d.Path, "gvisor.dev/") || strings.HasPrefix(d.Path, "github.com/quic-go/") {
			all = append(all, d.Path+" "+d.Version)
		}
	}
	return all
}

// load is how many processes have wanted to run in the last minute.
func load() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	first, _, _ := strings.Cut(string(b), " ")
	return first
}

// commit is what is measured: "go run" does not write it into the program.
func commit() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value[:min(12, len(s.Value))]
			}
		}
	}
	b, err := exec.Command("git", "describe", "--always", "--dirty", "--abbrev=12").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
