package cachetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/codes"
)

// Foreign tests that other people's code cannot hurt a cache: the methods of
// errors, of panics' values and of keys, keys that are not equal to themselves,
// settings that are missing. Each promise is a subtest.
func Foreign(t *testing.T, s Subject) {
	run(t, s, []promise{
		{"ErrorMethods", Subject.errorMethods},
		{"PanicMethods", Subject.panicMethods},
		{"KeyMethods", fake(Subject.keyMethods)},
		{"KeyIsNotRead", Subject.keyIsNotRead},
		{"KeyUnequalToItself", Subject.keyUnequalToItself},
		{"NoLoad", Subject.noLoad},
		{"FailureIsInEachTrace", fake(Subject.failureIsInEachTrace)},
	})
}

// Method is an error all of whose methods do the same: what Do does. It stands
// for mocks that call t.FailNow, for errors with a lock, and for typed nils.
type Method struct{ Do func() }

func (m *Method) Error() string             { m.Do(); return "an error" }
func (m *Method) String() string            { m.Do(); return "a value" }
func (m *Method) GoString() string          { m.Do(); return "a value" }
func (m *Method) Unwrap() error             { m.Do(); return nil }
func (m *Method) Is(error) bool             { m.Do(); return false }
func (m *Method) As(any) bool               { m.Do(); return false }
func (m *Method) StatusCode() int           { m.Do(); return 500 }
func (m *Method) RetryAfter() time.Duration { m.Do(); return 0 }

// Methods are what a foreign method can do, by name. Those that block do so until
// release is closed.
func Methods(release chan struct{}) map[string]error {
	var nothing *Method
	var refused *net.OpError // its Error takes a nil, its Unwrap does not
	return map[string]error{
		"returns":           &Method{func() {}},
		"panics":            &Method{func() { panic("no header") }},
		"panics with a nil": nothing,
		"a typed nil":       refused,
		// fmt gives up where the panic's value panics as well.
		"panics twice": &Method{func() { panic(&Method{func() { panic("and again") }}) }},
		"exits":        &Method{runtime.Goexit},
		"blocks":       &Method{func() { <-release }},
	}
}

// each runs a test in a bubble for each kind of foreign method. At the end it lets
// those go that block: no goroutine may be left, and of the two flights the span of
// the first one says that it has failed, in whatever words.
func each(t *testing.T, test func(t *testing.T, foreign error)) {
	for name := range Methods(nil) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				spans, release := Record(t), make(chan struct{})
				test(t, Methods(release)[name])
				close(release)
				synctest.Wait()
				failed, flights := 0, spans.Named("flight")
				for _, span := range flights {
					if span.Status().Code == codes.Error {
						failed++
					}
				}
				if len(flights) != 2 || failed != 1 {
					t.Errorf("%d flights, and %d of them have failed in the trace; want 2 and 1", len(flights), failed)
				}
			})
		})
	}
}

// burst lets five callers wait for a first load that ends after a second, and
// checks what each of them gets, at once. Then the key heals.
func (s Subject) burst(t *testing.T, c Cache, loads *atomic.Int64, check func(v any, err error) bool) {
	began := time.Now()
	var callers sync.WaitGroup
	for range 5 {
		callers.Go(func() {
			if v, err := c.Get(Watched(t), "a"); !check(v, err) {
				t.Errorf("Get = %v, %T", v, err)
			}
			if d := time.Since(began); d != time.Second {
				t.Errorf("answered after %v, want as soon as the load ends, after 1s", d)
			}
		})
	}
	callers.Wait()
	Get(t, c, "a")
	loaded(t, loads, 2, "in all")
	if n := s.Flights(c); n != 0 {
		t.Errorf("%d flights are left in the air", n)
	}
}

// Whatever the methods of a load's error do, callers get the error as soon as
// the load returns.
func (s Subject) errorMethods(t *testing.T) {
	each(t, func(t *testing.T, foreign error) {
		var loads atomic.Int64
		c := s.New(ttl, func(_ context.Context, key any) (any, error) {
			if loads.Add(1) == 1 {
				time.Sleep(time.Second)
				return nil, foreign
			}
			return valueOf(key), nil
		})
		s.burst(t, c, &loads, func(v any, err error) bool { return v == nil && err == foreign })
	})
}

// Nor do the methods of the value that a load panics with hold anybody.
func (s Subject) panicMethods(t *testing.T) {
	each(t, func(t *testing.T, foreign error) {
		var loads atomic.Int64
		c := s.New(ttl, func(_ context.Context, key any) (any, error) {
			if loads.Add(1) == 1 {
				time.Sleep(time.Second)
				panic(foreign)
			}
			return valueOf(key), nil
		})
		s.burst(t, c, &loads, func(v any, err error) bool {
			value, _, ok := s.Panic(err)
			return v == nil && ok && value == foreign
		})
	})
}

