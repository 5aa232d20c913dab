package cache

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"
	"weak"

	"go.opentelemetry.io/otel/trace/noop"

	"plaque/steps/kit/cachetest"
)

// With options an error is asked for its status and for when to come again. That
// is the load's time: whatever these methods do, callers get an answer within the
// timeout, the next one a load, and the load's place is free.
func TestErrorMethodsWithOptions(t *testing.T) {
	for name := range cachetest.Methods(nil) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				foreign := cachetest.Methods(release)[name]
				var loads atomic.Int64 // the first load may still run when the second one does
				c := New(ttl, func(context.Context, string) (int, error) {
					n := loads.Add(1)
					if n == 1 {
						return 0, foreign
					}
					return int(n), nil
				}, WithBackoff(time.Second, time.Second), WithStaleIfError(time.Minute), WithMaxLoads(2))
				took, _, err := ask(t, c, "a")
				var failed *FailedError
				if !errors.As(err, &failed) || failed.Err != foreign && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Get: %T, want the load's error, or the timeout", err)
				}
				if want := map[bool]time.Duration{true: DefaultTimeout}[name == "blocks"]; took != want {
					t.Errorf("answered after %v, want %v", took, want)
				}
				time.Sleep(2 * time.Second)
				if _, v, err := ask(t, c, "a"); v != 2 || err != nil {
					t.Errorf("the next one: Get = %d, %v", v, err)
				}
				close(release)
				synctest.Wait()
				c.mu.Lock()
				defer c.mu.Unlock()
				if c.running != 0 {
					t.Errorf("%d loads still hold a place", c.running)
				}
			})
		})
	}
}

// The error that callers get can be looked into, though the load's cannot: a nil
// *net.OpError panics in errors.Is.
func TestErrorThatCannotBeLookedInto(t *testing.T) {
	c := New(ttl, func(context.Context, string) (int, error) { var err *net.OpError; return 0, err },
		WithBackoff(time.Second, time.Second))
	_, err := c.Get(t.Context(), "a")
	var failed *FailedError
	if errors.Is(err, errDown) || !errors.As(err, &failed) || err.Error() != "<nil>" {
		t.Errorf("Get: %v", err)
	}
	if good := (&FailedError{Err: errDown}); !errors.Is(good, errDown) {
		t.Error("an error that can be looked into is not wrapped")
	}
}

// A sampler is foreign, too, and runs in the load's time. A load does not fail
// because tracing does.
func TestSampler(t *testing.T) {
	for _, way := range []struct {
		name string
		do   func(release chan struct{})
		took time.Duration
		fine func(error) bool
	}{
		{"panics", func(chan struct{}) { panic("no budget") }, 0, func(err error) bool { return err == nil }},
		{"exits", func(chan struct{}) { runtime.Goexit() }, 0, func(err error) bool { return err == ErrGoexit }},
		{"blocks", func(release chan struct{}) { <-release }, DefaultTimeout, func(err error) bool {
			return errors.Is(err, context.DeadlineExceeded)
		}},
	} {
		t.Run(way.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				spans := cachetest.Record(t)
				release := make(chan struct{})
				loads := 0
				c := New(ttl, func(context.Context, string) (int, error) { loads++; return loads, nil })
				var callers sync.WaitGroup
				unsample := cachetest.Sampler(t, "flight", func() { way.do(release) })
				for range 3 {
					callers.Go(func() {
						if took, _, err := ask(t, c, "a"); !way.fine(err) || took != way.took {
							t.Errorf("Get: %v after %v, want it after %v", err, took, way.took)
						}
					})
				}
				synctest.Wait()
				if way.took > 0 { // a caller that leaves does not wait for the sampler
					ctx, cancel := context.WithTimeout(cachetest.Watched(t), way.took/3)
					began := time.Now()
					if _, err := c.Get(ctx, "a"); time.Since(began) != way.took/3 {
						t.Errorf("a caller that leaves: %v after %v", err, time.Since(began))
					}
					cancel()
				}
				callers.Wait()
				unsample()
				close(release)
				synctest.Wait()
				c.Forget("a")
				before := loads
				if _, v, err := ask(t, c, "a"); v != before+1 || err != nil {
					t.Errorf("the next one: Get = %d, %v", v, err)
				}
				synctest.Wait()
				if way.name == "blocks" && (before != 0 || len(spans.Named("flight")) != 2) {
					t.Errorf("%d loads started after the timeout; %d flights have a span, want 2", before, len(spans.Named("flight")))
				}
				if c.running != 0 || len(c.flights) != 0 {
					t.Errorf("%d loads run, %d flights are in the air", c.running, len(c.flights))
				}
			})
		})
	}
}

