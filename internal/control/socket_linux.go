package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	dirName = "mpnc"
	suffix  = ".sock" // after the process's number
	draft   = ".new"  // of a socket that nobody listens at yet
)

// ownDirs returns where this user's sockets may be, the best place first.
func ownDirs() (dirs []string) {
	add := func(parent string) {
		if dir := filepath.Join(parent, dirName); !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		add(dir)
	}
	if os.Geteuid() == 0 {
		add("/run")
	}
	add(fmt.Sprintf("/run/user/%d", os.Geteuid()))
	return dirs
}

// allDirs returns where this user may look: root everywhere.
func allDirs() []string {
	dirs := ownDirs()
	if os.Geteuid() != 0 {
		return dirs
	}
	others, err := filepath.Glob("/run/user/[0-9]*/" + dirName)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	for _, dir := range others {
		if !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// makeDir makes the directory, or checks that it is this user's alone.
func makeDir(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	uid, err := owner(dir)
	if err == nil && uid != os.Geteuid() {
		err = fmt.Errorf("%s belongs to user %d", dir, uid)
	}
	return err
}

// owner returns whose a directory of sockets is. Nobody else may have access
// to it.
func owner(dir string) (uid int, err error) {
	info, err := os.Lstat(dir)
	if err != nil {
		return 0, err
	}
	st := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || info.Mode().Perm()&0o077 != 0 {
		return 0, fmt.Errorf("%s is not a directory of mode 0700", dir)
	}
	return int(st.Uid), nil
}

// socket is a listening socket whose clients are this user's, or root's.
type socket struct {
	*net.UnixListener
	path string
}

// listen makes this process's socket in the first directory that can be had.
func listen() (listener, error) {
	var errs []error
	for _, dir := range ownDirs() {
		err := makeDir(dir)
		if err == nil {
			var s *socket
			if s, err = listenIn(dir); err == nil {
				return s, nil
			}
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// listenIn makes the socket. It gets its name once it listens, so that one that
// refuses is known to have been left behind.
func listenIn(dir string) (*socket, error) {
	path := filepath.Join(dir, strconv.Itoa(os.Getpid())+suffix)
	if err := os.Remove(path + draft); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path + draft, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // its name is about to change
	if err := os.Rename(path+draft, path); err != nil {
		l.Close()
		os.Remove(path + draft)
		return nil, err
	}
	return &socket{l, path}, nil
}

// Accept returns the next client that is this user's or root's.
func (s *socket) Accept() (net.Conn, error) {
	for {
		c, err := s.AcceptUnix()
		if err != nil {
			return nil, err
		}
		if who, err := peer(c); err == nil && (int(who.Uid) == os.Geteuid() || who.Uid == 0) {
			return c, nil
		}
		c.Close()
	}
}

// Close removes the socket.
func (s *socket) Close() error {
	return errors.Join(os.Remove(s.path), s.UnixListener.Close())
}

// peer says who is at the other end.
func peer(c *net.UnixConn) (who *unix.Ucred, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	cerr := raw.Control(func(fd uintptr) {
		who, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	return who, errors.Join(cerr, err)
}

// processes looks for sockets, and removes those that nobody listens at.
func processes() ([]Process, error) {
	all, err := candidates()
	return slices.DeleteFunc(all, func(p Process) bool { return !p.listens() }), err
}

// candidates looks for sockets, whoever listens at them.
func candidates() ([]Process, error) {
	var all []Process
	for _, dir := range allDirs() {
		if _, err := owner(dir); err != nil {
			continue
		}
		names, err := os.ReadDir(dir)
		if err != nil {
			continue // gone, or none of ours
		}
		for _, n := range names {
			path := filepath.Join(dir, n.Name())
			removeDraft(path)
			if pid, ok := pidOf(n.Name()); ok {
				all = append(all, Process{pid, path})
			}
		}
	}
	slices.SortFunc(all, func(a, b Process) int { return cmp.Compare(a.PID, b.PID) })
	return all, nil
}

func pidOf(name string) (int, bool) {
	pid, err := strconv.Atoi(strings.TrimSuffix(name, suffix))
	return pid, err == nil && pid > 0 && strings.HasSuffix(name, suffix)
}

// removeDraft removes a socket whose process ended before it had a name.
func removeDraft(path string) {
	name, isDraft := strings.CutSuffix(path, draft)
	pid, ok := pidOf(filepath.Base(name))
	if isDraft && ok && errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
		os.Remove(path)
	}
}

// listens reports whether somebody listens at the socket; one that was left
// behind is removed.
func (p Process) listens() bool {
	c, err := p.dial(context.Background())
	if err == nil {
		c.Close()
		return true
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		os.Remove(p.path)
	}
	return !ended(err)
}

// dial connects to the process and checks that the socket is of the user in
// whose directory it is.
func (p Process) dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", p.path)
	if err != nil {
		return nil, err
	}
	uid, err := owner(filepath.Dir(p.path))
	who, perr := peer(c.(*net.UnixConn))
	if err = errors.Join(err, perr); err == nil && int(who.Uid) != uid {
		err = fmt.Errorf("user %d listens in the directory of user %d", who.Uid, uid)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// ended reports whether an error says that the process is no more.
func ended(err error) bool {
	return errors.Is(err, errEnded) || errors.Is(err, syscall.ECONNREFUSED) ||
		errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
