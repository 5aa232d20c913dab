package see

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"plaque/steps/kit/terminal"
)

// jsonLines writes each span that ends as one line.
type jsonLines struct {
	queue *queue[sdktrace.ReadOnlySpan]
}

// NewJSON writes each span that ends as a line of JSON, in one write for those
// that came meanwhile. Its own failures go to log.
func NewJSON(w io.Writer, log *slog.Logger) sdktrace.SpanProcessor {
	var once sync.Once
	write := func(spans []sdktrace.ReadOnlySpan, dropped int) {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		for _, s := range spans {
			_ = e.Encode(record(s)) // texts, numbers and maps of them: it cannot fail
		}
		if _, err := w.Write(terminal.JSON(b.Bytes())); err != nil {
			once.Do(func() { log.Warn("spans cannot be written as JSON", "error", err) })
		}
		if dropped > 0 {
			log.Warn("spans lost: the reader of the JSON is too slow", "lost", dropped)
		}
	}
	return &jsonLines{&queue[sdktrace.ReadOnlySpan]{limit: queueSize, write: write}}
}

func (j *jsonLines) OnStart(context.Context, sdktrace.ReadWriteSpan) {}

func (j *jsonLines) OnEnd(s sdktrace.ReadOnlySpan) { j.queue.put(s) }

func (j *jsonLines) ForceFlush(ctx context.Context) error { return j.queue.flush(ctx) }

func (j *jsonLines) Shutdown(ctx context.Context) error { return j.queue.stop(ctx) }

// jsonSpan is a line. Its names stay what they are: people write them into jq.
type jsonSpan struct {
	TraceID    string         `json:"trace_id"`
	SpanID     string         `json:"span_id"`
	ParentID   string         `json:"parent_id"` // "" for the root of a trace
	Service    string         `json:"service"`
	Version    string         `json:"version"`
	Name       string         `json:"name"`
	Kind       string         `json:"kind"`
	Start      time.Time      `json:"start"` // RFC3339Nano, UTC
	End        time.Time      `json:"end"`
	DurationMS float64        `json:"duration_ms"`
	Status     string         `json:"status"` // unset, ok or error
	Message    string         `json:"message"`
	Attributes map[string]any `json:"attributes"`
	Events     []jsonEvent    `json:"events"`
	Links      []jsonLink     `json:"links"`
}

type jsonEvent struct {
	Time       time.Time      `json:"time"`
	Name       string         `json:"name"`
	Attributes map[string]any `json:"attributes"`
}

type jsonLink struct {
	TraceID    string         `json:"trace_id"`
	SpanID     string         `json:"span_id"`
	Attributes map[string]any `json:"attributes"`
}

func record(s sdktrace.ReadOnlySpan) jsonSpan {
	r := jsonSpan{
		TraceID:    s.SpanContext().TraceID().String(),
		SpanID:     s.SpanContext().SpanID().String(),
		ParentID:   parentID(s),
		Service:    of(s, "service.name"),
		Version:    of(s, "service.version"),
		Name:       s.Name(),
		Kind:       s.SpanKind().String(),
		Start:      s.StartTime().UTC(),
		End:        s.EndTime().UTC(),
		DurationMS: float64(s.EndTime().Sub(s.StartTime())) / float64(time.Millisecond),
		Status:     strings.ToLower(s.Status().Code.String()),
		Message:    s.Status().Description,
		Attributes: values(s.Attributes()),
		Events:     []jsonEvent{}, // an empty list is one, too
		Links:      []jsonLink{},
	}
	for _, e := range s.Events() {
		r.Events = append(r.Events, jsonEvent{e.Time.UTC(), e.Name, values(e.Attributes)})
	}
	for _, l := range s.Links() {
		r.Links = append(r.Links, jsonLink{l.SpanContext.TraceID().String(), l.SpanContext.SpanID().String(), values(l.Attributes)})
	}
	return r
}

func parentID(s sdktrace.ReadOnlySpan) string {
	if !s.Parent().SpanID().IsValid() {
		return ""
	}
	return s.Parent().SpanID().String()
}

// values are attributes as JSON has them.
func values(kvs []attribute.KeyValue) map[string]any {
	m := make(map[string]any, len(kvs))
	for _, kv := range kvs {
		m[string(kv.Key)] = value(kv.Value)
	}
	return m
}

// value is an attribute's value: text, number, truth or a list. JSON has no NaN
// and no infinity, so those are text.
func value(v attribute.Value) any {
	switch v := v.AsInterface().(type) {
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Sprint(v)
		}
		return v
	case []float64:
		list := []any{}
		for _, f := range v {
			list = append(list, value(attribute.Float64Value(f)))
		}
		return list
	case []attribute.Value:
		list := []any{}
		for _, each := range v {
			list = append(list, value(each))
		}
		return list
	case []attribute.KeyValue:
		return values(v)
	default:
		return v
	}
}
