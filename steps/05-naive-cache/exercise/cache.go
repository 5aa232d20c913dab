// The exercise of step 05: a cache whose lock many readers may hold at once.
//
// Thirty callers who ask at once for what is not there yet are thirty requests
// to the feed, each for the same answer.
//
// Check it, from the workshop's folder, with
//
//	go run ./scripts check --exercise 05
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

	mu      sync.RWMutex // protects entries
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
	c.mu.RLock()
	e, ok := c.entries[key]
	c.mu.RUnlock()
	if ok && time.Since(e.stored) < c.ttl {
		return e.value, nil
	}
	value, err := c.load(ctx, key)
	if err != nil {
		return "", err
	}
	c.mu.Lock()
	c.entries[key] = entry{value, time.Now()}
	c.mu.Unlock()
	return value, nil
}
