// Package cache remembers what a load returned, for a while, and coalesces the
// loads of callers that miss at once.
//
// The claim of step 07: one load a key, and a load of one key holds up no caller
// of another. But the flight lands only if the load returns: after one panic
// all callers of the key wait forever.
package cache

import (
	"context"
	"fmt"
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
	span trace.Span    // what a waiter links to
	done chan struct{} // closed when value and err are set

	value V
	err   error
}

// New makes a cache that keeps what load returns for ttl.
func New[K comparable, V any](ttl time.Duration, load func(context.Context, K) (V, error)) *Cache[K, V] {
	return &Cache[K, V]{ttl: ttl, load: load, entries: map[K]entry[V]{}, flights: map[K]*flight[V]{}}
}

// Get returns the value of key: the one that it remembers, if that is younger
// than the ttl, or else what the key's flight brings. The first caller that
// finds no flight is its leader and loads, in its own goroutine; the others
// join and wait. Errors are load's own, go to all waiters, and are not
// remembered.
func (c *Cache[K, V]) Get(ctx context.Context, key K) (V, error) {
	ctx, span := tracer.Start(ctx, "cache.get",
		trace.WithAttributes(attribute.String("cache.key", fmt.Sprint(key))))
	defer span.End()

	c.mu.Lock()
	if value, ok := c.fresh(key); ok {
		c.mu.Unlock()
		span.SetAttributes(attribute.String("cache.result", "hit"))
		return value, nil
	}
	f, ok := c.flights[key]
	if ok {
		c.mu.Unlock()
		span.SetAttributes(attribute.String("cache.result", "joined"))
		span.AddLink(trace.Link{SpanContext: f.span.SpanContext()})
		<-f.done
	} else {
		f = &flight[V]{done: make(chan struct{})}
		ctx, f.span = tracer.Start(ctx, "flight")
		c.flights[key] = f
		c.mu.Unlock()
		span.SetAttributes(attribute.String("cache.result", "miss"))
		c.fly(ctx, key, f)
	}
	if f.err != nil {
		span.SetStatus(codes.Error, f.err.Error())
	}
	return f.value, f.err
}

// fly loads, and lands: store, clear, wake. The landing is as easy to get right
// as it looks, and none of it happens when load panics or ends its goroutine.
func (c *Cache[K, V]) fly(ctx context.Context, key K, f *flight[V]) {
	defer f.span.End()
	f.span.SetStatus(codes.Error, "the load did not return") // Ok overrides Error
	f.value, f.err = c.load(ctx, key)
	if f.err != nil {
		f.span.SetStatus(codes.Error, f.err.Error())
	} else {
		f.span.SetStatus(codes.Ok, "")
	}

	c.mu.Lock()
	if f.err == nil {
		c.store(key, f.value)
	}
	delete(c.flights, key)
	c.mu.Unlock()
	close(f.done)
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
