// Package control is the control socket of a running mpnc: what other
// processes of the same user, and root, ask and command it by. A process that
// wants to be asked calls Serve; Processes finds those that do.
//
// The protocol is a line of JSON each way: a request, and its answer. Every
// line says the version of the protocol; fields may be added to it without a
// new one, and unknown ones are ignored.
package control

import (
	"context"
	"errors"
	"net/netip"
	"time"
)

// Version is the protocol's.
const Version = 1

// ErrUnavailable says that this system has no control sockets.
var ErrUnavailable = errors.New("there are no control sockets on this system (Linux has them)")

// Report is what a process has.
type Report struct {
	PID       int        `json:"pid"`
	UID       int        `json:"uid"`
	Program   string     `json:"program"`
	Transport string     `json:"transport"`
	Listeners []Listener `json:"listeners"`
	Conns     []Conn     `json:"connections"`
}

// Listener is a listening socket.
type Listener struct {
	Local   netip.AddrPort `json:"local"`
	MPTCP   bool           `json:"mptcp"` // it accepts Multipath TCP, too
	Waiting int            `json:"recv_q"`
	Backlog int            `json:"send_q"`
}

// Conn is a connection.
type Conn struct {
	ID       uint32         `json:"id"` // its number in the process
	MPTCP    bool           `json:"mptcp"`
	Fallback string         `json:"fallback,omitempty"` // why it is plain TCP
	State    string         `json:"state"`              // of RFC 9293; with MPTCP, the stream's
	Client   bool           `json:"client"`
	RecvQ    int            `json:"recv_q"` // octets that the application has not read
	SendQ    int            `json:"send_q"` // octets that the peer has not acknowledged
	Local    netip.AddrPort `json:"local"`
	Peer     netip.AddrPort `json:"peer"`
	Token    string         `json:"token,omitempty"` // of Multipath TCP, eight hexadecimal digits
	Limits   *Limits        `json:"limits,omitempty"`
	// Held is how long the connection has had no path that works.
	Held     time.Duration `json:"held_ns,omitempty"`
	Subflows []Subflow     `json:"subflows"`
}

// Limits are those of a connection's paths.
type Limits struct {
	Subflows int `json:"subflows"`
	Accept   int `json:"add_addr_accepted"`
}

// Subflow is a path of a connection. What is not known is left out.
type Subflow struct {
	ID         int            `json:"id"`
	State      string         `json:"state"`
	Local      netip.AddrPort `json:"local"`
	Peer       netip.AddrPort `json:"peer"`
	Interface  string         `json:"interface,omitempty"`
	LocalID    int            `json:"local_id"` // address identifiers
	PeerID     int            `json:"peer_id"`
	Backup     bool           `json:"backup,omitempty"`
	Gone       bool           `json:"gone,omitempty"`  // its address or link is gone
	Stale      bool           `json:"stale,omitempty"` // nothing is heard on it
	SendQ      int            `json:"send_q"`          // octets in flight
	Congestion string         `json:"congestion,omitempty"`
	RTT        time.Duration  `json:"rtt_ns,omitempty"`
	RTTVar     time.Duration  `json:"rttvar_ns,omitempty"`
	MinRTT     time.Duration  `json:"minrtt_ns,omitempty"`
	RTO        time.Duration  `json:"rto_ns,omitempty"`
	Backoff    int            `json:"backoff,omitempty"`
	MSS        int            `json:"mss,omitempty"`
	PathMTU    int            `json:"pmtu,omitempty"`
	Cwnd       int            `json:"cwnd,omitempty"` // octets
	SndWnd     int            `json:"snd_wnd,omitempty"`
	RcvWnd     int            `json:"rcv_wnd,omitempty"`
	ECN        bool           `json:"ecn,omitempty"`
	Lane       bool           `json:"lane,omitempty"` // trains leave, by the fast lane

	BytesSent     uint64 `json:"bytes_sent"` // payload, once
	BytesRetrans  uint64 `json:"bytes_retrans"`
	BytesAcked    uint64 `json:"bytes_acked"`
	BytesReceived uint64 `json:"bytes_received"`
	SegsOut       uint64 `json:"segs_out"`
	SegsIn        uint64 `json:"segs_in"`
	Retrans       uint64 `json:"retrans"` // segments sent again
	Trains        uint64 `json:"trains,omitempty"`
}

// Host is what a process answers with. Its methods may be called by several
// goroutines at a time.
type Host interface {
	// Report tells what the process has now. PID and UID are filled in by the
	// server.
	Report() Report
	// Steer changes the paths of a connection. It ends when ctx does.
	Steer(ctx context.Context, s Steer) error
}

// Steer is something to be done to a connection's paths.
type Steer struct {
	// Conn is the connection's number in the process; 0 if there is one only.
	Conn uint32 `json:"conn,omitempty"`
	// Do is add, remove, backup, nobackup or limits.
	Do string `json:"do"`
	// Local is an address of the process's host, or the name of an interface:
	// where the path to add begins, and which to remove or change, all that
	// begin there.
	Local string `json:"local,omitempty"`
	// ID is the number of the path to remove or change, if there is no Local.
	ID *int `json:"id,omitempty"`
	// Remote is the peer's end of the path to add. Without port, that of the
	// peer's first end; if empty, its first address that Local can reach.
	Remote string `json:"remote,omitempty"`
	Backup bool   `json:"backup,omitempty"` // of the path to add
	// Subflows and Accept are limits; those that are nil stay as they are.
	Subflows *int `json:"subflows,omitempty"`
	Accept   *int `json:"add_addr_accepted,omitempty"`
}

// What can be done to paths.
const (
	SteerAdd      = "add"
	SteerRemove   = "remove"
	SteerBackup   = "backup"
	SteerNoBackup = "nobackup"
	SteerLimits   = "limits"
)

// request is a line from a client.
type request struct {
	Version int    `json:"version"`
	Do      string `json:"do"`
	Steer   *Steer `json:"steer,omitempty"`   // of doSteer
	Backlog bool   `json:"backlog,omitempty"` // of doMonitor: tell of what there was, too
}

// What a request can ask to do.
const (
	doReport  = "report"
	doSteer   = "steer"
	doMonitor = "monitor" // answered by an answer for each event
)

// answer is a line from a server.
type answer struct {
	Version int     `json:"version"`
	Error   string  `json:"error,omitempty"`
	Report  *Report `json:"report,omitempty"`
	Event   *Event  `json:"event,omitempty"`
}
