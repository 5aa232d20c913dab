// Package cache remembers what a load returned, for a while, and lets one
// caller in at a time.
//
// The claim of step 06: however many callers miss at once, there is one load.
// But there is one lock, and it is held across the load. Callers of another key
// also wait, and callers of a load that hangs wait for each other's timeouts.
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

	mu      sync.Mutex // protects entries, and is held across load: the lesson
	entries map[K]entry[V]
}

// entry is a value and when it was stored.
type entry[V any] struct {
	value  V
	stored time.Time
}

// New makes a cache that keeps what load returns for ttl.
func New[K comparable, V any](ttl time.Duration, load func(context.Context, K) (V, error)) *Cache[K, V] {
	return &Cache[K, V]{ttl: ttl, load: load, entries: map[K]entry[V]{}}
}

// Get returns the value of key: the one that it remembers, if that is younger
// than the ttl, or else what load returns. Errors are load's own, and are not
// remembered.
func (c *Cache[K, V]) Get(ctx context.Context, key K) (V, error) {
	ctx, span := tracer.Start(ctx, "cache.get",
		trace.WithAttributes(attribute.String("cache.key", fmt.Sprint(key))))
	defer span.End()

	_, wait := tracer.Start(ctx, "lock.wait")
	c.mu.Lock()
	wait.End()
	defer c.mu.Unlock() // deferred, so that a load that panics releases the lock

	if value, ok := c.fresh(key); ok {
		span.SetAttributes(attribute.String("cache.result", "hit"))
		return value, nil
	}
	span.SetAttributes(attribute.String("cache.result", "miss"))

	// We hold the lock while we load. Neither the compiler nor vet objects.
	value, err := c.load(ctx, key)
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
		return value, err
	}
	c.store(key, value)
	return value, nil
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
