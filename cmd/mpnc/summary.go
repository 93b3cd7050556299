package main

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/mpnc/mpnc/internal/report"
)

// summary is what a session did: --json prints it as it stands.
type summary struct {
	Transport string  `json:"transport"`
	Seconds   float64 `json:"seconds"`
	Sent      uint64  `json:"sent"`     // octets from standard input
	Received  uint64  `json:"received"` // octets to standard output
	status
	Exit  int    `json:"exit"`
	Error string `json:"error,omitempty"`

	time      time.Duration
	listening bool
}

// summarize tells, with -v or --json, how a session went.
func (m *command) summarize(s *summary, err error) {
	m.say.ended(s)
	if m.o.json {
		m.summarized.Store(true)
		m.writeJSON(s, err)
	}
}

// tell says it on lines of mpnc's own.
func (s *summary) tell(log *logrus.Logger) {
	log.Infof("sent %s, received %s in %s", amount(s.Sent, s.time), amount(s.Received, s.time), report.Seconds(s.time))
	var sent, received uint64
	for _, p := range s.Paths {
		sent, received = sent+p.Sent, received+p.Received
	}
	for _, p := range s.Paths {
		if p.Up || p.wasUp() {
			log.Infof("path %d: sent %s, received %s: %v", p.ID, share(p.Sent, sent), share(p.Received, received), &p)
		}
	}
}

func (m *command) writeJSON(s *summary, err error) {
	s.Seconds = s.time.Seconds()
	if s.Exit = exitCode(err); err != nil {
		s.Error = err.Error()
	}
	if err := json.NewEncoder(m.stderr).Encode(s); err != nil {
		m.log.Errorf("cannot write the statistics: %v", err)
	}
}

// amount is octets, and their rate if there are any.
func amount(n uint64, d time.Duration) string {
	if n == 0 {
		return "nothing"
	}
	return fmt.Sprintf("%s (%s)", report.Bytes(n), report.Rate(n, d))
}

// share is octets, and their share of a whole if there are any.
func share(n, whole uint64) string {
	if n == 0 {
		return "nothing"
	}
	return fmt.Sprintf("%s (%s)", report.Bytes(n), report.Share(n, whole))
}
