package cache

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"plaque/steps/kit/cachetest"
)

const ttl = 5 * time.Second

// feed is a load that counts, takes 50 ms, and fails while err is set. What it
// brings is its number.
type feed struct {
	mu    sync.Mutex
	err   error
	loads int
	took  time.Duration // 0: 50 ms
}

func (f *feed) load(ctx context.Context, _ string) (int, error) {
	f.mu.Lock()
	f.loads++
	n, err, took := f.loads, f.err, max(f.took, 50*time.Millisecond)
	f.mu.Unlock()
	select {
	case <-time.After(took):
		return n, err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func (f *feed) set(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *feed) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.loads
}

var errDown = errors.New("the feed is down")

// ask is one call, how long it took, and what it brought.
func ask(t *testing.T, c *Cache[string, int], key string) (took time.Duration, value int, err error) {
	began := time.Now()
	value, err = c.Get(cachetest.Watched(t), key)
	return time.Since(began), value, err
}

// want fails the test unless a call for "a" takes so long and brings that value.
func want(t *testing.T, c *Cache[string, int], took time.Duration, value int) {
	t.Helper()
	if d, v, err := ask(t, c, "a"); d != took || v != value || err != nil {
		t.Errorf("Get = %d, %v, after %v; want %d after %v", v, err, d, value, took)
	}
}

// While a new value loads everybody gets the old one at once, and there is one
// load. When the old one is too old, callers wait again.
func TestStaleWhileRevalidate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spans := cachetest.Record(t)
		var f feed
		c := New(ttl, f.load, WithStaleWhileRevalidate(10*time.Second))
		want(t, c, 50*time.Millisecond, 1)
		time.Sleep(ttl)
		for range 10 {
			want(t, c, 0, 1)
		}
		synctest.Wait()
		if n := f.count(); n != 2 {
			t.Errorf("%d loads, want the first and one for ten callers", n)
		}
		time.Sleep(50 * time.Millisecond)
		synctest.Wait()
		want(t, c, 0, 2)
		if r := spans.Results(); r["miss"] != 1 || r["stale"] != 10 || r["hit"] != 1 {
			t.Errorf("cache.result: %v, want 1 miss, 10 stale, 1 hit", r)
		}
		// The load is a child of who was the first to see the old value; the other
		// nine link to it.
		flight := spans.Named("flight")[1]
		links, children := 0, 0
		for _, s := range spans.Named("cache.get") {
			if flight.Parent().SpanID() == s.SpanContext().SpanID() && cachetest.Attribute(s, "cache.result") == "stale" && len(s.Links()) == 0 {
				children++
			}
			for _, l := range s.Links() {
				if l.SpanContext.SpanID() == flight.SpanContext().SpanID() {
					links++
				}
			}
		}
		if links != 9 || children != 1 {
			t.Errorf("%d links and %d children, want 9 and 1", links, children)
		}
		time.Sleep(ttl + 10*time.Second)
		want(t, c, 50*time.Millisecond, 3)
	})
}

// An old value is there for as long as an option allows it, though sweeps go by.
func TestOldValueIsKept(t *testing.T) {
	for name, option := range map[string]Option{
		"stale-while-revalidate": WithStaleWhileRevalidate(time.Minute),
		"stale-if-error":         WithStaleIfError(time.Minute),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var f feed
				c := New(ttl, f.load, option)
				want(t, c, 50*time.Millisecond, 1)
				f.set(errDown)
				time.Sleep(ttl + 59*time.Second)
				if _, v, err := ask(t, c, "a"); v != 1 || err != nil {
					t.Errorf("Get = %d, %v, want the old value", v, err)
				}
				time.Sleep(time.Second) // until the refresh has failed
			})
		})
	}
}

// The load that nobody waits for is nobody's to cancel: who joins it once the
// old value is too old, and leaves, does not take it along.
func TestRefreshIsNotCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f feed
		c := New(ttl, f.load, WithStaleWhileRevalidate(time.Second))
		want(t, c, 50*time.Millisecond, 1)
		time.Sleep(ttl)
		f.took = 2 * time.Second
		want(t, c, 0, 1)
		time.Sleep(time.Second)
		ctx, hangUp := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer hangUp()
		if _, err := c.Get(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Get: %v, want the caller's own deadline", err)
		}
		time.Sleep(time.Second)
		want(t, c, 0, 2)
		if n := f.count(); n != 2 {
			t.Errorf("%d loads, want 2", n)
		}
	})
}

