package jaeger

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

const (
	// apiPatience and apiLimit bound one question to the API. A trace of 10,000
	// spans takes some 10 MB.
	apiPatience = 10 * time.Second
	apiLimit    = 64 << 20
)

// ErrNotFound is what Server.Trace returns as long as Jaeger does not have the
// trace.
var ErrNotFound = errors.New("no such trace in Jaeger (yet)")

// Trace is one trace as Jaeger has it, in the order in which Jaeger sends it.
type Trace struct {
	ID       string
	Spans    []Span
	Warnings []string
}

// Span is one span. What OpenTelemetry calls attributes, resource, events and
// links, Jaeger calls tags, process, logs and references.
type Span struct {
	TraceID, ID string
	Name        string
	Service     string
	Process     map[string]any // the resource's attributes but for service.name
	Tags        map[string]any // string, bool, int64 or float64
	References  []Reference
	Start       time.Time
	Duration    time.Duration
	Logs        []Log
	Warnings    []string
}

// Reference points from a span to its parent or to a span that it is linked to.
type Reference struct {
	Type            string // ChildOf or FollowsFrom
	TraceID, SpanID string
}

// The types of a Reference.
const (
	ChildOf     = "CHILD_OF"
	FollowsFrom = "FOLLOWS_FROM"
)

// Parent is the id of the parent span, and "" for a root.
func (s Span) Parent() string {
	for _, r := range s.References {
		if r.Type == ChildOf && r.TraceID == s.TraceID {
			return r.SpanID
		}
	}
	return ""
}

// Links are the references to spans that s is linked to.
func (s Span) Links() []Reference {
	var links []Reference
	for _, r := range s.References {
		if r.Type == FollowsFrom {
			links = append(links, r)
		}
	}
	return links
}

// Failed tells whether the span's status is an error.
func (s Span) Failed() bool { return s.Tags["error"] == true }

// Log is an event of a span; its name is the field "event".
type Log struct {
	Time   time.Time
	Fields map[string]any
}

// Query says which traces are looked for: those that have a span for which
// everything here holds. Service is needed; the rest may be left out.
type Query struct {
	Service, Operation string
	// Tags are looked for in a span's own tags, its process and its logs. Jaeger
	// finds nothing by error or span.kind.
	Tags map[string]string
	// Start and End bound the span's start. Zero means the last two days.
	Start, End time.Time
	Limit      int // 0 means 20; Jaeger refuses more than its max_traces
}

