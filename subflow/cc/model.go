package cc

// Model is a Controller that keeps a model of the path and bounds what is in
// flight by it, instead of reacting to each loss. What a subflow otherwise does
// on the controller's behalf is left to it: proportional rate reduction during
// recovery (RFC 9937) and the restart window after an idle time (RFC 5681,
// Section 4.1).
type Model interface {
	Controller
	// OnLost tells of a transmission found lost: of each one, before the
	// OnLoss of the episode that it begins and before the OnAck of the
	// acknowledgment that showed it.
	OnLost(Lost)
	// OnRestart says that data is about to leave while nothing is in flight
	// because the application had nothing to send.
	OnRestart(now Time)
}

// Sent is a transmission in the light of what was known when it left and of
// what happened since. The zero value is the first one of a connection.
type Sent struct {
	Delivered  uint64 // octets delivered ever when it left
	InFlight   int    // octets in flight just after it left, its own included
	Lost       int    // octets found lost since it left, its own included if it was
	AppLimited bool   // the application was the limit then, or in the flight before
}

// Lost is a transmission found lost.
type Lost struct {
	Now       Time
	Bytes     int
	Sent      Sent
	Delivered uint64 // octets delivered ever
	Adjoins   bool   // it follows the one found lost before it without a gap
}
