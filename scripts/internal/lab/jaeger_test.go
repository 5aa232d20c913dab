package lab

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"plaque/scripts/internal/jaeger"
	"plaque/scripts/internal/jaeger/jaegertest"
	"plaque/scripts/internal/lesson"
	"plaque/scripts/internal/trace"
)

// Every picture of every step, in the real Jaeger: what its API gives back is
// what the lab has seen and the lesson claims.
func TestBurstsInJaeger(t *testing.T) {
	server := jaegertest.Start(t)
	all := lessons(t)
	type burst struct {
		step *lesson.Lesson
		act  *Act
	}
	var bursts []burst
	l := newLab(t, server.OTLP)
	began := time.Now()
	for _, step := range all {
		bin := build(t, step, nil)
		for _, e := range step.Experiments {
			if !slices.ContainsFunc(e.Acts, func(a lesson.Act) bool { return len(a.Picture) > 0 }) {
				continue
			}
			r := run(t, l, bin, step, e)
			if f := failures(r); f != nil {
				t.Errorf("%s, %s: claims that did not come true: %q", step.Step, e.Name, f)
			}
			for _, a := range r.Acts {
				if a.TraceID != "" {
					bursts = append(bursts, burst{step, a})
				}
			}
		}
	}
	l.Close()
	if _, failed, err := l.Forwarded(); failed > 0 {
		t.Fatalf("%d spans did not reach Jaeger: %v", failed, err)
	}

	services, err := server.Services(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"feed", "load", "plaque"} {
		if !slices.Contains(services, want) {
			t.Errorf("Jaeger has the services %q, and not %s", services, want)
		}
	}
	seen := map[string]bool{}
	for _, b := range bursts {
		seen[b.step.Step] = true
		t.Run(b.step.Step+" "+b.act.TraceID, func(t *testing.T) {
			if ReadsHeaders(b.step) {
				compare(t, waitFor(t, server, b.act.TraceID, len(b.act.Spans)), b.act)
				return
			}
			// 01 and 02 read no headers: each connection is a trace of its own.
			traces, err := server.Traces(t.Context(), jaeger.Query{Service: "plaque", Operation: "handle_connection",
				Tags: map[string]string{"service.version": b.step.Step}, Start: began.Add(-time.Minute), Limit: 1000})
			if err != nil {
				t.Fatal(err)
			}
			if n := trace.Count(b.act.Spans, "handle_connection"); len(traces) < n {
				t.Errorf("%d traces of connections, want at least %d", len(traces), n)
			}
			for _, tr := range traces {
				if n := count(tr.Spans, "handle_connection"); n != 1 {
					t.Errorf("a trace holds %d connections, want 1", n)
				}
			}
		})
	}
	if len(seen) != len(all) {
		t.Errorf("bursts of %d steps, want all %d", len(seen), len(all))
	}
}

// waitFor asks until Jaeger has so many spans of a trace, or for 10 s.
func waitFor(t *testing.T, server *jaeger.Server, id string, spans int) *jaeger.Trace {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		tr, err := server.Trace(ctx, id)
		if err == nil && len(tr.Spans) >= spans {
			return tr
		}
		if err != nil && !errors.Is(err, jaeger.ErrNotFound) {
			t.Fatal(err)
		}
		select {
		case <-ctx.Done():
			t.Fatalf("Jaeger has not got the %d spans of trace %s within 10 s", spans, id)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// compare holds a trace from Jaeger against the act that made it.
func compare(t *testing.T, got *jaeger.Trace, a *Act) {
	names, want := map[string]int{}, map[string]int{}
	flights := map[string]bool{}
	errorsHere, wantErrors := map[string]int{}, map[string]int{}
	roots := 0
	for _, s := range got.Spans {
		names[s.Service+" "+s.Name]++
		if s.Failed() {
			errorsHere[s.Name]++
		}
		if s.Name == flightSpan {
			flights[s.ID] = true
		}
		if s.Parent() == "" {
			roots++
			if s.Name != "burst" || s.Service != "load" {
				t.Errorf("%s of %s is a root; want the burst alone", s.Name, s.Service)
			}
		}
	}
	for _, s := range a.Spans {
		want[s.Service+" "+s.Name]++
		if s.Status == "error" {
			wantErrors[s.Name]++
		}
	}
	if !maps.Equal(names, want) {
		t.Errorf("Jaeger has the spans %v, the lab has %v", names, want)
	}
	if !maps.Equal(errorsHere, wantErrors) {
		t.Errorf("Jaeger has the errors %v, the lab has %v", errorsHere, wantErrors)
	}
	if roots != 1 {
		t.Errorf("%d roots, want the burst alone", roots)
	}
	links := 0
	for _, s := range got.Spans {
		for _, l := range s.Links() {
			if s.Name == cacheSpan && flights[l.SpanID] {
				links++
			}
		}
	}
	if n := a.links(); links != n {
		t.Errorf("Jaeger has %d links from waiters to a flight, the lab has %d", links, n)
	}
	if n := names["feed "+feedSpan]; a.Loads != n {
		t.Errorf("Jaeger has %d spans of the feed, which counted %d loads", n, a.Loads)
	}
}

func count(spans []jaeger.Span, name string) int {
	n := 0
	for _, s := range spans {
		if s.Name == name {
			n++
		}
	}
	return n
}
