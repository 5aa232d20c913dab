package cache

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

const ttl = 5 * time.Second

// record collects the spans of a test.
func record(t *testing.T) *tracetest.SpanRecorder {
	spans := tracetest.NewSpanRecorder()
	was := tracer
	tracer = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)).Tracer("test")
	t.Cleanup(func() { tracer = was })
	return spans
}

// says is what a span says of key.
func says(s sdktrace.ReadOnlySpan, key string) string {
	for _, kv := range s.Attributes() {
		if string(kv.Key) == key {
			return kv.Value.String()
		}
	}
	return ""
}

// results counts the cache.get spans by cache.result.
func results(spans *tracetest.SpanRecorder) map[string]int {
	n := map[string]int{}
	for _, s := range spans.Ended() {
		if s.Name() == "cache.get" {
			n[says(s, "cache.result")]++
		}
	}
	return n
}

// counted is a load that takes d and counts its calls.
func counted(d time.Duration) (*atomic.Int64, func(context.Context, string) (string, error)) {
	var n atomic.Int64
	return &n, func(_ context.Context, key string) (string, error) {
		n.Add(1)
		time.Sleep(d)
		return "value of " + key, nil
	}
}

// get fails the test unless key has its value.
func get(t *testing.T, c *Cache[string, string], key string) {
	t.Helper()
	if v, err := c.Get(t.Context(), key); v != "value of "+key || err != nil {
		t.Errorf("Get(%q) = %q, %v", key, v, err)
	}
}

// ended are the spans with that name.
func ended(spans *tracetest.SpanRecorder, name string) []sdktrace.ReadOnlySpan {
	var found []sdktrace.ReadOnlySpan
	for _, s := range spans.Ended() {
		if s.Name() == name {
			found = append(found, s)
		}
	}
	return found
}

// A hundred callers, one load. All wait as long as it takes, and every waiter's
// span links to the flight.
func TestOneFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spans := record(t)
		loads, load := counted(50 * time.Millisecond)
		c := New(ttl, load)
		var callers sync.WaitGroup
		for range 100 {
			callers.Go(func() { get(t, c, "a") })
		}
		callers.Wait()
		if n := loads.Load(); n != 1 {
			t.Errorf("%d loads, want 1", n)
		}
		if r := results(spans); r["miss"] != 1 || r["joined"] != 99 {
			t.Errorf("cache.result: %v, want 1 miss and 99 joined", r)
		}
		flights := ended(spans, "flight")
		if len(flights) != 1 {
			t.Fatalf("%d flights, want 1", len(flights))
		}
		if d := flights[0].EndTime().Sub(flights[0].StartTime()); d != 50*time.Millisecond {
			t.Errorf("the flight took %v, want 50ms", d)
		}
		for _, s := range ended(spans, "cache.get") {
			if d := s.EndTime().Sub(s.StartTime()); d != 50*time.Millisecond {
				t.Errorf("a caller waited %v, want 50ms", d)
			}
			links := 0
			for _, l := range s.Links() {
				if l.SpanContext.SpanID() == flights[0].SpanContext().SpanID() {
					links++
				}
			}
			switch says(s, "cache.result") {
			case "miss":
				if flights[0].Parent().SpanID() != s.SpanContext().SpanID() {
					t.Error("the flight is no child of its leader")
				}
				if links != 0 {
					t.Error("the leader links to its own flight")
				}
			case "joined":
				if links != 1 {
					t.Errorf("a waiter has %d links to its flight, want 1", links)
				}
			}
		}
	})
}

func TestLoadRunsUnderTheFlight(t *testing.T) {
	spans := record(t)
	var inLoad trace.SpanContext
	c := New(ttl, func(ctx context.Context, key string) (string, error) {
		inLoad = trace.SpanContextFromContext(ctx)
		return "value of " + key, nil
	})
	get(t, c, "a")
	flights := ended(spans, "flight")
	if len(flights) != 1 || inLoad.SpanID() != flights[0].SpanContext().SpanID() {
		t.Error("the load does not run under the flight")
	}
	if k := says(ended(spans, "cache.get")[0], "cache.key"); k != "a" {
		t.Errorf("cache.key is %q", k)
	}
}

func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		loads, load := counted(0)
		c := New(ttl, load)
		get(t, c, "a")
		time.Sleep(ttl - 1)
		get(t, c, "a")
		if n := loads.Load(); n != 1 {
			t.Errorf("%d loads a nanosecond before the value expires, want 1", n)
		}
		time.Sleep(time.Nanosecond)
		get(t, c, "a")
		if n := loads.Load(); n != 2 {
			t.Errorf("%d loads when the value has expired, want 2", n)
		}
	})
}

func TestAnotherKeyDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, load := counted(time.Second)
		c := New(time.Hour, load)
		get(t, c, "b")
		var callers sync.WaitGroup
		callers.Go(func() { get(t, c, "a") })
		synctest.Wait() // a is loading
		began := time.Now()
		get(t, c, "b")
		if d := time.Since(began); d != 0 {
			t.Errorf("b, fresh, took %v while a was loading", d)
		}
		callers.Wait()
	})
}

// An error goes to all that waited, and the next caller loads again.
func TestErrorsGoToAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spans := record(t)
		broken := errors.New("broken")
		loads := 0
		c := New(ttl, func(context.Context, string) (string, error) {
			loads++
			time.Sleep(50 * time.Millisecond)
			return "", broken
		})
		for round := range 2 {
			var callers sync.WaitGroup
			for range 5 {
				callers.Go(func() {
					if _, err := c.Get(t.Context(), "a"); !errors.Is(err, broken) {
						t.Errorf("Get: %v, want the load's error", err)
					}
				})
			}
			callers.Wait()
			if loads != round+1 {
				t.Errorf("%d loads after %d bursts", loads, round+1)
			}
		}
		if s := ended(spans, "flight")[0].Status(); s.Code != codes.Error || s.Description != "broken" {
			t.Errorf("the flight has the status %v, want the error", s)
		}
		for _, span := range ended(spans, "cache.get") {
			if s := span.Status(); s.Code != codes.Error || s.Description != "broken" {
				t.Errorf("cache.get has the status %v, want the error: its flight may be in a trace that nobody sampled", s)
			}
		}
	})
}

