package netio

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mpnc/mpnc/internal/netio/nstest"
)

// A device's sockets are in its namespace, whichever thread asks for them.
func TestSocketsAreInTheNamespace(t *testing.T) {
	ns, other := nstest.New(t), nstest.New(t)
	r := openDeaf(t, ns)
	if r.Raw.ns.cookie == 0 {
		t.Skip("namespaces have no names: Linux before 5.14")
	}
	for name, do := range map[string]func(func()){
		"that thread":         ns.Do,
		"a thread elsewhere":  other.Do,
		"a thread of nowhere": func(f func()) { f() },
	} {
		t.Run(name, func(t *testing.T) {
			do(func() {
				fd, err := r.Raw.ns.socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
				if err != nil {
					t.Error(err)
					return
				}
				defer unix.Close(fd)
				if cookie(fd) != r.Raw.ns.cookie {
					t.Error("the socket is in another namespace")
				}
			})
		})
	}
}