// When the load fails, who waits for it gets the old value, for a bounded time.
func TestStaleIfError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spans := cachetest.Record(t)
		var f feed
		c := New(ttl, f.load, WithStaleIfError(time.Minute))
		want(t, c, 50*time.Millisecond, 1)
		f.set(errDown)
		time.Sleep(ttl)
		var callers sync.WaitGroup
		for range 5 {
			callers.Go(func() { want(t, c, 50*time.Millisecond, 1) })
		}
		callers.Wait()
		old := 0
		for _, s := range spans.Named("cache.get") {
			if cachetest.Attribute(s, "cache.stale") == "true" {
				old++
			}
		}
		if r := spans.Results(); old != 5 || r["miss"] != 2 || r["joined"] != 4 {
			t.Errorf("cache.result: %v, and %d cache.stale; want 2 misses, 4 joined, 5", r, old)
		}
		time.Sleep(time.Minute - 50*time.Millisecond)
		if _, _, err := ask(t, c, "a"); err != errDown {
			t.Errorf("Get: %v when the old value is too old, want %v", err, errDown)
		}
		f.set(nil)
		want(t, c, 50*time.Millisecond, 4)
	})
}

// A feed that is down is asked ever more seldom, however often callers ask, and the
// answer says when.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spans := cachetest.Record(t)
		f := feed{err: errDown}
		c := New(ttl, f.load, WithBackoff(time.Second, time.Minute))
		var at []time.Duration
		began := time.Now()
		for n := 0; time.Since(began) < 10*time.Minute; time.Sleep(10 * time.Millisecond) {
			_, _, err := ask(t, c, "a")
			var failed *FailedError
			if !errors.As(err, &failed) || !errors.Is(err, errDown) || failed.RetryAfter() <= 0 || failed.RetryAfter() > 90*time.Second {
				t.Fatalf("Get: %v, want a FailedError with a time to wait", err)
			}
			if now := f.count(); now != n {
				n = now
				at = append(at, time.Since(began))
			}
		}
		for i := 1; i < len(at); i++ {
			interval := min(time.Second<<min(i-1, 10), time.Minute)
			if d := at[i] - at[i-1]; d < interval/2 || d > interval*3/2+100*time.Millisecond {
				t.Errorf("load %d came after %v, want %v, give or take half", i+1, d, interval)
			}
		}
		// 1+2+4+8+16+32 s, then a minute each; half of that, and one and a half.
		if n := len(at); n < 10 || n > 27 {
			t.Errorf("%d loads in 10 minutes of an outage, want 10 to 27", n)
		}
		if r := spans.Results(); r["failed"] < 50_000 || r["miss"] != len(at) {
			t.Errorf("cache.result: %v; want a miss for each of %d loads, and the rest failed", r, len(at))
		}
		c.Forget("a")
		if _, _, _ = ask(t, c, "a"); f.count() != len(at)+1 {
			t.Error("who asks after Forget gets no new load")
		}
	})
}

// Panics are failures too, and keep what they say.
func TestPanicIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		loads := 0
		c := New(ttl, func(context.Context, string) (int, error) { loads++; panic("doom") }, WithBackoff(time.Second, time.Second))
		for range 3 {
			var p *PanicError
			if _, _, err := ask(t, c, "a"); !errors.As(err, &p) || p.Value != "doom" {
				t.Errorf("Get: %v, want the panic", err)
			}
		}
		if loads != 1 {
			t.Errorf("%d loads, want 1", loads)
		}
	})
}

type retryAfter time.Duration

func (retryAfter) Error() string               { return "too many requests" }
func (r retryAfter) RetryAfter() time.Duration { return time.Duration(r) }

