package cache

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"weak"

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

// watched is t's context with a span that is recorded, as in a server.
func watched(t *testing.T) context.Context {
	ctx, _ := tracer.Start(t.Context(), "caller")
	return ctx
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
	if v, err := c.Get(watched(t), key); v != "value of "+key || err != nil {
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

// An error goes to all who waited, and the next caller loads again.
func TestErrorsGoToAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spans := record(t)
		broken := errors.New("broken")
		var loads atomic.Int64
		c := New(ttl, func(context.Context, string) (string, error) {
			loads.Add(1)
			time.Sleep(50 * time.Millisecond)
			return "", broken
		})
		for round := range 2 {
			var callers sync.WaitGroup
			for range 5 {
				callers.Go(func() {
					if _, err := c.Get(watched(t), "a"); !errors.Is(err, broken) {
						t.Errorf("Get: %v, want the load's error", err)
					}
				})
			}
			callers.Wait()
			if n := loads.Load(); n != int64(round+1) {
				t.Errorf("%d loads after %d bursts", n, round+1)
			}
		}
		if s := ended(spans, "flight")[0].Status(); s.Code != codes.Error || s.Description != "broken" {
			t.Errorf("the flight has the status %v, want the error", s)
		}
	})
}

// The first caller hangs up, and is let go at once. The others are served.
func TestFirstCallerHangsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		loads, load := counted(time.Second)
		c := New(ttl, load)
		leader, hangUp := context.WithCancel(t.Context())
		var callers sync.WaitGroup
		began := time.Now()
		callers.Go(func() {
			if _, err := c.Get(leader, "a"); !errors.Is(err, context.Canceled) {
				t.Errorf("the leader gets %v, want its own context's end", err)
			}
			if d := time.Since(began); d != 100*time.Millisecond {
				t.Errorf("the leader was let go after %v, want 100ms", d)
			}
		})
		synctest.Wait()
		for range 4 {
			callers.Go(func() { get(t, c, "a") })
		}
		time.Sleep(100 * time.Millisecond)
		hangUp()
		callers.Wait()
		if n := loads.Load(); n != 1 {
			t.Errorf("%d loads, want 1", n)
		}
	})
}

// The second look. Between a caller's look and the lock another flight comes and
// lands; without the second look the caller would load again.
func TestSecondLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		loads, load := counted(0)
		c := New(time.Hour, load)
		ctx := &slowContext{Context: t.Context()}
		ctx.between = func() { get(t, c, "a") }
		if _, err := c.Get(ctx, "a"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // for a load that nobody waits for
		if n := loads.Load(); n != 1 {
			t.Errorf("%d loads, want 1", n)
		}
	})
}

// slowContext is a context that is slow to say whether it has ended, which Get
// asks it between the first look and the lock.
type slowContext struct {
	context.Context
	between func()
}

func (c *slowContext) Err() error {
	if f := c.between; f != nil {
		c.between = nil
		f()
	}
	return c.Context.Err()
}

