// The exercise of step 08: a cache with singleflight, and nobody may leave.
//
// A caller that joins a load and hangs up is kept until the load ends. If the first
// caller hangs up, the load fails for all that joined.
//
// Check it, from the workshop's folder, with
//
//	go run ./scripts check --exercise 08
package main

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// cache keeps the values of keys for a time. It may be used at once by many.
type cache struct {
	ttl  time.Duration
	load func(ctx context.Context, key string) (string, error)

	flights singleflight.Group // one load a key

	mu      sync.Mutex // protects entries
	entries map[string]entry
}

// entry is a value and when it was stored.
type entry struct {
	value  string
	stored time.Time
}

func newCache(ttl time.Duration, load func(context.Context, string) (string, error)) *cache {
	return &cache{ttl: ttl, load: load, entries: map[string]entry{}}
}

// get returns the value of key: the one that it remembers, if that is younger
// than the ttl, or else what the key's flight brings.
func (c *cache) get(ctx context.Context, key string) (string, error) {
	if value, ok := c.fresh(key); ok {
		return value, nil
	}
	value, err, _ := c.flights.Do(key, func() (any, error) {
		return c.fly(ctx, key)
	})
	if err != nil {
		return "", err
	}
	return value.(string), nil
}

// fly looks again, since another flight may have landed, and loads and stores.
func (c *cache) fly(ctx context.Context, key string) (string, error) {
	if value, ok := c.fresh(key); ok {
		return value, nil
	}
	value, err := c.load(ctx, key)
	if err != nil {
		return "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries[key] = entry{value, time.Now()}
	return value, nil
}

// fresh returns the value of key if it is young enough.
func (c *cache) fresh(key string) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[key]
	return e.value, ok && time.Since(e.stored) < c.ttl
}