// What the feed says of when to come again is waited for, within reason.
func TestRetryAfter(t *testing.T) {
	for says, waits := range map[time.Duration]time.Duration{
		20 * time.Second:     20 * time.Second,
		365 * 24 * time.Hour: MaxRetryAfter,
		time.Millisecond:     500 * time.Millisecond, // the least that our own backoff can be
		-time.Hour:           500 * time.Millisecond,
	} {
		synctest.Test(t, func(t *testing.T) {
			f := feed{err: fmt.Errorf("it says: %w", retryAfter(says))}
			c := New(ttl, f.load, WithBackoff(time.Second, time.Minute))
			_, _, _ = ask(t, c, "a")
			time.Sleep(waits - time.Millisecond)
			if _, _, _ = ask(t, c, "a"); f.count() != 1 {
				t.Errorf("told to wait %v, it asks again after less than %v", says, waits)
			}
			time.Sleep(time.Second) // the most that our own backoff can add
			if _, _, _ = ask(t, c, "a"); f.count() != 2 {
				t.Errorf("told to wait %v, it does not ask again after %v", says, waits+time.Second)
			}
		})
	}
}

// What was loaded together does not expire together, and nothing is kept for
// longer than the ttl.
func TestJitter(t *testing.T) {
	const keys = 1000
	most := func(opts ...Option) int {
		var most int
		synctest.Test(t, func(t *testing.T) {
			var f feed
			c := New(ttl, f.load, opts...)
			for i := range keys {
				go func() { _, _ = c.Get(t.Context(), fmt.Sprint(i)) }()
			}
			time.Sleep(50 * time.Millisecond)
			synctest.Wait()
			for f.count() < 2*keys {
				before := f.count()
				time.Sleep(100 * time.Millisecond)
				for i := range keys {
					go func() { _, _ = c.Get(t.Context(), fmt.Sprint(i)) }()
				}
				synctest.Wait()
				most = max(most, f.count()-before)
			}
			time.Sleep(time.Second)
		})
		return most
	}
	if n := most(); n != keys {
		t.Errorf("without jitter %d of %d keys are loaded at one moment, want all: else this test shows nothing", n, keys)
	}
	if n := most(WithJitter(0.2)); n > keys/4 {
		t.Errorf("with a jitter of a fifth of 5 s, %d of %d keys are loaded within 100 ms, want about a tenth", n, keys)
	}
}

// Untrusted clients that ask for a hundred thousand keys take a bounded part of
// the memory. They push out nothing that others ask for again and again. Nor do
// those whose loads fail.
func TestMaxKeys(t *testing.T) {
	const keys, strangers = 1000, 100_000
	var loads atomic.Int64
	c := New(time.Hour, func(_ context.Context, key int) (int, error) {
		if loads.Add(1); key < 0 {
			return 0, errDown
		}
		return key, nil
	}, WithMaxKeys(keys), WithBackoff(time.Hour, time.Hour))
	for range 2 {
		for key := range 100 {
			_, _ = c.Get(t.Context(), key)
		}
	}
	for i := range strangers / 2 {
		_, _ = c.Get(t.Context(), 100+i)
		_, _ = c.Get(t.Context(), -1-i)
	}
	if n, m := size(c); n > keys || m > keys {
		t.Errorf("%d values and %d failures are kept, want at most %d of each", n, m, keys)
	}
	if n := loads.Load(); n != 100+strangers {
		t.Fatalf("%d loads, want %d", n, 100+strangers)
	}
	for key := range 100 {
		_, _ = c.Get(t.Context(), key)
	}
	if n := loads.Load(); n != 100+strangers {
		t.Errorf("%d of 100 keys that were asked for again had been pushed out", n-100-strangers)
	}
}

// The least bounds on keys work, too; 0 or less is none.
func TestFewKeys(t *testing.T) {
	for _, n := range []int{-1, 0, 1, 2, 3} {
		c := New(time.Hour, func(_ context.Context, key int) (int, error) { return key, nil }, WithMaxKeys(n))
		for key := range 10 {
			if v, err := c.Get(t.Context(), key); v != key || err != nil {
				t.Errorf("Get = %d, %v", v, err)
			}
		}
		want := n
		if n <= 0 { // no bound
			want = 10
		}
		if got, _ := size(c); got != want {
			t.Errorf("%d values are kept, want %d", got, want)
		}
	}
}

