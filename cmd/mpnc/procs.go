package main

import (
	"os"
	"runtime"
)

// halfTheProcessors has this program run on half of the processors, and leave the
// others to the kernel and to the programs that it stands between. What it does is
// done for one piece of data after the other: who does the next step has it in the
// caches if he is the same. GOMAXPROCS, if set, says otherwise.
func halfTheProcessors() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(max(1, runtime.NumCPU()/2))
	}
}
