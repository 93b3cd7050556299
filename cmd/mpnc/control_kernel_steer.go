package main

import (
	"context"
	"errors"

	"github.com/mpnc/mpnc/internal/control"
)

// steer has nothing to offer: the kernel has path managers of its own.
func (k *kernel) steer(context.Context, control.Steer) error {
	return errors.New("its connections are the kernel's, which manages their paths itself (see ip-mptcp(8))")
}

// watch has nothing to tell: ip mptcp monitor does.
func (k *kernel) watch(func(control.Event)) {}
