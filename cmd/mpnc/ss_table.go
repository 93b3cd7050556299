package main

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode"

	"github.com/mpnc/mpnc/internal/control"
)

// ssColumns are the columns that are aligned; the rest of a row follows them.
const ssColumns = 6

var ssHeading = ssRow{"Netid", "State", "Recv-Q", "Send-Q", "Local Address:Port", "Peer Address:Port", "Process"}

// ssRow is a line: cells, and what follows them.
type ssRow [ssColumns + 1]string

// table is the reports as ss(8) would print them.
func (o *ssOptions) table(reports []control.Report) string {
	var rows []ssRow
	if !o.noHeader {
		rows = append(rows, ssHeading)
	}
	for i := range reports {
		r := &reports[i]
		for _, l := range r.Listeners {
			rows = append(rows, listenerRow(r, l))
		}
		for k := range r.Conns {
			rows = append(rows, o.connRows(r, &r.Conns[k])...)
		}
	}
	return align(rows)
}

func align(rows []ssRow) string {
	var widths [ssColumns]int
	for _, r := range rows {
		for i := range widths {
			widths[i] = max(widths[i], len(r[i]))
		}
	}
	var b strings.Builder
	for _, r := range rows {
		line := "     " // of a row that has no columns
		if r[0] != "" {
			line = ""
			for i, w := range widths {
				line += fmt.Sprintf("%-*s ", w, r[i])
			}
		}
		b.WriteString(strings.TrimRight(line+r[ssColumns], " ") + "\n")
	}
	return b.String()
}

func listenerRow(r *control.Report, l control.Listener) ssRow {
	return ssRow{
		netid(l.MPTCP), "LISTEN", fmt.Sprint(l.Waiting), fmt.Sprint(l.Backlog),
		endpoint(l.Local, ""), endpoint(netip.AddrPort{}, ""), processText(r),
	}
}

func netid(multipath bool) string {
	if multipath {
		return "mptcp"
	}
	return "tcp"
}

// ssStates are what ss calls the states that it does not call as the standard
// does.
var ssStates = map[string]string{"ESTABLISHED": "ESTAB", "SYN-RECEIVED": "SYN-RECV", "CLOSED": "UNCONN"}

func stateText(s string) string {
	if short, ok := ssStates[s]; ok {
		return short
	}
	return printable(s)
}

// endpoint is an address and port; * stands for any.
func endpoint(a netip.AddrPort, device string) string {
	if device != "" {
		device = "%" + printable(device)
	}
	host, port := "*", "*"
	switch {
	case a.Addr().Is6() && a.Addr().IsUnspecified(), !a.IsValid():
	case a.Addr().Is6():
		host = "[" + a.Addr().String() + "]"
	default:
		host = a.Addr().String()
	}
	if a.Port() != 0 {
		port = fmt.Sprint(a.Port())
	}
	return host + device + ":" + port
}

func processText(r *control.Report) string {
	return fmt.Sprintf("%s,pid=%d", printable(r.Program), r.PID)
}

// connRows are a connection's row and, if it has paths to tell apart, theirs.
func (o *ssOptions) connRows(r *control.Report, c *control.Conn) []ssRow {
	row := ssRow{
		netid(c.MPTCP), stateText(c.State), fmt.Sprint(c.RecvQ), fmt.Sprint(c.SendQ),
		endpoint(c.Local, ""), endpoint(c.Peer, ""),
		processText(r) + connText(c),
	}
	if !c.MPTCP && len(c.Subflows) == 1 {
		s := &c.Subflows[0]
		row[4] = endpoint(c.Local, s.Interface)
		row[ssColumns] += " " + subflowText(s)
		return append([]ssRow{row}, o.infoRow(s)...)
	}
	rows := []ssRow{row}
	for i := range c.Subflows {
		s := &c.Subflows[i]
		rows = append(rows, ssRow{
			fmt.Sprintf("  #%d", s.ID), stateText(s.State), "", fmt.Sprint(s.SendQ),
			endpoint(s.Local, s.Interface), endpoint(s.Peer, ""), subflowText(s),
		})
		rows = append(rows, o.infoRow(s)...)
	}
	return rows
}

func connText(c *control.Conn) string {
	text := fmt.Sprintf(",conn=%d", c.ID)
	if c.Token != "" {
		text += " token:" + printable(c.Token)
	}
	if c.Held > 0 {
		text += " held:" + c.Held.Round(time.Second/10).String()
	}
	return text
}

// words are told one after the other, separated by spaces.
type words []string

func (w *words) add(ok bool, format string, args ...any) {
	if ok {
		*w = append(*w, fmt.Sprintf(format, args...))
	}
}

// join makes a line of them.
func (w words) join() string { return strings.Join(w, " ") }

// subflowText is what is told of a path in its row.
func subflowText(s *control.Subflow) string {
	var w words
	w.add(s.Congestion != "", "%s", printable(s.Congestion))
	w.add(s.RTT > 0, "rtt:%s/%s", millis(s.RTT), millis(s.RTTVar))
	w.add(s.MSS > 0, "cwnd:%d", s.Cwnd/max(s.MSS, 1))
	w.add(true, "retrans:%d", s.Retrans)
	w.add(s.Lane, "lane")
	w.add(s.Backup, "backup")
	w.add(s.Gone, "gone")
	w.add(s.Stale && !s.Gone, "silent")
	return w.join()
}

// infoRow is the second line of a path, if it is asked for.
func (o *ssOptions) infoRow(s *control.Subflow) []ssRow {
	if !o.info {
		return nil
	}
	var w words
	w.add(true, "id:%d,%d", s.LocalID, s.PeerID)
	w.add(s.MinRTT > 0, "minrtt:%s", millis(s.MinRTT))
	w.add(s.RTO > 0, "rto:%s", millis(s.RTO))
	w.add(s.Backoff > 0, "backoff:%d", s.Backoff)
	w.add(s.MSS > 0, "mss:%d", s.MSS)
	w.add(s.PathMTU > 0, "pmtu:%d", s.PathMTU)
	w.add(s.SndWnd > 0, "snd_wnd:%d", s.SndWnd)
	w.add(s.RcvWnd > 0, "rcv_wnd:%d", s.RcvWnd)
	w.add(true, "bytes_sent:%d", s.BytesSent)
	w.add(s.BytesRetrans > 0, "bytes_retrans:%d", s.BytesRetrans)
	w.add(true, "bytes_acked:%d bytes_received:%d", s.BytesAcked, s.BytesReceived)
	w.add(true, "segs_out:%d segs_in:%d", s.SegsOut, s.SegsIn)
	w.add(s.Trains > 0, "trains:%d", s.Trains)
	w.add(s.ECN, "ecn")
	return []ssRow{{ssColumns: w.join()}}
}

func millis(d time.Duration) string {
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.3f", d.Seconds()*1000), "0"), ".")
}

// printable is somebody else's text without what a terminal would act on: it
// stays on its line.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}
