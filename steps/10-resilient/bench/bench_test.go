package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/singleflight"
	resenje "resenje.org/singleflight"

	"plaque/steps/10-resilient/cache"
)

// caller is a context as a server's callers have one: it can end.
func caller(b *testing.B) context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	b.Cleanup(cancel)
	return ctx
}

func echo(_ context.Context, key string) (string, error) { return key, nil }

// reading is a floor: a way to look a key up that neither loads nor coalesces.
type reading struct {
	name string
	make func(values map[string]string) func(key string) string
}

var readings = []reading{
	{"map, no lock", func(m map[string]string) func(string) string {
		return func(key string) string { return m[key] }
	}},
	{"map, mutex", func(m map[string]string) func(string) string {
		var mu sync.Mutex
		return func(key string) string {
			mu.Lock()
			defer mu.Unlock()
			return m[key]
		}
	}},
	{"map, RWMutex", func(m map[string]string) func(string) string {
		var mu sync.RWMutex
		return func(key string) string {
			mu.RLock()
			defer mu.RUnlock()
			return m[key]
		}
	}},
	{"sync.Map", func(values map[string]string) func(string) string {
		var m sync.Map
		for k, v := range values {
			m.Store(k, &v)
		}
		return func(key string) string {
			v, _ := m.Load(key)
			return *v.(*string)
		}
	}},
	{"snapshot, time.Since", func(values map[string]string) func(string) string {
		m := make(map[string]entry, len(values))
		for k, v := range values {
			m[k] = entry{v, time.Now()}
		}
		var snapshot atomic.Pointer[map[string]entry]
		snapshot.Store(&m)
		return func(key string) string {
			e := (*snapshot.Load())[key]
			if time.Since(e.stored) >= ttl {
				return ""
			}
			return e.value
		}
	}},
}

// hits runs one hit after the other on every core. Each goroutine asks for
// asked, one after the other, again and again, from a separate place.
func hits(b *testing.B, caches []cacheOf, keys, asked []string) {
	run := func(b *testing.B, get func(string) string) {
		b.ReportAllocs()
		var places atomic.Int64
		b.RunParallel(func(pb *testing.PB) {
			for i := int(places.Add(1)) * 7919; pb.Next(); i++ {
				if key := asked[i%len(asked)]; get(key) != key {
					b.Fatal("not a hit")
				}
			}
		})
	}
	for _, r := range readings {
		values := map[string]string{}
		for _, key := range keys {
			values[key] = key
		}
		get := r.make(values)
		b.Run("floor="+r.name, func(b *testing.B) { run(b, get) })
	}
	for _, c := range caches {
		ctx := caller(b)
		get := c.make(echo, ttl)
		for _, key := range keys {
			if _, err := get(ctx, key); err != nil {
				b.Fatal(err)
			}
		}
		b.Run("cache="+c.name, func(b *testing.B) {
			run(b, func(key string) string {
				value, _ := get(ctx, key)
				return value
			})
		})
	}
}

func BenchmarkHitOneKey(b *testing.B) {
	keys := channels(1)
	hits(b, caches, keys, keys)
}

func BenchmarkHitZipf(b *testing.B) {
	keys, asked := zipf()
	hits(b, caches, keys, asked)
}

// The same with a bound on keys, which none of them reaches.
func BenchmarkHitZipfBound(b *testing.B) {
	keys, asked := zipf()
	hits(b, withBound, keys, asked)
}

// zipf are 10,000 keys, and how they are asked for. That is drawn before the clock
// runs: a hit is quicker than a draw.
func zipf() (keys, asked []string) {
	const n = 10_000
	keys = channels(n)
	zipf := rand.NewZipf(rand.New(rand.NewPCG(1, 2)), 1.1, 1, n-1)
	asked = make([]string, 1<<16)
	for i := range asked {
		asked[i] = keys[zipf.Uint64()]
	}
	return keys, asked
}

// channels are n keys as long as a channel's id.
func channels(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("UC%022d", i)
	}
	return keys
}

