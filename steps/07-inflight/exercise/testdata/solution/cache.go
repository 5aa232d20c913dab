// The solution of step 07: one landing, in a defer, whichever way the load ends.
//
// A caller that waits for a load that panicked gets an error, and the next one loads.
package main

import (
	"context"
	"errors"
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
	// The error is what is true of a load that does not return.
	f := &flight{done: make(chan struct{}), err: errors.New("the load did not return")}
	c.flights[key] = f
	c.mu.Unlock()

	defer func() {
		c.mu.Lock()
		if f.err == nil {
			c.entries[key] = entry{f.value, time.Now()}
		}
		delete(c.flights, key)
		c.mu.Unlock()
		close(f.done)
	}()
	f.value, f.err = c.load(ctx, key)
	return f.value, f.err
}
