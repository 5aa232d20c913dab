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

// PanicError is what callers get when the load panicked. It wraps the value of
// the panic where that is an error.
type PanicError struct {
	Value any
	Stack []byte // of the goroutine that panicked
}

func (e *PanicError) Error() string { return fmt.Sprintf("the load panicked: %v", e.Value) }

// Unwrap returns the panic's value if it is an error, else nil.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// Cache keeps the values of keys for a time. Make one with New; its methods may
// be called at once, also by load. Its memory grows with the number of
// different keys, until Forget.
type Cache[K comparable, V any] struct {
	ttl, timeout time.Duration
	load         func(context.Context, K) (V, error)

	mu      sync.RWMutex // protects entries, flights and the flights' waiters and landed; never held across load
	entries map[K]entry[V]
	flights map[K]*flight[V] // loads in the air
}

// entry is a value and when it was stored.
type entry[V any] struct {
	value  V
	stored time.Time
}

// flight is one load and all who wait for it. It lands exactly once.
type flight[V any] struct {
	span    trace.Span
	cancel  context.CancelFunc // of the load
	waiters int                // callers who still want the answer, the leader among them
	landed  bool

	done  chan struct{} // closed when the flight has landed
	value V             // set before done is closed, fixed afterwards
	err   error         // likewise
}

// An Option changes what New makes.
type Option func(*options)

type options struct{ timeout time.Duration }

// WithTimeout bounds how long callers wait for one load.
func WithTimeout(d time.Duration) Option { return func(o *options) { o.timeout = d } }

// New makes a cache that keeps what load returns for ttl.
func New[K comparable, V any](ttl time.Duration, load func(context.Context, K) (V, error), opts ...Option) *Cache[K, V] {
	o := options{timeout: DefaultTimeout}
	for _, opt := range opts {
		opt(&o)
	}
	return &Cache[K, V]{ttl: ttl, timeout: o.timeout, load: load,
		entries: map[K]entry[V]{}, flights: map[K]*flight[V]{}}
}

// Get returns the value of key: the one that it remembers, if that is younger
// than the ttl, or else what the key's flight brings.
//
// Errors go to all who wait for the flight and are not remembered: load's own,
// a *PanicError, ErrGoexit, or one that wraps context.DeadlineExceeded when the
// load takes longer than the timeout. A caller whose own ctx ends gets that
// context's cause at once; the flight goes on as long as somebody waits.
func (c *Cache[K, V]) Get(ctx context.Context, key K) (V, error) {
	// A hit takes some 25 ns; a span that nobody records would take ten times
	// as long again.
	if !trace.SpanFromContext(ctx).IsRecording() {
		return c.get(ctx, key)
	}
	ctx, span := tracer.Start(ctx, "cache.get", trace.WithAttributes(attribute.String("cache.key", fmt.Sprint(key))))
	defer span.End()
	return c.get(ctx, key)
}

// get is Get under the span of ctx.
func (c *Cache[K, V]) get(ctx context.Context, key K) (V, error) {
	span := trace.SpanFromContext(ctx)
	if value, ok := c.fresh(key); ok {
		span.SetAttributes(attribute.String("cache.result", "hit"))
		return value, nil
	}
	if ctx.Err() != nil { // whoever has left already starts nothing
		var none V
		return none, context.Cause(ctx)
	}
	value, f, result := c.board(ctx, key)
	span.SetAttributes(attribute.String("cache.result", result))
	switch result {
	case "hit":
		return value, nil
	case "joined":
		span.AddLink(trace.Link{SpanContext: f.span.SpanContext()})
	}
	select {
	case <-f.done:
		return f.value, f.err
	case <-ctx.Done():
		c.leave(key, f)
		var none V
		return none, context.Cause(ctx)
	}
}

// Forget drops the value of key. A load in the air goes on for those who wait
// for it, but what it brings is not stored, and whoever asks from now on gets a
// new load.
func (c *Cache[K, V]) Forget(key K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.entries, key)
	delete(c.flights, key)
}

// fresh returns the value of key if it is young enough.
func (c *Cache[K, V]) fresh(key K) (V, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.look(key)
}

// look is fresh for those who hold the lock.
func (c *Cache[K, V]) look(key K) (V, bool) {
	e, ok := c.entries[key]
	return e.value, ok && time.Since(e.stored) < c.ttl
}

// board returns the value on a hit, or else the flight to wait for: the one in
// the air, joined, or a new one after a miss.
func (c *Cache[K, V]) board(ctx context.Context, key K) (value V, f *flight[V], result string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	// The second look: between the first one and this lock, the flight that we
	// would have joined may have landed, and we would load once more.
	if value, ok := c.look(key); ok {
		return value, nil, "hit"
	}
	if f, ok := c.flights[key]; ok {
		f.waiters++
		return value, f, "joined"
	}
	f = &flight[V]{done: make(chan struct{}), waiters: 1}
	// Detached: the load keeps the leader's values, its trace among them, but
	// not its hang-up. In exchange it gets a timeout of its own. The span
	// starts under the lock, so that whoever finds the flight can link to it.
	ctx, f.span = tracer.Start(context.WithoutCancel(ctx), "flight")
	ctx, f.cancel = context.WithTimeoutCause(ctx, c.timeout,
		fmt.Errorf("the load did not end within %v: %w", c.timeout, context.DeadlineExceeded))
	c.flights[key] = f
	go c.fly(ctx, key, f)
	return value, f, "miss"
}

// fly loads, in a goroutine of its own, and lands in one defer, which runs
// whether load returns, panics or ends the goroutine.
func (c *Cache[K, V]) fly(ctx context.Context, key K, f *flight[V]) {
	// A load that ignores its context holds nobody past the timeout.
	stop := context.AfterFunc(ctx, func() {
		var none V
		c.land(key, f, none, context.Cause(ctx))
	})
	var value V
	err := ErrGoexit // until load has returned
	defer func() {
		if p := recover(); p != nil {
			err = &PanicError{p, debug.Stack()}
		}
		stop()
		c.land(key, f, value, err)
	}()
	value, err = c.load(ctx, key)
}

// land gives a flight its end. The first end counts: the load's, the timeout's,
// or that of the last waiter who left.
func (c *Cache[K, V]) land(key K, f *flight[V], value V, err error) {
	c.mu.Lock()
	if f.landed {
		c.mu.Unlock()
		return
	}
	f.landed, f.value, f.err = true, value, err
	// Forget, or the last waiter, may have taken the key from this flight, and
	// another flight may have it by now.
	if c.flights[key] == f {
		delete(c.flights, key)
		if err == nil {
			c.entries[key] = entry[V]{value, time.Now()}
		}
	}
	c.mu.Unlock()
	f.cancel() // the load's context, if it still runs; its timer, if not
	if err != nil {
		f.span.SetStatus(codes.Error, fmt.Sprint(err))
	}
	if p, ok := err.(*PanicError); ok {
		f.span.RecordError(p, trace.WithAttributes(attribute.String("exception.stacktrace", string(p.Stack))))
	}
	f.span.End()
	close(f.done)
}

// leave takes one waiter off a flight. When the last one has left, nobody wants
// the answer: the load is cancelled and the key is free.
func (c *Cache[K, V]) leave(key K, f *flight[V]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f.waiters--
	if f.waiters > 0 {
		return
	}
	if c.flights[key] == f {
		delete(c.flights, key)
	}
	f.cancel()
}
