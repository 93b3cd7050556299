//go:build !linux

package main

import "github.com/mpnc/mpnc/testenv/speed/end"

var contestants end.Contestants