// A caller that would start one load too many is told at once, or gets an old
// value. A caller that joins a load does not start one. A load that ignores its
// context counts until it returns.
func TestMaxLoads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spans := cachetest.Record(t)
		deaf := make(chan struct{})
		c := New(ttl, func(ctx context.Context, key string) (int, error) {
			if key == "old" {
				return 7, nil
			}
			<-deaf
			return 1, nil
		}, WithMaxLoads(3), WithStaleIfError(time.Minute))
		if _, v, err := ask(t, c, "old"); v != 7 || err != nil {
			t.Fatalf("Get = %d, %v", v, err)
		}
		time.Sleep(ttl)
		var callers sync.WaitGroup
		for _, key := range []string{"a", "b", "c", "c"} {
			callers.Go(func() {
				if _, err := c.Get(cachetest.Watched(t), key); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Get: %v, want a timeout", err)
				}
			})
		}
		synctest.Wait()
		refused := func(when string) {
			if took, _, err := ask(t, c, "d"); err != ErrBusy || took != 0 {
				t.Errorf("%s: Get: %v after %v, want %v at once", when, err, took, ErrBusy)
			}
			if took, v, err := ask(t, c, "old"); v != 7 || err != nil || took != 0 {
				t.Errorf("%s: Get = %d, %v after %v, want the old value at once", when, v, err, took)
			}
		}
		refused("while they are in the air")
		callers.Wait()
		refused("when they have landed and do not return")
		close(deaf)
		synctest.Wait()
		if _, v, err := ask(t, c, "d"); v != 1 || err != nil {
			t.Errorf("when they have returned: Get = %d, %v", v, err)
		}
		if r := spans.Results(); r["busy"] != 2 || r["stale"] != 2 || r["joined"] != 1 || r["miss"] != 5 {
			t.Errorf("cache.result: %v, want 2 busy, 2 stale, 1 joined, 5 misses", r)
		}
		if s, want := c.Stats(), (Stats{Stale: 2, Misses: 5, Joined: 1, Refused: 2, Loads: 5, Failures: 3}); s != want {
			t.Errorf("%+v, want %+v", s, want)
		}
	})
}

// An hour with a feed that is down half of the time, in every way, and 40 keys
// where 30 can be kept. No caller waits longer than the load timeout. A caller
// that may have an old value does not fail, and the bounds hold.
func TestOutage(t *testing.T) {
	for range 2 {
		synctest.Test(t, outage)
	}
}

func outage(t *testing.T) {
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 1))
	const (
		keys, maxKeys, maxLoads = 40, 30, 5
		ifError                 = 2 * time.Minute
	)
	end := time.Now().Add(time.Hour)
	down := func() bool { return time.Now().Unix()/60%2 == 1 } // every other minute
	var (
		mu      sync.Mutex
		running int
		most    int
	)
	brought := map[string]time.Time{} // when a key's value was last brought
	c := New(ttl, func(ctx context.Context, key string) (string, error) {
		mu.Lock()
		running++
		most = max(most, running)
		mu.Unlock()
		defer func() { mu.Lock(); running--; mu.Unlock() }()
		time.Sleep(time.Duration(50+len(key)*10) * time.Millisecond)
		if !down() {
			mu.Lock()
			brought[key] = time.Now()
			mu.Unlock()
			return key, nil
		}
		switch time.Now().UnixNano() / 1000 % 3 {
		case 0:
			panic("doom")
		case 1:
			<-ctx.Done()
		}
		return "", errDown
	}, WithStaleWhileRevalidate(ttl), WithStaleIfError(ifError), WithBackoff(time.Second, 20*time.Second),
		WithJitter(0.2), WithMaxKeys(maxKeys), WithMaxLoads(maxLoads))

	var callers sync.WaitGroup
	outcomes := map[string]int{}
	for range 20 {
		seed := rnd.Uint64()
		callers.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, 2))
			for time.Now().Before(end) {
				key := fmt.Sprint(rnd.IntN(keys) * rnd.IntN(keys) / keys)
				began := time.Now()
				here := has(c, key)
				mu.Lock()
				at, known := brought[key]
				mu.Unlock()
				_, err := c.Get(t.Context(), key)
				mu.Lock()
				switch {
				case time.Since(began) > DefaultTimeout:
					t.Errorf("a caller waited %v", time.Since(began))
				case err == nil:
					outcomes["served"]++
				case here && known && time.Since(at) < ttl*4/5+ifError && has(c, key):
					t.Errorf("%v, though there is a value of %v ago", err, time.Since(at))
				case errors.Is(err, ErrBusy):
					outcomes["busy"]++
				default:
					outcomes["failed"]++
				}
				mu.Unlock()
				time.Sleep(time.Duration(rnd.IntN(1000)) * time.Millisecond)
				if n, _ := size(c); n > maxKeys {
					t.Errorf("%d values are kept", n)
				}
			}
		})
	}
	callers.Wait()
	time.Sleep(DefaultTimeout)
	synctest.Wait()
	if most > maxLoads || running != 0 || c.running != 0 || len(c.flights) != 0 {
		t.Errorf("%d loads at once, %d and %d still run, %d flights", most, running, c.running, len(c.flights))
	}
	s := c.Stats()
	if outcomes["served"] == 0 || outcomes["failed"] == 0 || s.Stale == 0 || s.Spared == 0 || s.Panics == 0 || s.Refused == 0 || s.Joined == 0 {
		t.Errorf("seed %d: %v, %+v: something did not happen, so this test shows nothing of it", seed, outcomes, s)
	}
	if t.Failed() {
		t.Logf("seed %d", seed)
	}
}

