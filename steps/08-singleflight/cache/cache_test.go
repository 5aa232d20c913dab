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
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/codes"
	"golang.org/x/sync/singleflight"

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

// The second look. Between a caller's look and its Do another flight lands; without
// the second look the caller would load again, as fly would here.
func TestSecondLook(t *testing.T) {
	spans := cachetest.Record(t)
	loads, load := cachetest.Counted(0)
	c := New(time.Hour, load)
	cachetest.Get(t, c, "a")
	f := &flight[any]{}
	c.fly(t.Context(), "a", f)
	if n := loads.Load(); n != 1 || f.value != "value of a" || f.err != nil {
		t.Errorf("%d loads, %q, %v: want the value that is there", n, f.value, f.err)
	}
	if n := len(spans.Named("flight")); n != 1 {
		t.Errorf("%d flights, want 1: without a load there is none", n)
	}
}

// And so from outside: callers that find nothing in the cache and a flight that has
// just landed. Which of them looks when is luck, so they race often.
func TestSecondLookInARace(t *testing.T) {
	for range 2000 {
		spans := cachetest.Record(t)
		loads, load := cachetest.Counted(0)
		c := New(time.Hour, load)
		var callers sync.WaitGroup
		for range 4 {
			callers.Go(func() { cachetest.Get(t, c, "a") })
		}
		callers.Wait()
		if n := loads.Load(); n != 1 || spans.Results()["miss"] != 1 {
			t.Fatalf("%d loads, cache.result: %v, want one load and one miss", n, spans.Results())
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
				spans := cachetest.Record(t)
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
				cachetest.Get(t, c, "a")
				if loads != 2 {
					t.Errorf("%d loads, want 2", loads)
				}
				flights := spans.Named("flight")
				if s := flights[0].Status(); s.Code != codes.Error {
					t.Errorf("the doomed flight has the status %v, want an error", s)
				}
				if s := flights[1].Status(); s.Code != codes.Ok {
					t.Errorf("the next flight has the status %v, want ok", s)
				}
				for _, s := range spans.Named("cache.get") {
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
		defer func() { _ = recover() }() // recovers nothing
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
