//go:build !linux

package main

import (
	"context"

	"github.com/mpnc/mpnc/testenv"
)

func (c *Case) measure(context.Context, bool, uint64) (Sample, error) {
	return Sample{}, testenv.ErrNoLab
}