// Whatever a load dies of, all who wait get the same error, no later than the
// timeout, and the next caller is served.
func TestDeaths(t *testing.T) {
	cause := errors.New("the cause")
	for _, death := range []struct {
		name  string
		die   func(context.Context)
		after time.Duration
		check func(error) bool
	}{
		{"panic", func(context.Context) { panic("doom") }, time.Second, func(err error) bool {
			var p *PanicError
			return errors.As(err, &p) && p.Value == "doom" && strings.Contains(err.Error(), "doom") &&
				strings.Contains(string(p.Stack), "TestDeaths")
		}},
		{"panic with an error", func(context.Context) { panic(cause) }, time.Second, func(err error) bool {
			return errors.Is(err, cause)
		}},
		{"panic with nil", func(context.Context) { panic(nil) }, time.Second, func(err error) bool {
			var p *runtime.PanicNilError
			return errors.As(err, &p)
		}},
		{"goexit", func(context.Context) { runtime.Goexit() }, time.Second, func(err error) bool {
			return errors.Is(err, ErrGoexit)
		}},
		{"hangs until its context ends", func(ctx context.Context) { <-ctx.Done(); panic(ctx.Err()) }, DefaultTimeout, func(err error) bool {
			return errors.Is(err, context.DeadlineExceeded)
		}},
		{"ignores its context", func(context.Context) { time.Sleep(time.Hour) }, DefaultTimeout, func(err error) bool {
			return errors.Is(err, context.DeadlineExceeded) && strings.Contains(err.Error(), "within 3s")
		}},
	} {
		t.Run(death.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				spans := record(t)
				var loads atomic.Int64
				c := New(ttl, func(ctx context.Context, key string) (string, error) {
					if loads.Add(1) == 1 {
						time.Sleep(time.Second) // until all five have joined
						death.die(ctx)
						return "too late", nil
					}
					return "value of " + key, nil
				})
				began := time.Now()
				var callers sync.WaitGroup
				for range 5 {
					callers.Go(func() {
						if v, err := c.Get(watched(t), "a"); v != "" || !death.check(err) {
							t.Errorf("Get = %q, %v", v, err)
						}
						if d := time.Since(began); d != death.after {
							t.Errorf("answered after %v, want %v", d, death.after)
						}
					})
				}
				callers.Wait()
				flight := ended(spans, "flight")[0]
				if s := flight.Status(); s.Code != codes.Error || s.Description == "" {
					t.Errorf("the flight has the status %v, want an error", s)
				}
				linked := 0
				for _, s := range ended(spans, "cache.get") {
					if l := s.Links(); len(l) == 1 && l[0].SpanContext.Equal(flight.SpanContext()) {
						linked++
					}
				}
				if linked != 4 {
					t.Errorf("%d callers link to the dead flight, want the 4 who joined", linked)
				}
				get(t, c, "a") // the key heals
				time.Sleep(time.Hour + time.Minute)
				// What the dead load brought in the end was not stored: the
				// value was, and has expired.
				get(t, c, "a")
				if n := loads.Load(); n != 3 {
					t.Errorf("%d loads, want 3", n)
				}
			})
		})
	}
}

func TestPanicIsInTheTrace(t *testing.T) {
	spans := record(t)
	c := New(ttl, func(context.Context, string) (string, error) { panic("doom") })
	_, _ = c.Get(watched(t), "a")
	events := ended(spans, "flight")[0].Events()
	if len(events) != 1 || events[0].Name != "exception" {
		t.Fatalf("the flight's events are %v, want one exception", events)
	}
	stack := ""
	for _, kv := range events[0].Attributes {
		if kv.Key == "exception.stacktrace" {
			stack = kv.Value.AsString()
		}
	}
	if !strings.Contains(stack, "TestPanicIsInTheTrace") {
		t.Errorf("the stack does not name the load:\n%s", stack)
	}
}

// A load that returned late must not replace what a later load has stored.
func TestLateValueIsNotStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var loads atomic.Int64
		c := New(time.Hour, func(context.Context, string) (string, error) {
			if loads.Add(1) == 1 {
				time.Sleep(time.Minute) // long after the timeout
				return "late", nil
			}
			return "value of a", nil
		})
		if _, err := c.Get(watched(t), "a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Get: %v, want a timeout", err)
		}
		get(t, c, "a")
		time.Sleep(2 * time.Minute)
		get(t, c, "a")
		if n := loads.Load(); n != 2 {
			t.Errorf("%d loads, want 2", n)
		}
	})
}

