package main

import (
	"fmt"
	"net"

	"github.com/mpnc/mpnc/internal/control"
	"github.com/mpnc/mpnc/mptcp"
	"github.com/mpnc/mpnc/scheduler"
)

func (t *own) listeners() (all []control.Listener) {
	for _, l := range t.stack.Listeners() {
		all = append(all, control.Listener{Local: l.Addr, MPTCP: !t.tcpOnly, Waiting: l.Waiting, Backlog: l.Backlog})
	}
	return all
}

func (t *own) connections() (all []control.Conn) {
	for _, c := range t.stack.Conns() {
		all = append(all, t.describe(c))
	}
	return all
}

// describe puts what our stack knows of a connection into the words of ss.
func (t *own) describe(conn *mptcp.Conn) control.Conn {
	i := conn.Info()
	c := control.Conn{
		ID: i.ID, MPTCP: i.Multipath, Fallback: fallbackText(i.Fallback),
		State: i.State.String(), Client: i.Client,
		RecvQ: i.RecvQueued, SendQ: i.SendQueued,
		Local: i.Local, Peer: i.Remote,
		Subflows: []control.Subflow{},
	}
	if i.Token != 0 {
		c.Token = fmt.Sprintf("%08x", i.Token)
	}
	if i.HoldSince != scheduler.Never {
		c.Held = i.Now.Sub(i.HoldSince)
	}
	if l := conn.Limits(); i.Multipath {
		c.Limits = &control.Limits{Subflows: l.Subflows, Accept: l.Peers}
	}
	for k := range i.Subflows {
		if !i.Subflows[k].Ended {
			c.Subflows = append(c.Subflows, describeSubflow(&i.Subflows[k], t.congestion))
		}
	}
	return c
}

func describeSubflow(f *mptcp.SubflowStats, congestion string) control.Subflow {
	s := control.Subflow{
		ID: int(f.ID), State: f.State.String(), Local: f.Tuple.Local, Peer: f.Tuple.Remote,
		LocalID: int(f.LocalID), PeerID: int(f.RemoteID),
		Backup: f.Backup, Gone: f.Gone, Stale: f.Backoff > 0,
		SendQ: f.InFlight, Congestion: congestion,
		RTT: f.SRTT, RTTVar: f.RTTVar, MinRTT: f.MinRTT, RTO: f.RTO, Backoff: f.Backoff,
		MSS: f.MSS, PathMTU: f.PathMTU, Cwnd: f.Cwnd, SndWnd: f.SndWnd, RcvWnd: f.RcvWnd, ECN: f.ECN, Lane: f.Lane,
		BytesSent: f.BytesOut, BytesRetrans: f.BytesRetrans, BytesAcked: f.BytesAcked, BytesReceived: f.BytesIn,
		SegsOut: f.SegsOut, SegsIn: f.SegsIn, Retrans: f.Retransmits, Trains: f.Trains,
	}
	if i, err := net.InterfaceByIndex(f.Link); err == nil {
		s.Interface = i.Name
	}
	return s
}
