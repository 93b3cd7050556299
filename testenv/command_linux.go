package testenv

import (
	"bytes"
	"os/exec"
)

// Command is a program to run in a Host's namespace. Start, Run, Output and
// CombinedOutput are those of exec.Cmd, in the namespace; everything else of
// exec.Cmd may be used as usual. The lab's Close kills it.
type Command struct {
	*exec.Cmd
	host *Host
}

// Command returns a program to be run in the host's network namespace. Its
// /sys remains the caller's, so /sys/class/net shows other interfaces.
func (h *Host) Command(name string, args ...string) *Command {
	return &Command{exec.Command(name, args...), h}
}

// Start starts the program.
func (c *Command) Start() error {
	h := c.host
	h.mu.Lock()
	defer h.mu.Unlock()
	// The child of a thread is born into the thread's namespace.
	err := h.Do(c.Cmd.Start)
	if err == nil {
		h.running[c] = struct{}{}
	}
	return err
}

// Wait waits for the program to end.
func (c *Command) Wait() error {
	err := c.Cmd.Wait()
	c.host.mu.Lock()
	delete(c.host.running, c)
	c.host.mu.Unlock()
	return err
}

// Run starts the program and waits for it.
func (c *Command) Run() error {
	if err := c.Start(); err != nil {
		return err
	}
	return c.Wait()
}

// Output runs the program and returns what it wrote to its standard output.
func (c *Command) Output() ([]byte, error) {
	var out bytes.Buffer
	c.Stdout = &out
	err := c.Run()
	return out.Bytes(), err
}

// CombinedOutput runs the program and returns all that it wrote.
func (c *Command) CombinedOutput() ([]byte, error) {
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	return out.Bytes(), err
}

// killAll kills the programs that still run. Waiting for them is left to who
// started them.
func (h *Host) killAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.running {
		_ = c.Process.Kill() // it may have ended just now
	}
}
