package watch_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"plaque/steps/kit/watch"
)

// cache makes the spans of a cache by hand.
type cache struct {
	w      *watch.Watch
	tracer trace.Tracer
}

func newCache(t *testing.T) *cache {
	w := watch.New()
	tp := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(w),
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", "plaque"))))
	t.Cleanup(func() { _ = tp.Shutdown(context.WithoutCancel(t.Context())) })
	return &cache{w, tp.Tracer("test")}
}

func (c *cache) get(ctx context.Context, key string) (context.Context, trace.Span) {
	return c.tracer.Start(ctx, "cache.get", trace.WithAttributes(attribute.String("cache.key", key)))
}

func result(s trace.Span, r string) { s.SetAttributes(attribute.String("cache.result", r)) }

func one(t *testing.T, n watch.Now) watch.Flight {
	t.Helper()
	if len(n.Flights) != 1 {
		t.Fatalf("%d flights, want 1: %+v", len(n.Flights), n.Flights)
	}
	return n.Flights[0]
}

// 07: a doomed flight's span ends, and those who wait for it are seen to wait.
func TestDoomedFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t)
		ctx, leader := c.get(t.Context(), "a")
		_, flight := c.tracer.Start(ctx, "flight")
		result(leader, "miss")
		var waiters []trace.Span
		for range 4 {
			_, s := c.get(t.Context(), "a")
			result(s, "joined")
			s.AddLink(trace.Link{SpanContext: flight.SpanContext()})
			waiters = append(waiters, s)
		}
		time.Sleep(time.Second)
		f := one(t, c.w.Now())
		if f.Key != "a" || f.TraceID != leader.SpanContext().TraceID().String() || f.SpanID != flight.SpanContext().SpanID().String() ||
			!f.Shared || f.Ended || f.Waiters != 4 || f.Linked != 4 || f.AgeMS != 1000 || len(f.WaiterTraces) != 4 {
			t.Errorf("in the air: %+v", f)
		}
		flight.SetStatus(codes.Error, "the load did not return")
		flight.End()
		leader.End()
		time.Sleep(time.Minute)
		n := c.w.Now()
		f = one(t, n)
		if f.Key != "a" || f.TraceID != leader.SpanContext().TraceID().String() || !f.Ended || f.EndedMS != 60_000 || f.AgeMS != 61_000 ||
			f.Error != "the load did not return" || f.Waiters != 4 {
			t.Errorf("after its end: %+v", f)
		}
		if want := (watch.Counters{Misses: 1, Joined: 4, Loads: 1}); n.Counters != want {
			t.Errorf("counters %+v, want %+v", n.Counters, want)
		}
		for _, s := range waiters {
			s.End()
		}
		if n := c.w.Now(); len(n.Flights) != 0 || n.Running != 0 || n.Counters.Joined != 4 {
			t.Errorf("when nobody waits any more: %+v", n)
		}
	})
}

// 08: a waiter has no link while it waits; what it has is the key.
func TestWaitersWithoutLinks(t *testing.T) {
	c := newCache(t)
	ctx, leader := c.get(t.Context(), "a")
	_, flight := c.tracer.Start(ctx, "flight")
	_, waiter := c.get(t.Context(), "a")
	_, other := c.get(t.Context(), "b")
	if f := one(t, c.w.Now()); f.Waiters != 1 || f.Linked != 0 {
		t.Errorf("got %+v, want one waiter, not linked", f)
	}
	flight.End()
	for _, s := range []trace.Span{leader, waiter, other} { // a panic: none has a result
		s.End()
	}
	if n := c.w.Now(); n.Counters != (watch.Counters{Unknown: 3, Loads: 1}) || len(n.Flights) != 0 {
		t.Errorf("after the panic: %+v", n)
	}
}

// 05: there is no flight, and each miss is a load.
func TestLoadsWithoutFlights(t *testing.T) {
	c := newCache(t)
	var spans []trace.Span
	for range 5 {
		_, s := c.get(t.Context(), "a")
		result(s, "miss")
		spans = append(spans, s)
	}
	n := c.w.Now()
	if len(n.Flights) != 5 || n.Counters != (watch.Counters{Misses: 5, Loads: 5}) {
		t.Errorf("in the air: %+v", n)
	}
	for _, f := range n.Flights {
		if f.Shared || f.Waiters != 0 || f.Key != "a" {
			t.Errorf("got %+v", f)
		}
	}
	for _, s := range spans {
		s.End()
	}
	_, hit := c.get(t.Context(), "a")
	result(hit, "hit")
	hit.End()
	if n := c.w.Now(); len(n.Flights) != 0 || n.Counters != (watch.Counters{Hits: 1, Misses: 5, Loads: 5}) {
		t.Errorf("afterwards: %+v", n)
	}
}

// 10: a flight goes on when its callers have gone home with an old value, and who
// gets one waits for nobody.
func TestStale(t *testing.T) {
	c := newCache(t)
	ctx, leader := c.get(t.Context(), "a")
	_, flight := c.tracer.Start(ctx, "flight")
	result(leader, "stale")
	leader.End()
	_, second := c.get(t.Context(), "a")
	result(second, "stale")
	second.AddLink(trace.Link{SpanContext: flight.SpanContext()})
	if f := one(t, c.w.Now()); f.Key != "a" || f.Waiters != 0 || f.Ended {
		t.Errorf("in the air: %+v", f)
	}
	second.End()
	flight.End()
	for _, r := range []string{"failed", "busy", "busy"} {
		_, s := c.get(t.Context(), "a")
		result(s, r)
		s.End()
	}
	if n := c.w.Now(); n.Counters != (watch.Counters{Stale: 2, Failed: 1, Busy: 2, Loads: 1}) || len(n.Flights) != 0 {
		t.Errorf("afterwards: %+v", n)
	}
}

