//go:build !unix

package main

import (
	"os/exec"
	"syscall"
)

func ownGroup(*exec.Cmd) {}

// signalGroup ends a program; signals are not known here.
func signalGroup(cmd *exec.Cmd, _ syscall.Signal) { cmd.Process.Kill() }
