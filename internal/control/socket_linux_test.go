package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// asNobody makes the test binary connect to the socket that it names.
const asNobody = "MPNC_TEST_CONNECT"

func TestMain(m *testing.M) {
	if path := os.Getenv(asNobody); path != "" {
		fmt.Print(connectAndAsk(path))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func connectAndAsk(path string) error {
	c, err := net.Dial("unix", path)
	if err != nil {
		return err
	}
	_, err = roundTrip(c, request{Version: Version, Do: doReport})
	return err
}

// runtimeDir is where the sockets of this test are.
func runtimeDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "mpnc") // short: the name of a socket has 108 octets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	t.Setenv("XDG_RUNTIME_DIR", dir)
	return dir
}

// find returns those of the processes found whose sockets are below dir.
func find(t *testing.T, dir string) (found []Process) {
	t.Helper()
	all, err := Processes()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		if strings.HasPrefix(p.path, dir+"/") {
			found = append(found, p)
		}
	}
	return found
}

func TestServeAndFind(t *testing.T) {
	dir := runtimeDir(t)
	if got := find(t, dir); len(got) != 0 {
		t.Fatalf("before: %v", got)
	}
	s, err := Serve(host{})
	if err != nil {
		t.Fatal(err)
	}
	found := find(t, dir)
	if len(found) != 1 || found[0].PID != os.Getpid() {
		t.Fatalf("found %v", found)
	}
	r, err := found[0].Report(context.Background())
	if err != nil || r.PID != os.Getpid() || r.UID != os.Geteuid() || len(r.Conns) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	for name, want := range map[string]os.FileMode{"mpnc": 0o700 | os.ModeDir} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	s.Close()
	if got := find(t, dir); len(got) != 0 {
		t.Errorf("after: %v", got)
	}
	if _, err := found[0].Report(context.Background()); !ended(err) {
		t.Errorf("asked after its end: %v", err)
	}
	if left, err := os.ReadDir(filepath.Join(dir, dirName)); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// Sockets of processes that were killed go, as do those that were never named;
// other files stay.
func TestStaleSocketsAreRemoved(t *testing.T) {
	dir := filepath.Join(runtimeDir(t), dirName)
	if err := makeDir(dir); err != nil {
		t.Fatal(err)
	}
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	pid := strconv.Itoa(dead.ProcessState.Pid())
	for _, name := range []string{pid + suffix, pid + suffix + draft} {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, name), Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		l.Close()
	}
	if err := os.WriteFile(filepath.Join(dir, "note"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := find(t, filepath.Dir(dir)); len(got) != 0 {
		t.Errorf("found %v", got)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 || left[0].Name() != "note" {
		t.Errorf("left: %v, %v", left, err)
	}
}

// A directory that others may use is not used, and neither is what lies there.
func TestDirectoryIsPrivate(t *testing.T) {
	for name, spoil := range map[string]func(dir string) error{
		"mode":    func(dir string) error { return errors.Join(os.Mkdir(dir, 0o755), os.Chmod(dir, 0o755)) },
		"file":    func(dir string) error { return os.WriteFile(dir, nil, 0o600) },
		"symlink": func(dir string) error { return os.Symlink(os.TempDir(), dir) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(runtimeDir(t), dirName)
			if err := spoil(dir); err != nil {
				t.Fatal(err)
			}
			if err := makeDir(dir); err == nil {
				t.Error("taken")
			}
		})
	}
	if os.Geteuid() == 0 {
		dir := filepath.Join(runtimeDir(t), dirName)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(dir, 65534, 65534); err != nil {
			t.Fatal(err)
		}
		if err := makeDir(dir); err == nil || !strings.Contains(err.Error(), "belongs to user 65534") {
			t.Errorf("another user's: %v", err)
		}
		// Whoever has the directory must be who listens.
		s, err := listenIn(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if _, err := (Process{os.Getpid(), s.path}).dial(context.Background()); err == nil || !strings.Contains(err.Error(), "user 0 listens in the directory of user 65534") {
			t.Errorf("dial: %v", err)
		}
	}
}

// Even if the directory let others in, they get no answer.
func TestOtherUsersAreTurnedAway(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs another user, and so root")
	}
	dir := runtimeDir(t)
	s, err := listenIn(dir)
	if err != nil {
		t.Fatal(err)
	}
	srv := serve(host{}, s)
	defer srv.Close()
	for _, path := range []string{dir, s.path} {
		if err := os.Chmod(path, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	exe, err := os.Open("/proc/self/exe") // in a directory that others may not enter
	if err != nil {
		t.Fatal(err)
	}
	defer exe.Close()
	copied := filepath.Join(dir, "client")
	to, err := os.OpenFile(copied, os.O_WRONLY|os.O_CREATE, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(to, exe); err != nil {
		t.Fatal(err)
	}
	to.Close()
	for uid, want := range map[uint32]string{0: "<nil>", 65534: "reset by peer|has ended|broken pipe"} {
		c := exec.Command(copied)
		c.Env = append(os.Environ(), asNobody+"="+s.path)
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("user %d: %v: %s", uid, err, out)
		}
		ok := false
		for w := range strings.SplitSeq(want, "|") {
			ok = ok || strings.Contains(string(out), w)
		}
		if !ok {
			t.Errorf("user %d: %s, want %s", uid, out, want)
		}
	}
}

// Processes that start later are followed, from their first event on, and one
// that is asked for alone until it ends.
func TestMonitorAll(t *testing.T) {
	runtimeDir(t)
	s, err := Serve(host{})
	if err != nil {
		t.Fatal(err)
	}
	told, fail := make(chan uint32, 100), make(chan error, 1)
	go func() {
		fail <- MonitorAll(t.Context(), 0, func(e Event) error {
			if e.PID == os.Getpid() { // there may be others on this host
				told <- e.Conn
			}
			if e.Conn == 12 {
				return errEnough
			}
			return nil
		})
	}()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for running := false; !running; { // events of before it looked are not for it
		s.Publish(event(1))
		select {
		case n := <-told:
			running = n == 1
		case <-tick.C:
		}
	}
	s.Close()
	if s, err = Serve(host{}); err != nil {
		t.Fatal(err)
	}
	s.Publish(event(11))
	s.Publish(event(12))
	if err := <-fail; !errors.Is(err, errEnough) {
		t.Error(err)
	}
	close(told)
	var after []uint32
	for n := range told {
		if n != 1 {
			after = append(after, n)
		}
	}
	if fmt.Sprint(after) != "[11 12]" {
		t.Errorf("of the process that came later it was told %v", after)
	}
	done := make(chan error, 1)
	go func() { done <- MonitorAll(t.Context(), os.Getpid(), func(Event) error { return nil }) }()
	s.Close()
	if err := <-done; err != nil {
		t.Errorf("at the process's end: %v", err)
	}
}
