package control

import "time"

// Event is news of a connection of Multipath TCP, or of a listener, by the
// names of ip-mptcp(8). What does not belong to an event is left out.
type Event struct {
	Time  time.Time `json:"time"`
	PID   int       `json:"pid"`
	Conn  uint32    `json:"conn,omitempty"` // the connection's number in the process
	Event string    `json:"event"`          // CREATED, ESTABLISHED, CLOSED, ...

	Token  string `json:"token,omitempty"` // eight hexadecimal digits
	RemID  *uint8 `json:"remid,omitempty"`
	LocID  *uint8 `json:"locid,omitempty"`
	SAddr4 string `json:"saddr4,omitempty"`
	DAddr4 string `json:"daddr4,omitempty"`
	SAddr6 string `json:"saddr6,omitempty"`
	DAddr6 string `json:"daddr6,omitempty"`
	SPort  uint16 `json:"sport,omitempty"`
	DPort  uint16 `json:"dport,omitempty"`
	Backup *uint8 `json:"backup,omitempty"`
	Error  uint8  `json:"error,omitempty"` // errno
	// Timeout is in the kernel's vocabulary; nothing sets it, as in the kernel.
	Timeout     uint32 `json:"timeout,omitempty"`
	IfIndex     int    `json:"ifindex,omitempty"`
	ResetReason *uint8 `json:"reset_reason,omitempty"`
	ResetFlags  *uint8 `json:"reset_flags,omitempty"`
	ServerSide  bool   `json:"server_side,omitempty"`

	// Lost, of the event LOST, is how many events are missing in its place,
	// because they were not read in time.
	Lost int `json:"lost,omitempty"`
}
