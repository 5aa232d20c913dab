package see

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"plaque/steps/kit/web/webtest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// Each line is a span, in the order in which they ended, and says all of it.
func TestJSONLines(t *testing.T) {
	out := new(webtest.Buffer)
	spans := sample(t, NewJSON(out, slog.New(slog.DiscardHandler)))
	all := lines(out.String())
	if len(all) != len(spans) {
		t.Fatalf("%d lines for %d spans", len(all), len(spans))
	}
	names := []string{"attributes", "duration_ms", "end", "events", "kind", "links", "message", "name", "parent_id", "service",
		"span_id", "start", "status", "trace_id", "version"}
	for i, s := range spans {
		var got map[string]any
		if err := json.Unmarshal([]byte(all[i]), &got); err != nil {
			t.Fatalf("%v: %s", err, all[i])
		}
		if fields := slices.Sorted(maps.Keys(got)); !slices.Equal(fields, names) {
			t.Errorf("the fields are %q", fields)
		}
		want := map[string]any{
			"trace_id":    s.SpanContext().TraceID().String(),
			"span_id":     s.SpanContext().SpanID().String(),
			"parent_id":   "",
			"service":     of(s, "service.name"),
			"version":     "08-singleflight",
			"name":        s.Name(),
			"kind":        s.SpanKind().String(),
			"start":       s.StartTime().Format(time.RFC3339Nano),
			"end":         s.EndTime().Format(time.RFC3339Nano),
			"duration_ms": float64(s.EndTime().Sub(s.StartTime()).Microseconds()) / 1000,
			"status":      map[string]string{"Unset": "unset", "Error": "error", "Ok": "ok"}[s.Status().Code.String()],
			"message":     s.Status().Description,
			"attributes":  decoded(s.Attributes()),
			"events":      []any{},
			"links":       []any{},
		}
		if s.Parent().IsValid() {
			want["parent_id"] = s.Parent().SpanID().String()
		}
		for _, e := range s.Events() {
			want["events"] = append(want["events"].([]any), map[string]any{
				"time": e.Time.Format(time.RFC3339Nano), "name": e.Name, "attributes": decoded(e.Attributes)})
		}
		for _, l := range s.Links() {
			want["links"] = append(want["links"].([]any), map[string]any{
				"trace_id": l.SpanContext.TraceID().String(), "span_id": l.SpanContext.SpanID().String(), "attributes": decoded(l.Attributes)})
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got  %v\nwant %v", got, want)
		}
	}
}

// decoded is what JSON makes of texts and numbers.
func decoded(kvs []attribute.KeyValue) map[string]any {
	m := map[string]any{}
	for _, kv := range kvs {
		if n, ok := kv.Value.AsInterface().(int64); ok {
			m[string(kv.Key)] = float64(n)
		} else {
			m[string(kv.Key)] = kv.Value.AsInterface()
		}
	}
	return m
}

func TestJSONValues(t *testing.T) {
	for _, c := range []struct {
		attribute.Value
		want string
	}{
		{attribute.StringValue("a <b> \"c\"\n\x1b\xff"), `"a <b> \"c\"\n\u001b\ufffd"`},
		{attribute.BoolValue(true), `true`},
		{attribute.Int64Value(math.MaxInt64), `9223372036854775807`},
		{attribute.Float64Value(0.5), `0.5`},
		{attribute.Float64Value(math.NaN()), `"NaN"`},
		{attribute.Float64Value(math.Inf(-1)), `"-Inf"`},
		{attribute.Float64SliceValue([]float64{1, math.Inf(1)}), `[1,"+Inf"]`},
		{attribute.StringSliceValue([]string{"a", "b"}), `["a","b"]`},
		{attribute.Int64SliceValue([]int64{1}), `[1]`},
		{attribute.BoolSliceValue(nil), `[]`},
		{attribute.ByteSliceValue([]byte("hi")), `"aGk="`},
		{attribute.SliceValue(attribute.IntValue(1), attribute.Float64Value(math.NaN())), `[1,"NaN"]`},
		{attribute.MapValue(attribute.String("k", "v")), `{"k":"v"}`},
		{attribute.Value{}, `null`},
	} {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(value(c.Value)); err != nil || strings.TrimSpace(b.String()) != c.want {
			t.Errorf("%v: %s, %v; want %s", c.Value, b.String(), err, c.want)
		}
	}
}

// A stranger's text moves no cursor, and is in the line all the same.
func TestJSONIsSafe(t *testing.T) {
	var out webtest.Buffer
	j := NewJSON(&out, slog.New(slog.DiscardHandler))
	const evil = "\x1b]0;EVIL\a\u009b2J\x7f"
	_, s := provider(sdktrace.WithSpanProcessor(j)).Tracer("test").Start(t.Context(), evil)
	s.End()
	if err := j.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	line := strings.TrimSuffix(out.String(), "\n")
	if strings.ContainsFunc(line, unicode.IsControl) {
		t.Errorf("%q has control characters", line)
	}
	var got jsonSpan
	if err := json.Unmarshal([]byte(line), &got); err != nil || got.Name != evil {
		t.Errorf("the name is %q, want %q; %v", got.Name, evil, err)
	}
}

// A reader that stands still holds nobody up, and what is lost is counted.
func TestJSONStandsStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out, log := &slowWriter{let: make(chan struct{})}, new(webtest.Buffer)
		j := NewJSON(out, slog.New(slog.NewTextHandler(log, nil)))
		tracer := provider(sdktrace.WithSpanProcessor(j)).Tracer("test")
		span := func() { _, s := tracer.Start(t.Context(), "span"); s.End() }
		span()
		synctest.Wait()
		for range queueSize + 3 {
			span()
		}
		close(out.let)
		if err := j.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if n := len(lines(out.String())); n != queueSize+1 || !strings.Contains(log.String(), "too slow\" lost=3\n") {
			t.Errorf("%d lines, want %d and 3 lost; the log: %s", n, queueSize+1, log)
		}
	})
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestJSONCannotBeWritten(t *testing.T) {
	log := new(webtest.Buffer)
	sample(t, NewJSON(broken{}, slog.New(slog.NewTextHandler(log, nil))))
	if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `msg="spans cannot be written as JSON" error="no space left"`) {
		t.Error(fmt.Sprint("the log: ", got))
	}
}
