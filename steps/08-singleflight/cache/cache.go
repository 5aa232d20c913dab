// Package cache remembers what a load returned, for a while, and coalesces the
// loads of callers that miss at once, with x/sync's singleflight.
//
// The claim of step 08: one load a key, and after a panic the key recovers. But
// the panic goes to every caller of the flight, and so does the leader's
// hang-up: the load runs under the context of the first caller.
package cache

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/singleflight"
)

var tracer = otel.Tracer("plaque/cache")

// Cache keeps the values of keys for a time. Its methods may be called at once.
// It never forgets a key, so its memory grows with the number of different keys.
type Cache[K comparable, V any] struct {
	ttl  time.Duration
	load func(context.Context, K) (V, error)

	flights singleflight.Group // one load a key

	mu      sync.Mutex // protects what follows; never held across load
	entries map[K]entry[V]
	names   map[K]string // of the flights
}

// entry is a value and when it was stored.
type entry[V any] struct {
	value  V
	stored time.Time
}

// flight is one load and all callers that wait for it.
type flight[V any] struct {
	span  trace.Span // what a waiter links to; nil if the second look found a value
	value V
	err   error
}

// New makes a cache that keeps what load returns for ttl.
func New[K comparable, V any](ttl time.Duration, load func(context.Context, K) (V, error)) *Cache[K, V] {
	return &Cache[K, V]{ttl: ttl, load: load, entries: map[K]entry[V]{}, names: map[K]string{}}
}

// Get returns the value of key: the one that it remembers, or what the key's flight
// brings: errors and panics, too. Those go to all waiters, and are not remembered.
func (c *Cache[K, V]) Get(ctx context.Context, key K) (V, error) {
	ctx, span := tracer.Start(ctx, "cache.get",
		trace.WithAttributes(attribute.String("cache.key", fmt.Sprint(key))))
	defer span.End()

	if value, ok := c.fresh(key); ok {
		span.SetAttributes(attribute.String("cache.result", "hit"))
		return value, nil
	}
	// Do reports that a result was shared to the leader, too. But the function runs
	// in the leader's goroutine alone.
	result := "joined"
	v, err, _ := c.flights.Do(c.name(key), func() (any, error) {
		result = "miss"
		f := &flight[V]{}
		c.fly(ctx, key, f)
		return f, f.err
	})
	f := v.(*flight[V])
	if f.span == nil {
		result = "hit"
	}
	span.SetAttributes(attribute.String("cache.result", result))
	if result == "joined" { // known only now, and never after a panic: Do does not return
		span.AddLink(trace.Link{SpanContext: f.span.SpanContext()})
	}
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
	}
	return f.value, err
}

// name returns a string that no other key has: singleflight's keys are strings,
// and unequal keys may print alike.
func (c *Cache[K, V]) name(key K) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	name, ok := c.names[key]
	if !ok {
		name = strconv.Itoa(len(c.names))
		c.names[key] = name
	}
	return name
}

// fly looks again, loads and stores. The second look matters: the flight that
// the caller would have joined may have landed between its look and Do.
func (c *Cache[K, V]) fly(ctx context.Context, key K, f *flight[V]) {
	if value, ok := c.fresh(key); ok {
		f.value = value
		return
	}
	ctx, f.span = tracer.Start(ctx, "flight")
	defer f.span.End()
	f.span.SetStatus(codes.Error, "the load did not return") // Ok overrides Error
	f.value, f.err = c.load(ctx, key)
	if f.err != nil {
		f.span.SetStatus(codes.Error, f.err.Error())
		return
	}
	f.span.SetStatus(codes.Ok, "")
	c.store(key, f.value)
}

// fresh returns the value of key if it is young enough.
func (c *Cache[K, V]) fresh(key K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[key]
	return e.value, ok && time.Since(e.stored) < c.ttl
}

// store remembers the value of key from now on.
func (c *Cache[K, V]) store(key K, value V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries[key] = entry[V]{value, time.Now()}
}
