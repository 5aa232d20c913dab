// Package cache remembers what a load returned, for a while, and coalesces the
// loads of callers who miss at once, with x/sync's singleflight.
//
// The claim of step 08: one load a key, and after a panic the key heals. But
// the panic goes to every caller of the flight, and so does the leader's
// hang-up: the load runs under the context of whoever came first.
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
	"golang.org/x/sync/singleflight"
)

var tracer = otel.Tracer("plaque/cache")

// Cache keeps the values of keys for a time. Make one with New; its methods may
// be called at once. It never forgets a key, so its memory grows with the
// number of different keys.
type Cache[K comparable, V any] struct {
	ttl  time.Duration
	load func(context.Context, K) (V, error)

	flights singleflight.Group // one load a key

	mu      sync.Mutex // protects entries
	entries map[K]entry[V]
}

// entry is a value and when it was stored.
type entry[V any] struct {
	value  V
	stored time.Time
}

// landed is what a flight brings to all who waited.
type landed[V any] struct {
	value  V
	flight trace.SpanContext // what a waiter links to
}

// New makes a cache that keeps what load returns for ttl.
func New[K comparable, V any](ttl time.Duration, load func(context.Context, K) (V, error)) *Cache[K, V] {
	return &Cache[K, V]{ttl: ttl, load: load, entries: map[K]entry[V]{}}
}

// Get returns the value of key: the one that it remembers, if that is younger
// than the ttl, or else what the key's flight brings. Errors are load's own, go
// to all who waited, and are not remembered. A panic in load goes to all who
// waited, too.
func (c *Cache[K, V]) Get(ctx context.Context, key K) (V, error) {
	ctx, span := tracer.Start(ctx, "cache.get", trace.WithAttributes(attribute.String("cache.key", fmt.Sprint(key))))
	defer span.End()

	if value, ok := c.fresh(key); ok {
		span.SetAttributes(attribute.String("cache.result", "hit"))
		return value, nil
	}

	// Do reports whether the result was shared, and says yes to the leader
	// too. The function tells who leads: it runs in the leader's goroutine.
	result := "joined"
	v, err, _ := c.flights.Do(fmt.Sprintf("%#v", key), func() (any, error) {
		// The second look: between our look and Do, the flight that we
		// would have joined may have landed, and we would load once more.
		if value, ok := c.fresh(key); ok {
			result = "hit"
			return landed[V]{value: value}, nil
		}
		result = "miss"
		return c.fly(ctx, key)
	})
	span.SetAttributes(attribute.String("cache.result", result))
	l := v.(landed[V])
	if result == "joined" {
		// Only now do we know which flight it was. After a panic we never
		// do: Do does not return.
		span.AddLink(trace.Link{SpanContext: l.flight})
	}
	return l.value, err
}

// fly loads and stores.
func (c *Cache[K, V]) fly(ctx context.Context, key K) (landed[V], error) {
	ctx, span := tracer.Start(ctx, "flight")
	defer span.End()
	span.SetStatus(codes.Error, "the load did not return") // until it has
	value, err := c.load(ctx, key)
	l := landed[V]{value, span.SpanContext()}
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
		return l, err
	}
	span.SetStatus(codes.Ok, "")
	c.store(key, value)
	return l, nil
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