// A caller that gives up is let go at once; when all have, the load is
// cancelled, and the key is free at once.
func TestAllLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cancelled := false
		var loads atomic.Int64
		c := New(ttl, func(ctx context.Context, key string) (string, error) {
			if loads.Add(1) == 1 {
				<-ctx.Done()
				cancelled = true
				time.Sleep(time.Second) // it takes its time to clean up
				return "", ctx.Err()
			}
			return "value of " + key, nil
		})
		var callers sync.WaitGroup
		var hangUps []context.CancelFunc
		for range 3 {
			ctx, hangUp := context.WithCancel(t.Context())
			hangUps = append(hangUps, hangUp)
			callers.Go(func() {
				if _, err := c.Get(ctx, "a"); !errors.Is(err, context.Canceled) {
					t.Errorf("Get: %v, want the caller's own context's end", err)
				}
			})
		}
		synctest.Wait()
		for i, hangUp := range hangUps {
			hangUp()
			synctest.Wait()
			if last := i == len(hangUps)-1; cancelled != last {
				t.Errorf("after %d of 3 have left: load cancelled is %v", i+1, cancelled)
			}
		}
		callers.Wait()
		get(t, c, "a") // while the cancelled load still cleans up
		if n := loads.Load(); n != 2 {
			t.Errorf("%d loads, want 2", n)
		}
		time.Sleep(time.Second) // until it has cleaned up
	})
}

// A caller's own deadline is its own: it ends with its cause, and nobody else.
func TestOwnDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		loads, load := counted(time.Second)
		c := New(ttl, load)
		tired := errors.New("tired of waiting")
		var callers sync.WaitGroup
		callers.Go(func() {
			ctx, cancel := context.WithTimeoutCause(t.Context(), time.Millisecond, tired)
			defer cancel()
			if _, err := c.Get(ctx, "a"); err != tired {
				t.Errorf("Get: %v, want the cause of the caller's context", err)
			}
		})
		callers.Go(func() { get(t, c, "a") })
		callers.Wait()
		if n := loads.Load(); n != 1 {
			t.Errorf("%d loads, want 1", n)
		}
	})
}

// Whoever has left already starts nothing, but gets what is there.
func TestContextAlreadyOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		loads, load := counted(0)
		c := New(time.Hour, load)
		over, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := c.Get(over, "a"); !errors.Is(err, context.Canceled) {
			t.Errorf("Get: %v, want context canceled", err)
		}
		synctest.Wait()
		if n := loads.Load(); n != 0 {
			t.Errorf("%d loads, want none", n)
		}
		get(t, c, "a")
		if v, err := c.Get(over, "a"); v != "value of a" || err != nil {
			t.Errorf("a hit for a caller who has left: %q, %v", v, err)
		}
	})
}

// When the last waiter has left, the key is free before that waiter's Get
// returns: nobody joins a load that is being cancelled. Without that the next
// caller would only sometimes be too quick, so it tries often.
func TestKeyIsFreeAtOnce(t *testing.T) {
	for range 2000 {
		ctx, hangUp := context.WithCancel(t.Context())
		first := true
		c := New(time.Hour, func(ctx context.Context, key string) (string, error) {
			if first {
				first = false
				hangUp()
				<-ctx.Done()
				return "", ctx.Err()
			}
			return "value of " + key, nil
		})
		if _, err := c.Get(ctx, "a"); !errors.Is(err, context.Canceled) {
			t.Fatalf("Get: %v, want context canceled", err)
		}
		get(t, c, "a")
	}
}

// The load keeps the values of the first caller's context, not its deadline.
func TestDetached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type name struct{}
		c := New(ttl, func(ctx context.Context, _ string) (string, error) {
			if ctx.Value(name{}) != "leader" {
				t.Error("the leader's values are gone")
			}
			if at, ok := ctx.Deadline(); !ok || time.Until(at) != 7*time.Second {
				t.Errorf("the load has until %v, want its own 7s", at)
			}
			return "value of a", nil
		}, WithTimeout(7*time.Second))
		ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), name{}, "leader"), time.Second)
		defer cancel()
		if _, err := c.Get(ctx, "a"); err != nil {
			t.Error(err)
		}
	})
}

