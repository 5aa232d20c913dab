// Package cache remembers what a load returned, for a while.
//
// The claim of step 05: ten callers, one after the other, make one load. But
// callers that miss at once all load, because no caller can see that another is
// already loading.
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

	mu      sync.Mutex // protects entries
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

	if value, ok := c.fresh(key); ok {
		span.SetAttributes(attribute.String("cache.result", "hit"))
		return value, nil
	}
	span.SetAttributes(attribute.String("cache.result", "miss"))

	// The lock is free while we load, so the next caller also misses and loads.
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