// So is a span processor. One that blocks at the end of a flight holds nobody, not
// even where several flights time out at once.
func TestSpanProcessor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cachetest.Record(t)
		release := make(chan struct{})
		cachetest.Processor(t, "flight", func() { <-release })
		c := New(ttl, func(_ context.Context, key string) (int, error) {
			if key != "quick" {
				<-release
			}
			return 1, nil
		})
		var callers sync.WaitGroup
		for _, key := range []string{"a", "b", "c"} {
			callers.Go(func() {
				if took, _, err := ask(t, c, key); took != DefaultTimeout || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Get: %v after %v, want a timeout after %v", err, took, DefaultTimeout)
				}
			})
		}
		callers.Wait()
		if took, _, err := ask(t, c, "quick"); took != 0 || err != nil {
			t.Errorf("Get: %v after %v, want a value at once", err, took)
		}
		close(release)
		synctest.Wait()
		cachetest.Processor(t, "flight", func() { panic("the disk is full") })
		if took, _, err := ask(t, c, "another"); took != 0 || err != nil {
			t.Errorf("Get: %v after %v, want a value", err, took)
		}
		synctest.Wait()
		if c.running != 0 {
			t.Errorf("%d loads still hold a place", c.running)
		}
	})
}

// What a span says is text, whatever the key or the error is.
func TestText(t *testing.T) {
	if s := text(strings.Repeat("ä", maxText)); len(s) > maxText || !utf8.ValidString(s) {
		t.Errorf("%d bytes, valid UTF-8: %v", len(s), utf8.ValidString(s))
	}
	if s := text("\xff"); s != "\uFFFD" {
		t.Errorf("text is %q", s)
	}
	for want, v := range map[string]any{
		"a": "a", "7": 7, "{a 7}": struct {
			a string
			b int
		}{"a", 7}, "the feed is down": errDown, "1s": time.Second, "<nil>": nil,
	} {
		if s := text(v); s != want {
			t.Errorf("text is %q, want %q", s, want)
		}
	}
	if s := text(&struct{ n int }{7}); !strings.HasPrefix(s, "(*struct { n int }) 0x") {
		t.Errorf("text is %q, want a type and an address", s)
	}
}

// Settings that cannot be meant are errors at once.
func TestRefusedSettings(t *testing.T) {
	for what, set := range map[string]func(){
		"a load of nil":             func() { New[string, int](ttl, nil) },
		"an option of nil":          func() { New(ttl, new(feed).load, WithMaxLoads(1), nil) },
		"a jitter of not a number":  func() { WithJitter(math.NaN()) },
		"a jitter that 0/0 brought": func() { zero := 0.0; WithJitter(zero / zero) },
	} {
		func() {
			defer func() {
				if said := recover(); said == nil || !strings.HasPrefix(fmt.Sprint(said), "cache.") {
					t.Errorf("%s: %v, want a panic that says what is wrong", what, said)
				}
			}()
			set()
		}()
	}
}

// 0 means the same for each bound: there is none.
func TestNoTimeout(t *testing.T) {
	for _, d := range []time.Duration{0, -time.Second} {
		synctest.Test(t, func(t *testing.T) {
			f := feed{took: 24 * time.Hour}
			c := New(ttl, f.load, WithTimeout(d), WithMaxLoads(int(d)), WithMaxKeys(int(d)))
			want(t, c, 24*time.Hour, 1)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			c.Forget("a")
			if _, err := c.Get(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Get: %v, want the caller's own deadline", err)
			}
			synctest.Wait() // nobody waits, so the load has been cancelled
			if c.running != 0 {
				t.Error("a load that nobody waits for goes on")
			}
		})
	}
}

// Numbers at their ends do not turn round.
func TestLongTimes(t *testing.T) {
	const long = time.Duration(math.MaxInt64)
	synctest.Test(t, func(t *testing.T) {
		var f feed
		c := New(long, f.load, WithTimeout(long), WithStaleIfError(long), WithStaleWhileRevalidate(long), WithBackoff(long, long), WithJitter(math.Inf(1)))
		want(t, c, 50*time.Millisecond, 1)
		f.set(retryAfter(long))
		time.Sleep(time.Hour)
		if _, err := c.Get(t.Context(), "b"); err == nil {
			t.Error("there is no error")
		}
		time.Sleep(1000 * time.Hour)
		if _, err := c.Get(t.Context(), "b"); err == nil || f.count() != 2 {
			t.Errorf("Get: %v, %d loads; want the remembered failure", err, f.count())
		}
		want(t, c, 0, 1)
	})
	if d := after(long-1, 2); d != long {
		t.Errorf("the sum is %v", d)
	}
}

