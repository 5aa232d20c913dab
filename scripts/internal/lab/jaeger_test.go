package lab

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"plaque/scripts/internal/jaeger"
	"plaque/scripts/internal/jaeger/jaegertest"
	"plaque/scripts/internal/lesson"
	"plaque/scripts/internal/otlp"
	"plaque/scripts/internal/server"
)

// Every picture of every step, in the real Jaeger: what its API gives back is
// what the lab has seen and the lesson claims.
func TestBurstsInJaeger(t *testing.T) {
	server := jaegertest.Start(t)
	all := lessons(t)
	type burst struct {
		step *lesson.Lesson
		act  *Outcome
	}
	bins, ofStep := make([]string, len(all)), make([][]burst, len(all))
	for i, step := range all {
		bins[i] = compiled(t, step, nil)
	}
	slots := make(chan struct{}, 4) // as many steps at once as on a tour
	t.Run("bursts", func(t *testing.T) {
		for i, step := range all {
			t.Run(step.Step, func(t *testing.T) {
				t.Parallel()
				slots <- struct{}{}
				defer func() { <-slots }()
				l := newLab(t, server.OTLP)
				for _, e := range step.Experiments {
					if !slices.ContainsFunc(e.Acts, func(a lesson.Act) bool { return len(a.Picture) > 0 }) {
						continue
					}
					for _, a := range comesTrue(t, l, bins[i], step, e).Acts {
						if a.TraceID != "" {
							ofStep[i] = append(ofStep[i], burst{step, a})
						}
					}
				}
				l.Close()
				if _, failed, err := l.Forwarded(); failed > 0 {
					t.Fatalf("%d spans did not reach Jaeger: %v", failed, err)
				}
			})
		}
	})
	bursts := slices.Concat(ofStep...)

	services := jaegertest.Services(t, server)
	for _, want := range []string{"feed", "load", "plaque"} {
		if !slices.Contains(services, want) {
			t.Errorf("Jaeger has the services %q, and not %s", services, want)
		}
	}
	seen := map[string]bool{}
	for _, b := range bursts {
		seen[b.step.Step] = true
		t.Run(b.step.Step+" "+b.act.TraceID, func(t *testing.T) {
			if oneTrace(b.step) {
				compare(t, waitFor(t, server, b.act.TraceID, len(b.act.Spans)), b.act)
				return
			}
			// 01 and 02: the burst's trace has its connections, and not the accepts
			// before them, which belong to nobody's burst.
			var mine []otlp.Span
			for _, s := range b.act.Spans {
				if s.TraceID == b.act.TraceID {
					mine = append(mine, s)
				}
			}
			got, want := otlp.Count(waitFor(t, server, b.act.TraceID, len(mine)), "handle_connection"), otlp.Count(mine, "handle_connection")
			if got != want {
				t.Errorf("%d connections in the burst's trace, want %d", got, want)
			}
		})
	}
	if len(seen) != len(all) {
		t.Errorf("bursts of %d steps, want all %d", len(seen), len(all))
	}
	t.Run("menu", func(t *testing.T) {
		pages := jaegertest.ReadPages(t)
		for _, step := range all {
			for _, group := range []string{"Steps", "Bursts"} {
				last := "" // the newest that should be found
				for _, b := range bursts {
					// A request that hangs leaves no span: then the burst is all
					// that there is of 07's.
					ofStep := slices.ContainsFunc(b.act.Spans, func(s otlp.Span) bool { return s.Service == "plaque" })
					if b.step == step && (ofStep || group == "Bursts") {
						last = b.act.TraceID
					}
				}
				item := pages.Group(t, group).Item(t, step.Number())
				found, err := jaegertest.Search(t.Context(), server, item.URL)
				if err != nil {
					t.Fatal(err)
				}
				if group == "Steps" && !oneTrace(step) {
					last = oneOf(t, server, step, found)
				}
				if !slices.Contains(found, last) {
					t.Errorf("%s, %s finds %q, and not the newest burst %s", group, item.Label, found, last)
				}
			}
		}
		var ids []string
		for _, b := range bursts {
			ids = append(ids, b.act.TraceID)
		}
		tags(t, server, pages, ids)
	})
}

