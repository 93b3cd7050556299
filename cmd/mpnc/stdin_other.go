//go:build !linux

package main

import "io"

func openInput(in io.Reader) io.Reader { return in }

func enlarge(any) {}
