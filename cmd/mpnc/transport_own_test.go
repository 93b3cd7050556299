package main

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/mpnc/mpnc/mptcp"
	"github.com/mpnc/mpnc/mptcp/engine"
	"github.com/mpnc/mpnc/pathmgr"
)

// The texts stand in the order of the engine's constants.
func TestFallbackTexts(t *testing.T) {
	for r, words := range map[mptcp.FallbackReason]string{
		engine.PeerPlain:       "did not answer with MPTCP",
		engine.SynUnanswered:   "only a SYN without",
		engine.ThirdAckPlain:   "from the handshake",
		engine.DataPlain:       "after the handshake",
		engine.ChecksumsWanted: "agree with us on checksums",
		engine.MPFailReceived:  "had changed",
		engine.InfiniteMapping: "asked for it",
		engine.ChecksumFailed:  "network changed data",
		engine.TokenClash:      "the key that was promised",
		200:                    "reason 200",
	} {
		if got := fallbackText(r); !strings.Contains(got, words) {
			t.Errorf("%d: %q does not say %q", r, got, words)
		}
	}
	for _, r := range []mptcp.FallbackReason{engine.NoFallback, engine.Configured} {
		if got := fallbackText(r); got != "" {
			t.Errorf("%d: %q", r, got)
		}
	}
}

func TestReasonTexts(t *testing.T) {
	seen := map[string]bool{}
	for r := pathmgr.Closed; r <= pathmgr.PeerGone; r++ {
		text := reasonText(r)
		if seen[text] || strings.Contains(text, "reason") {
			t.Errorf("%d: %q", r, text)
		}
		seen[text] = true
	}
}

func TestOwnTrouble(t *testing.T) {
	f := ownTrouble(os.NewSyscallError("socket", syscall.EPERM))
	if !strings.Contains(f.Error(), "CAP_NET_RAW (try: sudo setcap cap_net_raw+ep ") {
		t.Errorf("got %q", f)
	}
	if f = ownTrouble(errors.New("not here")); f.Error() != "no raw sockets: not here" {
		t.Errorf("got %q", f)
	}
}
