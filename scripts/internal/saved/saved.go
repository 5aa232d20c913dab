// Package saved writes the traces of a tour as files that Jaeger's search page can
// upload.
package saved

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"plaque/scripts/internal/lab"
	"plaque/scripts/internal/otlp"
)

// Folder takes a tour's traces, a file each. Make it with Open.
type Folder string

// Open makes the folder, and makes sure that it can be written to: otherwise a
// whole tour would run for nothing.
func Open(dir string) (Folder, error) {
	err := errors.New("it has no name")
	if dir != "" {
		err = os.MkdirAll(dir, 0o755)
	}
	f := Folder(dir)
	if err == nil {
		err = f.write(".try", nil)
	}
	if err != nil {
		return "", fmt.Errorf("no traces can be written to %s: %w; name a folder that is yours, or one that is not there yet", dir, err)
	}
	return f, os.Remove(filepath.Join(dir, ".try"))
}

// Save writes the trace of each act of an experiment, and returns how many there
// were. Acts during which nobody called have none.
func (f Folder) Save(step string, r *lab.Result) (n int, err error) {
	for i, a := range r.Acts {
		if a.TraceID == "" || len(a.Spans) == 0 {
			continue
		}
		b, err := json.MarshalIndent(map[string][]trace{"data": {document(a.TraceID, a.Spans)}}, "", " ")
		if err == nil {
			err = f.write(fmt.Sprintf("%s-%s-%d.json", step, slug(r.Experiment.Name), i+1), b)
		}
		if err != nil {
			return n, fmt.Errorf("the traces of %s could not be written: %w", step, err)
		}
		n++
	}
	return n, nil
}

// write writes a file that is there as a whole or, with an error, not at all.
func (f Folder) write(name string, b []byte) (err error) {
	tmp, err := os.CreateTemp(string(f), ".trace-*")
	if err != nil {
		return err
	}
	_, err = tmp.Write(b)
	if err = errors.Join(err, tmp.Chmod(0o644), tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), filepath.Join(string(f), name))
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
	}
	return err
}

var noName = regexp.MustCompile(`[^a-z0-9]+`)

// slug is an experiment's name as part of a file's.
func slug(name string) string {
	return strings.Trim(noName.ReplaceAllString(strings.ToLower(name), "-"), "-")
}

// A trace as Jaeger's API answers it, and as its search page takes it.
type (
	trace struct {
		TraceID   string             `json:"traceID"`
		Spans     []span             `json:"spans"`
		Processes map[string]process `json:"processes"`
	}
	process struct {
		ServiceName string `json:"serviceName"`
		Tags        []tag  `json:"tags"`
	}
	span struct {
		TraceID       string      `json:"traceID"`
		SpanID        string      `json:"spanID"`
		OperationName string      `json:"operationName"`
		References    []reference `json:"references"`
		StartTime     int64       `json:"startTime"` // microseconds since 1970
		Duration      int64       `json:"duration"`  // microseconds
		Tags          []tag       `json:"tags"`
		Logs          []log       `json:"logs"`
		ProcessID     string      `json:"processID"`
	}
	reference struct {
		RefType string `json:"refType"`
		TraceID string `json:"traceID"`
		SpanID  string `json:"spanID"`
	}
	log struct {
		Timestamp int64 `json:"timestamp"`
		Fields    []tag `json:"fields"`
	}
	tag struct {
		Key   string `json:"key"`
		Type  string `json:"type"`
		Value any    `json:"value"`
	}
)

// document is the spans of an act as one trace. Jaeger shows one trace a file, so
// spans of others, such as the accept of a connection, are left out.
func document(id string, spans []otlp.Span) trace {
	t := trace{TraceID: id, Processes: map[string]process{}}
	for _, s := range slices.SortedFunc(slices.Values(spans), otlp.Compare) {
		if s.TraceID != id {
			continue
		}
		p := s.Service + " " + s.Version
		t.Processes[p] = process{s.Service, tags(map[string]string{"service.version": s.Version})}
		start, _ := s.Times()
		is := span{TraceID: s.TraceID, SpanID: s.ID, OperationName: s.Name, References: []reference{}, StartTime: start.UnixMicro(),
			Duration: s.Duration().Microseconds(), Tags: tags(s.Attrs), Logs: []log{}, ProcessID: p}
		if s.Parent != "" {
			is.References = append(is.References, reference{"CHILD_OF", s.TraceID, s.Parent})
		}
		for _, l := range s.Links {
			is.References = append(is.References, reference{"FOLLOWS_FROM", l.TraceID, l.ID})
		}
		for _, e := range s.Events {
			fields := append([]tag{{"event", "string", e.Name}}, tags(e.Attrs)...)
			is.Logs = append(is.Logs, log{e.Time.UnixMicro(), fields})
		}
		is.Tags = append(is.Tags, tag{"span.kind", "string", cmp.Or(s.Kind, "internal")})
		if s.Failed() {
			is.Tags = append(is.Tags, tag{"error", "bool", true}, tag{"otel.status_description", "string", s.Message})
		}
		t.Spans = append(t.Spans, is)
	}
	return t
}

// tags are attributes, by name.
func tags(attrs map[string]string) []tag {
	all := []tag{}
	for _, key := range slices.Sorted(maps.Keys(attrs)) {
		all = append(all, tag{key, "string", attrs[key]})
	}
	return all
}
