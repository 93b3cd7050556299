package mptcp

// FastOpenCookies returns the Fast Open cookies that servers gave, oldest first,
// for a later Stack's LearnFastOpen. They are for this host's addresses only.
func (s *Stack) FastOpenCookies() []FastOpenCookie {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.ep.FastOpenCookies()
}

// LearnFastOpen adds cookies that an earlier Stack returned. At most 1024 are
// kept.
func (s *Stack) LearnFastOpen(cookies []FastOpenCookie) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ep.LearnFastOpen(cookies)
}
