package check

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"plaque/scripts/internal/lab"
	"plaque/scripts/internal/otlp"
	"plaque/scripts/internal/property"
	"plaque/scripts/internal/say"
	"plaque/steps/kit/origin"
	"strings"
	"time"
)

// traces are what spans tell.
var traces = []measured{
	{
		Property: property.TraceRequests,
		done:     "3 callers ask, each with a traceparent of its own",
		expected: "3 spans that are children of the callers'",
		likely:   "the header traceparent is not read, or requests have no spans",
		hand:     []string{"curl -s " + withTrace + " http://127.0.0.1:3779/ # then look for that trace in Jaeger"},
		take:     traceRequests,
	},
	{
		Property: property.TraceLoads,
		done:     "3 callers, of whom two ask for new channels and one for a channel whose feed fails",
		expected: "3 loads, each with a traceparent that names a span in its caller's trace",
		likely:   "the load has no span, or does not hand its traceparent to the feed",
		hand:     []string{"curl -s " + withTrace + " http://127.0.0.1:3779/ # then look for that trace in Jaeger"},
		take:     traceLoads,
	},
	{
		Property: property.TraceJoined,
		done:     fmt.Sprintf("%d callers ask for one new channel while the feed holds its answer, for %v", many, joinFor),
		expected: fmt.Sprintf("1 load, and %d callers whose spans link to it", many-1),
		likely:   "a caller who waits for another's load leaves no link to it, so the time it spends is not explained",
		hand:     []string{"curl -sZ " + withTrace + " 'http://127.0.0.1:3779/?n=[1-5]' # then look for that trace in Jaeger"},
		take:     traceJoined,
	},
	{
		Property: property.TraceErrors,
		done:     fmt.Sprintf("%d callers share a load on which the feed serves doom", few),
		expected: "an error among the spans from the load up to its caller",
		likely:   "the panic passes the spans by: they end as if all were well, or are never sent",
		hand: []string{
			setScript(`{"next":["doom"]}`),
			"curl -s " + withTrace + " 'http://127.0.0.1:3779/?channel=" + keyA + "' # then look for that trace in Jaeger",
		},
		take: traceErrors,
	},
	{
		Property: property.LetGo,
		done:     fmt.Sprintf("a caller's load is held; another asks for the same channel; %v later it hangs up, and %v after that the feed answers", joinFor, joinFor),
		expected: "its span ends before the feed answers",
		likely:   "who waits for a lock or a flight does not look whether its own caller is still there",
		hand: []string{
			setScript(`{"hold":9,"hold_for":"2s"}`),
			"curl -s -o /dev/null 'http://127.0.0.1:3779/?channel=" + keyA + "' & sleep 0.3",
			"curl -s -m 1 -o /dev/null " + withTrace + " 'http://127.0.0.1:3779/?channel=" + keyA + "' # it hangs up after 1 s; look how long its span is, in that trace in Jaeger",
		},
		take: letGo,
	},
}

// inTrace are a trace's spans, by id.
func inTrace(spans []otlp.Span, id string) map[string]otlp.Span {
	byID := map[string]otlp.Span{}
	for _, s := range spans {
		if s.TraceID == id {
			byID[s.ID] = s
		}
	}
	return byID
}

// answering are the spans of a trace that are children of the callers, by the
// caller's id.
func answering(spans map[string]otlp.Span, calls []*call) map[string]otlp.Span {
	found := map[string]otlp.Span{}
	for _, c := range calls {
		for _, s := range spans {
			if s.Parent == c.span {
				found[c.span] = s
			}
		}
	}
	return found
}

// parentOf reads the span's id from a traceparent of that trace, or "".
func parentOf(traceparent, traceID string) string {
	parts := strings.Split(traceparent, "-")
	if len(parts) != 4 || parts[1] != traceID {
		return ""
	}
	return parts[2]
}

// above are a span and those above it in its trace, by id.
func above(spans map[string]otlp.Span, id string) map[string]otlp.Span {
	way := map[string]otlp.Span{}
	for {
		s, ok := spans[id]
		if _, twice := way[id]; !ok || twice {
			return way
		}
		way[id], id = s, s.Parent
	}
}

func traceRequests(ctx context.Context, s *subject) seen {
	b := newBurst(ctx, s)
	var calls []*call
	for range 3 {
		calls = append(calls, b.ask(newChannel()))
	}
	for _, c := range calls {
		if a := c.wait(callFor); a.Status != http.StatusOK {
			return no("%s", a)
		}
	}
	return bySpans(func(spans []otlp.Span) seen {
		roots := answering(inTrace(spans, b.trace), calls)
		return is(len(roots) == len(calls), "%d of %d requests have a span in their caller's trace", len(roots), len(calls))
	})
}

