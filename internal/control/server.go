package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

const (
	maxRequest  = 64 << 10         // octets of a line from a client
	maxClients  = 32               // at one time; more are turned away
	askPatience = 10 * time.Second // for a request, and for its answer to be taken

	steerPatience = 5 * time.Second // for a path to open
)

// Server answers for this process.
type Server struct {
	host Host
	l    listener
	feed feed
	ctx  context.Context // ends with the server
	stop context.CancelFunc

	mu      sync.Mutex
	clients map[net.Conn]bool // whether they monitor
	closed  bool
	wg      sync.WaitGroup
}

// listener is where clients come in.
type listener interface {
	// Accept returns the next client that may ask.
	Accept() (net.Conn, error)
	Close() error
}

// Serve answers other processes of this user, and root, for h until Close.
func Serve(h Host) (*Server, error) {
	l, err := listen()
	if err != nil {
		return nil, err
	}
	return serve(h, l), nil
}

func serve(h Host, l listener) *Server {
	s := &Server{host: h, l: l, clients: map[net.Conn]bool{}}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.wg.Go(s.accept)
	return s
}

// Publish tells those who monitor the process of an event. It never waits.
func (s *Server) Publish(e Event) {
	e.PID = os.Getpid()
	s.feed.publish(e)
}

// Close ends it; those who monitor are told first what waits for them. It
// returns when no goroutine of the server is left.
func (s *Server) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return net.ErrClosed
	}
	s.closed = true
	err := s.l.Close()
	s.stop()
	s.feed.end()
	for c, monitors := range s.clients {
		if monitors {
			s.feed.hurry(c)
		} else {
			c.Close()
		}
	}
	s.mu.Unlock()
	s.wg.Wait()
	return err
}

func (s *Server) accept() {
	for {
		c, err := s.l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // out of descriptors, say: the next client may have more luck
			time.Sleep(time.Second / 10)
		case !s.admit(c):
			c.Close()
		}
	}
}

// admit starts to serve a client, unless there are too many.
func (s *Server) admit(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.clients) == maxClients {
		return false
	}
	s.clients[c] = false
	s.wg.Go(func() {
		s.client(c)
		c.Close()
		s.mu.Lock()
		delete(s.clients, c)
		s.mu.Unlock()
	})
	return true
}

// client answers one client's requests until it goes.
func (s *Server) client(c net.Conn) {
	lines := bufio.NewScanner(c)
	lines.Buffer(nil, maxRequest)
	for {
		c.SetDeadline(time.Now().Add(askPatience))
		if !lines.Scan() {
			return
		}
		var r request
		if err := json.Unmarshal(lines.Bytes(), &r); err == nil && r.Version == Version && r.Do == doMonitor {
			s.monitor(c, r.Backlog)
			return
		} else if err := json.NewEncoder(c).Encode(s.answer(&r, err)); err != nil {
			return
		}
	}
}

// monitor tells a client of events until one of us goes.
func (s *Server) monitor(c net.Conn, backlog bool) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.clients[c] = true
	s.mu.Unlock()
	s.feed.tell(c, backlog)
}

// answer answers a request; bad is why it could not be read.
func (s *Server) answer(r *request, bad error) answer {
	a := answer{Version: Version}
	switch {
	case bad != nil:
		a.Error = "not understood: " + bad.Error()
	case r.Version != Version:
		a.Error = fmt.Sprintf("version %d of the control protocol is not spoken here, only %d", r.Version, Version)
	case r.Do == doReport:
		report := s.report()
		a.Report = &report
	case r.Do == doSteer && r.Steer != nil:
		ctx, cancel := context.WithTimeout(s.ctx, steerPatience)
		defer cancel()
		if err := s.host.Steer(ctx, *r.Steer); err != nil {
			a.Error = err.Error()
		}
	default:
		a.Error = fmt.Sprintf("%q cannot be done here", r.Do)
	}
	return a
}

func (s *Server) report() Report {
	r := s.host.Report()
	r.PID, r.UID = os.Getpid(), os.Geteuid()
	return r
}
