// Package cache remembers what a load returned, for a while, and coalesces the
// loads of callers who miss at once.
//
// The claim of step 10: a feed that is slow or down costs callers an older answer
// where there is one, and else an error at once; it is left alone meanwhile; and
// no stranger can fill the memory, or start loads without end.
//
// What step 09 promises holds here too, with options and without. What it kept by
// itself, for a time, is kept here by a library, within a bound.
package cache

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

var tracer = otel.Tracer("plaque/cache")

// ErrGoexit is what callers get when the load ended its goroutine with
// runtime.Goexit, as t.FailNow does.
var ErrGoexit = errors.New("the load ended its goroutine without an answer")

// hit is a variable so that a hit without a span allocates nothing.
var hit = []attribute.KeyValue{attribute.String("cache.result", "hit")}

// PanicError is what callers get when the load panicked. It wraps the value of
// the panic where that is an error.
type PanicError struct {
	Value any
	Stack []byte // of the goroutine that panicked
}

func (e *PanicError) Error() string { return fmt.Sprintf("the load panicked: %v", e.Value) }

// Unwrap returns the panic's value if it is an error, else nil.
func (e *PanicError) Unwrap() error { err, _ := e.Value.(error); return err }

// Cache keeps the values of keys for a time, and as many as it may. Make one with
// New; its methods may be called at once, also by load.
type Cache[K comparable, V any] struct {
	options
	ttl  time.Duration
	load func(context.Context, K) (V, error)

	// Stats, each by its name.
	hits, stale, misses, joined, spared, refused, loads, failures, panics atomic.Int64

	// entries are the values, fresh and old. What is asked for once cannot push
	// out what is asked for again and again. It has a lock of its own, which a
	// hit takes. Written under mu.
	entries *lru.TwoQueueCache[K, entry[V]]

	mu      sync.Mutex              // protects what follows, and waiters; never held across load
	flights map[K]*flight[V]        // loads in the air
	failed  *lru.Cache[K, *failure] // keys whose last load failed; apart, so that they push out no value
	running int                     // goroutines in load, also those whose flight has landed without them
}

// entry is a value and how long it will do.
type entry[V any] struct {
	value V
	fresh time.Time // it is a hit until then;
	old   time.Time // until then it is served while a new one loads,
	last  time.Time // and until then when there is no new one to be had
}

// flight is one load and all who wait for it.
type flight[V any] struct {
	span    trace.Span
	cancel  context.CancelFunc // of the load
	timer   *time.Timer        // lands the flight when the load takes too long
	waiters int                // callers who still want the answer; the one who was served an old value does, without waiting

	landed atomic.Bool
	done   chan struct{} // closed when the flight has landed
	value  V             // set before done is closed, fixed afterwards, like the rest
	err    error
	old    bool // the load failed, and value is the one from before
}

// New makes a cache that keeps what load returns for ttl, from the end of the
// load. With a ttl of 0 or less it keeps nothing, and only coalesces.
func New[K comparable, V any](ttl time.Duration, load func(context.Context, K) (V, error), opts ...Option) *Cache[K, V] {
	c := &Cache[K, V]{options: options{timeout: DefaultTimeout, maxKeys: DefaultMaxKeys}, ttl: ttl, load: load, flights: map[K]*flight[V]{}}
	for _, opt := range opts {
		opt(&c.options)
	}
	// Their only error is a size that the options do not let through.
	c.entries, _ = lru.New2Q[K, entry[V]](c.maxKeys)
	c.failed, _ = lru.New[K, *failure](c.maxKeys)
	return c
}

// Get returns the value of key: the one that it remembers, or else what the
// key's flight brings. With options that allow it, an old value is returned at
// once while a flight brings the new one, and where no load may start or the
// load has failed.
//
// Errors go to all who wait for the flight: load's own, a *PanicError,
// ErrGoexit, or one that wraps context.DeadlineExceeded when the load takes
// longer than the timeout; with WithBackoff in a *FailedError, which whoever
// asks too early gets as well. It is ErrBusy when there are as many loads as
// WithMaxLoads allows. A caller whose own ctx ends gets that context's cause at
// once; the flight goes on as long as somebody wants it.
func (c *Cache[K, V]) Get(ctx context.Context, key K) (V, error) {
	span := trace.SpanFromContext(ctx)
	if span.IsRecording() { // one that nobody records would take ten times as long as a hit
		ctx, span = tracer.Start(ctx, "cache.get", trace.WithAttributes(attribute.String("cache.key", fmt.Sprint(key))))
		defer span.End()
	}
	if e, ok := c.entries.Get(key); ok && time.Now().Before(e.fresh) {
		c.hits.Add(1)
		span.SetAttributes(hit...)
		return e.value, nil
	}
	if ctx.Err() != nil { // whoever has left already starts nothing
		return *new(V), context.Cause(ctx)
	}
	b := c.board(ctx, key)
	if span.IsRecording() { // else what it is told is thrown away, and costs an allocation
		span.SetAttributes(attribute.String("cache.result", b.result))
		if b.flight != nil && !b.leads {
			span.AddLink(trace.Link{SpanContext: b.flight.span.SpanContext()})
		}
	}
	if b.result != "miss" && b.result != "joined" {
		return b.value, b.err
	}
	f := b.flight
	select {
	case <-f.done:
		if f.old {
			span.SetAttributes(attribute.Bool("cache.stale", true))
		}
		return f.value, f.err
	case <-ctx.Done():
		c.leave(key, f)
		return *new(V), context.Cause(ctx)
	}
}

