// The solution of step 05: one caller at a time, from the look to the store.
//
// The second caller finds what the first has loaded.
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

	mu      sync.Mutex // protects entries, and is held across load
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
// than the ttl, or else what load returns.
func (c *cache) get(ctx context.Context, key string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[key]
	if ok && time.Since(e.stored) < c.ttl {
		return e.value, nil
	}
	value, err := c.load(ctx, key)
	if err != nil {
		return "", err
	}
	c.entries[key] = entry{value, time.Now()}
	return value, nil
}
