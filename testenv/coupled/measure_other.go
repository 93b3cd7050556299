//go:build !linux

package main

import (
	"context"

	"github.com/mpnc/mpnc/testenv"
)

func (s scene) measure(context.Context, string, int, options) (Result, error) {
	return Result{}, testenv.ErrNoLab
}