// What a flight holds is given back before anybody wakes: a caller that has its
// answer can start the next load at once.
func TestOneAfterTheOther(t *testing.T) {
	for name, load := range map[string]func(context.Context, int) (int, error){
		"returns": func(_ context.Context, k int) (int, error) { return k, nil },
		"fails":   func(context.Context, int) (int, error) { return 0, errDown },
		"panics":  func(context.Context, int) (int, error) { panic("doom") },
		"exits":   func(context.Context, int) (int, error) { runtime.Goexit(); return 0, nil },
	} {
		t.Run(name, func(t *testing.T) {
			c := New(time.Hour, load, WithMaxLoads(1))
			for k := range 5000 {
				if _, err := c.Get(t.Context(), k); errors.Is(err, ErrBusy) {
					t.Fatalf("call %d, one after the other, gets %v", k, err)
				}
			}
		})
	}
}

// A hit allocates nothing, with a bound on keys and without.
func TestHitAllocatesNothing(t *testing.T) {
	for _, keys := range []int{0, 10} {
		c := New(time.Hour, func(_ context.Context, key string) (string, error) { return key, nil }, WithMaxKeys(keys))
		ctx, key := t.Context(), strings.Repeat("k", 24)
		if _, err := c.Get(ctx, key); err != nil {
			t.Fatal(err)
		}
		if n := testing.AllocsPerRun(1000, func() { _, _ = c.Get(ctx, key) }); n != 0 {
			t.Errorf("a hit allocates %v times, with room for %d keys", n, keys)
		}
	}
}

// A load pays nothing for the end of a span that nobody records, nor for a failure
// that its key might have had.
func TestLoadPaysForNothing(t *testing.T) {
	f := &flight[string, int]{started: make(chan struct{}), span: noop.Span{}}
	close(f.started)
	failures := newShelf[string, *FailedError](0, time.Second)
	for what, do := range map[string]func(){
		"the end of a span": func() { f.end(nil, false, time.Time{}) },
		"no failure":        func() { failures.drop(f.key) },
	} {
		if n := testing.AllocsPerRun(1000, do); n != 0 {
			t.Errorf("%s allocates %v times", what, n)
		}
	}
}

// Many cores hit at once, and each hit is counted.
func TestHitsAreCounted(t *testing.T) {
	c := New(time.Hour, func(_ context.Context, key int) (int, error) { return key, nil })
	var loads atomic.Int64
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for range 10_000 {
				_, _ = c.Get(t.Context(), 1)
				loads.Add(1)
			}
		})
	}
	callers.Wait()
	if s := c.Stats(); s.Hits+s.Misses+s.Joined != loads.Load() || s.Misses != 1 {
		t.Errorf("%+v for %d calls", s, loads.Load())
	}
}

// A cache that nobody uses any more goes at once, though its values have an hour
// to live.
func TestCacheIsLetGo(t *testing.T) {
	held := func() weak.Pointer[Cache[string, int]] {
		c := New(time.Hour, new(feed).load)
		if _, err := c.Get(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		return weak.Make(c)
	}()
	for end := time.Now().Add(10 * time.Second); held.Value() != nil; time.Sleep(time.Millisecond) {
		if runtime.GC(); time.Now().After(end) {
			t.Fatal("a timer holds the cache")
		}
	}
}

// meanwhile is a context that does something when it is first asked whether it has
// ended, which Get does between its two looks.
type meanwhile struct {
	context.Context
	do func()
}

func (m *meanwhile) Err() error {
	if do := m.do; do != nil {
		m.do = nil
		do()
	}
	return m.Context.Err()
}

// A hit at the second look is counted like any other.
func TestLateHitIsCounted(t *testing.T) {
	c := New(time.Hour, func(_ context.Context, key int) (int, error) { return key, nil })
	ctx := &meanwhile{t.Context(), func() { _, _ = c.Get(t.Context(), 1) }}
	if v, err := c.Get(ctx, 1); v != 1 || err != nil {
		t.Fatalf("Get = %d, %v", v, err)
	}
	if s, want := c.Stats(), (Stats{Hits: 1, Misses: 1, Loads: 1}); s != want {
		t.Errorf("%+v, want %+v", s, want)
	}
}
