package wire

import "time"

// minutesBit is the granularity bit of a user timeout option (RFC 5482,
// Section 3.3): with it the other 15 bits are minutes, else seconds.
const minutesBit = 1 << 15

// FormatUserTimeout returns the field of a user timeout option for d: in seconds
// if that can be said, else in minutes, rounded up, and never zero, which is
// reserved (RFC 5482, Sections 3.3 and 3.4).
func FormatUserTimeout(d time.Duration) uint16 {
	const most = 1<<15 - 1
	if s := (d + time.Second - 1) / time.Second; s <= most {
		return uint16(max(s, 1))
	}
	return minutesBit | uint16(min((d+time.Minute-1)/time.Minute, most))
}

// ParseUserTimeout returns what the field of a user timeout option says; 0 for
// the reserved values, which are ignored.
func ParseUserTimeout(v uint16) time.Duration {
	unit := time.Second
	if v&minutesBit != 0 { //spec:T74 off: if false {
		unit = time.Minute
	}
	return time.Duration(v&^minutesBit) * unit
}
