package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A server that clients come back to: the kernel's TCP, and ours as MPTCP. The
// first run asks for a cookie, the second one's input goes with its SYN, and
// arrives once. A cookie that is refused, or a file that is damaged, costs the
// round trip that was to be saved, and nothing else.
func TestLabFastOpen(t *testing.T) {
	for _, server := range []struct {
		name string
		args []string
	}{
		{"the kernel", []string{"--transport", "kernel-tcp"}},
		{"ours", []string{"--fast-open"}},
	} {
		t.Run(server.name, func(t *testing.T) {
			lab := newLab(t, nil)
			kernel := server.name == "the kernel"
			if err := lab.Server.Sysctl("net.ipv4.tcp_fastopen", "1027"); err != nil { // 0x403: listeners that do not ask for it, too
				t.Fatal(err)
			}
			state := t.TempDir()
			if err := os.Chown(state, 0, 0); err != nil { // here the commands run as root
				t.Fatal(err)
			}
			l := listenIn(t, lab, append([]string{"-k"}, server.args...)...)
			said := ""
			for round, tt := range []struct {
				before string
				early  bool
			}{{"", false}, {"", true}, {"another key", false}, {"", true}, {"damage", false}, {"", true}} {
				switch {
				case tt.before == "another key" && kernel:
					if err := lab.Server.Sysctl("net.ipv4.tcp_fastopen_key", "01234567-89abcdef-01234567-89abcdef"); err != nil {
						t.Fatal(err)
					}
				case tt.before == "another key":
					l.Process.Signal(syscall.SIGINT)
					l.exits(exitSignal + int(syscall.SIGINT))
					l.prints(said)
					l, said = listenIn(t, lab, append([]string{"-k"}, server.args...)...), ""
				case tt.before == "damage":
					if err := os.WriteFile(filepath.Join(state, "mpnc", "fast-open.json"), []byte("[{"), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				text := fmt.Sprintf("request %d\n", round)
				// A machine that is busy for a second makes us send the SYN again,
				// without data, and ask for another cookie.
				for try := 1; ; try++ {
					c := in(t, lab.Client, "-vN", "--fast-open", serverAddr(lab), "4000")
					c.Env = append(c.Env, "XDG_STATE_HOME="+state)
					c.Stdin = strings.NewReader(text)
					c.begin()
					c.exits(0)
					said += text
					early := strings.Contains(c.err.String(), "octets went with the SYN")
					if early == tt.early {
						break
					}
					if !tt.early || try == 4 {
						t.Errorf("run %d: with the SYN %t, want %t\n%s", round, early, tt.early, c.err.String())
						break
					}
				}
			}
			l.prints(said)
			l.Process.Signal(syscall.SIGINT)
			l.exits(exitSignal + int(syscall.SIGINT))
		})
	}
}
