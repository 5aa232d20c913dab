// Package cache remembers what a load returned, for a while, and coalesces the
// loads of callers who miss at once.
//
// The claim of step 09: whatever happens to a load, everybody who waits for it
// gets an answer, and the key heals. A load may return, fail, panic, end its
// goroutine, ignore its context or never come back; callers may leave, the
// first one too.
//
// This file needs the standard library and OpenTelemetry's API alone: copy it
// home.
package cache

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

var tracer = otel.Tracer("plaque/cache")

// DefaultTimeout is how long a load may take unless WithTimeout says otherwise.
const DefaultTimeout = 3 * time.Second

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

// Cache keeps the values of keys for a time, then lets go of them. Make one with
// New; its methods may be called at once, also by load.
type Cache[K comparable, V any] struct {
	ttl, timeout time.Duration
	load         func(context.Context, K) (V, error)

	// Stats, each by its name.
	hits, misses, joined, loads, failures, panics atomic.Int64

	// entries has an *entry[V] for each K that it remembers. With a sync.Map a
	// hit takes no lock, and no core waits for another. Written under mu.
	entries sync.Map

	mu      sync.Mutex       // protects flights, their waiters, and entries' timers; never held across load
	flights map[K]*flight[V] // loads in the air; a key has an entry, or a flight, or neither
}

// entry is a value that has not expired.
type entry[V any] struct {
	value V
	timer *time.Timer // removes the entry when it is as old as the ttl
}

// flight is one load and all who wait for it.
type flight[V any] struct {
	span    trace.Span
	cancel  context.CancelFunc // of the load
	timer   *time.Timer        // lands the flight when the load takes too long
	waiters int                // callers who still want the answer, the leader among them

	landed atomic.Bool
	done   chan struct{} // closed when the flight has landed
	value  V             // set before done is closed, fixed afterwards
	err    error         // likewise
}

// Stats counts since New.
//
// Of the callers, Hits found a value, Misses started a flight, and Joined joined
// the flight of another; who comes when its context is over and finds no value
// is none of these. Of the flights, Loads have landed, so that Misses less Loads
// are in the air; Failures are those of Loads that brought an error. Panics are
// loads that panicked, also after their flight had landed without them.
type Stats struct{ Hits, Misses, Joined, Loads, Failures, Panics int64 }

// An Option changes what New makes.
type Option func(*options)

type options struct{ timeout time.Duration }

// WithTimeout bounds how long callers wait for one load.
func WithTimeout(d time.Duration) Option { return func(o *options) { o.timeout = d } }

// New makes a cache that keeps what load returns for ttl, from the end of the
// load. With a ttl of 0 or less it keeps nothing, and only coalesces.
func New[K comparable, V any](ttl time.Duration, load func(context.Context, K) (V, error), opts ...Option) *Cache[K, V] {
	o := options{timeout: DefaultTimeout}
	for _, opt := range opts {
		opt(&o)
	}
	return &Cache[K, V]{ttl: ttl, timeout: o.timeout, load: load, flights: map[K]*flight[V]{}}
}

// Get returns the value of key: the one that it remembers, or else what the
// key's flight brings. A value is remembered until a timer removes it, so that a
// hit reads no clock; a timer is late by as long as goroutines wait for a core.
//
// Errors go to all who wait for the flight and are not remembered: load's own,
// a *PanicError, ErrGoexit, or one that wraps context.DeadlineExceeded when the
// load takes longer than the timeout. A caller whose own ctx ends gets that
// context's cause at once; the flight goes on as long as somebody waits.
func (c *Cache[K, V]) Get(ctx context.Context, key K) (V, error) {
	span := trace.SpanFromContext(ctx)
	if span.IsRecording() { // one that nobody records would take ten times as long as a hit
		ctx, span = tracer.Start(ctx, "cache.get", trace.WithAttributes(attribute.String("cache.key", fmt.Sprint(key))))
		defer span.End()
	}
	if value, ok := c.fresh(key); ok {
		span.SetAttributes(hit...)
		return value, nil
	}
	if ctx.Err() != nil { // whoever has left already starts nothing
		return *new(V), context.Cause(ctx)
	}
	value, f, result := c.board(ctx, key)
	if span.IsRecording() { // else what it is told is thrown away, and costs an allocation
		span.SetAttributes(attribute.String("cache.result", result))
		if result == "joined" {
			span.AddLink(trace.Link{SpanContext: f.span.SpanContext()})
		}
	}
	if result == "hit" {
		return value, nil
	}
	select {
	case <-f.done:
		return f.value, f.err
	case <-ctx.Done():
		c.leave(key, f)
		return value, context.Cause(ctx)
	}
}

// Forget drops the value of key. A load in the air goes on for those who wait
// for it, but what it brings is not stored, and whoever asks from now on gets a
// new load.
func (c *Cache[K, V]) Forget(key K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.entries.LoadAndDelete(key); ok {
		e.(*entry[V]).timer.Stop()
	}
	delete(c.flights, key)
}

// Stats returns the counts. It takes no lock and costs as much as a hit. Each
// count is exact; under way they are read one after the other, so that a caller
// can be in one and not yet in the next.
func (c *Cache[K, V]) Stats() Stats {
	return Stats{c.hits.Load(), c.misses.Load(), c.joined.Load(), c.loads.Load(), c.failures.Load(), c.panics.Load()}
}

// fresh returns the value of key if there is one, and counts the hit.
func (c *Cache[K, V]) fresh(key K) (value V, ok bool) {
	if e, ok := c.entries.Load(key); ok {
		c.hits.Add(1)
		return e.(*entry[V]).value, true
	}
	return value, false
}

// board returns the value on a hit, or else the flight to wait for: the one in
// the air, joined, or a new one after a miss.
func (c *Cache[K, V]) board(ctx context.Context, key K) (value V, f *flight[V], result string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	// The second look: between the first one and this lock, the flight that we
	// would have joined may have landed, and we would load once more.
	if value, ok := c.fresh(key); ok {
		return value, nil, "hit"
	}
	if f, ok := c.flights[key]; ok {
		f.waiters++
		c.joined.Add(1)
		return value, f, "joined"
	}
	f = &flight[V]{done: make(chan struct{}), waiters: 1}
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
	c.misses.Add(1)
	go c.fly(ctx, key, f)
	return value, f, "miss"
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
		if err == nil && c.ttl > 0 {
			e := &entry[V]{value: value}
			c.entries.Store(key, e) // before its timer starts, which could be quicker than we are
			e.timer = time.AfterFunc(c.ttl, func() { c.entries.CompareAndDelete(key, e) })
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
