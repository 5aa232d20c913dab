// Package cache remembers what a load returned, for a while, and coalesces the
// loads of callers that miss at once.
//
// The claim of step 09: whatever a load does, all get an answer. The key recovers.
package cache

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

var tracer = otel.Tracer("plaque/cache")

// Cache keeps the values of keys for a time. Its methods may be called at once.
// It never forgets a key, so its memory grows with the number of different keys.
type Cache[K comparable, V any] struct {
	ttl  time.Duration
	load func(context.Context, K) (V, error)

	mu      sync.Mutex // protects what follows; never held across load
	entries map[K]entry[V]
	flights map[K]*flight[V] // loads in the air
}

// entry is a value and when it was stored.
type entry[V any] struct {
	value  V
	stored time.Time
}

// flight is one load and all callers that wait for it.
type flight[V any] struct {
	span    trace.Span         // what a waiter links to
	cancel  context.CancelFunc // of the load's context
	waiters int                // callers that still want the answer; mu protects it
	done    chan struct{}      // closed when value and err are set
	value   V
	err     error
}

// New makes a cache that keeps what load returns for ttl.
func New[K comparable, V any](ttl time.Duration, load func(context.Context, K) (V, error)) *Cache[K, V] {
	return &Cache[K, V]{ttl: ttl, load: given(load), entries: map[K]entry[V]{}, flights: map[K]*flight[V]{}}
}

// Get returns the value of key: the one that it remembers, or what the key's flight
// brings, errors too. A caller whose own context ends gets its cause at once.
func (c *Cache[K, V]) Get(ctx context.Context, key K) (V, error) {
	ctx, span := tracer.Start(ctx, "cache.get",
		trace.WithAttributes(attribute.String("cache.key", text(key))))
	defer span.End()
	value, f, result := c.lookup(ctx, key)
	span.SetAttributes(attribute.String("cache.result", result))
	if result == "hit" {
		return value, nil
	}
	if result == "joined" {
		span.AddLink(trace.Link{SpanContext: f.span.SpanContext()})
	}
	select {
	case <-f.done:
		if f.err != nil {
			span.SetStatus(codes.Error, "the flight failed") // its span says why
			return value, f.err
		}
		return f.value, nil
	case <-ctx.Done():
		c.mu.Lock()
		f.waiters--
		if f.waiters == 0 { // nobody wants the answer any more
			f.cancel()
		}
		c.mu.Unlock()
		return value, context.Cause(ctx)
	}
}

// lookup returns a value, or the flight to wait for: one in the air, or a new one.
func (c *Cache[K, V]) lookup(ctx context.Context, key K) (value V, f *flight[V], result string) {
	left := ctx.Err() != nil
	c.mu.Lock()
	defer c.mu.Unlock()
	if value, ok := c.fresh(key); ok {
		return value, nil, "hit"
	}
	if f, ok := c.flights[key]; ok && f.waiters > 0 {
		f.waiters++
		return value, f, "joined"
	}
	f = &flight[V]{waiters: 1, done: make(chan struct{})}
	// Detached: the load keeps the leader's values, its trace too, but not its hang-up.
	ctx, f.cancel = context.WithTimeoutCause(context.WithoutCancel(ctx), Timeout, errTimeout)
	if left { // and starts nothing
		return value, f, ""
	}
	ctx, f.span = tracer.Start(ctx, "flight")
	if key == key { // NaN is not, and could not be deleted
		c.flights[key] = f
	}
	go c.fly(ctx, key, f)
	return value, f, "miss"
}

// fly loads. One defer lands, whether load returns, panics or ends its goroutine.
// If the time is up first, or all have left, that end counts.
func (c *Cache[K, V]) fly(ctx context.Context, key K, f *flight[V]) {
	stop := context.AfterFunc(ctx, func() { c.land(key, f, context.Cause(ctx)) })
	err := ErrGoexit // until load has returned
	defer func() {
		if p := recover(); p != nil {
			err = panicked(p, f.span)
		}
		if stop() {
			c.land(key, f, err)
		}
	}()
	f.value, err = c.load(ctx, key)
}

// land stores, clears and wakes. Only then does the span describe the error.
func (c *Cache[K, V]) land(key K, f *flight[V], err error) {
	c.mu.Lock()
	if c.flights[key] == f {
		delete(c.flights, key)
		if err == nil {
			c.store(key, f.value)
		}
	}
	c.mu.Unlock()
	f.err = err
	close(f.done)
	f.cancel()
	describe(f.span, err)
}

// fresh returns the value of key if it is young enough.
func (c *Cache[K, V]) fresh(key K) (V, bool) {
	e, ok := c.entries[key]
	return e.value, ok && time.Since(e.stored) < c.ttl
}

// store remembers the value of key from now on.
func (c *Cache[K, V]) store(key K, value V) {
	c.entries[key] = entry[V]{value, time.Now()}
}
