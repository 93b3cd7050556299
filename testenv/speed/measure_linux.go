package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/mpnc/mpnc/testenv"
	"github.com/mpnc/mpnc/testenv/duel"
	"github.com/mpnc/mpnc/testenv/speed/end"
)

const (
	port       = 7000            // the server's
	congestion = "cubic"         // everybody's
	patience   = 3 * time.Minute // what a sample takes at most, but for what is measured
)

// workshop is what a run needs and makes.
type workshop struct {
	options
	dir   string // of the programs
	mpnc  string // the command
	peers string // the program that is gVisor and quic-go; "" if it could not be built
	file  *os.File
	check int64    // MB that are compared, once for each contestant
	sum   string   // of so much of the file
	lacks []string // what cannot be measured, and why
}

// measure does everything.
func (r *Results) measure(ctx context.Context, o options) error {
	w, err := newWorkshop(ctx, o)
	if err != nil {
		return err
	}
	defer w.close()
	var list []job
	for _, j := range o.jobs(o.rounds) {
		if w.has(j) {
			list = append(list, j)
		}
	}
	r.begin(o)
	r.Peers, r.Lacks = versions(w.peers), w.lacks
	err = duel.Run(ctx, 1, list,
		func(ctx context.Context, j job) (Sample, error) {
			return duel.Again(ctx, func() (Sample, error) { return w.sample(ctx, j) }, nil)
		},
		func(j job, s Sample, err error) string {
			if err != nil {
				return ""
			}
			c := r.cell(j.cell)
			c.Samples = append(c.Samples, s)
			return s.String()
		})
	r.Took = time.Since(r.Started).Round(time.Second)
	return err
}

// newWorkshop builds the programs and the file.
func newWorkshop(ctx context.Context, o options) (w *workshop, err error) {
	w = &workshop{options: o, check: min(checked, o.file)}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	if w.dir, err = os.MkdirTemp("", "mpnc-speed"); err != nil {
		return w, err
	}
	w.mpnc = filepath.Join(w.dir, "mpnc")
	if err := build(ctx, "", w.mpnc, module+"/cmd/mpnc"); err != nil {
		return w, err
	}
	where, err := exec.CommandContext(ctx, "go", "list", "-f", "{{.Dir}}", module+"/testenv/speed").Output()
	if err != nil {
		return w, fmt.Errorf("finding the sources: %w", err)
	}
	w.peers = filepath.Join(w.dir, "peers")
	if err := build(ctx, filepath.Join(strings.TrimSpace(string(where)), "peers"), w.peers, "."); err != nil {
		w.peers = ""
		w.lacks = append(w.lacks, fmt.Sprintf("%s, %s: %v", gvisor, quicGo, err))
	}
	for _, p := range [][2]string{
		{"nc.openbsd", ncMPTCP + ", " + ncTCP}, {"socat", socatMPTCP + ", " + socatTCP}, {"mptcpize", ncMPTCP + ", " + socatMPTCP},
	} {
		if _, err := exec.LookPath(p[0]); err != nil {
			w.lacks = append(w.lacks, fmt.Sprintf("%s: %s is not installed", p[1], p[0]))
		}
	}
	return w, w.makeFile()
}

const module = "github.com/mpnc/mpnc"

// build builds a program of the module in a directory, or of this one.
func build(ctx context.Context, dir, program, pkg string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", program, pkg)
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("building %s: %w", filepath.Base(program), err)
	}
	return nil
}

// has says whether there is what a job needs.
func (w *workshop) has(j job) bool {
	needs := map[string][]string{
		ncMPTCP: {"nc.openbsd", "mptcpize"}, ncTCP: {"nc.openbsd"}, socatMPTCP: {"socat", "mptcpize"}, socatTCP: {"socat"},
	}
	for _, program := range needs[j.contestant] {
		if _, err := exec.LookPath(program); err != nil {
			return false
		}
	}
	return w.peers != "" || j.contestant != gvisor && j.contestant != quicGo
}

func (w *workshop) close() {
	if w.file != nil {
		w.file.Close()
		os.Remove(w.file.Name())
	}
	os.RemoveAll(w.dir)
}

