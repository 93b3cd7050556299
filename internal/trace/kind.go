package trace

import "strconv"

// Kind is what happened.
type Kind uint8

// Kinds of event, with what the words A to D hold.
const (
	ConnState      Kind = iota + 1 // A: new state of the connection
	SubflowState                   // A: new state (subflow.State), B: old, C: the tuple's Hash
	SubflowUp                      // A: address id, B: 1 if backup
	SubflowDown                    // A: pathmgr.Reason
	Fallback                       // A: reason
	Granted                        // A: from, B: to (data sequence numbers)
	Reinjected                     // A: from, B: to
	TimeoutRTO                     // A: back-off
	ProbeTLP                       // A: offset
	Rejoin                         // A: attempt
	WindowZero                     // A: 1 ours, 2 the peer's
	WindowProbe                    //
	DataFinSent                    // A: how often
	HoldStart                      //
	HoldEnd                        // A: nanoseconds held
	AddrAdvertised                 // A: id
	AddrReceived                   // A: id, B: 1 if echo
	AddrWithdrawn                  // A: id, B: 1 if the peer's
	PacketDropped                  // A: reason
	Failed                         // A: reason

	numKinds // every kind above has a line in the table below
)

// The categories of events: those of loss recovery have the names that other
// transports' traces use.
const (
	mptcp    = "mptcp"
	recovery = "recovery"
)

// kinds says how each kind is called and what its words mean.
var kinds = [numKinds]struct {
	category, name string
	words          []string
}{
	ConnState:      {mptcp, "conn_state", []string{"new"}},
	SubflowState:   {mptcp, "subflow_state", []string{"new", "old", "tuple"}},
	SubflowUp:      {mptcp, "subflow_up", []string{"addr_id", "backup"}},
	SubflowDown:    {mptcp, "subflow_down", []string{"reason"}},
	Fallback:       {mptcp, "fallback", []string{"reason"}},
	Granted:        {mptcp, "granted", []string{"from", "to"}},
	Reinjected:     {mptcp, "reinjected", []string{"from", "to"}},
	TimeoutRTO:     {recovery, "timeout_rto", []string{"backoff"}},
	ProbeTLP:       {recovery, "probe_tlp", []string{"offset"}},
	Rejoin:         {mptcp, "rejoin", []string{"attempt"}},
	WindowZero:     {mptcp, "window_zero", []string{"whose"}},
	WindowProbe:    {mptcp, "window_probe", nil},
	DataFinSent:    {mptcp, "data_fin_sent", []string{"times"}},
	HoldStart:      {mptcp, "hold_start", nil},
	HoldEnd:        {mptcp, "hold_end", []string{"held_ns"}},
	AddrAdvertised: {mptcp, "addr_advertised", []string{"addr_id"}},
	AddrReceived:   {mptcp, "addr_received", []string{"addr_id", "echo"}},
	AddrWithdrawn:  {mptcp, "addr_withdrawn", []string{"addr_id", "peer"}},
	PacketDropped:  {mptcp, "packet_dropped", []string{"reason"}},
	Failed:         {mptcp, "failed", []string{"reason"}},
}

func (k Kind) known() bool { return k > 0 && k < numKinds }

// String returns the kind in lower case with underscores, as in traces.
func (k Kind) String() string {
	if !k.known() {
		return "kind_" + strconv.Itoa(int(k))
	}
	return kinds[k].name
}

// Category returns the first part of the kind's full name in traces: "mptcp"
// or "recovery".
func (k Kind) Category() string {
	if !k.known() {
		return mptcp
	}
	return kinds[k].category
}

// Words returns the names of the words that an event of this kind uses, from A
// on. The slice must not be changed.
func (k Kind) Words() []string {
	if !k.known() {
		return unknownWords
	}
	return kinds[k].words
}

var unknownWords = []string{"a", "b", "c", "d"}
