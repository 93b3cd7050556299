package testenv

import "encoding/binary"

// DataLoss is loss that does not depend on the sender: whether a packet is lost
// follows from a seed and its number among the TCP packets with payload, those
// sent again included. Two senders whose acknowledgments, pauses or timers differ
// meet the same loss.
type DataLoss struct {
	Probability float64
	Seed        uint64
}

// loses says whether the n-th data packet is lost.
func (d *DataLoss) loses(n uint64) bool {
	// SplitMix64: each number gives an independent, uniform word.
	x := d.Seed + (n+1)*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	x ^= x >> 31
	return float64(x>>11)/(1<<53) < d.Probability
}

// loseData numbers a packet if it has data, and says whether it is lost for that.
func (l *Link) loseData(p []byte) bool {
	if l.cfg.DataLoss == nil || !hasData(p) {
		return false
	}
	n := l.data
	l.data++
	return l.cfg.DataLoss.loses(n)
}

// hasData reports whether an IP packet is a TCP segment with payload.
func hasData(p []byte) bool {
	const tcp, least = 6, 20
	if len(p) < 20 {
		return false
	}
	var header, total int
	var proto byte
	switch p[0] >> 4 {
	case 4:
		header, total, proto = int(p[0]&15)*4, int(binary.BigEndian.Uint16(p[2:])), p[9]
	case 6:
		if len(p) < 40 {
			return false
		}
		header, total, proto = 40, 40+int(binary.BigEndian.Uint16(p[4:])), p[6]
	}
	if proto != tcp || len(p) < header+least {
		return false
	}
	return total > header+int(p[header+12]>>4)*4
}
