package pathmgr

// shape is what sets one policy apart from another. The zero value is a full
// mesh.
type shape struct {
	lone    bool // all subflows between one pair of addresses, nothing advertised
	lanes   int  // subflows between the same addresses; if zero, one
	perLink bool // one subflow from each interface
	standby bool // one subflow carries, the others wait
}

// NewBackup returns a manager for one connection that opens paths as FullMesh
// does, and has one of them carry the data: the first of the others steps in
// without a handshake. Which one carries is the client's to choose: the one of
// lowest cost, a path that the rules call a backup last. The listening side
// follows, and adds the wishes of its own rules.
func NewBackup() Manager { return &FullMesh{shape: backup} }

// NewNDiffPorts returns a manager for one connection that has two subflows, both
// between the two addresses that the connection began with, each from a port of
// its own: for networks that spread connections over several links. When the
// address goes, they move to another.
func NewNDiffPorts() Manager { return &FullMesh{shape: ndiffports} }

// NewOnePerInterface returns a manager for one connection that has one subflow
// from each interface, however many addresses it or the peer has.
func NewOnePerInterface() Manager { return &FullMesh{shape: onePerInterface} }

// NewNone returns a manager for one connection that has one subflow. It opens no
// second one and advertises nothing, but when the only subflow is lost it opens
// another, from wherever the host can still reach the peer.
func NewNone() Manager { return &FullMesh{shape: none} }

var (
	backup          = shape{standby: true}
	ndiffports      = shape{lone: true, lanes: 2}
	onePerInterface = shape{perLink: true}
	none            = shape{lone: true}
)

// width is how many subflows a pair of addresses is to have.
func (s *shape) width() int { return max(s.lanes, 1) }