// has reports whether key still has a value, which others may push out.
func has(c *Cache[string, string], key string) bool { _, ok := c.values.get(key); return ok }

// size is how many values and failures c holds.
func size[K comparable, V any](c *Cache[K, V]) (values, failures int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.values.len, c.failures.len
}

// status is an error that an origin answered with.
type status int

func (s status) Error() string   { return fmt.Sprint("the origin says ", int(s)) }
func (s status) StatusCode() int { return int(s) }

// RFC 5861 serves an old value in place of a 500, 502, 503 or 504, and of no
// answer. Any other status is an answer, and ends the old value; a panic is none,
// whatever it carries.
func TestGoneIsAnAnswer(t *testing.T) {
	for _, options := range map[string][]Option{
		"stale-if-error":         {WithStaleIfError(time.Minute)},
		"with backoff":           {WithStaleIfError(time.Minute), WithBackoff(time.Second, time.Second)},
		"stale-while-revalidate": {WithStaleIfError(time.Minute), WithStaleWhileRevalidate(ttl)},
	} {
		for code := 400; code < 600; code++ {
			for _, way := range []string{"returns", "wraps", "panics"} {
				synctest.Test(t, func(t *testing.T) {
					n := 0
					c := New(ttl, func(context.Context, string) (int, error) {
						switch n++; {
						case n == 1:
							return 7, nil
						case way == "panics":
							panic(status(code))
						case way == "wraps":
							return 0, fmt.Errorf("it says: %w", status(code))
						}
						return 0, status(code)
					}, options...)
					_, _, _ = ask(t, c, "a")
					time.Sleep(ttl)
					if c.whileRevalidate > 0 {
						_, _, _ = ask(t, c, "a") // served at once, whatever the load says
						synctest.Wait()
					}
					for range 2 {
						_, v, err := ask(t, c, "a")
						serves := way == "panics" || code == 500 || code == 502 || code == 503 || code == 504
						if serves != (err == nil) || serves && v != 7 {
							t.Errorf("%d, %s: Get = %d, %v", code, way, v, err)
						}
					}
				})
			}
		}
	}
}

// A failure without an answer is no answer either: the load's own error, a panic,
// a goroutine that ends, a timeout, no place.
func TestOldValueInPlaceOfNoAnswer(t *testing.T) {
	for name, die := range map[string]func(context.Context) error{
		"fails":   func(context.Context) error { return errDown },
		"panics":  func(context.Context) error { panic("doom") },
		"exits":   func(context.Context) error { runtime.Goexit(); return nil },
		"hangs":   func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		"is deaf": func(context.Context) error { time.Sleep(time.Minute); return nil },
		"is busy": func(context.Context) error { return ErrBusy },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := 0
				c := New(ttl, func(ctx context.Context, _ string) (int, error) {
					if n++; n == 1 {
						return 7, nil
					}
					return 0, die(ctx)
				}, WithStaleIfError(time.Minute))
				_, _, _ = ask(t, c, "a")
				time.Sleep(ttl)
				if _, v, err := ask(t, c, "a"); v != 7 || err != nil {
					t.Errorf("Get = %d, %v, want the old value", v, err)
				}
				time.Sleep(time.Minute)
			})
		})
	}
}

