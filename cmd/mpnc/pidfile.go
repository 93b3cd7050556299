package main

import (
	"fmt"
	"os"
)

// writePID writes the process's number to a file, for others to signal it by.
// The result removes the file.
func writePID(name string) (remove func(), err error) {
	if name == "" {
		return func() {}, nil
	}
	if err := os.WriteFile(name, fmt.Appendf(nil, "%d\n", os.Getpid()), 0o644); err != nil {
		return nil, &failure{code: exitOutput, what: "cannot write --pidfile: " + err.Error(), cause: err}
	}
	return func() { os.Remove(name) }, nil
}