// BenchmarkLoad makes one load after the other, with nobody else about, and
// remembers none. A caller that waits can leave.
func BenchmarkLoad(b *testing.B) {
	const key = "UC0123456789012345678901"
	b.Run("floor=goroutine and channel", func(b *testing.B) {
		ctx := context.Background()
		b.ReportAllocs()
		for b.Loop() {
			done := make(chan string, 1)
			go func() { v, _ := echo(ctx, key); done <- v }()
			<-done
		}
	})
	b.Run("floor=goroutine, channel, timeout", func(b *testing.B) {
		ctx := caller(b)
		b.ReportAllocs()
		for b.Loop() {
			bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), cache.DefaultTimeout)
			done := make(chan string, 1)
			go func() { v, _ := echo(bounded, key); done <- v }()
			select {
			case <-done:
			case <-ctx.Done():
			}
			cancel()
		}
	})
	b.Run("cache=plaque", func(b *testing.B) {
		ctx := caller(b)
		c := cache.New(0, echo)
		b.ReportAllocs()
		for b.Loop() {
			if v, err := c.Get(ctx, key); v != key || err != nil {
				b.Fatal(v, err)
			}
		}
	})
	b.Run("peer=x/sync DoChan", func(b *testing.B) {
		ctx := caller(b)
		var g singleflight.Group
		b.ReportAllocs()
		for b.Loop() {
			select {
			case <-g.DoChan(key, func() (any, error) { return echo(ctx, key) }):
			case <-ctx.Done():
			}
		}
	})
	b.Run("peer=resenje", func(b *testing.B) {
		ctx := caller(b)
		var g resenje.Group[string, string]
		b.ReportAllocs()
		for b.Loop() {
			if v, _, err := g.Do(ctx, key, func(ctx context.Context) (string, error) { return echo(ctx, key) }); v != key || err != nil {
				b.Fatal(v, err)
			}
		}
	})
	// What it takes to bound its loads as ours does, except for a load that ignores
	// its context.
	b.Run("peer=resenje with a timeout", func(b *testing.B) {
		ctx := caller(b)
		var g resenje.Group[string, string]
		b.ReportAllocs()
		for b.Loop() {
			v, _, err := g.Do(ctx, key, func(ctx context.Context) (string, error) {
				ctx, cancel := context.WithTimeout(ctx, cache.DefaultTimeout)
				defer cancel()
				return echo(ctx, key)
			})
			if v != key || err != nil {
				b.Fatal(v, err)
			}
		}
	})
}

// BenchmarkMiss asks for a new key each time, which is loaded and remembered.
func BenchmarkMiss(b *testing.B) {
	for _, c := range caches {
		b.Run("cache="+c.name, func(b *testing.B) {
			ctx := caller(b)
			get := c.make(echo, ttl)
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				n++
				key := "UC" + strconv.Itoa(n)
				if v, err := get(ctx, key); v != key || err != nil {
					b.Fatal(v, err)
				}
			}
		})
	}
}

// BenchmarkWake measures from the end of a load to the moment when all who
// waited for it have it, each with a separate context. bytes/waiter is what
// was allocated while they came, less what the floor's took.
func BenchmarkWake(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		b.Run(fmt.Sprintf("waiters=%d", n), func(b *testing.B) { wakes(b, n) })
	}
}

