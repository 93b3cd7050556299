package main

import (
	"bytes"
	"context"
	"image/png"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func quietSignals() *signals {
	return &signals{stop: context.Background(), abort: context.Background()}
}

// The whole demo in virtual time: the transfer over two paths ends whole
// although one dies, the one over TCP stalls, and the picture is there.
func TestDemo(t *testing.T) {
	picture := filepath.Join(t.TempDir(), "demo.png")
	var out bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		d := &demo{std: stdio{out: &out}, sig: quietSignals(), show: newShow(&out), picture: picture,
			patience: givenUp, size: demoSize, newWorld: newProcessWorld}
		began := time.Now()
		if err := d.compare(); err != nil {
			t.Errorf("%v\n%s", err, out.String())
		}
		if took := time.Since(began); took > 50*time.Second {
			t.Errorf("took %v", took)
		}
	})
	for _, want := range []string{
		`the wifi dies`, `(?m)^  whole after \d`, `(?m)^  stalled: stopped after 10 s`,
		`arrived +32\.0 MiB \(100 %\) +\d+\.\d MiB \(\d\d %\)`, `over cellular +\d+\.\d MiB +–`,
		`longest silence +0\.\d\d s +10\.\d s`, `SHA-256 sent +([0-9a-f]{16})… +not all was sent`,
		`(?m)whole +stalled$`, `Picture: ` + regexp.QuoteMeta(picture),
	} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	sums := regexp.MustCompile(`SHA-256 \w+ +([0-9a-f]{16})…`).FindAllStringSubmatch(out.String(), -1)
	if len(sums) != 2 || sums[0][1] != sums[1][1] {
		t.Errorf("sums %v", sums)
	}
	f, err := os.Open(picture)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := png.Decode(f); err != nil {
		t.Error(err)
	}
}

// Another file than the built-in one, and progress on a terminal.
func TestDemoFileOnTerminal(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, noise(9, 3<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		d := &demo{std: stdio{out: &out}, sig: quietSignals(), show: &show{out: &out, terminal: true},
			file: file, picture: filepath.Join(dir, "p.png"), patience: time.Second, newWorld: newProcessWorld}
		if err := d.measureFile(); err != nil {
			t.Fatal(err)
		}
		if err := d.compare(); err != nil {
			t.Errorf("%v\n%s", err, out.String())
		}
	})
	for _, want := range []string{"\x1b[3A", "  wifi      ▕█", "died at ", "  file      ▕" + strings.Repeat("█", barWidth) + "▏      100 %    3.0 MiB\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%q", want, out.String())
		}
	}
}

func TestDemoUsage(t *testing.T) {
	small := filepath.Join(t.TempDir(), "small")
	if err := os.WriteFile(small, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, "demo", "80").fails(2, "demo takes no operands", "mpnc -- demo PORT")
	run(t, "demo", "-Q").fails(2, "invalid option -- 'Q'")
	p := run(t, "demo", "--help")
	p.exits(0)
	if !strings.Contains(p.out.String(), "--file") {
		t.Errorf("printed %q", p.out.String())
	}
	for file, words := range map[string]string{"/no/such/file": "cannot read", "/": "no regular file", small: "has only 1 B"} {
		d := &demo{file: file}
		if err := d.measureFile(); exitCode(err) != exitUsage || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v", file, err)
		}
	}
	run(t, "-w", "20", "--", "demo", "9").fails(1, "demo")
}

// A signal ends the demo as it ends everything else.
func TestDemoInterrupted(t *testing.T) {
	p := prepare(t, "demo", "--in-process")
	p.begin()
	for late := time.Now().Add(patience); !strings.Contains(p.out.String(), "Multipath TCP:"); {
		if time.Now().After(late) {
			t.Fatal("it does not begin")
		}
		time.Sleep(10 * time.Millisecond)
	}
	p.Process.Signal(syscall.SIGTERM)
	p.fails(exitSignal+int(syscall.SIGTERM), "stopped by signal")
}

func TestBar(t *testing.T) {
	for _, tt := range []struct {
		full float64
		want string
	}{{-1, ""}, {0.5, strings.Repeat("█", 20)}, {0.5125, strings.Repeat("█", 20) + "▌"}, {7, strings.Repeat("█", 40)}} {
		got := bar(tt.full)
		if len([]rune(got)) != barWidth+2 || strings.TrimRight(strings.Trim(got, "▕▏"), " ") != tt.want {
			t.Errorf("%v: %q", tt.full, got)
		}
	}
}
