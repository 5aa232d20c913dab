package lab

import (
	"context"
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	oteltrace "go.opentelemetry.io/otel/trace"

	"plaque/scripts/internal/caller"
	"plaque/scripts/internal/lesson"
	"plaque/scripts/internal/property"
	"plaque/scripts/internal/server"
	"plaque/steps/kit/names"
	"plaque/steps/kit/origin"
)

// doers do the acts, each the one of its kind. Each kind has a file here, in which
// it registers itself by does.
var doers = map[reflect.Type]func(*scene, context.Context, lesson.Kind, *Outcome) error{}

// does registers what does acts of kind K. It returns something so that it can be
// called where a package's variables are declared.
func does[K lesson.Kind](do func(*scene, context.Context, K, *Outcome) error) bool {
	doers[reflect.TypeFor[K]()] = func(s *scene, ctx context.Context, k lesson.Kind, out *Outcome) error {
		return do(s, ctx, k.(K), out)
	}
	return true
}

// scene is an experiment that runs.
type scene struct {
	*Lab
	server     *server.Server // nil where there is a fleet
	fleet      *fleet         // nil where there is one server
	step       *lesson.Lesson
	experiment string
	silent     silent
	counted    origin.Stats // of the feed, up to where acts have been told
}

// count adds to an act what the feed has counted since the last call.
func (s *scene) count(out *Outcome) {
	now := s.feed.Stats()
	out.Loads += now.Requests - s.counted.Requests
	for agent, n := range now.Agents {
		if n > s.counted.Agents[agent] {
			out.loadedBy++
		}
	}
	out.connections += now.Connections - s.counted.Connections
	s.counted = now
}

// tell gives the feed a new script, which starts its count anew.
func (s *scene) tell(out *Outcome, script origin.Script) error {
	s.count(out)
	s.counted = origin.Stats{}
	return s.feed.Set(script)
}

// servers are the processes that should run.
func (s *scene) servers() []*server.Server {
	if s.fleet != nil {
		return s.fleet.running()
	}
	return []*server.Server{s.server}
}

func (s *scene) host() string { return strings.TrimPrefix(s.server.URL, "http://") }

// url is the server's address for a channel.
func (s *scene) url(channel string) string {
	return s.server.URL + "/?channel=" + url.QueryEscape(channel)
}

// play does one act.
func (s *scene) play(ctx context.Context, a lesson.Act) (*Outcome, error) {
	out := &Outcome{Act: a, Answers: map[string]int{}, from: time.Now()}
	if a.Feed != nil {
		if err := s.tell(out, *a.Feed); err != nil {
			return nil, err
		}
	}
	do, known := doers[reflect.TypeOf(a.Do)]
	if !known {
		return nil, fmt.Errorf("the lab cannot do %T", a.Do)
	}
	err := do(s, ctx, a.Do, out)
	if err != nil {
		return nil, err
	}
	s.settle(ctx, out)
	s.count(out)
	if e := a.Expect; e.Goroutines != nil || e.Threads != nil {
		if out.goroutines, err = s.server.Inside().Count(ctx, "goroutine"); err != nil {
			return nil, err
		}
		if out.threads, err = s.server.Inside().Count(ctx, "threadcreate"); err != nil {
			return nil, err
		}
	}
	out.to = time.Now()
	return out, nil
}

// settle waits for loads that nobody waits for: their callers have been answered
// before they end, even before the feed has heard of them. Held ones need not end.
func (s *scene) settle(ctx context.Context, out *Outcome) {
	if out.TraceID == "" || !s.step.Has(property.ServesOld) {
		return
	}
	poll(ctx, gatherFor, 10*time.Millisecond, func(ctx context.Context) bool {
		flights := 0
		for _, server := range s.servers() {
			state, err := server.Inside().State(ctx)
			if err != nil {
				return false
			}
			flights += len(state.Flights)
		}
		return flights == s.feed.Stats().Waiting
	})
}

// tracerName is the scope of the spans that callers make.
const tracerName = "plaque/load"

// startBurst starts the root span under which a burst becomes one trace.
func startBurst(ctx context.Context, tracer oteltrace.Tracer, step string, requests, concurrency int) (context.Context, oteltrace.Span) {
	return tracer.Start(ctx, names.Burst, oteltrace.WithNewRoot(), oteltrace.WithAttributes(
		attribute.String("step", step), attribute.Int("requests", requests), attribute.Int("concurrency", concurrency)))
}

// Traceparent is the header that makes a caller's spans children of ctx's span.
func Traceparent(ctx context.Context) string {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier["traceparent"]
}

// burst starts an act's root span. What is done under the context that it returns
// is one trace, until end is called.
func (s *scene) burst(ctx context.Context, out *Outcome, requests, concurrency int) (_ context.Context, end func()) {
	ctx, span := startBurst(ctx, s.tracer, s.step.Step, requests, concurrency)
	span.SetAttributes(attribute.String("experiment", s.experiment))
	out.TraceID = span.SpanContext().TraceID().String()
	return ctx, func() { span.End() }
}

// answered counts what one caller got.
func (a *Outcome) answered(got caller.Answer) {
	a.Answers[got.String()]++
	if got.RetryAfter != "" {
		a.retryAfter++
	}
}

// gathered waits until n callers are parked inside the step's cache, or all wait
// at the feed, as they do where there is no cache.
func (s *scene) gathered(ctx context.Context, out *Outcome, n int) {
	parked(ctx, out, n, gatherFor, "inside the cache", func(ctx context.Context) (int, error) {
		if waiting := s.feed.Stats().Waiting; waiting >= n {
			return waiting, nil
		}
		return inside(s.server, cacheWay)(ctx)
	})
}

// parked looks until n callers are where they should be, at two looks in a row.
// Should they not come within the bound, the act goes on and says so.
func parked(ctx context.Context, out *Outcome, n int, bound time.Duration, where string, look func(context.Context) (int, error)) {
	if seen, ok := twice(ctx, bound, look, func(seen int) bool { return seen >= n }); !ok {
		out.Notes = append(out.Notes, fmt.Sprintf("after %v only %d of %d callers were %s", bound, seen, n, where))
	}
}

// left looks until no more than n callers are there, as parked does.
func left(ctx context.Context, out *Outcome, n int, where string, look func(context.Context) (int, error)) {
	if seen, ok := twice(ctx, gatherFor, look, func(seen int) bool { return seen <= n }); !ok {
		out.Notes = append(out.Notes, fmt.Sprintf("after %v %d callers were still %s, want %d", gatherFor, seen, where, n))
	}
}

// twice looks until what is seen is as wanted at two looks in a row. It returns
// what the last look saw, and false where the bound was over first.
func twice(ctx context.Context, bound time.Duration, look func(context.Context) (int, error), want func(int) bool) (seen int, ok bool) {
	before := false
	ok = poll(ctx, bound, 10*time.Millisecond, func(ctx context.Context) bool {
		n, err := look(ctx)
		if err != nil {
			before = false
			return false
		}
		once := before
		seen, before = n, want(n)
		return once && before
	})
	return seen, ok
}

// until waits until the feed's counters are as wanted, or for the bound.
func (s *scene) until(ctx context.Context, bound time.Duration, want func(origin.Stats) bool) {
	poll(ctx, bound, 2*time.Millisecond, func(context.Context) bool { return want(s.feed.Stats()) })
}

// poll looks, with a pause between two looks, until it has seen what it wants. It
// returns false where the bound was over first.
func poll(ctx context.Context, bound, every time.Duration, look func(context.Context) bool) bool {
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	for !look(ctx) {
		if pause(ctx, every) != nil {
			return false
		}
	}
	return true
}