// 06: a caller that waits for the lock wants a key, and waits for no flight of
// it.
func TestQueues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t)
		ctx, leader := c.get(t.Context(), "a")
		_, wait := c.tracer.Start(ctx, "lock.wait")
		wait.End()
		result(leader, "miss")
		for _, key := range []string{"b", "a", "a"} {
			ctx, _ := c.get(t.Context(), key)
			c.tracer.Start(ctx, "lock.wait")
			time.Sleep(time.Second)
		}
		n := c.w.Now()
		want := []watch.Queue{{Key: "b", Callers: 1, AgeMS: 3000}, {Key: "a", Callers: 2, AgeMS: 2000}}
		if f := one(t, n); f.Waiters != 0 || fmt.Sprint(n.Queues) != fmt.Sprint(want) {
			t.Errorf("got %+v and %+v, want %+v", f, n.Queues, want)
		}
	})
}

// A flight may be someone else's, deep below cache.get or with another key.
func TestForeignFlights(t *testing.T) {
	c := newCache(t)
	ctx, _ := c.get(t.Context(), "a")
	ctx, _ = c.tracer.Start(ctx, "refresh")
	c.tracer.Start(ctx, "flight")
	c.tracer.Start(t.Context(), "flight", trace.WithAttributes(attribute.String("cache.key", "b")))
	c.tracer.Start(t.Context(), "flight")
	keys := map[string]int{}
	for _, f := range c.w.Now().Flights {
		keys[f.Key]++
	}
	if fmt.Sprint(keys) != "map[:1 a:1 b:1]" {
		t.Errorf("keys %v", keys)
	}
}

// A link to a flight that has long been forgotten says still whose it was.
func TestForgottenFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t)
		_, old := c.tracer.Start(t.Context(), "flight")
		old.End()
		for range 2000 {
			_, s := c.tracer.Start(t.Context(), "flight")
			s.End()
		}
		_, s := c.get(t.Context(), "a")
		s.AddLink(trace.Link{SpanContext: old.SpanContext()})
		time.Sleep(time.Second)
		if f := one(t, c.w.Now()); !f.Ended || f.Key != "a" || f.TraceID != old.SpanContext().TraceID().String() || f.AgeMS != 1000 || !f.Started.IsZero() {
			t.Errorf("got %+v", f)
		}
	})
}

func TestSpans(t *testing.T) {
	c := newCache(t)
	ctx, request := c.tracer.Start(t.Context(), "GET")
	c.get(t.Context(), "other")
	get, s := c.get(ctx, "a")
	c.tracer.Start(get, "flight")
	s.AddLink(trace.Link{SpanContext: request.SpanContext()})
	show := func() (out []string) {
		for _, s := range c.w.Spans(0) {
			out = append(out, fmt.Sprintf("%d %s %s ended=%v links=%d", s.Depth, s.Service, s.Name, s.ParentEnded, len(s.Links)))
		}
		return out
	}
	want := []string{"0 plaque GET ended=false links=0", "1 plaque cache.get ended=false links=1", "2 plaque flight ended=false links=0", "0 plaque cache.get ended=false links=0"}
	if got := show(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %q, want %q", got, want)
	}
	request.End()
	want = []string{"0 plaque cache.get ended=false links=0", "0 plaque cache.get ended=true links=1", "1 plaque flight ended=false links=0"}
	if got := show(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("after the request: %q, want %q", got, want)
	}
	if got := c.w.Spans(2); len(got) != 2 {
		t.Errorf("%d spans, want at most 2", len(got))
	}
}

// Spans that never end do not fill the memory.
func TestBounded(t *testing.T) {
	c := newCache(t)
	_, first := c.get(t.Context(), "a")
	for range 20_000 {
		c.tracer.Start(t.Context(), "http.getconn")
	}
	n := c.w.Now()
	if n.Running != 20_000 || n.Dropped != 1 {
		t.Errorf("%d running, %d dropped", n.Running, n.Dropped)
	}
	result(first, "hit")
	first.End() // no longer kept, and counted all the same
	if n := c.w.Now(); n.Counters.Hits != 1 {
		t.Errorf("%+v", n.Counters)
	}
}

// Counters never go down, and spans come and go meanwhile.
func TestConcurrent(t *testing.T) {
	c := newCache(t)
	var all sync.WaitGroup
	done := make(chan struct{})
	for range 4 {
		all.Go(func() {
			for range 300 {
				ctx, get := c.get(t.Context(), "a")
				_, flight := c.tracer.Start(ctx, "flight")
				result(get, "miss")
				_, waiter := c.get(t.Context(), "a")
				result(waiter, "joined")
				waiter.AddLink(trace.Link{SpanContext: flight.SpanContext()})
				flight.End()
				waiter.End()
				get.End()
			}
		})
	}
	go func() { all.Wait(); close(done) }()
	var last watch.Counters
	for {
		n := c.w.Now()
		c.w.Spans(10)
		if now := n.Counters; now.Misses < last.Misses || now.Joined < last.Joined || now.Loads < last.Loads {
			t.Fatalf("counters went from %+v to %+v", last, now)
		}
		last = n.Counters
		select {
		case <-done:
			if n := c.w.Now(); n.Counters != (watch.Counters{Misses: 1200, Joined: 1200, Loads: 1200}) || n.Running != 0 || len(n.Flights) != 0 {
				t.Errorf("in the end: %+v", n)
			}
			return
		default:
		}
	}
}
