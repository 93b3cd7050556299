package main

import (
	"slices"
	"strings"
	"testing"
)

var testGrammar = &grammar{
	letters: map[string]string{
		"l": "listen", "v": "verbose", "n": "nodns", "k": "keep-open", "4": "ipv4",
		"p": "source-port", "w": "wait", "s": "source", "q": "quit", "X": "proxy-type",
	},
	long: map[string]bool{
		"listen": false, "verbose": false, "nodns": false, "keep-open": false, "ipv4": false,
		"source-port": true, "wait": true, "source": true, "quit": true, "proxy-type": true,
		"shutdown": false, "hold": true, "help": false, "json": false, "transport": true,
		"ladder": true,
	},
	alone: map[string]string{"ladder": "-"},
	hint:  map[string]string{"e": "say --exec"},
}

func TestNormalize(t *testing.T) {
	tests := []struct{ args, want string }{
		{"", "--"},
		{"host 80", "-- host 80"},
		{"-lvnp 1234", "--listen --verbose --nodns --source-port=1234 --"},
		{"-lp1234", "--listen --source-port=1234 --"},
		{"-w1 host 80", "--wait=1 -- host 80"},
		{"-w 1 host 80", "--wait=1 -- host 80"},
		{"-4vw1 h 1", "--ipv4 --verbose --wait=1 -- h 1"},
		{"host 80 -v", "--verbose -- host 80"},
		{"host -w 3 80", "--wait=3 -- host 80"},
		{"-vv h 1", "--verbose --verbose -- h 1"},
		{"-w -1 h 1", "--wait=-1 -- h 1"},
		{"-s ::1 h 1", "--source=::1 -- h 1"},
		{"-- demo 80", "-- demo 80"},
		{"-q-1 h 1", "--quit=-1 -- h 1"},
		{"-Xconnect h 1", "--proxy-type=connect -- h 1"},
		{"-v -- -l 80", "--verbose -- -l 80"},
		{"h 1 -- -v", "-- h 1 -v"},
		{"- 80", "-- - 80"},
		{"--hold=5m h 1", "--hold=5m -- h 1"},
		{"--hold 5m h 1", "--hold=5m -- h 1"},
		{"h 1 --json", "--json -- h 1"},
		{"--tr tcp h 1", "--transport=tcp -- h 1"},
		{"--ladder h 1", "--ladder=- -- h 1"},
		{"--ladder=file h 1", "--ladder=file -- h 1"},
		{"-p=80", "--source-port==80 --"}, // as getopt: the value is "=80"
	}
	for _, tt := range tests {
		got, err := testGrammar.normalize(strings.Fields(tt.args))
		if err != nil || !slices.Equal(got, strings.Fields(tt.want)) {
			t.Errorf("%q: got %q, %v, want %q", tt.args, got, err, tt.want)
		}
	}
}

func TestNormalizeErrors(t *testing.T) {
	tests := []struct{ args, want string }{
		{"-Q h 1", "invalid option -- 'Q'"},
		{"-lQ", "invalid option -- 'Q'"},
		{"-é", "invalid option -- 'é'"},
		{"-e h 1", "say --exec"},
		{"-w", "option requires an argument -- 'w'"},
		{"h 1 -lp", "option requires an argument -- 'p'"},
		{"--hold", "option requires an argument -- 'hold'"},
		{"--nosuch", "unrecognized option '--nosuch'"},
		{"--h 1", "option '--h' is ambiguous"},
		{"--json=1", "option '--json' doesn't allow an argument"},
		{"--s", "option '--s' is ambiguous"},
		{"--x", "unrecognized option '--x'"},
		{"--=x", "unrecognized option '--'"},
	}
	for _, tt := range tests {
		got, err := testGrammar.normalize(strings.Fields(tt.args))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: got %q, %v, want an error with %q", tt.args, got, err, tt.want)
		}
	}
}