// Forget drops the value of key, and what is remembered of its failures. A load
// in the air goes on for those who wait for it, but what it brings is not
// stored, and whoever asks from now on gets a new load.
func (c *Cache[K, V]) Forget(key K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries.Remove(key)
	c.failed.Remove(key)
	delete(c.flights, key)
}

// boarding is what becomes of a caller who had no hit at first sight.
type boarding[V any] struct {
	result string     // hit, stale, failed, busy: served at once; miss, joined: waits for flight
	flight *flight[V] // the key's flight in the air, if there is one
	leads  bool       // flight is the caller's own
	value  V          // what is served at once
	err    error
}

// board decides what becomes of a caller, and starts the key's flight if there
// is none and one may start.
func (c *Cache[K, V]) board(ctx context.Context, key K) (b boarding[V]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	// The second look: between the first one and this lock, the flight that we
	// would have joined may have landed, and we would load once more.
	e, found := c.entries.Get(key)
	if found && now.Before(e.fresh) {
		c.hits.Add(1)
		b.value, b.result = e.value, "hit"
		return b
	}
	b.flight = c.flights[key]
	if b.flight == nil {
		if b.err = c.mayLoad(key, now); b.err == nil {
			b.flight, b.leads = c.takeOff(ctx, key), true
		}
	}
	switch {
	case found && (now.Before(e.old) || b.err != nil && now.Before(e.last)):
		c.stale.Add(1)
		b.value, b.err, b.result = e.value, nil, "stale"
	case b.err == ErrBusy:
		c.refused.Add(1)
		b.result = "busy"
	case b.err != nil:
		c.spared.Add(1)
		b.result = "failed"
	case b.leads:
		c.misses.Add(1)
		b.result = "miss"
	default:
		c.joined.Add(1)
		b.flight.waiters++
		b.result = "joined"
	}
	return b
}

// mayLoad says why key may not be loaded now: it has just failed, or too many
// loads run.
func (c *Cache[K, V]) mayLoad(key K, now time.Time) error {
	if f, ok := c.failed.Get(key); ok && now.Before(f.err.Until) {
		return f.err
	}
	if c.maxLoads > 0 && c.running >= c.maxLoads {
		return ErrBusy
	}
	return nil
}

// takeOff starts a flight. The caller holds mu.
func (c *Cache[K, V]) takeOff(ctx context.Context, key K) *flight[V] {
	f := &flight[V]{done: make(chan struct{}), waiters: 1}
	// Detached: the load keeps the leader's values, its trace among them, but
	// not its hang-up. In exchange it gets a timeout of its own. The span
	// starts under the lock, so that whoever finds the flight can link to it.
	ctx, f.span = tracer.Start(context.WithoutCancel(ctx), "flight")
	ctx, f.cancel = context.WithTimeout(ctx, c.timeout)
	// A load that ignores its context holds nobody past the timeout.
	f.timer = time.AfterFunc(c.timeout, func() {
		c.land(key, f, *new(V), fmt.Errorf("the load did not end within %v: %w", c.timeout, context.DeadlineExceeded))
	})
	c.flights[key] = f
	c.running++
	go c.fly(ctx, key, f)
	return f
}

// fly loads, in a goroutine of its own, and lands in one defer, which runs
// whether load returns, panics or ends the goroutine.
func (c *Cache[K, V]) fly(ctx context.Context, key K, f *flight[V]) {
	value, err := *new(V), ErrGoexit // until load has returned
	defer func() {
		if p := recover(); p != nil {
			c.panics.Add(1)
			err = f.panicked(p)
		}
		c.land(key, f, value, err)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.running--
	}()
	value, err = c.load(ctx, key)
}

// panicked makes an error of a panic's value, and tells the trace.
func (f *flight[V]) panicked(p any) error {
	err := &PanicError{p, debug.Stack()}
	f.span.RecordError(err, trace.WithAttributes(attribute.String("exception.stacktrace", string(err.Stack))))
	return err
}

// land gives a flight its end. The first end counts: the load's, or its timeout.
func (c *Cache[K, V]) land(key K, f *flight[V], value V, err error) {
	if f.landed.Swap(true) {
		return
	}
	f.value, f.err = value, err
	c.mu.Lock()
	// Forget, or the last waiter, may have taken the key from this flight, and
	// another flight may have it by now.
	if c.flights[key] == f {
		delete(c.flights, key)
		if err == nil {
			c.keep(key, value)
		} else {
			f.err = c.remember(key, err)
			if e, ok := c.entries.Get(key); ok && time.Now().Before(e.last) {
				f.value, f.err, f.old = e.value, nil, true
			}
		}
	}
	c.mu.Unlock()
	f.timer.Stop()
	f.cancel() // the load's context, if it still runs; its timer, if not
	if err != nil {
		c.failures.Add(1)
		f.span.SetStatus(codes.Error, fmt.Sprint(err))
	}
	f.span.End()
	c.loads.Add(1)
	close(f.done)
}

// keep stores a new value. The caller holds mu.
func (c *Cache[K, V]) keep(key K, value V) {
	c.failed.Remove(key)
	if c.ttl <= 0 {
		return
	}
	fresh := time.Now().Add(c.ttl - time.Duration(c.jitter*rand.Float64()*float64(c.ttl)))
	c.entries.Add(key, entry[V]{value, fresh, fresh.Add(c.whileRevalidate), fresh.Add(c.ifError)})
}

// leave takes one waiter off a flight. When the last one has left, nobody wants
// the answer: the key is free at once, and the load is cancelled.
func (c *Cache[K, V]) leave(key K, f *flight[V]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.waiters--; f.waiters == 0 {
		if c.flights[key] == f {
			delete(c.flights, key)
		}
		f.cancel()
	}
}
