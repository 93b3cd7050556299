package mptcp

// pin has the device write what it reads next to the memory of the connection's
// reader whom it woke last, who waits again. Whoever waits there does not return
// before unpin.
func (r *reader) pin() []byte {
	c := r.fed
	if c == nil || r.pinned != nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.ended {
		r.fed = nil
		return nil
	}
	if c.pinned || c.lent || c.rwaits == 0 {
		return nil
	}
	p := c.core.Pin()
	if len(p) > 0 {
		c.pinned, r.pinned = true, c
	}
	return p
}

// unpin ends what pin began, if it did: what was written has been placed, or nothing
// was.
func (r *reader) unpin() {
	c := r.pinned
	if c == nil {
		return
	}
	if c != r.conn {
		r.endRun()
		c.mu.Lock()
		defer c.mu.Unlock()
	}
	c.core.Unpin()
	c.pinned, r.pinned = false, nil
	if c.unpinned {
		c.unpinned = false
		c.rcond.Broadcast()
	}
}
