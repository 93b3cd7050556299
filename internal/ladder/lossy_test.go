package ladder

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
)

// A reader who takes his time loses lines, is told how many, and nobody waits
// for him.
func TestLossy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		l := Lossy(w)
		line := strings.Repeat("x", 1023) + "\n"
		const lines = 3 * lossyRoom / 1024
		for range lines {
			fmt.Fprint(l, line)
			synctest.Wait()
		}
		got := make(chan string)
		go func() {
			b, _ := io.ReadAll(r)
			got <- string(b)
		}()
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		w.Close()
		text := <-got
		kept := strings.Count(text, line)
		if kept == 0 || kept == lines || !strings.Contains(text, fmt.Sprintf("... %d lines are missing", lines-kept)) {
			t.Errorf("%d of %d lines, and %q", kept, lines, strings.ReplaceAll(text, line, ""))
		}
	})
}

// A reader who never comes does not keep the program from ending.
func TestLossyEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		l := Lossy(w)
		fmt.Fprintln(l, "hello")
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		r.Close()
	})
	l := Lossy(full{})
	fmt.Fprintln(l, "hello")
	if err := l.Close(); !errors.Is(err, errFull) {
		t.Errorf("%v", err)
	}
}
