// Package scheduler decides which path carries which range of the stream.
//
// A scheduler grants ranges of data to paths. New data, reinjection of what a
// dying path holds, redundancy and probing are all the same thing: a grant of
// a range. The engine checks every grant against the data, the peer's window
// and the path's room, so a scheduler can be wrong but not harmful.
package scheduler

import (
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/seq"
)

// Time is nanoseconds since the Stack's epoch.
type Time = mono.Time

// Seq is a data sequence number.
type Seq = seq.Data

// Range is the half-open run [From, To) of data sequence numbers.
type Range = seq.Range

// PathID names a subflow within its connection; it is never reused there.
type PathID int

// Queue is the connection's data, seen by a scheduler.
type Queue struct {
	Una   Seq // everything before is acknowledged (DATA_ACK)
	Next  Seq // the first octet never granted
	End   Seq // the end of what the application has written
	Limit Seq // the right edge of the peer's window
	// Lost are ranges below Next to be sent again on another path, in order:
	// their path is closed or its retransmission timer has fired.
	Lost []Range
}

// NewLimit returns the end of the new data that may be granted now.
func (q *Queue) NewLimit() Seq { return q.End.Min(q.Limit) }

// Path is one established subflow, seen by a scheduler.
type Path struct {
	ID       PathID
	SRTT     time.Duration
	Cwnd     int    // octets
	InFlight int    // octets
	Room     int    // octets that may leave now: congestion window, peer's window and pacing
	Rate     uint64 // delivery or pacing rate, octets a second; 0 if unknown
	MSS      int    // payload octets of a full segment
	Backup   bool   // to be used only when no other is usable (either side's wish)
	Stale    bool   // its retransmission timer fired and nothing was heard since
}

// Grant says: send this range on this path.
type Grant struct {
	Path PathID
	Data Range
}

// Scheduler decides for one connection; it may keep state. It is called after
// every input, by one goroutine at a time. Grants are carried out in order
// until one cannot be. New data has to be granted from q.Next on without a
// gap. Appending nothing means: wait for the next event, or until wake,
// whichever is first (Never if only an event can change the answer).
//
// q and paths are only valid during the call. Not granting less than a full
// segment while more data waits is the engine's business.
type Scheduler interface {
	Schedule(now Time, q *Queue, paths []Path, g []Grant) (grants []Grant, wake Time)
}

// Never is the wake time of a scheduler that waits only for events.
const Never = mono.Never