// What is forgotten during its load is not stored. Those who waited get it;
// those who ask later get a new load, which the old one's end does not disturb.
func TestForgetDuringALoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var loads atomic.Int64
		c := New(time.Hour, func(context.Context, string) (int, error) {
			n := int(loads.Add(1))
			time.Sleep(time.Second)
			return n, nil
		})
		want := func(n int) func() {
			return func() {
				if v, err := c.Get(watched(t), "a"); v != n || err != nil {
					t.Errorf("Get = %d, %v, want %d", v, err, n)
				}
			}
		}
		var callers sync.WaitGroup
		callers.Go(want(1))
		time.Sleep(600 * time.Millisecond)
		c.Forget("a")
		callers.Go(want(2)) // lands at 1.6 s
		time.Sleep(600 * time.Millisecond)
		callers.Go(want(2)) // at 1.2 s: the first has landed, and left the second alone
		callers.Wait()
		want(2)()
		if n := loads.Load(); n != 2 {
			t.Errorf("%d loads, want 2", n)
		}
		c.Forget("a")
		want(3)()
	})
}

// A load may itself use the cache: get another key, and forget its own. What it
// brings then goes to those who wait, and is not stored.
func TestLoadUsesTheCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c *Cache[string, string]
		c = New(time.Hour, func(ctx context.Context, key string) (string, error) {
			if key == "a" {
				c.Forget("a")
				return c.Get(ctx, "b")
			}
			return "value of " + key, nil
		})
		for range 2 {
			if v, err := c.Get(watched(t), "a"); v != "value of b" || err != nil {
				t.Errorf("Get = %q, %v", v, err)
			}
		}
		if s, want := c.Stats(), (Stats{Hits: 1, Misses: 3, Loads: 3}); s != want {
			t.Errorf("%+v, want %+v", s, want)
		}
	})
}

// A panic is told of once, though the load that asked for it passes it on.
func TestPanicOfAnotherLoad(t *testing.T) {
	spans := record(t)
	var c *Cache[string, string]
	c = New(time.Hour, func(ctx context.Context, key string) (string, error) {
		if key == "a" {
			return c.Get(ctx, "b")
		}
		panic("doom")
	})
	var p *PanicError
	if _, err := c.Get(watched(t), "a"); !errors.As(err, &p) {
		t.Errorf("Get: %v, want the other load's panic", err)
	}
	if s, want := c.Stats(), (Stats{Misses: 2, Loads: 2, Failures: 2, Panics: 1}); s != want {
		t.Errorf("%+v, want %+v", s, want)
	}
	for _, flight := range ended(spans, "flight") {
		inner := flight.Parent().SpanID() == ended(spans, "cache.get")[0].SpanContext().SpanID()
		if (len(flight.Events()) == 1) != inner {
			t.Errorf("a flight has %d exceptions; it is the one that panicked: %v", len(flight.Events()), inner)
		}
	}
}

// A key that no map can look up is its caller's panic, and nobody else's: no
// lock stays.
func TestKeyThatCannotBe(t *testing.T) {
	c := New(time.Hour, func(_ context.Context, key any) (any, error) { return key, nil })
	for _, use := range []func(){
		func() { _, _ = c.Get(t.Context(), []int{1}) },
		func() { c.Forget([]int{1}) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("a slice is taken for a key")
				}
			}()
			use()
		}()
		if v, err := c.Get(t.Context(), "a"); v != "a" || err != nil {
			t.Errorf("Get = %v, %v", v, err)
		}
		c.Forget("a")
	}
}

// With no ttl nothing is kept, not even for a moment.
func TestNoTTL(t *testing.T) {
	loads, load := counted(0)
	c := New(0, load)
	for range 2 {
		get(t, c, "a")
	}
	if n := loads.Load(); n != 2 {
		t.Errorf("%d loads, want 2", n)
	}
}

