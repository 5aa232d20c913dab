// Package cache remembers what a load returned, for a while, and coalesces the
// loads of callers who miss at once.
//
// The claim of step 07: one load a key, and a load of one key holds up nobody
// who wants another. But the flight lands only if the load returns: after one
// panic everybody who asks for the key waits for ever.
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

// Cache keeps the values of keys for a time. Make one with New; its methods may
// be called at once. It never forgets a key, so its memory grows with the
// number of different keys.
type Cache[K comparable, V any] struct {
	ttl  time.Duration
	load func(context.Context, K) (V, error)

	mu      sync.Mutex // protects entries and flights; never held across load
	entries map[K]entry[V]
	flights map[K]*flight[V] // loads in the air
}

// flight is one load and all who wait for it.
type flight[V any] struct {
	span trace.SpanContext // what a waiter links to
	done chan struct{}     // closed when value and err are set

	value V
	err   error
}

// entry is a value and when it was stored.
type entry[V any] struct {
	value  V
	stored time.Time
}

// New makes a cache that keeps what load returns for ttl.
func New[K comparable, V any](ttl time.Duration, load func(context.Context, K) (V, error)) *Cache[K, V] {
	return &Cache[K, V]{ttl: ttl, load: load, entries: map[K]entry[V]{}, flights: map[K]*flight[V]{}}
}

// Get returns the value of key: the one that it remembers, if that is younger
// than the ttl, or else what the key's flight brings. The first caller who
// finds no flight is its leader and loads, in its own goroutine; the others
// join and wait. Errors are load's own, go to all who waited, and are not
// remembered.
func (c *Cache[K, V]) Get(ctx context.Context, key K) (V, error) {
	ctx, span := tracer.Start(ctx, "cache.get", trace.WithAttributes(attribute.String("cache.key", fmt.Sprint(key))))
	defer span.End()

	c.mu.Lock()
	if e, ok := c.entries[key]; ok && time.Since(e.stored) < c.ttl {
		c.mu.Unlock()
		span.SetAttributes(attribute.String("cache.result", "hit"))
		return e.value, nil
	}
	if f, ok := c.flights[key]; ok {
		c.mu.Unlock()
		span.SetAttributes(attribute.String("cache.result", "joined"))
		span.AddLink(trace.Link{SpanContext: f.span})
		<-f.done
		return f.value, f.err
	}
	ctx, flying := tracer.Start(ctx, "flight")
	defer flying.End()
	f := &flight[V]{span: flying.SpanContext(), done: make(chan struct{})}
	c.flights[key] = f
	c.mu.Unlock()
	span.SetAttributes(attribute.String("cache.result", "miss"))

	flying.SetStatus(codes.Error, "the load did not return") // until it has
	f.value, f.err = c.load(ctx, key)
	if f.err != nil {
		flying.SetStatus(codes.Error, f.err.Error())
	} else {
		flying.SetStatus(codes.Ok, "")
	}

	// The landing: store, clear, wake. It is as easy to get right as it looks,
	// and none of it happens when load panics or ends its goroutine.
	c.mu.Lock()
	if f.err == nil {
		c.entries[key] = entry[V]{f.value, time.Now()}
	}
	delete(c.flights, key)
	c.mu.Unlock()
	close(f.done)
	return f.value, f.err
}
