package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"plaque/steps/10-resilient/cache"
	"plaque/steps/11-many-machines/fleet"
	"plaque/steps/kit/cachetest"
)

// texts has a fleet, whose keys and values are strings, pass for a cache of
// anything: each value that is no string stands in a table, under a name.
type texts struct {
	*fleet.Fleet
	mu     sync.Mutex
	values map[string]any
}

func (c *texts) Get(ctx context.Context, key any) (any, error) {
	_ = map[any]bool{key: true} // panics for what is no key, as a cache of anything does
	name, err := c.Fleet.Get(ctx, c.name(key))
	if err != nil {
		return nil, err
	}
	return c.value(name), nil
}

func (c *texts) name(v any) string {
	name, ok := v.(string)
	if !ok {
		name = fmt.Sprintf("%T %v", v, v)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.values[name] = v
	return name
}

func (c *texts) value(name string) any {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.values[name]
}

func contract(t *testing.T, ttl, timeout time.Duration, load cachetest.Load) cachetest.Cache {
	c := &texts{values: map[string]any{}}
	f, err := fleet.New(fleet.Config{}, ttl, func(ctx context.Context, key string) (string, error) {
		v, err := load(ctx, c.value(key))
		if err != nil {
			return "", err
		}
		return c.name(v), nil
	}, cache.WithTimeout(timeout))
	if err != nil {
		t.Fatal(err)
	}
	c.Fleet = f
	return c
}

// A peer by itself keeps the contract of step 09's cache, and of step 10's.
func TestContract(t *testing.T) {
	cachetest.Run(t, cachetest.Subject{
		New: func(ttl time.Duration, load cachetest.Load) cachetest.Cache {
			return contract(t, ttl, cache.DefaultTimeout, load)
		},
		Short: func(ttl, timeout time.Duration, load cachetest.Load) cachetest.Cache {
			return contract(t, ttl, timeout, load)
		},
		Timeout: cache.DefaultTimeout,
		Goexit:  cache.ErrGoexit,
		Panic: func(err error) (any, []byte, bool) {
			var p *cache.PanicError
			if errors.As(err, &p) {
				return p.Value, p.Stack, true
			}
			return nil, nil, false
		},
	})
}
