//go:build !race

package mptcp

import "github.com/mpnc/mpnc/internal/wire"

func poison(*wire.Batch) {}
