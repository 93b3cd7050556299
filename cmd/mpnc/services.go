package main

import (
	"bufio"
	"os"
	"strings"
	"sync"
)

// servicesFile has the names of ports.
const servicesFile = "/etc/services"

// services maps "80/tcp" to "http".
var services = sync.OnceValue(func() map[string]string {
	names := map[string]string{}
	f, err := os.Open(servicesFile)
	if err != nil {
		return names
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line, _, _ := strings.Cut(lines.Text(), "#")
		if w := strings.Fields(line); len(w) > 1 && names[w[1]] == "" {
			names[w[1]] = w[0]
		}
	}
	return names
})

// serviceName is the name of a port, or a star if it has none.
func serviceName(port, protocol string) string {
	if name := services()[port+"/"+protocol]; name != "" {
		return name
	}
	return "*"
}
