//go:build !linux

package control

import (
	"context"
	"net"
)

func listen() (listener, error) { return nil, ErrUnavailable }

func processes() ([]Process, error) { return nil, ErrUnavailable }

func candidates() ([]Process, error) { return nil, ErrUnavailable }

func (p Process) listens() bool { return false }

func (p Process) dial(context.Context) (net.Conn, error) { return nil, ErrUnavailable }

func ended(error) bool { return false }
