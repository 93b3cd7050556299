//go:build !linux

package main

import (
	"context"

	"github.com/mpnc/mpnc/testenv"
)

func (c Cell) pair(context.Context, options, *Pair) error { return testenv.ErrNoLab }

func latencyPair(context.Context, options, *Pair) error { return testenv.ErrNoLab }

func (Cell) sharePair(context.Context, options, *Pair) error { return testenv.ErrNoLab }
