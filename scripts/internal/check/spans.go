package check

import (
	"context"
	"fmt"
	"net/http"
	"plaque/scripts/internal/lab"
	"plaque/scripts/internal/otlp"
	"plaque/scripts/internal/property"
	"plaque/scripts/internal/say"
	"plaque/steps/kit/origin"
	"slices"
	"strings"
)

// traces are what spans tell.
var traces = []measured{
	{
		Property: property.TraceRequests,
		done:     "3 callers ask, each with a different traceparent",
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
		likely:   "a caller that waits for another's load leaves no link to it, so its wait is not explained",
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
		done:     fmt.Sprintf("a caller's load is held; another asks for the same channel; %v later it hangs up, and %v after that the feed answers", leaveFor, leaveFor),
		expected: "its span ends before the feed answers, by the server's clock",
		likely:   "waiting for a lock or a flight goes on when the client has hung up",
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
	for _, s := range spans {
		if slices.ContainsFunc(calls, func(c *call) bool { return c.span == s.Parent }) {
			found[s.Parent] = s
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

// below are the spans at or below the roots, each with the id of the nearest. It
// takes each span once, however deep they stand, and though they may go round.
func below(spans map[string]otlp.Span, roots map[string]bool) map[string]string {
	children := map[string][]string{}
	for id, s := range spans {
		if !roots[id] {
			children[s.Parent] = append(children[s.Parent], id)
		}
	}
	rootOf := map[string]string{}
	for root := range roots {
		for todo := []string{root}; len(todo) > 0; {
			id := todo[len(todo)-1]
			rootOf[id] = root
			todo = append(todo[:len(todo)-1], children[id]...)
		}
	}
	return rootOf
}

func traceRequests(ctx context.Context, s *subject) seen {
	b := newBurst(ctx, s)
	calls := b.askNew(3)
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
	stats, loads := s.feed.Stats(), 0
	for _, key := range keys {
		loads += stats.Channels[key]
	}
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
	got, b, calls := share(ctx, s, many, origin.Script{Channel: key}, callFor)
	if loads := s.loads(key); loads != 1 || got[served] != many {
		return no("%s, %s", say.Plural(loads, "load"), lab.Answers(got))
	}
	traceparent := s.feed.Stats().Traceparents[key][0]
	return bySpans(func(spans []otlp.Span) seen {
		return joined(inTrace(spans, b.trace), calls, parentOf(traceparent, b.trace))
	})
}

// joined judges the spans of one trace, in which calls shared the load that span
// loader made.
func joined(spans map[string]otlp.Span, calls []*call, loader string) seen {
	roots := answering(spans, calls)
	isRoot := map[string]bool{}
	for _, root := range roots {
		isRoot[root.ID] = true
	}
	rootOf := below(spans, isRoot)
	leader := rootOf[loader]
	load := above(spans, loader)
	for id := range load { // what is of a caller, or above one, is not of the load
		if isRoot[id] || leader != "" && rootOf[id] != leader {
			delete(load, id)
		}
	}
	if len(load) == 0 {
		return no("1 load, and no span for it in its caller's trace")
	}
	linked := map[string]bool{}
	for id, s := range spans {
		for _, l := range s.Links {
			if _, ok := load[l.ID]; ok {
				linked[rootOf[id]] = true
			}
		}
	}
	// A caller that came when the load was over shared none. Both times are the server's.
	want, have := 0, 0
	ended := load[loader].End
	for _, c := range calls {
		root, ok := roots[c.span]
		if ok && (root.ID == leader || root.Start.After(ended)) {
			continue
		}
		want++
		if ok && linked[root.ID] {
			have++
		}
	}
	if leader == "" && have == want-1 {
		want-- // the load is below no caller, so one of them made it
	}
	return is(have == want && want > 0, "1 load, and %d of the %d others link to its span", have, want)
}

func traceErrors(ctx context.Context, s *subject) seen {
	key := newChannel()
	got, b, _ := share(ctx, s, few, origin.Script{Channel: key, Next: []string{"doom"}}, doomFor)
	traceparents := s.feed.Stats().Traceparents[key]
	if len(traceparents) == 0 {
		return no("%s, no load", lab.Answers(got))
	}
	// The first to come had doom.
	return bySpans(func(spans []otlp.Span) seen {
		way := above(inTrace(spans, b.trace), parentOf(traceparents[0], b.trace))
		for _, s := range way {
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
	s.hold(origin.Script{Channel: key})
	b := newBurst(ctx, s)
	first := b.ask(key)
	if !s.until(ctx, answerFor, key, 0) {
		return no("it was not loaded")
	}
	second := b.askAll(1, key)[0]
	pause(ctx, leaveFor)
	second.hangUp()
	<-second.done
	pause(ctx, leaveFor)
	s.open()
	if got := first.what(callFor); got != served {
		return no("the first caller: %s", got)
	}
	return bySpans(func(spans []otlp.Span) seen {
		roots := answering(inTrace(spans, b.trace), []*call{first, second})
		loading, ok1 := roots[first.span]
		leaving, ok2 := roots[second.span]
		if !ok1 || !ok2 {
			return no("a caller has no span")
		}
		// Only the server's times are compared, because its clock may not be ours.
		// The first caller was served when the feed had answered.
		if loading.End.Sub(leaving.End) < leaveFor/2 {
			return no("its span ends after the feed has answered")
		}
		return yes("its span ended before the feed answered")
	})
}
