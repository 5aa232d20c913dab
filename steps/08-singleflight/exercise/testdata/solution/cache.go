// The solution of step 08: a caller that hangs up leaves at once, and the load goes on
// for the others. A panic in it is their error.
package main

import (
	"context"
	"fmt"
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
	landing := c.flights.DoChan(key, func() (any, error) {
		// Detached: the load keeps the leader's trace, but not its hang-up.
		return c.fly(context.WithoutCancel(ctx), key)
	})
	select {
	case landed := <-landing:
		if landed.Err != nil {
			return "", landed.Err
		}
		return landed.Val.(string), nil
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// fly looks again, since another flight may have landed, and loads and stores.
func (c *cache) fly(ctx context.Context, key string) (_ string, err error) {
	// DoChan runs us in a goroutine that it starts. A panic that leaves it ends the
	// process, and no handler is there to stop it.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the load panicked: %v", p)
		}
	}()
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