// The last waiter leaves while another caller comes: that one gets a value, of
// the old load or of a new one, and never the end of a load that is cancelled.
func TestLastLeavesAnotherComes(t *testing.T) {
	for range 2000 {
		c := New(time.Hour, func(ctx context.Context, key string) (string, error) {
			for range 20 {
				if runtime.Gosched(); ctx.Err() != nil {
					return "", ctx.Err()
				}
			}
			return "value of " + key, nil
		})
		ctx, hangUp := context.WithCancel(t.Context())
		var callers sync.WaitGroup
		callers.Go(func() { _, _ = c.Get(ctx, "a") })
		callers.Go(func() { runtime.Gosched(); hangUp() })
		callers.Go(func() { get(t, c, "a") })
		callers.Wait()
	}
}

// What is forgotten, or was never stored, is let go of at once.
func TestNothingIsHeld(t *testing.T) {
	for name, ttl := range map[string]time.Duration{"forgotten": time.Hour, "not stored": 0} {
		t.Run(name, func(t *testing.T) {
			c := New(ttl, func(context.Context, string) (*[1 << 10]byte, error) {
				return new([1 << 10]byte), nil
			}, WithTimeout(time.Hour))
			// Some more, because the runtime keeps what it used last.
			var held []weak.Pointer[[1 << 10]byte]
			for range 100 {
				v, err := c.Get(t.Context(), "a")
				if err != nil {
					t.Fatal(err)
				}
				held = append(held, weak.Make(v))
				c.Forget("a")
			}
			n := 0
			for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
				runtime.GC()
				n = 0
				for _, p := range held {
					if p.Value() != nil {
						n++
					}
				}
				if n <= 10 {
					return
				}
			}
			t.Errorf("%d of 100 values are still held", n)
		})
	}
}

// What a caller came to is in its span; nothing for one who came too late.
func TestResultIsInTheTrace(t *testing.T) {
	spans := record(t)
	_, load := counted(0)
	c := New(time.Hour, load)
	over, cancel := context.WithCancel(watched(t))
	cancel()
	_, _ = c.Get(over, "a")
	get(t, c, "a")
	get(t, c, "a")
	var seen []string
	for _, s := range ended(spans, "cache.get") {
		seen = append(seen, says(s, "cache.result"))
	}
	if want := []string{"", "miss", "hit"}; !slices.Equal(seen, want) {
		t.Errorf("cache.result: %q, want %q", seen, want)
	}
}

func TestZeroValueIsRemembered(t *testing.T) {
	var loads atomic.Int64
	c := New(time.Hour, func(context.Context, string) (*int, error) {
		loads.Add(1)
		return nil, nil
	})
	for range 2 {
		if v, err := c.Get(watched(t), "a"); v != nil || err != nil {
			t.Errorf("Get = %v, %v", v, err)
		}
	}
	if n := loads.Load(); n != 1 {
		t.Errorf("%d loads, want 1", n)
	}
}

// Expiry counts from the load's end, not from its start.
func TestExpiryCountsFromTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		loads, load := counted(time.Second)
		c := New(ttl, load)
		get(t, c, "a")
		time.Sleep(ttl - 1)
		get(t, c, "a")
		if n := loads.Load(); n != 1 {
			t.Errorf("%d loads, want 1", n)
		}
	})
}

// A caller whom nobody watches makes no cache.get; the load's flight is there.
func TestUnwatched(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	was := tracer
	defer func() { tracer = was }()
	tracer = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)).Tracer("test")
	_, load := counted(0)
	c := New(time.Hour, load)
	for range 2 {
		if _, err := c.Get(context.Background(), "a"); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(ended(spans, "cache.get")); n != 0 {
		t.Errorf("%d cache.get without a caller's span, want none", n)
	}
	if n := len(ended(spans, "flight")); n != 1 {
		t.Errorf("%d flights, want 1", n)
	}
}
