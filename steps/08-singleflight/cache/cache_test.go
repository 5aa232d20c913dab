package cache

import (
	"context"
	"errors"
	"math"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/singleflight"
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

// The second look. Between a caller's look and its Do another flight lands; without
// the second look the caller would load again, as fly would here.
func TestSecondLook(t *testing.T) {
	spans := record(t)
	loads, load := counted(0)
	c := New(time.Hour, load)
	get(t, c, "a")
	f := &flight[string]{}
	c.fly(t.Context(), "a", f)
	if n := loads.Load(); n != 1 || f.value != "value of a" || f.err != nil {
		t.Errorf("%d loads, %q, %v: want the value that is there", n, f.value, f.err)
	}
	if n := len(ended(spans, "flight")); n != 1 {
		t.Errorf("%d flights, want 1: without a load there is none", n)
	}
}

// And so from outside: callers that find nothing in the cache and a flight that has
// just landed. Which of them looks when is luck, so they race often.
func TestSecondLookInARace(t *testing.T) {
	for range 2000 {
		spans := record(t)
		loads, load := counted(0)
		c := New(time.Hour, load)
		var callers sync.WaitGroup
		for range 4 {
			callers.Go(func() { get(t, c, "a") })
		}
		callers.Wait()
		if n := loads.Load(); n != 1 || results(spans)["miss"] != 1 {
			t.Fatalf("%d loads, cache.result: %v, want one load and one miss", n, results(spans))
		}
	}
}

// token and point are keys that print alike, though they are not equal.
type (
	token struct{ user string }
	point struct{ x, y int }
)

func (token) String() string   { return "token" } // not for logs
func (token) GoString() string { return "token" }

// Unequal keys are two keys, however they print.
func TestKeysThatPrintAlike(t *testing.T) {
	for name, keys := range map[string][2]any{
		"1 and \"1\"":   {1, "1"},
		"int and int32": {int(1), int32(1)},
		"methods":       {token{"alice"}, token{"bob"}},
		"pointers":      {&point{1, 2}, &point{1, 2}},
		"NaN":           {math.NaN(), math.NaN()},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				loads := 0
				c := New(ttl, func(_ context.Context, key any) (any, error) {
					loads++
					time.Sleep(time.Second)
					return key, nil
				})
				var callers sync.WaitGroup
				for _, key := range keys {
					callers.Go(func() {
						if v, err := c.Get(t.Context(), key); v != key && key == key || err != nil {
							t.Errorf("Get(%#v) = %#v, %v", key, v, err)
						}
					})
					synctest.Wait()
				}
				callers.Wait()
				if loads != 2 {
					t.Errorf("%d loads, want one for each key", loads)
				}
			})
		})
	}
}

// end says how a call of f ended: by returning, by a panic or by Goexit.
func end(f func()) (how string) {
	done := make(chan string)
	go func() {
		how := "goexit"
		defer func() {
			if p := recover(); p != nil {
				how = "panic"
			}
			done <- how
		}()
		f()
		how = "return"
	}()
	return <-done
}

// Do passes a panic, and a Goexit, on to every caller. The key recovers.
func TestDeathGoesToAll(t *testing.T) {
	for how, die := range map[string]func(){"panic": func() { panic("doom") }, "goexit": runtime.Goexit} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				spans := record(t)
				loads := 0
				c := New(ttl, func(_ context.Context, key string) (string, error) {
					time.Sleep(time.Second)
					if loads++; loads == 1 {
						die()
					}
					return "value of " + key, nil
				})
				var callers sync.WaitGroup
				for range 5 {
					callers.Go(func() {
						if got := end(func() { _, _ = c.Get(t.Context(), "a") }); got != how {
							t.Errorf("a caller ended with %s, want %s", got, how)
						}
					})
				}
				callers.Wait()
				get(t, c, "a")
				if loads != 2 {
					t.Errorf("%d loads, want 2", loads)
				}
				flights := ended(spans, "flight")
				if s := flights[0].Status(); s.Code != codes.Error {
					t.Errorf("the doomed flight has the status %v, want an error", s)
				}
				if s := flights[1].Status(); s.Code != codes.Ok {
					t.Errorf("the next flight has the status %v, want ok", s)
				}
				for _, s := range ended(spans, "cache.get") {
					if len(s.Links()) != 0 {
						t.Error("a caller of the doomed burst has a link; Do did not return to it")
					}
				}
			})
		})
	}
}

// DoChan would let a waiter leave. But where Do panics in its callers'
// goroutines, DoChan panics in one that it started. Nobody can recover that:
// the process ends, by design.
func TestDoChanEndsTheProcess(t *testing.T) {
	if os.Getenv("PLAQUE_DOCHAN") == "1" {
		defer func() { _ = recover() }() // of no use
		var g singleflight.Group
		<-g.DoChan("a", func() (any, error) { panic("doom") })
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestDoChanEndsTheProcess$")
	cmd.Env = append(os.Environ(), "PLAQUE_DOCHAN=1")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || !strings.Contains(string(out), "panic: doom") {
		t.Errorf("the child ended with %v, want a panic:\n%s", err, out)
	}
}
