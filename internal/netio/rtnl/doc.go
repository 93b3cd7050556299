// Package rtnl asks the Linux kernel about links, addresses, routes and
// sockets of one network namespace: the one of the thread that opened it,
// whatever thread asks afterwards.
package rtnl
