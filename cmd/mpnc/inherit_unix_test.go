//go:build unix

package main

import (
	"net"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// listeningFile is a socket that is listened on, as another program gives it.
func listeningFile(t *testing.T) (f *os.File, address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if f, err = l.(*net.TCPListener).File(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f, l.Addr().String()
}

// asks sends a question to the address and returns what comes back.
func asks(t *testing.T, address, question string) string {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Write([]byte(question))
	c.(*net.TCPConn).CloseWrite()
	b := make([]byte, 100)
	n, _ := c.Read(b)
	return string(b[:n])
}

// systemd passes its socket as descriptor 3, and says so in the environment.
// The process's number is known only in the process: a shell puts it there.
func TestSocketActivation(t *testing.T) {
	name, err := commandFile()
	if err != nil {
		t.Fatal(err)
	}
	f, address := listeningFile(t)
	p := prepare(t)
	p.Path, p.Args = "/bin/sh", []string{"sh", "-c", `LISTEN_FDS=1 LISTEN_PID=$$ exec "$0" -l --exec cat`, name}
	p.ExtraFiles = []*os.File{f}
	p.begin()
	if got := asks(t, address, "hello"); got != "hello" {
		t.Errorf("got %q; it said %s", got, p.stderr())
	}
	p.exits(0)
}

// inetd's "wait" passes the listening socket as standard input.
func TestInetdWait(t *testing.T) {
	f, address := listeningFile(t)
	p := prepare(t, "-l", "--exec", "cat")
	p.Stdin = f
	p.begin()
	if got := asks(t, address, "hello"); got != "hello" {
		t.Errorf("got %q; it said %s", got, p.stderr())
	}
	p.exits(0)
}

// inetd's "nowait" passes a connection as standard input and output; whoever
// is there sees the end of what the other side says.
func TestInetdNowait(t *testing.T) {
	l, port := listening(t, "--transport", "kernel-tcp", "--sh-exec", "cat; echo bye")
	us, them := socketPair(t)
	p := prepare(t, "--transport", "kernel-tcp", "-N", "127.0.0.1", port)
	p.Stdin, p.Stdout = them, them
	p.begin()
	them.Close()
	us.Write([]byte("hello "))
	unix.Shutdown(int(us.Fd()), unix.SHUT_WR)
	var got strings.Builder
	b := make([]byte, 100)
	for {
		n, err := us.Read(b)
		if n == 0 || err != nil {
			break
		}
		got.Write(b[:n])
	}
	if got.String() != "hello bye\n" {
		t.Errorf("got %q", got.String())
	}
	p.exits(0)
	l.exits(0)
}

func socketPair(t *testing.T) (us, them *os.File) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	us, them = os.NewFile(uintptr(fds[0]), "us"), os.NewFile(uintptr(fds[1]), "them")
	t.Cleanup(func() { us.Close() })
	return us, them
}

// What -F passes is the connection.
func TestPassFD(t *testing.T) {
	l, port := listening(t, "--transport", "kernel-tcp", "-d")
	us, them := socketPair(t)
	p := prepare(t, "--transport", "kernel-tcp", "-F", "127.0.0.1", port)
	p.Stdout = them
	p.begin()
	p.exits(0)
	them.Close()
	control := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(int(us.Fd()), make([]byte, 1), control, 0)
	if err != nil {
		t.Fatal(err)
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil || len(messages) != 1 {
		t.Fatalf("%d messages, %v", len(messages), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		t.Fatal(err)
	}
	conn := os.NewFile(uintptr(fds[0]), "connection")
	conn.WriteString("through the passed socket")
	conn.Close()
	l.exits(0)
	l.prints("through the passed socket")
	run(t, "-F", "--transport", "kernel-tcp", "-l", "80").fails(2, "-F")
}
