//go:build !linux

package main

import (
	"context"

	"github.com/mpnc/mpnc/testenv"
)

func (r *Results) measure(context.Context, options) error { return testenv.ErrNoLab }
