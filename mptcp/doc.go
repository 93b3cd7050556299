// Package mptcp is Multipath TCP (RFC 8684) in user space: connections that
// use several addresses and links at once and survive the loss of any of
// them. A Stack dials and listens on devices that carry packets; Conn is a
// net.Conn and Listener a net.Listener. The peer is any host that speaks MPTCP
// (Linux since 5.6), or plain TCP, to which a connection falls back.
//
// The protocol itself is in package engine, without I/O. Here are the API and
// the driver: the only goroutines, locks and clock readings of the stack.
//
// # Goroutines
//
// One reader for each device, one for the alarm, one worker for what may take
// time (routes, ports, addresses), and now and then a helper that drains a
// busy link. No connection has a goroutine.
//
// # Locks
//
// In the order in which they may be taken together:
//
//	Conn.mu     one connection of the engine
//	Stack.mu    the endpoint: connections by tuple, listeners, guards
//	port.mu, timers.mu, worker.mu   leaves
//
// No lock is held across a system call or a call of foreign code: such calls
// are collected as chores while connections are polled.
package mptcp
