package bench

import (
	"context"
	"sync"
	"time"

	"github.com/jellydator/ttlcache/v3"
	"github.com/maypok86/otter/v2"
	"github.com/viccon/sturdyc"
	"golang.org/x/sync/singleflight"

	"plaque/steps/10-resilient/cache"
)

// ttl is longer than any bench runs: nothing expires under way.
const ttl = time.Hour

// capacity is the room that peers are given that must have a bound: more than any
// bench fills, so that none of them evicts.
const capacity = 1 << 22

// bounded is the room of the caches that are compared with a bound on keys: twice
// what the bench asks for.
const bounded = 20_000

// load is what every cache here is given to load with.
type load func(ctx context.Context, key string) (string, error)

// getter is a cache as a caller sees it: what is remembered, or one load.
type getter func(ctx context.Context, key string) (string, error)

// cacheOf makes a cache whose values live for ttl.
type cacheOf struct {
	name string
	make func(l load, ttl time.Duration) getter
}

// caches are ours and what one would import or write in its place. Each has its
// defaults, is set up as its README says, and has no bound on keys if it can do
// without.
var caches = []cacheOf{
	ours,
	{"idiom", func(l load, ttl time.Duration) getter {
		return (&idiom{load: l, ttl: ttl, entries: map[string]entry{}}).get
	}},
	otters,
	{"sturdyc", func(l load, ttl time.Duration) getter {
		c := sturdyc.New[string](capacity, 64, ttl, 10)
		return func(ctx context.Context, key string) (string, error) {
			return c.GetOrFetch(ctx, key, func(ctx context.Context) (string, error) { return l(ctx, key) })
		}
	}},
	{"ttlcache", func(l load, ttl time.Duration) getter {
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

var ours = cacheOf{"plaque", func(l load, ttl time.Duration) getter { return cache.New(ttl, l, cache.WithMaxKeys(0)).Get }}

var otters = cacheOf{"otter", func(l load, ttl time.Duration) getter { return newOtter(l, ttl, 0) }}

// withBound are the caches that can be given a bound on keys, and are.
var withBound = []cacheOf{
	{"plaque", func(l load, ttl time.Duration) getter { return cache.New(ttl, l, cache.WithMaxKeys(bounded)).Get }},
	{"otter", func(l load, ttl time.Duration) getter { return newOtter(l, ttl, bounded) }},
}

func newOtter(l load, ttl time.Duration, room int) getter {
	c := otter.Must(&otter.Options[string, string]{
		MaximumSize:      room,
		ExpiryCalculator: otter.ExpiryWriting[string, string](ttl),
	})
	loader := otter.LoaderFunc[string, string](l)
	return func(ctx context.Context, key string) (string, error) { return c.Get(ctx, key, loader) }
}

// idiom is what everyone writes: a map behind a mutex, and x/sync's
// singleflight for the loads.
type idiom struct {
	load    load
	ttl     time.Duration
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
	if ok && time.Since(e.stored) < c.ttl {
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
