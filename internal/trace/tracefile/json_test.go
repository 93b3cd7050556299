package tracefile

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mpnc/mpnc/internal/mono"
	"github.com/mpnc/mpnc/internal/trace"
)

// readRecords splits a JSON text sequence (RFC 7464): each record begins with
// the separator and ends with a line feed.
func readRecords(t *testing.T, file string) []string {
	t.Helper()
	var records []string
	for len(file) > 0 {
		body, ok := strings.CutPrefix(file, "\x1e")
		record, rest, ended := strings.Cut(body, "\n")
		if !ok || !ended || !json.Valid([]byte(record)) {
			t.Fatalf("record %d is broken: %q", len(records), record)
		}
		records, file = append(records, record), rest
	}
	return records
}

func TestJSONRecords(t *testing.T) {
	var file bytes.Buffer
	j := NewJSON(&file, JSONConfig{Title: `a "title"`, Server: true, Epoch: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)})
	want := []string{
		`{"file_schema":"urn:ietf:params:qlog:file:sequential","serialization_format":"application/qlog+json-seq",` +
			`"title":"a \"title\"","trace":{"vantage_point":{"type":"server"},` +
			`"event_schemas":["https://github.com/mpnc/mpnc#mptcp","https://github.com/mpnc/mpnc#recovery"],` +
			`"common_fields":{"time_format":"relative_to_epoch","reference_time":{"clock_type":"system","epoch":"2026-01-02T03:04:05Z"}}}}`,
	}
	for _, test := range []struct {
		event trace.Event
		want  string
	}{
		{trace.Event{At: 1_500_000, Conn: 3, Subflow: 2, Kind: trace.Granted, A: 10, B: 1<<53 - 1},
			`{"time":1.500000,"name":"mptcp:granted","group_id":"3","data":{"subflow":2,"from":10,"to":9007199254740991}}`},
		{trace.Event{At: 7, Subflow: -1, Kind: trace.Reinjected, A: 1 << 53, B: 1<<64 - 1},
			`{"time":0.000007,"name":"mptcp:reinjected","group_id":"0","data":{"from":"9007199254740992","to":"18446744073709551615"}}`},
		{trace.Event{At: 3_600_000_000_001, Kind: trace.TimeoutRTO, A: 4},
			`{"time":3600000.000001,"name":"recovery:timeout_rto","group_id":"0","data":{"subflow":0,"backoff":4}}`},
		{trace.Event{At: -1, Subflow: -1, Kind: trace.HoldStart},
			`{"time":-0.000001,"name":"mptcp:hold_start","group_id":"0","data":{}}`},
	} {
		j.Trace(test.event)
		want = append(want, test.want)
	}
	if err := j.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	got := readRecords(t, file.String())
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Fatalf("record %d differs\ngot  %q\nwant %q", i, got, want)
		}
	}
}

func TestJSONZeroConfig(t *testing.T) {
	var file bytes.Buffer
	NewJSON(&file, JSONConfig{}).Close()
	var h header
	if err := json.Unmarshal([]byte(readRecords(t, file.String())[0]), &h); err != nil {
		t.Fatal(err)
	}
	if h.Title != "" || h.Trace.VantagePoint.Type != "client" || h.Trace.Common.Reference.Epoch != "1970-01-01T00:00:00Z" {
		t.Errorf("header %+v", h)
	}
}

func TestJSONConcurrently(t *testing.T) {
	var file bytes.Buffer
	j := NewJSON(&file, JSONConfig{})
	var writers sync.WaitGroup
	for conn := range 4 {
		writers.Go(func() {
			for i := range 200 {
				j.Trace(trace.Event{At: mono.Time(i), Conn: uint32(conn), Kind: trace.Granted})
			}
		})
	}
	writers.Wait()
	j.Close()
	if got := len(readRecords(t, file.String())); got != 801 {
		t.Errorf("%d records, want 801", got)
	}
}

func TestJSONDoesNotAllocatePerEvent(t *testing.T) {
	j := NewJSON(&fullDisk{}, JSONConfig{})
	e := trace.Event{Kind: trace.Granted, A: 1 << 60}
	if n := testing.AllocsPerRun(100, func() { j.Trace(e) }); n != 0 {
		t.Errorf("%v allocations an event", n)
	}
}
