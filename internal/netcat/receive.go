package netcat

import (
	"errors"
	"io"
)

// errEnough is how receive tells that it has read as often as it may.
var errEnough = errors.New("enough")

// receive carries the connection to the output; nil at the end of the stream.
// What arrived together with an error is written before the error is told.
func (r *relay) receive() error {
	if from := r.receives(); from != nil {
		return r.receiveAll(from)
	}
	p := make([]byte, bufferSize)
	for reads := 0; ; {
		n, err := r.conn.Read(p)
		if n > 0 {
			reads++
			r.moved.Add(1)
			if werr := r.take(p[:n]); werr != nil {
				return werr
			}
			r.moved.Add(1)
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return &Error{Receive, err}
		case reads == r.o.Reads && reads > 0:
			return errEnough
		}
	}
}

// take has what was received go where it belongs.
func (r *relay) take(p []byte) error {
	if r.o.Telnet {
		if answer := r.telnet.refuse(p); len(answer) > 0 {
			r.conn.Write(answer) // the sending direction tells if that fails
		}
	}
	if r.o.SendOnly {
		return nil
	}
	if err := r.tap(false, p); err != nil {
		return err
	}
	n, err := r.out.Write(p)
	r.received.Add(uint64(n))
	if err != nil {
		return &Error{Output, err}
	}
	return nil
}

// Commands of the Telnet protocol (RFC 854).
const (
	telnetWill = 251
	telnetWont = 252
	telnetDo   = 253
	telnetDont = 254
	telnetIAC  = 255
)

// telnet finds proposals in a stream, wherever reads cut it.
type telnet struct{ state byte } // 0, IAC, or the command whose option comes next

// refuse returns the answers to the proposals that end in p: what the peer
// would do it shall not, and what it wants us to do we will not.
func (t *telnet) refuse(p []byte) (answer []byte) {
	for _, b := range p {
		switch t.state {
		case telnetIAC:
			t.state = 0
			if b >= telnetWill && b <= telnetDont {
				t.state = b
			}
		case telnetWill:
			answer = append(answer, telnetIAC, telnetDont, b)
			t.state = 0
		case telnetDo:
			answer = append(answer, telnetIAC, telnetWont, b)
			t.state = 0
		case telnetWont, telnetDont: // agreed already
			t.state = 0
		default:
			if b == telnetIAC {
				t.state = telnetIAC
			}
		}
	}
	return answer
}