// oneOf returns one of the traces, if there is any and no other step has a part in
// them; else "none".
func oneOf(t *testing.T, server *jaeger.Server, step *lesson.Lesson, ids []string) string {
	t.Helper()
	for _, id := range ids {
		tr, err := server.Trace(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range tr.Spans {
			if s.Service == "plaque" && s.Process["service.version"] != step.Step {
				t.Errorf("%s of %s %v is found as a span of %s", s.Name, s.Service, s.Process["service.version"], step.Step)
			}
		}
	}
	if len(ids) == 0 {
		return "none"
	}
	return ids[0]
}

// tags compares what the pages do with the tags of spans to real spans. Each link
// on a tag finds its trace. What the pages put on top is there, and what our
// spans say is on top.
func tags(t *testing.T, server *jaeger.Server, pages *jaegertest.Pages, ids []string) {
	links, tops := map[string]bool{}, map[string]bool{}
	follow := func(key string, value any, kind, id string) {
		for _, l := range pages.LinkPatterns {
			text := fmt.Sprint(value)
			if l.Type != kind || l.Key != key || len(l.Value) > 0 && !slices.Contains(l.Value, text) || links[key+text] {
				continue
			}
			links[key], links[key+text] = true, true
			link, ok := l.Fill(map[string]string{key: text})
			found, err := jaegertest.Search(t.Context(), server, link)
			if !ok || err != nil || len(found) == 0 || len(found) < 20 && !slices.Contains(found, id) {
				t.Errorf("the link on %s=%s of trace %s leads to %s, which finds %q, %v", key, text, id, link, found, err)
			}
		}
	}
	for _, id := range ids {
		tr, err := server.Trace(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range tr.Spans {
			for key, value := range s.Process {
				follow(key, value, "process", id)
			}
			for key, value := range s.Tags {
				follow(key, value, "tags", id)
				i := slices.IndexFunc(pages.TopTagPrefixes, func(p string) bool { return strings.HasPrefix(key, p) })
				if i >= 0 {
					tops[pages.TopTagPrefixes[i]] = true
					continue
				}
				scope, _ := s.Tags["otel.scope.name"].(string)
				if strings.HasPrefix(scope, "plaque/") && !strings.HasPrefix(key, "otel.") && key != "span.kind" {
					t.Errorf("%s of %s has the tag %s, which stands below what libraries say: topTagPrefixes lacks it", s.Name, s.Service, key)
				}
			}
		}
	}
	for _, l := range pages.LinkPatterns {
		if !links[l.Key] {
			t.Errorf("no span has the tag %s that jaeger/ui-config.json makes a link of", l.Key)
		}
	}
	for _, p := range pages.TopTagPrefixes {
		if !tops[p] {
			t.Errorf("no span has a tag that begins with %s, as topTagPrefixes says", p)
		}
	}
}

// The menu of Jaeger's pages has links to the debug pages of a step that runs.
func TestDebugPagesOfTheMenu(t *testing.T) {
	l := newLab(t, "")
	started, err := server.StartServer(t.Context(), server.Launch{Command: []string{compiled(t, find(t, "09"), nil)}, Collector: l.collector.URL(), Feed: l.feedURL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = started.Stop() })
	for _, item := range jaegertest.ReadPages(t).Group(t, "Running step").Items {
		path, ours := strings.CutPrefix(item.URL, "http://127.0.0.1:3781")
		if !ours {
			t.Errorf("%s leads to %s, which is no debug page", item.Label, item.URL)
		}
		resp, err := http.Get(started.Debug + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %s%s answers %s", item.Label, started.Debug, path, resp.Status)
		}
	}
}

// waitFor asks until Jaeger has so many spans of a trace, or for 10 s, and returns
// them as the lab has them.
func waitFor(t *testing.T, server *jaeger.Server, id string, spans int) (all []otlp.Span) {
	t.Helper()
	var trace *jaeger.Trace
	if !poll(t.Context(), 10*time.Second, 20*time.Millisecond, func(ctx context.Context) bool {
		var err error
		if trace, err = server.Trace(ctx, id); err != nil && !errors.Is(err, jaeger.ErrNotFound) && ctx.Err() == nil {
			t.Fatal(err)
		}
		return err == nil && len(trace.Spans) >= spans
	}) {
		t.Fatalf("Jaeger has not got the %d spans of trace %s within 10 s", spans, id)
	}
	for _, s := range trace.Spans {
		span := otlp.Span{ID: s.ID, Parent: jaegertest.Parent(s), Service: s.Service, Name: s.Name}
		if jaegertest.Failed(s) {
			span.Status = "error"
		}
		for _, l := range jaegertest.Links(s) {
			span.Links = append(span.Links, otlp.Link{TraceID: l.TraceID, ID: l.SpanID})
		}
		all = append(all, span)
	}
	return all
}

// compare holds the spans that Jaeger has of an act against the act.
func compare(t *testing.T, spans []otlp.Span, a *Outcome) {
	got := &Outcome{Act: a.Act, Spans: spans}
	if has, want := tally(got), tally(a); !maps.Equal(has, want) {
		t.Errorf("Jaeger has the spans %v, the lab has %v", has, want)
	}
	roots := 0
	for _, s := range spans {
		if s.Parent == "" {
			roots++
			if s.Name != "burst" || s.Service != "load" {
				t.Errorf("%s of %s is a root; want the burst alone", s.Name, s.Service)
			}
		}
	}
	if roots != 1 {
		t.Errorf("%d roots, want the burst alone", roots)
	}
	if has, want := got.links(), a.links(); has != want {
		t.Errorf("Jaeger has %d links from waiters to a flight, the lab has %d", has, want)
	}
	if want := a.Act.Expect.Way; want != nil && !slices.Equal(got.way(), want) {
		t.Errorf("in Jaeger the way up from the feed is %q, want %q", got.way(), want)
	}
	if n := otlp.Count(spans, feedSpan); a.Loads != n {
		t.Errorf("Jaeger has %d spans of the feed, which counted %d loads", n, a.Loads)
	}
}

// tally counts an act's spans by service, name and whether they are errors.
func tally(a *Outcome) map[string]int {
	n := map[string]int{}
	for _, s := range a.Spans {
		n[fmt.Sprintf("%s %s, error: %v", s.Service, s.Name, s.Failed())]++
	}
	return n
}
