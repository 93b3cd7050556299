package main

import (
	"errors"
	"net/netip"
	"os/exec"

	"github.com/mpnc/mpnc/mptcp"
	"github.com/mpnc/mpnc/testenv"
)

// labWorld is two network namespaces of the kernel's, in which our stacks use
// raw sockets.
type labWorld struct{ lab *testenv.Lab }

func newLabWorld() (world, error) {
	var cfg testenv.LabConfig
	for _, l := range demoLinks {
		cfg.Links = append(cfg.Links, testenv.LabLink{Name: l.name, Rate: l.rate, RTT: l.rtt})
	}
	lab, err := testenv.NewLab(cfg)
	if err != nil {
		return nil, err
	}
	return labWorld{lab}, nil
}

func (w labWorld) client(c mptcp.Config) (*mptcp.Stack, error) { return rawStack(w.lab.Client, c) }
func (w labWorld) server(c mptcp.Config) (*mptcp.Stack, error) { return rawStack(w.lab.Server, c) }

func rawStack(h *testenv.Host, c mptcp.Config) (s *mptcp.Stack, err error) {
	err = h.Do(func() error {
		s, err = mptcp.NewRaw(c)
		return err
	})
	return s, err
}

func (w labWorld) clientAddr(link int) netip.Addr { return w.lab.Client.Addr(demoLinks[link].name, 4) }
func (w labWorld) serverAddr(link int) netip.Addr { return w.lab.Server.Addr(demoLinks[link].name, 4) }

func (w labWorld) silence(link int) error {
	return w.lab.SetSilent(demoLinks[link].name, testenv.BothWays, true)
}

func (w labWorld) close() error { return w.lab.Close() }

// demoWorld chooses where the demo takes place and says so. It may run the
// demo in a process of its own, as root of a user namespace: then ran is true
// and err is how that ended.
func demoWorld(args []string, inProcess bool) (makeWorld func() (world, error), where string, ran bool, err error) {
	why := "as asked"
	switch {
	case inProcess:
	case testenv.CanLab():
		return newLabWorld, "in real network namespaces, with raw sockets", false, nil
	case testenv.InUserNamespace():
		why = "real namespaces cannot be had, not even in a user namespace"
	default:
		err := testenv.ReexecInUserNS(append([]string{"demo"}, args...))
		var exit *exec.ExitError
		if err == nil || errors.As(err, &exit) {
			return nil, "", true, err
		}
		why = "real namespaces need root, and this system lets nobody else make user namespaces"
	}
	return newProcessWorld, "in a network inside this process (" + why + ")", false, nil
}
