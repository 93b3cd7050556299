package main

import (
	"path/filepath"
	"slices"
	"strings"
)

// dialect is whose habits the command keeps: letters, messages, statuses.
type dialect uint8

const (
	mpnc        dialect = iota // OpenBSD's letters and honest statuses
	openbsd                    // netcat-openbsd, as Debian has it
	ncat                       // nmap's
	traditional                // Hobbit's
	dialects
)

var dialectNames = []string{"mpnc", "openbsd", "ncat", "traditional"}

func (d dialect) String() string { return dialectNames[d] }

// calledNames are the names whose bearers are another netcat.
var calledNames = map[string]dialect{
	"nc": openbsd, "netcat": openbsd, "nc.openbsd": openbsd,
	"ncat":           ncat,
	"nc.traditional": traditional,
}

// dialectOf chooses by --compat or, without, by the name that the command was
// called with. Letters differ between dialects, so this comes before all else
// is parsed.
func dialectOf(called string, args []string) (dialect, error) {
	name := strings.TrimSuffix(filepath.Base(called), ".exe")
	d := calledNames[name]
	for i, arg := range args {
		if arg == "--" {
			break
		}
		value, attached := strings.CutPrefix(arg, "--compat=")
		if arg == "--compat" && i+1 < len(args) {
			value, attached = args[i+1], true
		}
		if !attached {
			continue
		}
		n := slices.Index(dialectNames, value)
		if n < 0 {
			return d, usage("unknown netcat %q to be: %s are known", value, strings.Join(dialectNames, ", "))
		}
		d = dialect(n)
	}
	return d, nil
}

// hints say what to use instead of letters that other netcats have and this
// dialect does not: many of them mean different things in each, so they are
// never guessed.
func (d dialect) hints() map[string]string {
	if d != mpnc {
		return nil
	}
	return map[string]string{
		"c": "in other netcats it is TLS or a shell command: say --ssl or --sh-exec",
		"e": "in other netcats it runs a program or names a TLS peer: say --exec or --ssl-servername",
		"S": "TCP MD5 signatures are not for user space; --ssl authenticates the peer",
		"Z": "DCCP has left Linux; -u is UDP",
		"g": "source routes were removed from the internet (RFC 5095)",
		"G": "source routes were removed from the internet (RFC 5095)",
		"V": "use --version",
		"o": "in other netcats it is a dump, in hexadecimal or not: say --output or --hex-dump",
	}
}
