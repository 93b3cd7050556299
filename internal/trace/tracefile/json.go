package tracefile

import (
	"encoding/json"
	"io"
	"strconv"
	"time"

	"github.com/mpnc/mpnc/internal/trace"
)

// recordSeparator begins each record of a JSON text sequence (RFC 7464).
const recordSeparator = 0x1e

// JSONConfig configures a JSON writer. The zero value is good.
type JSONConfig struct {
	// Title says what is traced.
	Title string
	// Server says whose view it is; if false, a client's.
	Server bool
	// Epoch is the time at which the events' mono.Time was 0. If zero, the
	// start of 1970.
	Epoch time.Time
}

// JSON is a tracer that writes events as a JSON text sequence (RFC 7464) in the
// shape of qlog: a header, then a record for each event with its time in
// milliseconds, a name such as "mptcp:granted", the connection as group_id, and
// data. After an error it writes nothing more.
type JSON struct {
	output
	line []byte // the record being made
}

// NewJSON returns a tracer that writes to w, which Close closes if it is an
// io.Closer.
func NewJSON(w io.Writer, cfg JSONConfig) *JSON {
	j := &JSON{output: newOutput(w)}
	header, err := json.Marshal(newHeader(cfg))
	if err != nil {
		panic("BUG: trace header: " + err.Error())
	}
	j.write(header)
	return j
}

// CreateJSON returns a tracer that writes to the file at path, made by Create.
func CreateJSON(path string, cfg JSONConfig) (*JSON, error) {
	f, err := Create(path)
	if err != nil {
		return nil, err
	}
	return NewJSON(f, cfg), nil
}

// Trace writes e.
func (j *JSON) Trace(e trace.Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return
	}
	j.line = appendEvent(j.line[:0], e)
	j.write(j.line)
}

// Close writes what is left and closes the file.
func (j *JSON) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.finish()
}

// write writes one record. bufio keeps an error for Flush.
func (j *JSON) write(record []byte) {
	j.buf.WriteByte(recordSeparator)
	j.buf.Write(record)
	j.buf.WriteByte('\n')
}

func appendEvent(b []byte, e trace.Event) []byte {
	b = appendMillis(append(b, `{"time":`...), int64(e.At))
	b = append(append(b, `,"name":"`...), e.Kind.Category()...)
	b = append(append(b, ':'), e.Kind.String()...)
	b = strconv.AppendUint(append(b, `","group_id":"`...), uint64(e.Conn), 10)
	b = append(b, `","data":{`...)
	comma := false
	if e.Subflow >= 0 {
		b = strconv.AppendInt(append(b, `"subflow":`...), int64(e.Subflow), 10)
		comma = true
	}
	for i, name := range e.Kind.Words() {
		if comma {
			b = append(b, ',')
		}
		b = append(append(append(b, '"'), name...), `":`...)
		b = appendUint(b, e.Word(i))
		comma = true
	}
	return append(b, "}}"...)
}

// appendMillis appends ns nanoseconds as milliseconds, exactly.
func appendMillis(b []byte, ns int64) []byte {
	if ns < 0 {
		b, ns = append(b, '-'), -ns
	}
	b = strconv.AppendInt(b, ns/1e6, 10)
	whole := len(b)
	b = strconv.AppendInt(b, 1e6+ns%1e6, 10)
	b[whole] = '.' // in place of the 1 that kept leading zeros
	return b
}

// appendUint appends v as a number, or as a string where readers that have
// only doubles would round it (as qlog does with 64-bit numbers).
func appendUint(b []byte, v uint64) []byte {
	if v < 1<<53 {
		return strconv.AppendUint(b, v, 10)
	}
	return append(strconv.AppendUint(append(b, '"'), v, 10), '"')
}

// header is the first record: qlog's file and trace description.
type header struct {
	FileSchema    string      `json:"file_schema"`
	Serialization string      `json:"serialization_format"`
	Title         string      `json:"title,omitempty"`
	Trace         traceHeader `json:"trace"`
}

type traceHeader struct {
	VantagePoint vantagePoint `json:"vantage_point"`
	EventSchemas []string     `json:"event_schemas"`
	Common       commonFields `json:"common_fields"`
}

type vantagePoint struct {
	Type string `json:"type"`
}

type commonFields struct {
	TimeFormat string        `json:"time_format"`
	Reference  referenceTime `json:"reference_time"`
}

type referenceTime struct {
	ClockType string `json:"clock_type"`
	Epoch     string `json:"epoch"`
}

func newHeader(cfg JSONConfig) header {
	if cfg.Epoch.IsZero() {
		cfg.Epoch = time.Unix(0, 0)
	}
	side := "client"
	if cfg.Server {
		side = "server"
	}
	return header{
		FileSchema:    "urn:ietf:params:qlog:file:sequential",
		Serialization: "application/qlog+json-seq",
		Title:         cfg.Title,
		Trace: traceHeader{
			VantagePoint: vantagePoint{side},
			EventSchemas: []string{"https://github.com/mpnc/mpnc#mptcp", "https://github.com/mpnc/mpnc#recovery"},
			Common: commonFields{
				TimeFormat: "relative_to_epoch",
				Reference:  referenceTime{"system", cfg.Epoch.UTC().Format(time.RFC3339Nano)},
			},
		},
	}
}
