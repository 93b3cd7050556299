package scheduler

// tier ranks a path for new data and for what another path lost; only paths of
// the best tier present are used.
//
// A backup path counts only when no other is usable (RFC 8684, Section 3.3.8):
// one whose window is merely full is usable. A stale path comes after
// everything that is heard, a backup included.
func tier(p *Path) int {
	t := 0
	if p.Backup {
		t++
	}
	if p.Stale {
		t += 2
	}
	return t
}

// bestTier returns the lowest tier of all paths.
func bestTier(paths []Path) int {
	best := tierNone
	for i := range paths {
		best = min(best, tier(&paths[i]))
	}
	return best
}

// tierNone is above every tier.
const tierNone = 4
