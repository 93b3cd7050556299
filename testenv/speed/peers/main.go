// Peers are the stacks that testenv/speed measures mpnc beside and that are no
// dependencies of it: gVisor's netstack and quic-go. The command builds this
// module and runs it with a job; by itself it is of no use.
package main

import (
	"fmt"
	"os"

	"github.com/mpnc/mpnc/testenv/speed/end"
)

func main() {
	err := fmt.Errorf("this is a part of testenv/speed")
	if len(os.Args) == 2 {
		err = end.Main(os.Args[1], end.Contestants{"gvisor": netstack, "quic-go": quicStreams})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}