// Keys that fail together are not asked for together.
func TestBackoffIsSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := feed{err: errDown}
		c := New(ttl, f.load, WithBackoff(time.Minute, time.Minute))
		until := map[time.Time]bool{}
		for key := range 100 {
			_, err := c.Get(t.Context(), fmt.Sprint(key))
			until[err.(*FailedError).Until.Truncate(time.Second)] = true
		}
		if len(until) < 30 {
			t.Errorf("100 failures are over at %d different seconds, of 60", len(until))
		}
	})
}

// wait is one call that fails, and how long it is told to wait.
func wait(t *testing.T, c *Cache[string, int]) time.Duration {
	t.Helper()
	_, _, err := ask(t, c, "a")
	var failed *FailedError
	if !errors.As(err, &failed) {
		t.Fatalf("Get: %v, want a FailedError", err)
	}
	return failed.RetryAfter()
}

// A success ends a failure: the next one, within the time for which it would be
// remembered, waits as briefly as a first one.
func TestSuccessEndsTheFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := feed{err: errDown}
		c := New(ttl, f.load, WithBackoff(time.Second, time.Hour))
		for range 5 {
			time.Sleep(wait(t, c))
		}
		f.set(nil)
		want(t, c, 50*time.Millisecond, 6)
		f.set(errDown)
		time.Sleep(ttl)
		if d := wait(t, c); d > 1500*time.Millisecond {
			t.Errorf("the first failure after a success waits %v, want 1s, give or take half", d)
		}
	})
}

// How long a key has failed is known for as long again as it may have to wait.
func TestBackoffIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := feed{err: errDown}
		c := New(ttl, f.load, WithBackoff(time.Second, time.Minute))
		for range 4 { // 1, 2, 4 and 8 s, give or take half
			_, _, _ = ask(t, c, "a")
			time.Sleep(50 * time.Second)
		}
		if d := wait(t, c); d < 8*time.Second {
			t.Errorf("the fifth failure waits %v, want 16s, give or take half", d)
		}
		time.Sleep(24*time.Second + time.Minute + time.Second)
		if d := wait(t, c); d > 1500*time.Millisecond {
			t.Errorf("when all is forgotten a failure waits %v, want 1s, give or take half", d)
		}
	})
}

// One timer does for all flights, and holds none that has landed.
func TestWatchLetsGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f feed
		c := New(ttl, f.load)
		for range 3 {
			want(t, c, 50*time.Millisecond, f.count()+1)
			c.Forget("a")
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.timed.Len() != 0 {
			t.Errorf("%d flights that have landed are held", c.timed.Len())
		}
	})
}

// Flights time out each at its time, whichever started first and however many have
// landed in between.
func TestTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(ttl, func(_ context.Context, key int) (int, error) {
			if key%2 == 0 {
				time.Sleep(time.Hour) // deaf
			}
			return key, nil
		})
		var callers sync.WaitGroup
		for key := range 20 {
			callers.Go(func() {
				time.Sleep(time.Duration(key/2) * 400 * time.Millisecond)
				began := time.Now()
				_, err := c.Get(t.Context(), key)
				took, want := time.Since(began), time.Duration(0)
				if key%2 == 0 {
					want = DefaultTimeout
				}
				if took != want || errors.Is(err, context.DeadlineExceeded) != (want > 0) {
					t.Errorf("key %d: %v after %v, want it after %v", key, err, took, want)
				}
			})
		}
		callers.Wait()
		time.Sleep(2 * time.Hour)
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.watch.on || c.running != 0 {
			t.Errorf("at the end %d loads run, and the timer does: %v", c.running, c.watch.on)
		}
	})
}