func traceLoads(ctx context.Context, s *subject) seen {
	keys := []string{newChannel(), newChannel(), newChannel()}
	_ = s.feed.Set(origin.Script{Channel: keys[2], Next: []string{"500"}})
	b := newBurst(ctx, s)
	var calls []*call
	for _, key := range keys {
		calls = append(calls, b.ask(key))
	}
	got := tally(calls, callFor)
	stats := s.feed.Stats()
	loads := loadsOf(stats, keys)
	if loads == 0 {
		return no("%s, no load", lab.Answers(got))
	}
	return bySpans(func(spans []otlp.Span) seen {
		mine := inTrace(spans, b.trace)
		n := 0
		for _, key := range keys {
			for _, tp := range stats.Traceparents[key] {
				if _, ok := mine[parentOf(tp, b.trace)]; ok {
					n++
				}
			}
		}
		return is(n == loads, "%d of %s named a span in its caller's trace", n, say.Plural(loads, "load"))
	})
}

func traceJoined(ctx context.Context, s *subject) seen {
	key := newChannel()
	got, loads, calls := coalesced(ctx, s, key, many)
	if loads != 1 || got[served] != many {
		return no("%s, %s", say.Plural(loads, "load"), lab.Answers(got))
	}
	traceparent, traceID := s.feed.Stats().Traceparents[key][0], calls[0].trace
	return bySpans(func(spans []otlp.Span) seen {
		mine := inTrace(spans, traceID)
		roots := answering(mine, calls)
		load := above(mine, parentOf(traceparent, traceID))
		for _, root := range roots { // of a caller, not of the load
			delete(load, root.ID)
		}
		if len(load) == 0 {
			return no("1 load, and no span for it in its caller's trace")
		}
		linked := 0
		for _, c := range calls {
			if linksTo(mine, roots[c.span].ID, load) {
				linked++
			}
		}
		return is(linked == many-1, "1 load, and %d of the %d others link to its span", linked, many-1)
	})
}

// linksTo reports whether a span at or below root links to one of those.
func linksTo(spans map[string]otlp.Span, root string, those map[string]otlp.Span) bool {
	for _, s := range spans {
		for _, l := range s.Links {
			if _, ok := those[l.ID]; !ok {
				continue
			}
			if _, below := above(spans, s.ID)[root]; below {
				return true
			}
		}
	}
	return false
}

func traceErrors(ctx context.Context, s *subject) seen {
	key := newChannel()
	_ = s.feed.Set(origin.Script{Channel: key, Gate: true, Next: []string{"doom"}})
	b := newBurst(ctx, s)
	calls := b.askAll(few, key)
	pause(ctx, joinFor)
	s.feed.Open()
	got := tally(calls, doomFor)
	traceparents := s.feed.Stats().Traceparents[key]
	if len(traceparents) == 0 {
		return no("%s, no load", lab.Answers(got))
	}
	// The first to come had doom.
	return bySpans(func(spans []otlp.Span) seen {
		way := above(inTrace(spans, b.trace), parentOf(traceparents[0], b.trace))
		for s := range maps.Values(way) {
			if s.Status == "error" {
				return yes("an error on the way from the load up to its caller")
			}
		}
		if len(way) == 0 {
			return no("the load has no span in its caller's trace")
		}
		return no("no error among the %s from the load up to its caller", say.Plural(len(way), "span"))
	})
}

func letGo(ctx context.Context, s *subject) seen {
	key := newChannel()
	_ = s.feed.Set(origin.Script{Channel: key, Gate: true})
	b := newBurst(ctx, s)
	first := b.ask(key)
	if !s.until(ctx, answerFor, func(st origin.Stats) bool { return st.Channels[key] > 0 }) {
		return no("it was not loaded")
	}
	second := b.askAll(1, key)[0]
	pause(ctx, joinFor)
	second.hangUp()
	<-second.done
	pause(ctx, joinFor)
	opened := time.Now()
	s.feed.Open()
	if got := first.what(callFor); got != served {
		return no("the first caller: %s", got)
	}
	return bySpans(func(spans []otlp.Span) seen {
		span, ok := answering(inTrace(spans, b.trace), []*call{second})[second.span]
		switch {
		case !ok:
			return no("the caller who hung up has no span")
		case span.End.After(opened):
			return no("its span ends after the feed has answered")
		}
		return yes("its span ended before the feed answered")
	})
}
