package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/mpnc/mpnc/internal/report"
)

// demoSize is what goes across without --file.
const demoSize = 32 << 20

// defaultPicture is where the picture goes.
const defaultPicture = "mpnc-demo.png"

// smallestDemo is what takes long enough for something to happen in its
// middle.
const smallestDemo = 2 << 20

func runDemo(args []string, sig *signals, std stdio) error {
	flags := []cli.Flag{
		&cli.StringFlag{Name: "file", Usage: "send `FILE` instead of 32 MiB of random octets"},
		&cli.StringFlag{Name: "picture", Value: defaultPicture, Usage: "draw the picture into `FILE`"},
		&cli.BoolFlag{Name: "in-process", Usage: "use a network inside this process, even if real namespaces can be had"},
	}
	return runApp(newApp(std, "mpnc demo", "a path dies in the middle of a transfer, and nothing is lost",
		"mpnc demo [options]", demoHelp, flags, func(c *cli.Context) error {
			if c.Args().Present() {
				return &failure{code: exitUsage, what: fmt.Sprintf("demo takes no operands such as %q", c.Args().First()),
					hint: "to reach a host called demo: mpnc -- demo PORT"}
			}
			d := &demo{std: std, sig: sig, show: newShow(std.out), file: c.String("file"), picture: c.String("picture"), patience: givenUp}
			return d.run(args, c.Bool("in-process"))
		}), args)
}

// demo is one run of mpnc demo.
type demo struct {
	std           stdio
	sig           *signals
	show          *show
	file, picture string
	patience      time.Duration // with a transfer that says nothing
	newWorld      func() (world, error)
	size          uint64
}

func (d *demo) run(args []string, inProcess bool) error {
	makeWorld, where, ran, err := demoWorld(args, inProcess)
	if ran {
		return childEnded(err)
	}
	d.newWorld = makeWorld
	if err := d.measureFile(); err != nil {
		return err
	}
	d.say("Two hosts %s,\njoined by %v and %v.", where, demoLinks[0], demoLinks[1])
	d.say("%s goes across; in the middle the %s dies without a word.\n", report.Bytes(d.size), demoLinks[0].name)
	return d.compare()
}

// compare takes the file across with Multipath TCP and then, as a measure for
// it, with TCP over the path that dies.
func (d *demo) compare() error {
	half := func(_ time.Duration, arrived uint64) bool { return arrived >= d.size/2 }
	multi, err := d.transfer("Multipath TCP", demoLinks, half)
	if err != nil {
		return err
	}
	sameTime := func(at time.Duration, _ uint64) bool { return multi.died > 0 && at >= multi.died }
	single, err := d.transfer("TCP on "+demoLinks[0].name, demoLinks[:1], sameTime)
	if err != nil {
		return err
	}
	if err := writeTable(d.std.out, multi, single); err != nil {
		return outputFailure("cannot write the output: "+plain(err), err)
	}
	if err := d.draw(multi, single); err != nil {
		return err
	}
	return verdict(multi)
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.std.out, format+"\n", args...) }

// childEnded is how the demo ended in its own namespace.
func childEnded(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return &childFailure{exit.ExitCode()}
	}
	return err
}

func (d *demo) measureFile() error {
	d.size = demoSize
	if d.file == "" {
		return nil
	}
	info, err := os.Stat(d.file)
	switch {
	case err != nil:
		return &failure{code: exitUsage, what: fmt.Sprintf("cannot read %s: %s", d.file, plain(err))}
	case !info.Mode().IsRegular():
		return &failure{code: exitUsage, what: d.file + " is no regular file"}
	case info.Size() < smallestDemo:
		return &failure{code: exitUsage, what: fmt.Sprintf("%s has only %s", d.file, report.Bytes(uint64(info.Size()))),
			hint: "it takes " + report.Bytes(smallestDemo) + " for a path to die in the middle of it"}
	}
	d.size = uint64(info.Size())
	return nil
}

// open returns the file from its beginning: the same octets each time.
func (d *demo) open() (io.ReadCloser, error) {
	if d.file == "" {
		return io.NopCloser(io.LimitReader(rand.NewChaCha8([32]byte{'m', 'p', 'n', 'c'}), demoSize)), nil
	}
	return os.Open(d.file)
}

// transfer takes the file across a new world over the links given, of which
// the first one dies as told.
func (d *demo) transfer(title string, links []demoLink, dies func(time.Duration, uint64) bool) (t *transfer, err error) {
	w, err := d.newWorld()
	if err != nil {
		return nil, &failure{code: exitConnect, what: "cannot build the network: " + err.Error(), hint: "mpnc demo --in-process needs none"}
	}
	defer func() { err = errors.Join(err, w.close()) }()
	file, err := d.open()
	if err != nil {
		return nil, err
	}
	defer file.Close()
	t = &transfer{title: title, w: w, size: d.size, links: links, dies: dies, patience: d.patience}
	d.show.begin(t)
	if err = t.run(d.sig.stop, file, d.show.progress); err != nil {
		return nil, err
	}
	d.show.end(t)
	if errors.Is(t.err, errInterrupted) {
		return nil, errInterrupted
	}
	return t, nil
}

// verdict is the demo's own exit status.
func verdict(t *transfer) error {
	if t.whole() {
		return nil
	}
	return &failure{code: exitTruncated, what: "the transfer over Multipath TCP did not end whole: " + t.outcome()}
}

// draw puts the picture where it was asked for.
func (d *demo) draw(runs ...*transfer) error {
	f := &report.Figure{
		Title:    fmt.Sprintf("%s over %v and %v", report.Bytes(d.size), demoLinks[0], demoLinks[1]),
		Subtitle: fmt.Sprintf("Goodput of each path over time. In the middle the %s dies without a word.", demoLinks[0].name),
	}
	for _, t := range runs {
		f.Runs = append(f.Runs, t.figure())
	}
	name, err := savePicture(f, d.picture)
	if err != nil {
		return &failure{code: exitOutput, what: "cannot write the picture: " + plain(err), hint: "--picture chooses another place"}
	}
	d.say("\nPicture: %s", name)
	return nil
}
