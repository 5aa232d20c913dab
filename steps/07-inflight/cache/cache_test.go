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

	"plaque/steps/kit/cachetest"
)

const ttl = 5 * time.Second

var subject = cachetest.Subject{
	New:   func(ttl time.Duration, load cachetest.Load) cachetest.Cache { return New(ttl, load) },
	Words: true,
}

// The promises of step 09 that are kept already.
func TestContract(t *testing.T) {
	cachetest.RunSome(t, subject, "OneFlight", "LoadRunsUnderTheFlight", "Expiry", "AnotherKeyDoesNotWait", "ErrorsGoToAll")
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
				spans := cachetest.Record(t)
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
				if s := spans.Named("flight")[0].Status(); s.Code != codes.Error {
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
		cachetest.Record(t)
		loads, load := cachetest.Counted(time.Second)
		c := New(ttl, load)
		lost := 0
		var callers sync.WaitGroup
		for range 4 {
			callers.Go(func() { cachetest.Get(t, c, "a") })
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
		cachetest.Get(t, c, "a")
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
	}
	c.mu.Unlock() // so that the flight can land, and the test end
	close(release)
}