// The load runs under the leader's context. When it hangs up,
// the others fail with it.
func TestFirstCallerHangsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(ttl, func(ctx context.Context, _ string) (string, error) {
			<-ctx.Done()
			return "", ctx.Err()
		})
		leader, hangUp := context.WithCancel(t.Context())
		go c.Get(leader, "a")
		synctest.Wait()
		var others sync.WaitGroup
		for range 4 {
			others.Go(func() {
				if _, err := c.Get(t.Context(), "a"); !errors.Is(err, context.Canceled) {
					t.Errorf("Get: %v, want the leader's context canceled", err)
				}
			})
		}
		synctest.Wait()
		hangUp()
		others.Wait()
	})
}

// stuck has n callers ask for a, lets a day pass, and reports how many are still
// waiting.
func stuck(t *testing.T, c *Cache[string, string], n int) int {
	var answered atomic.Int64
	for range n {
		go func() {
			_, _ = c.Get(context.Background(), "a")
			answered.Add(1)
		}()
	}
	synctest.Wait()
	time.Sleep(24 * time.Hour)
	synctest.Wait()
	return n - int(answered.Load())
}

// land lets all waiters of a dead flight go, so that a test can end. Nothing in
// the cache would.
func land(c *Cache[string, string]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.flights["a"].done)
}

// The incident. The leader's load does not return, for some reason, and all callers
// of the key wait forever: those that had joined, and all that come later.
func TestDeadFlight(t *testing.T) {
	for _, death := range []struct {
		name string
		die  func()
	}{
		{"panic", func() { panic("doom") }},
		{"returns early", runtime.Goexit},
	} {
		t.Run(death.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				spans := record(t)
				loads := 0
				c := New(ttl, func(context.Context, string) (string, error) {
					loads++
					time.Sleep(time.Second)
					death.die()
					return "", nil
				})
				go func() { // the leader; net/http would recover for it
					defer func() { _ = recover() }()
					_, _ = c.Get(t.Context(), "a")
				}()
				synctest.Wait()
				if n := stuck(t, c, 9); n != 9 {
					t.Errorf("%d of the 9 that joined wait a day later, want all", n)
				}
				if n := stuck(t, c, 10); n != 10 {
					t.Errorf("%d of the next 10 wait a day later, want all", n)
				}
				if loads != 1 {
					t.Errorf("%d loads, want 1", loads)
				}
				if s := ended(spans, "flight")[0].Status(); s.Code != codes.Error {
					t.Errorf("the flight has the status %v, want an error", s)
				}
				land(c)
			})
		})
	}
}

// The same without a panic: the handler's time is up, its caller has a 503, and
// the flight is still in the air. Go has no way to end a goroutine from outside,
// so http.TimeoutHandler leaves the leader where it is.
func TestLeaderTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		forever := make(chan struct{})
		c := New(ttl, func(context.Context, string) (string, error) {
			<-forever // a load without a timeout, which ignores its context
			return "", nil
		})
		handler := http.TimeoutHandler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, _ = c.Get(r.Context(), "a")
		}), time.Second, "")
		for range 3 {
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
			if w.Code != http.StatusServiceUnavailable {
				t.Errorf("answered %d, want 503", w.Code)
			}
		}
		if n := stuck(t, c, 10); n != 10 {
			t.Errorf("%d of 10 wait a day later, want all", n)
		}
		close(forever)
	})
}

// careless is a context with a bug.
type careless struct{ context.Context }

func (careless) Value(any) any { panic("doom") }

// A panic before the lock costs the caller that it happens to, and no other: it
// holds nothing yet, and nobody waits for it.
func TestPanicBeforeTheLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		record(t)
		loads, load := counted(time.Second)
		c := New(ttl, load)
		lost := 0
		var callers sync.WaitGroup
		for range 4 {
			callers.Go(func() { get(t, c, "a") })
		}
		synctest.Wait()
		func() {
			defer func() {
				if recover() != nil {
					lost++
				}
			}()
			_, _ = c.Get(careless{t.Context()}, "a")
		}()
		callers.Wait()
		get(t, c, "a")
		if n := loads.Load(); lost != 1 || n != 1 {
			t.Errorf("%d callers lost and %d loads, want 1 of each", lost, n)
		}
	})
}

// A panic under the lock, while a flight is in the air: Unlock is not deferred,
// so the lock is held by a goroutine that is gone. The flight cannot land, and
// no key can be read any more.
func TestPanicUnderTheLock(t *testing.T) {
	started, release := make(chan struct{}), make(chan struct{})
	c := New(ttl, func(context.Context, any) (string, error) {
		close(started)
		<-release
		return "", nil
	})
	go func() { _, _ = c.Get(context.Background(), "a") }()
	<-started
	func() {
		defer func() {
			if recover() == nil {
				t.Error("a key that cannot be hashed did not panic")
			}
		}()
		_, _ = c.Get(t.Context(), []string{"no map takes this key"})
	}()
	if c.mu.TryLock() {
		t.Error("the lock is free")
		c.mu.Unlock()
	} else {
		c.mu.Unlock() // so that the flight can land, and the test end
	}
	close(release)
}
