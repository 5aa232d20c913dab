// The exercise of step 09: a panic-safe cache that throws old answers away.
//
// Five seconds after a load the next callers wait for the feed, as if nothing
// were known of the channel; and when the feed is slow, they wait long.
//
// Check it, from the workshop's folder, with
//
//	go run ./scripts check --exercise 09
package main

import (
	"context"
	"errors"
	"fmt"
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
// than the ttl, or else what the key's flight brings.
func (c *cache) get(ctx context.Context, key string) (string, error) {
	c.mu.Lock()
	e, ok := c.entries[key]
	if ok && time.Since(e.stored) < c.ttl {
		c.mu.Unlock()
		return e.value, nil
	}
	f, ok := c.flights[key]
	if !ok {
		f = &flight{done: make(chan struct{}), err: errors.New("the load did not return")}
		c.flights[key] = f
		go c.fly(context.WithoutCancel(ctx), key, f)
	}
	c.mu.Unlock()

	select {
	case <-f.done:
		return f.value, f.err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// fly loads, and lands in one defer, whichever way the load ends.
func (c *cache) fly(ctx context.Context, key string, f *flight) {
	defer func() {
		if p := recover(); p != nil {
			f.err = fmt.Errorf("the load panicked: %v", p)
		}
		c.mu.Lock()
		if f.err == nil {
			c.entries[key] = entry{f.value, time.Now()}
		}
		delete(c.flights, key)
		c.mu.Unlock()
		close(f.done)
	}()
	f.value, f.err = c.load(ctx, key) // which ends within youtube.Timeout
}
