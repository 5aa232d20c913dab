// The solution of step 06: a lock for each key, held across its load, and one
// for the map, held to look into it and no longer.
package main

import (
	"context"
	"sync"
	"time"
)

// cache keeps the values of keys for a time. It may be used at once by many.
type cache struct {
	ttl  time.Duration
	load func(ctx context.Context, key string) (string, error)

	mu      sync.Mutex // protects entries, but not what they point to; never held across load
	entries map[string]*entry
}

// entry is a value and when it was stored: the zero time is never.
type entry struct {
	mu     sync.Mutex // protects what follows, and is held across the load of this key
	value  string
	stored time.Time
}

func newCache(ttl time.Duration, load func(context.Context, string) (string, error)) *cache {
	return &cache{ttl: ttl, load: load, entries: map[string]*entry{}}
}

// get returns the value of key: the one that it remembers, if that is younger
// than the ttl, or else what load returns.
func (c *cache) get(ctx context.Context, key string) (string, error) {
	c.mu.Lock()
	e, ok := c.entries[key]
	if !ok {
		e = new(entry)
		c.entries[key] = e
	}
	c.mu.Unlock()

	e.mu.Lock()
	defer e.mu.Unlock()
	if time.Since(e.stored) < c.ttl {
		return e.value, nil
	}
	value, err := c.load(ctx, key)
	if err != nil {
		return "", err
	}
	e.value, e.stored = value, time.Now()
	return value, nil
}
