// The exercise of step 07: a cache with flights by hand, one load a key.
//
// It works until a load fails or panics. From then on all callers of that channel
// wait forever.
//
// Check it, from the workshop's folder, with
//
//	go run ./scripts check --exercise 07
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

	mu      sync.Mutex // protects entries and flights; never held across load
	entries map[string]entry
	flights map[string]*flight // loads in the air
}

// entry is a value and when it was stored.
type entry struct {
	value  string
	stored time.Time
}

func newCache(ttl time.Duration, load func(context.Context, string) (string, error)) *cache {
	return &cache{ttl: ttl, load: load, entries: map[string]entry{}, flights: map[string]*flight{}}
}

// flight is one load and all callers that wait for it.
type flight struct {
	done  chan struct{} // closed when value and err are set
	value string
	err   error
}

// get returns the value of key: the one that it remembers, if that is younger
// than the ttl, or else what the key's flight brings. A caller that
// finds no flight loads, and the others wait.
func (c *cache) get(ctx context.Context, key string) (string, error) {
	c.mu.Lock()
	if e, ok := c.entries[key]; ok && time.Since(e.stored) < c.ttl {
		c.mu.Unlock()
		return e.value, nil
	}
	if f, ok := c.flights[key]; ok {
		c.mu.Unlock()
		<-f.done
		return f.value, f.err
	}
	f := &flight{done: make(chan struct{})}
	c.flights[key] = f
	c.mu.Unlock()

	f.value, f.err = c.load(ctx, key)
	if f.err != nil {
		return "", f.err
	}
	c.mu.Lock()
	c.entries[key] = entry{f.value, time.Now()}
	delete(c.flights, key)
	c.mu.Unlock()
	close(f.done)
	return f.value, nil
}
