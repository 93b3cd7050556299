//go:build unix

package main

import (
	"os/exec"
	"syscall"
)

// ownGroup puts a program and what it starts into a process group of their
// own.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// signalGroup signals them all.
func signalGroup(cmd *exec.Cmd, s syscall.Signal) { syscall.Kill(-cmd.Process.Pid, s) }