func (q Query) values() url.Values {
	v := url.Values{"service": {q.Service}, "limit": {"20"}}
	if q.Operation != "" {
		v.Set("operation", q.Operation)
	}
	if len(q.Tags) > 0 {
		tags, _ := json.Marshal(q.Tags) // a map of strings has no error
		v.Set("tags", string(tags))
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	// The pages need a range: without lookback they show nothing from 2.18 on,
	// and the API does not mind it.
	v.Set("lookback", "2d")
	if !q.Start.IsZero() {
		v.Set("start", strconv.FormatInt(q.Start.UnixMicro(), 10))
		v.Set("lookback", "custom")
	}
	if !q.End.IsZero() {
		v.Set("end", strconv.FormatInt(q.End.UnixMicro(), 10))
		v.Set("lookback", "custom")
	}
	return v
}

// SearchURL is the page that shows what q finds.
func (s *Server) SearchURL(q Query) string { return s.UI + "/search?" + q.values().Encode() }

// TraceURL is the page of one trace.
func (s *Server) TraceURL(id string) string { return s.UI + "/trace/" + id }

// CompareURL is the page that compares two traces.
func (s *Server) CompareURL(a, b string) string { return s.UI + "/trace/" + a + "..." + b }

// Services are the services that Jaeger has spans of.
func (s *Server) Services(ctx context.Context) ([]string, error) {
	var names []string
	err := s.get(ctx, "/services", &names)
	return names, err
}

// Trace is the trace with that id, which is 32 hex digits; ErrNotFound as long as
// Jaeger does not have it. Spans may still arrive after that.
func (s *Server) Trace(ctx context.Context, id string) (*Trace, error) {
	traces, err := s.traces(ctx, "/traces/"+url.PathEscape(id))
	if err != nil {
		return nil, err
	}
	if len(traces) == 0 {
		return nil, ErrNotFound
	}
	return &traces[0], nil
}

// Traces are the newest traces that q finds.
func (s *Server) Traces(ctx context.Context, q Query) ([]Trace, error) {
	return s.traces(ctx, "/traces?"+q.values().Encode())
}

// client has a transport of its own: the machine's proxies are not for 127.0.0.1,
// and no connection outlives its question.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// get asks the API for path and decodes the answer's data into out.
func (s *Server) get(ctx context.Context, path string, out any) error {
	ctx, cancel := context.WithTimeout(ctx, apiPatience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.API+path, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	limit := cmp.Or(s.limit, apiLimit)
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", req.URL, err)
	case int64(len(body)) > limit:
		return fmt.Errorf("%s answers more than %d MB: ask for less with a smaller limit", req.URL, limit>>20)
	}
	var envelope struct {
		Data   json.RawMessage
		Errors []struct {
			Code int
			Msg  string
		}
	}
	// The status and the Content-Type tell little: Jaeger answers a path that it
	// does not know with a page and 200, and calls its errors plain text.
	if err := json.Unmarshal(body, &envelope); err != nil {
		return fmt.Errorf("%s answers HTTP %d without Jaeger's JSON: %w", req.URL, resp.StatusCode, err)
	}
	if resp.StatusCode == http.StatusNotFound {
		return ErrNotFound
	}
	if len(envelope.Errors) > 0 || resp.StatusCode != http.StatusOK {
		msg := "no reason"
		if len(envelope.Errors) > 0 {
			msg = envelope.Errors[0].Msg
		}
		return fmt.Errorf("%s answers HTTP %d: %s", req.URL, resp.StatusCode, msg)
	}
	decoder := json.NewDecoder(bytes.NewReader(envelope.Data))
	decoder.UseNumber() // an int64 does not fit into a float64
	if err := decoder.Decode(out); err != nil {
		return fmt.Errorf("%s: %w", req.URL, err)
	}
	return nil
}

// What follows is Jaeger's JSON.
type (
	wireTrace struct {
		TraceID   string
		Spans     []wireSpan
		Processes map[string]struct {
			ServiceName string
			Tags        []wireTag
		}
		Warnings []string
	}
	wireSpan struct {
		TraceID, SpanID, OperationName, ProcessID string

		References []struct{ RefType, TraceID, SpanID string }
		StartTime  int64 // microseconds
		Duration   int64 // microseconds
		Tags       []wireTag
		Logs       []struct {
			Timestamp int64 // microseconds
			Fields    []wireTag
		}
		Warnings []string
	}
	wireTag struct {
		Key, Type string
		Value     any
	}
)

func (s *Server) traces(ctx context.Context, path string) ([]Trace, error) {
	var wire []wireTrace
	if err := s.get(ctx, path, &wire); err != nil {
		return nil, err
	}
	var traces []Trace
	for _, w := range wire {
		t := Trace{ID: w.TraceID, Warnings: w.Warnings}
		for _, ws := range w.Spans {
			process := w.Processes[ws.ProcessID]
			span := Span{
				TraceID:  ws.TraceID,
				ID:       ws.SpanID,
				Name:     ws.OperationName,
				Service:  process.ServiceName,
				Process:  tags(process.Tags),
				Tags:     tags(ws.Tags),
				Start:    time.UnixMicro(ws.StartTime),
				Duration: time.Duration(ws.Duration) * time.Microsecond,
				Warnings: ws.Warnings,
			}
			for _, r := range ws.References {
				span.References = append(span.References, Reference{Type: r.RefType, TraceID: r.TraceID, SpanID: r.SpanID})
			}
			for _, l := range ws.Logs {
				span.Logs = append(span.Logs, Log{Time: time.UnixMicro(l.Timestamp), Fields: tags(l.Fields)})
			}
			t.Spans = append(t.Spans, span)
		}
		traces = append(traces, t)
	}
	return traces, nil
}

// tags turns Jaeger's list into a map. Of a key that comes twice the last counts.
func tags(list []wireTag) map[string]any {
	m := make(map[string]any, len(list))
	for _, t := range list {
		m[t.Key] = t.Value
		number, ok := t.Value.(json.Number)
		if !ok {
			continue
		}
		if n, err := number.Int64(); err == nil && t.Type == "int64" {
			m[t.Key] = n
		} else if f, err := number.Float64(); err == nil {
			m[t.Key] = f
		}
	}
	return m
}
