// Package cachetest is the contract of a cache that coalesces loads, as tests.
// Each cache that promises the contract runs them from its own tests, as an
// fs.FS runs testing/fstest:
//
//	func TestContract(t *testing.T)     { cachetest.Run(t, subject) }
//	func TestForeign(t *testing.T)      { cachetest.Foreign(t, subject) }
//	func TestSchedules(t *testing.T)    { cachetest.Schedules(t, subject) }
//	func FuzzSchedules(f *testing.F)    { cachetest.Fuzz(f, subject) }
//	func TestSoak(t *testing.T)         { cachetest.Soak(t, subject) }
//
// A step whose cache keeps some of the promises names those to RunSome, and takes
// Record, Counted and Get for what it tests besides.
//
// The tests see a cache from outside. They set the global TracerProvider once,
// so that the spans of a tracer from otel.Tracer can be read. Callers and loads
// run in fake time (testing/synctest), except in Soak.
package cachetest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

// Load is what a cache loads with.
type Load = func(ctx context.Context, key any) (any, error)

// Cache is a cache under test. Its keys and values are of every type, so one
// instance of a generic cache does for all tests.
type Cache interface {
	Get(ctx context.Context, key any) (any, error)
}

// Subject is a kind of cache, and what it promises.
type Subject struct {
	// New makes a cache that keeps values for ttl after the end of their load.
	New func(ttl time.Duration, load Load) Cache
	// Timeout is how long callers of such a cache wait for a load.
	Timeout time.Duration
	// Goexit is the error for a load that ended its goroutine.
	Goexit error
	// Panic takes apart the error for a load that panicked; ok is false if err
	// is no such error.
	Panic func(err error) (value any, stack []byte, ok bool)
	// Flights is how many loads the cache has in the air. It may take a lock.
	Flights func(c Cache) int

	// A cache need not promise what follows; nil says that it does not.

	// Short makes a cache like New's, with this timeout.
	Short func(ttl, timeout time.Duration, load Load) Cache
	// Forget drops a key's value. A load in the air is not stored.
	Forget func(c Cache, key any)
	// Stats are the cache's counts.
	Stats func(c Cache) Stats
	// Quiet says that a caller without a recorded span makes no cache.get.
	Quiet bool
	// Words says that a caller's span has the words of the error that it got.
	Words bool
	// Entries is how many values the cache holds, expired ones included. A cache
	// that has it lets go of an expired value within a second, or a tenth of the
	// ttl if that is longer.
	Entries func(c Cache) int
}

// Stats counts since New: callers by what became of them, and loads.
type Stats struct{ Hits, Misses, Joined, Loads, Failures, Panics int64 }

// ttl is that of most caches under test.
const ttl = 5 * time.Second

var tracer = otel.Tracer("plaque/cachetest")

// relay hands the spans of the process to the test that runs.
type relay struct {
	to    atomic.Pointer[tracetest.SpanRecorder]
	start atomic.Pointer[act]
	end   atomic.Pointer[act]
}

func (r *relay) OnStart(ctx context.Context, s sdktrace.ReadWriteSpan) {
	if to := r.to.Load(); to != nil {
		to.OnStart(ctx, s)
	}
}

func (r *relay) OnEnd(s sdktrace.ReadOnlySpan) {
	r.end.Load().on(s.Name())
	if to := r.to.Load(); to != nil {
		to.OnEnd(s)
	}
}

func (*relay) Shutdown(context.Context) error   { return nil }
func (*relay) ForceFlush(context.Context) error { return nil }

var provider = sync.OnceValue(func() *relay {
	r := &relay{}
	otel.SetTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(r), sdktrace.WithSampler(r)))
	return r
})

// ShouldSample records every span. A test may have it do more.
func (r *relay) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	r.start.Load().on(p.Name)
	return sdktrace.AlwaysSample().ShouldSample(p)
}

func (*relay) Description() string { return "cachetest" }

// act is what is done at the start or the end of spans with a name.
type act struct {
	name string
	do   func()
}

func (a *act) on(name string) {
	if a != nil && a.name == name {
		a.do()
	}
}

// Sampler lets the sampler call do when a span with that name starts, until the
// test ends or stop is called.
func Sampler(t testing.TB, name string, do func()) (stop func()) {
	return during(t, &provider().start, name, do)
}

// Processor lets the span processor call do when a span with that name ends, until
// the test ends or stop is called.
func Processor(t testing.TB, name string, do func()) (stop func()) {
	return during(t, &provider().end, name, do)
}

func during(t testing.TB, at *atomic.Pointer[act], name string, do func()) (stop func()) {
	at.Store(&act{name, do})
	stop = func() { at.Store(nil) }
	t.Cleanup(stop)
	return stop
}

// Spans are the spans of one test.
type Spans struct{ *tracetest.SpanRecorder }

// Record collects the spans that are made until the test ends. Tests that record
// must not run in parallel.
func Record(t testing.TB) Spans {
	spans := tracetest.NewSpanRecorder()
	r := provider()
	was := r.to.Swap(spans)
	t.Cleanup(func() { r.to.Store(was) })
	return Spans{spans}
}

// Named are the spans with that name that have started and ended since Record. A
// flight's span ends after its callers have their answers: those of the test
// before may still be ending.
func (s Spans) Named(name string) []sdktrace.ReadOnlySpan {
	started := map[trace.SpanID]bool{}
	for _, span := range s.Started() {
		started[span.SpanContext().SpanID()] = true
	}
	var found []sdktrace.ReadOnlySpan
	for _, span := range s.Ended() {
		if span.Name() == name && started[span.SpanContext().SpanID()] {
			found = append(found, span)
		}
	}
	return found
}

// Results counts the cache.get spans by their cache.result.
func (s Spans) Results() map[string]int {
	n := map[string]int{}
	for _, span := range s.Named("cache.get") {
		n[Attribute(span, "cache.result")]++
	}
	return n
}

// Attribute is what a span says of key, "" for nothing.
func Attribute(s sdktrace.ReadOnlySpan, key string) string {
	for _, kv := range s.Attributes() {
		if string(kv.Key) == key {
			return kv.Value.String()
		}
	}
	return ""
}

// Watched is t's context with a span that is recorded, as a server's requests
// have one.
func Watched(t testing.TB) context.Context {
	provider()
	ctx, _ := tracer.Start(t.Context(), "caller")
	return ctx
}

// Counted is a load that takes d and counts its calls.
func Counted(d time.Duration) (*atomic.Int64, Load) {
	var n atomic.Int64
	return &n, func(_ context.Context, key any) (any, error) {
		n.Add(1)
		time.Sleep(d)
		return valueOf(key), nil
	}
}

// valueOf is what most loads return for a key.
func valueOf(key any) any { return "value of " + key.(string) }

// Get fails the test unless key, a string, has the value that a Counted load brings.
func Get[K, V any](t *testing.T, c interface {
	Get(context.Context, K) (V, error)
}, key K) {
	t.Helper()
	if v, err := c.Get(Watched(t), key); any(v) != valueOf(key) || err != nil {
		t.Errorf("Get(%v) = %v, %v", key, v, err)
	}
}

// loaded fails the test unless there have been want loads.
func loaded(t *testing.T, n *atomic.Int64, want int64, when string) {
	t.Helper()
	if got := n.Load(); got != want {
		t.Errorf("%d loads %s, want %d", got, when, want)
	}
}

var errOrigin = errors.New("the origin is down")