// clumsy is a key whose text panics, and again when that panic is printed.
type clumsy struct{ id int }

func (clumsy) String() string { panic(&Method{func() { panic("and again") }}) }

// A key is printed for a span alone; that it cannot be is no reason to fail.
func (s Subject) keyMethods(t *testing.T) {
	c := s.New(ttl, func(_ context.Context, key any) (any, error) { return key, nil })
	for range 2 {
		if v, err := c.Get(Watched(t), clumsy{1}); v != (clumsy{1}) || err != nil {
			t.Errorf("Get: %v", err)
		}
	}
}

// A pointer that is a key is its address. What it points to may change meanwhile;
// the race detector sees who reads it.
func (s Subject) keyIsNotRead(t *testing.T) {
	key := &struct{ n int }{}
	c := s.New(ttl, func(_ context.Context, key any) (any, error) { return key, nil })
	ctx := Watched(t)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				key.n++
				runtime.Gosched()
			}
		}
	}()
	for range 100 {
		if v, err := c.Get(ctx, key); v != any(key) || err != nil {
			t.Errorf("Get = %p, %v", v, err)
		}
	}
	close(stop)
	<-stopped
}

// A key that is not equal to itself is loaded each time. Nothing could find its
// flight or its value again, so neither may stay.
func (s Subject) keyUnequalToItself(t *testing.T) {
	for _, key := range []any{math.NaN(), struct{ x any }{math.NaN()}} {
		t.Run(fmt.Sprintf("%T", key), func(t *testing.T) {
			var fail, loads int
			c := s.New(time.Hour, func(ctx context.Context, _ any) (any, error) {
				loads++
				switch fail {
				case 1:
					return nil, errOrigin
				case 2:
					<-ctx.Done()
					return nil, ctx.Err()
				}
				return new([1 << 10]byte), nil
			})
			released(t, func() *[1 << 10]byte {
				v, err := c.Get(t.Context(), key)
				if err != nil {
					t.Fatal(err)
				}
				if s.Forget != nil {
					s.Forget(c, key)
				}
				return v.(*[1 << 10]byte)
			})
			if loads != 100 {
				t.Errorf("%d loads, want one for each of 100 calls", loads)
			}
			fail = 1
			if _, err := c.Get(t.Context(), key); err != errOrigin {
				t.Errorf("Get: %v, want the load's error", err)
			}
			fail = 2
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			if _, err := c.Get(ctx, key); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Get: %v, want the caller's own context's end", err)
			}
			if n := s.Flights(c); n != 0 {
				t.Errorf("%d flights are in the air forever", n)
			}
			if s.Entries != nil && s.Entries(c) != 0 {
				t.Errorf("%d values are kept that nobody can ask for", s.Entries(c))
			}
			runtime.KeepAlive(c)
		})
	}
}

// A cache without a load is refused when it is made, not when it is asked.
func (s Subject) noLoad(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("there is a cache without a load")
		}
	}()
	s.New(ttl, nil)
}

// A failure is in the trace of each caller that gets it: the flight is in the
// leader's, which may not be sampled. A caller that leaves has not failed.
func (s Subject) failureIsInEachTrace(t *testing.T) {
	spans := Record(t)
	c := s.New(ttl, func(context.Context, any) (any, error) {
		time.Sleep(time.Second)
		return nil, errOrigin
	})
	var callers sync.WaitGroup
	callers.Go(func() { _, _ = c.Get(context.Background(), "a") }) // the leader: nobody records its request
	synctest.Wait()
	for range 4 {
		callers.Go(func() { _, _ = c.Get(Watched(t), "a") })
	}
	callers.Wait()
	failed, want := spans.Named("cache.get"), 5
	if s.Quiet {
		want = 4
	}
	if len(failed) != want {
		t.Fatalf("%d cache.get, want %d", len(failed), want)
	}
	for _, span := range failed {
		if span.Status().Code != codes.Error {
			t.Errorf("a caller that got an error has the status %v", span.Status())
		}
	}
	ctx, cancel := context.WithTimeout(Watched(t), time.Millisecond)
	defer cancel()
	_, _ = c.Get(ctx, "a")
	time.Sleep(time.Second)
	if left := spans.Named("cache.get")[want]; left.Status().Code == codes.Error {
		t.Errorf("a caller that left has the status %v", left.Status())
	}
}
