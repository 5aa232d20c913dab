package bench

import (
	"context"
	"sync"
	"time"

	"github.com/jellydator/ttlcache/v3"
	"github.com/maypok86/otter/v2"
	"github.com/viccon/sturdyc"
	"golang.org/x/sync/singleflight"

	"plaque/steps/09-panic-safe/cache"
)

// ttl is longer than any bench runs: nothing expires under way.
const ttl = time.Hour

// capacity is the room that peers with a bound are given: more than any bench
// fills, so that none of them evicts.
const capacity = 1 << 22

// load is what every cache here is given to load with.
type load func(ctx context.Context, key string) (string, error)

// getter is a cache as a caller sees it: what is remembered, or one load.
type getter func(ctx context.Context, key string) (string, error)

// caches are 09 and what one would import or write in its place, each with its
// own defaults and set up as its README has it.
var caches = []struct {
	name string
	make func(load) getter
}{
	{"09", func(l load) getter { return cache.New(ttl, l).Get }},
	{"idiom", func(l load) getter { return (&idiom{load: l, entries: map[string]entry{}}).get }},
	{"otter", func(l load) getter {
		c := otter.Must(&otter.Options[string, string]{
			MaximumSize:      capacity,
			ExpiryCalculator: otter.ExpiryWriting[string, string](ttl),
		})
		loader := otter.LoaderFunc[string, string](l)
		return func(ctx context.Context, key string) (string, error) { return c.Get(ctx, key, loader) }
	}},
	{"sturdyc", func(l load) getter {
		c := sturdyc.New[string](capacity, 64, ttl, 10)
		return func(ctx context.Context, key string) (string, error) {
			return c.GetOrFetch(ctx, key, func(ctx context.Context) (string, error) { return l(ctx, key) })
		}
	}},
	{"ttlcache", func(l load) getter {
		loader := ttlcache.LoaderFunc[string, string](func(c *ttlcache.Cache[string, string], key string) *ttlcache.Item[string, string] {
			// Its loader takes no context and returns no error.
			value, err := l(context.Background(), key)
			if err != nil {
				return nil
			}
			return c.Set(key, value, ttlcache.DefaultTTL)
		})
		c := ttlcache.New(
			ttlcache.WithTTL[string, string](ttl),
			ttlcache.WithDisableTouchOnHit[string, string](),
			ttlcache.WithLoader[string, string](ttlcache.NewSuppressedLoader[string, string](loader, nil)))
		return func(_ context.Context, key string) (string, error) { return c.Get(key).Value(), nil }
	}},
}

// idiom is what everyone writes: a map behind a mutex, and x/sync's
// singleflight for the loads.
type idiom struct {
	load    load
	group   singleflight.Group
	mu      sync.Mutex // protects entries
	entries map[string]entry
}

type entry struct {
	value  string
	stored time.Time
}

func (c *idiom) get(ctx context.Context, key string) (string, error) {
	c.mu.Lock()
	e, ok := c.entries[key]
	c.mu.Unlock()
	if ok && time.Since(e.stored) < ttl {
		return e.value, nil
	}
	value, err, _ := c.group.Do(key, func() (any, error) {
		value, err := c.load(ctx, key)
		if err == nil {
			c.mu.Lock()
			c.entries[key] = entry{value, time.Now()}
			c.mu.Unlock()
		}
		return value, err
	})
	if err != nil {
		return "", err
	}
	return value.(string), nil
}
