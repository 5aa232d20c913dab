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
	ID        string `json:"traceID"`
	Spans     []Span
	Processes map[string]struct {
		ServiceName string
		Tags        Tags
	}
	Warnings []string
}

// Span is one span. What OpenTelemetry calls attributes, resource, events and
// links, Jaeger calls tags, process, logs and references.
type Span struct {
	TraceID    string
	ID         string `json:"spanID"`
	Name       string `json:"operationName"`
	ProcessID  string
	Service    string      `json:"-"`
	Process    Tags        `json:"-"` // the resource's attributes, without service.name
	References []Reference // to its parent and to spans that it is linked to
	StartTime  int64       // microseconds
	Duration   int64       // microseconds
	Tags       Tags
	Logs       []Log
	Warnings   []string
}

// Reference is of type CHILD_OF or FOLLOWS_FROM.
type Reference struct {
	Type    string `json:"refType"`
	TraceID string
	SpanID  string
}

// Log is an event of a span; its name is the field "event".
type Log struct {
	Timestamp int64 // microseconds
	Fields    Tags
}

// Tags are strings, bools and json.Numbers. Of a key that comes twice the last
// counts.
type Tags map[string]any

// UnmarshalJSON reads Jaeger's list of keys and values.
func (t *Tags) UnmarshalJSON(b []byte) error {
	var list []struct {
		Key   string
		Value any
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber() // an int64 does not fit into a float64
	err := d.Decode(&list)
	*t = make(Tags, len(list))
	for _, one := range list {
		(*t)[one.Key] = one.Value
	}
	return err
}

// TraceURL is the page of one trace.
func (s *Server) TraceURL(id string) string { return s.UI + "/trace/" + id }

// CompareURL is the page that compares two traces.
func (s *Server) CompareURL(a, b string) string { return s.UI + "/trace/" + a + "..." + b }

// Trace is the trace with that id, which is 32 hex digits; ErrNotFound as long as
// Jaeger does not have it. Spans may still arrive after that.
func (s *Server) Trace(ctx context.Context, id string) (*Trace, error) {
	var traces []Trace
	if err := s.Ask(ctx, "/traces/"+url.PathEscape(id), &traces); err != nil {
		return nil, err
	}
	if len(traces) == 0 {
		return nil, ErrNotFound
	}
	t := &traces[0]
	for i := range t.Spans {
		p := t.Processes[t.Spans[i].ProcessID]
		t.Spans[i].Service, t.Spans[i].Process = p.ServiceName, p.Tags
	}
	return t, nil
}

// client has a separate transport: the machine's proxies are not for 127.0.0.1,
// and no connection outlives its question.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// Ask asks the API for path and decodes the answer's data into out.
func (s *Server) Ask(ctx context.Context, path string, out any) error {
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
		Errors []struct{ Msg string }
	}
	// The status and the Content-Type tell little: Jaeger answers a path that it
	// does not know with a page and 200, and calls its errors plain text.
	if err := json.Unmarshal(body, &envelope); err != nil {
		return fmt.Errorf("%s answers HTTP %d without Jaeger's JSON: %w", req.URL, resp.StatusCode, err)
	}
	switch {
	case resp.StatusCode == http.StatusNotFound:
		return ErrNotFound
	case len(envelope.Errors) > 0:
		return fmt.Errorf("%s answers HTTP %d: %s", req.URL, resp.StatusCode, envelope.Errors[0].Msg)
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("%s answers HTTP %d: no reason", req.URL, resp.StatusCode)
	}
	if err := json.Unmarshal(envelope.Data, out); err != nil {
		return fmt.Errorf("%s: %w", req.URL, err)
	}
	return nil
}