// lab builds the network of a scene.
func (j job) lab() (lab *testenv.Lab, err error) {
	cfg := testenv.LabConfig{Direct: true, Offloads: !j.mtu}
	for i := range j.paths {
		cfg.Links = append(cfg.Links, testenv.LabLink{Name: fmt.Sprintf("path%d", i)})
	}
	if lab, err = testenv.NewLab(cfg); err != nil {
		return nil, err
	}
	if err := j.configure(lab); err != nil {
		return nil, errors.Join(err, lab.Close())
	}
	return lab, nil
}

// configure is what an administrator would: the kernel's MPTCP uses all paths.
func (j job) configure(lab *testenv.Lab) error {
	if got := lab.Congestion(); got != congestion {
		return fmt.Errorf("the kernel has %s, not %s", got, congestion)
	}
	settings := [][2]string{{"net.ipv4.ip_local_port_range", "1024 65535"}}
	if j.checksum {
		settings = append(settings, [2]string{"net.mptcp.checksum_enabled", "1"})
	}
	for _, h := range []*testenv.Host{lab.Client, lab.Server} {
		for _, s := range settings {
			if err := h.Sysctl(s[0], s[1]); err != nil {
				return err
			}
		}
	}
	for i, link := range lab.Client.Links()[1:] {
		e := testenv.Endpoint{Addr: lab.Client.Addr(link, 4), Link: link, ID: uint8(i + 2), Subflow: true}
		if err := lab.Client.AddEndpoint(e); err != nil {
			return err
		}
	}
	if j.contestant != gvisor {
		return nil
	}
	// Its stack has the addresses, not the kernel.
	for _, h := range []*testenv.Host{lab.Client, lab.Server} {
		for _, link := range h.Links() {
			if err := h.RemoveAddr(link, h.Addr(link, 4)); err != nil {
				return err
			}
		}
	}
	return nil
}

// sample takes one, after having seen in the first round that what arrives is what
// was sent.
func (w *workshop) sample(ctx context.Context, j job) (s Sample, err error) {
	ctx, cancel := context.WithTimeout(ctx, w.length+w.warmup+patience)
	defer cancel()
	lab, err := j.lab()
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, lab.Close()) }()
	stop := context.AfterFunc(ctx, func() { _ = lab.Close() }) // kills whatever runs
	defer stop()
	if j.command {
		s, err = w.commands(ctx, lab, j)
	} else {
		s, err = w.ends(ctx, lab, j)
	}
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w (%v)", ctx.Err(), err)
	}
	return s, err
}

// ends measures two ends.
func (w *workshop) ends(ctx context.Context, lab *testenv.Lab, j job) (s Sample, err error) {
	if j.round == 0 && j.work == end.Bulk && j.conns == 1 && !strings.HasPrefix(j.contestant, floor) {
		job := w.job(lab, j)
		job.Work, job.Octets, job.Port = end.Check, w.check<<20, port+1
		if _, _, err := w.pair(ctx, lab, j, job); err != nil {
			return s, fmt.Errorf("checking: %w", err)
		}
	}
	client, server, err := w.pair(ctx, lab, j, w.job(lab, j))
	if err != nil {
		return s, err
	}
	return sampleOf(j, client, server)
}

// job is the client's part.
func (w *workshop) job(lab *testenv.Lab, j job) end.Job {
	e := end.Job{
		Contestant: j.contestant, Work: j.work, Port: port, Size: j.size, Conns: j.conns,
		Checksum: j.checksum, Offloads: !j.mtu,
	}
	for _, link := range lab.Client.Links() {
		e.Links = append(e.Links, end.Link{Name: link, Local: lab.Client.Addr(link, 4), Remote: lab.Server.Addr(link, 4)})
	}
	return e
}

// begin notes what is measured, and on what.
func (r *Results) begin(o options) {
	r.Started = time.Now().UTC().Truncate(time.Second)
	r.Kernel, r.CPUs, r.CPU, r.Go = testenv.KernelRelease(), runtime.NumCPU(), processor(), runtime.Version()
	r.Load, r.Commit = load(), commit()
	r.Congestion = congestion
	r.Rounds, r.Seconds, r.Warmup, r.FileMB = o.rounds, o.length.Seconds(), o.warmup.Seconds(), o.file
}