func wakes(b *testing.B, n int) {
	const key = "UC0123456789012345678901"
	b.Run("floor=channel and context", func(b *testing.B) {
		wake(b, n, func(gate chan struct{}) (func(context.Context), func() bool) {
			var waiting atomic.Int64
			return func(ctx context.Context) {
				waiting.Add(1)
				select {
				case <-gate:
				case <-ctx.Done():
				}
			}, func() bool { return waiting.Load() == int64(n) }
		})
	})
	// For those that do not count who waits: all have asked.
	asked := func(gate chan struct{}, do func(ctx context.Context, load load)) (func(context.Context), func() bool) {
		var waiting atomic.Int64
		held := func(context.Context, string) (string, error) { <-gate; return key, nil }
		return func(ctx context.Context) {
			waiting.Add(1)
			do(ctx, held)
		}, func() bool { return waiting.Load() == int64(n) }
	}
	b.Run("cache=plaque", func(b *testing.B) {
		wake(b, n, func(gate chan struct{}) (func(context.Context), func() bool) {
			c := cache.New(0, func(context.Context, string) (string, error) { <-gate; return key, nil }, cache.WithTimeout(time.Hour))
			return func(ctx context.Context) { _, _ = c.Get(ctx, key) },
				func() bool { s := c.Stats(); return s.Misses+s.Joined == int64(n) }
		})
	})
	b.Run("peer=x/sync DoChan", func(b *testing.B) {
		wake(b, n, func(gate chan struct{}) (func(context.Context), func() bool) {
			var g singleflight.Group
			return asked(gate, func(ctx context.Context, l load) {
				select {
				case <-g.DoChan(key, func() (any, error) { return l(ctx, key) }):
				case <-ctx.Done():
				}
			})
		})
	})
	b.Run("peer=resenje", func(b *testing.B) {
		wake(b, n, func(gate chan struct{}) (func(context.Context), func() bool) {
			var g resenje.Group[string, string]
			return asked(gate, func(ctx context.Context, l load) {
				_, _, _ = g.Do(ctx, key, func(ctx context.Context) (string, error) { return l(ctx, key) })
			})
		})
	})
	b.Run("peer=otter", func(b *testing.B) {
		wake(b, n, func(gate chan struct{}) (func(context.Context), func() bool) {
			get := otters.make(func(context.Context, string) (string, error) { <-gate; return key, nil }, ttl)
			return asked(gate, func(ctx context.Context, _ load) { _, _ = get(ctx, key) })
		})
	})
}

// wake lets n callers wait, each with a separate context, opens the gate, and
// measures until all have gone. start returns what a caller does, and whether
// all of them have come.
func wake(b *testing.B, n int, start func(gate chan struct{}) (wait func(context.Context), all func() bool)) {
	contexts := make([]context.Context, n)
	for i := range contexts {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		ctx.Done() // made on demand; it is the context's, not the flight's
		contexts[i] = ctx
	}
	var before, after runtime.MemStats
	var allocated uint64
	for range b.N {
		b.StopTimer()
		gate := make(chan struct{})
		wait, all := start(gate)
		var gone sync.WaitGroup
		gone.Add(n)
		runtime.ReadMemStats(&before)
		for _, ctx := range contexts {
			go func() { wait(ctx); gone.Done() }()
		}
		for !all() {
			runtime.Gosched()
		}
		time.Sleep(5 * time.Millisecond) // from having come to being parked
		runtime.ReadMemStats(&after)
		allocated += after.TotalAlloc - before.TotalAlloc
		b.StartTimer()
		close(gate)
		gone.Wait()
	}
	b.ReportMetric(float64(allocated)/float64(b.N)/float64(n), "bytes/waiter")
}

// BenchmarkMemory fills a cache with keys of 24 bytes, and shows what it takes of
// the heap for each; then, without another call, what is left of that when all have
// expired and had a second more.
func BenchmarkMemory(b *testing.B) {
	n, ttl := 1_000_000, 20*time.Second
	if testing.Short() {
		n, ttl = 20_000, 2*time.Second
	}
	for _, c := range []cacheOf{ours, caches[1], otters} {
		b.Run("cache="+c.name, func(b *testing.B) {
			ctx := caller(b)
			var full, left float64
			for range b.N {
				get := c.make(echo, ttl)
				before, began := heap(), time.Now()
				for i := range n {
					if _, err := get(ctx, fmt.Sprintf("UC%022d", i)); err != nil {
						b.Fatal(err)
					}
				}
				full += heap() - before
				if took := time.Since(began); took > ttl {
					b.Fatalf("filling took %v: the first values have expired", took)
				}
				time.Sleep(ttl + time.Second)
				left += heap() - before
				runtime.KeepAlive(get)
			}
			b.ReportMetric(full/float64(b.N)/float64(n), "bytes/key")
			b.ReportMetric(left/float64(b.N)/float64(n), "left/key")
		})
	}
}

// heap is how many bytes are in use after a collection.
func heap() float64 {
	for range 2 { // the second one frees what finalizers and cleanups held
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}
