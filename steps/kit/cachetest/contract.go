package cachetest

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
	"go.opentelemetry.io/otel/trace"
)

// promise is something that a cache does, and its test.
type promise struct {
	name string
	test func(Subject, *testing.T)
}

// fake runs a test in fake time.
func fake(test func(Subject, *testing.T)) func(Subject, *testing.T) {
	return func(s Subject, t *testing.T) {
		synctest.Test(t, func(t *testing.T) { test(s, t) })
	}
}

// run tests each promise as a subtest.
func run(t *testing.T, s Subject, promises []promise) {
	for _, p := range promises {
		t.Run(p.name, func(t *testing.T) { p.test(s, t) })
	}
}

// promises are what a caller of a cache can count on, alone or among others.
var promises = []promise{
	{"OneFlight", fake(Subject.oneFlight)},
	{"LoadRunsUnderTheFlight", fake(Subject.loadRunsUnderTheFlight)},
	{"Expiry", fake(Subject.expiry)},
	{"AnotherKeyDoesNotWait", fake(Subject.anotherKeyDoesNotWait)},
	{"ErrorsAreNotRemembered", Subject.errorsAreNotRemembered},
	{"ErrorsGoToAll", fake(Subject.errorsGoToAll)},
	{"FirstCallerHangsUp", fake(Subject.firstCallerHangsUp)},
	{"SecondLook", fake(Subject.secondLook)},
	{"Deaths", Subject.deaths},
	{"PanicIsInTheTrace", fake(Subject.panicIsInTheTrace)},
	{"LateValueIsNotStored", fake(Subject.lateValueIsNotStored)},
	{"AllLeave", fake(Subject.allLeave)},
	{"OwnDeadline", fake(Subject.ownDeadline)},
	{"ContextAlreadyOver", fake(Subject.contextAlreadyOver)},
	{"KeyIsFreeAtOnce", Subject.keyIsFreeAtOnce},
	{"Detached", fake(Subject.detached)},
	{"LoadUsesTheCache", fake(Subject.loadUsesTheCache)},
	{"PanicOfAnotherLoad", fake(Subject.panicOfAnotherLoad)},
	{"KeyThatCannotBe", fake(Subject.keyThatCannotBe)},
	{"NoTTL", Subject.noTTL},
	{"LastLeavesAnotherComes", Subject.lastLeavesAnotherComes},
	{"NothingIsHeld", Subject.nothingIsHeld},
	{"ResultIsInTheTrace", fake(Subject.resultIsInTheTrace)},
	{"ZeroValueIsRemembered", fake(Subject.zeroValueIsRemembered)},
	{"ExpiryCountsFromTheEnd", fake(Subject.expiryCountsFromTheEnd)},
}

// Run tests everything that a subject promises to one caller or many, each
// promise as a subtest.
func Run(t *testing.T, s Subject) {
	run(t, s, promises)
	if s.Quiet {
		run(t, s, []promise{{"Unwatched", fake(Subject.unwatched)}})
	}
	if s.Forget != nil {
		run(t, s, []promise{{"ForgetDuringALoad", fake(Subject.forgetDuringALoad)}})
	}
}

// RunSome tests those promises that a cache keeps which does not keep them all.
func RunSome(t *testing.T, s Subject, names ...string) {
	for _, name := range names {
		i := slices.IndexFunc(promises, func(p promise) bool { return p.name == name })
		if i < 0 {
			t.Errorf("no promise has the name %q", name)
			continue
		}
		run(t, s, promises[i:i+1])
	}
}

// A hundred callers, one load. All wait as long as it takes, and every waiter's
// span links to the flight.
func (s Subject) oneFlight(t *testing.T) {
	spans := Record(t)
	loads, load := Counted(50 * time.Millisecond)
	c := s.New(ttl, load)
	var callers sync.WaitGroup
	for range 100 {
		callers.Go(func() { Get(t, c, "a") })
	}
	callers.Wait()
	synctest.Wait() // a flight's span may end after its callers'
	loaded(t, loads, 1, "for a hundred callers")
	if r := spans.Results(); r["miss"] != 1 || r["joined"] != 99 {
		t.Errorf("cache.result: %v, want 1 miss and 99 joined", r)
	}
	flights := spans.Named("flight")
	if len(flights) != 1 {
		t.Fatalf("%d flights, want 1", len(flights))
	}
	if d := flights[0].EndTime().Sub(flights[0].StartTime()); d != 50*time.Millisecond {
		t.Errorf("the flight took %v, want 50ms", d)
	}
	if s := flights[0].Status(); s.Code == codes.Error {
		t.Errorf("the flight has the status %v", s)
	}
	for _, span := range spans.Named("cache.get") {
		if d := span.EndTime().Sub(span.StartTime()); d != 50*time.Millisecond {
			t.Errorf("a caller waited %v, want 50ms", d)
		}
		if s := span.Status(); s.Code == codes.Error {
			t.Errorf("cache.get has the status %v", s)
		}
		links := 0
		for _, l := range span.Links() {
			if l.SpanContext.SpanID() == flights[0].SpanContext().SpanID() {
				links++
			}
		}
		switch Attribute(span, "cache.result") {
		case "miss":
			if flights[0].Parent().SpanID() != span.SpanContext().SpanID() {
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
}

func (s Subject) loadRunsUnderTheFlight(t *testing.T) {
	spans := Record(t)
	var inLoad trace.SpanContext
	c := s.New(ttl, func(ctx context.Context, key any) (any, error) {
		inLoad = trace.SpanContextFromContext(ctx)
		return valueOf(key), nil
	})
	Get(t, c, "a")
	synctest.Wait()
	flights := spans.Named("flight")
	if len(flights) != 1 || inLoad.SpanID() != flights[0].SpanContext().SpanID() {
		t.Error("the load does not run under the flight")
	}
	if k := Attribute(spans.Named("cache.get")[0], "cache.key"); k != "a" {
		t.Errorf("cache.key is %q", k)
	}
}

// A value is served until a nanosecond before it expires, and no longer, however
// busy the cores are: nothing else runs between the clock's step and the call.
func (s Subject) expiry(t *testing.T) {
	loads, load := Counted(0)
	c := s.New(ttl, load)
	Get(t, c, "a")
	time.Sleep(ttl - 1)
	Get(t, c, "a")
	loaded(t, loads, 1, "a nanosecond before the value expires")
	time.Sleep(time.Nanosecond)
	Get(t, c, "a")
	loaded(t, loads, 2, "when the value has expired")
}

func (s Subject) anotherKeyDoesNotWait(t *testing.T) {
	_, load := Counted(time.Second)
	c := s.New(time.Hour, load)
	Get(t, c, "b")
	var callers sync.WaitGroup
	callers.Go(func() { Get(t, c, "a") })
	synctest.Wait() // a is loading
	began := time.Now()
	Get(t, c, "b")
	if d := time.Since(began); d != 0 {
		t.Errorf("b, fresh, took %v while a was loading", d)
	}
	callers.Wait()
}

// An error goes to all callers that waited, and the next caller loads again. The
// flight's span is an error with the load's words, and each caller's is one too:
// the flight belongs to the leader's trace, which may not be sampled.
func (s Subject) errorsGoToAll(t *testing.T) {
	spans := Record(t)
	broken := errors.New("broken")
	var loads atomic.Int64
	c := s.New(ttl, func(context.Context, any) (any, error) {
		loads.Add(1)
		time.Sleep(50 * time.Millisecond)
		return nil, broken
	})
	for round := range 2 {
		var callers sync.WaitGroup
		for range 5 {
			callers.Go(func() {
				if _, err := c.Get(Watched(t), "a"); !errors.Is(err, broken) {
					t.Errorf("Get: %v, want the load's error", err)
				}
			})
		}
		callers.Wait()
		loaded(t, &loads, int64(round+1), "after each burst one")
	}
	synctest.Wait()
	if s := spans.Named("flight")[0].Status(); s.Code != codes.Error || s.Description != "broken" {
		t.Errorf("the flight has the status %v, want the error", s)
	}
	s.failedGets(t, spans, 10)
}

// An error is told, and the next caller loads again.
func (s Subject) errorsAreNotRemembered(t *testing.T) {
	spans := Record(t)
	broken := errors.New("broken")
	var loads atomic.Int64
	c := s.New(ttl, func(context.Context, any) (any, error) {
		loads.Add(1)
		return nil, broken
	})
	for range 2 {
		if _, err := c.Get(Watched(t), "a"); !errors.Is(err, broken) {
			t.Errorf("Get: %v, want the load's error", err)
		}
	}
	loaded(t, &loads, 2, "for two callers, one after the other")
	s.failedGets(t, spans, 2)
}

// failedGets fails the test unless there are so many cache.get, and each has failed.
func (s Subject) failedGets(t *testing.T, spans Spans, want int) {
	t.Helper()
	gets := spans.Named("cache.get")
	if len(gets) != want {
		t.Errorf("%d cache.get, want %d", len(gets), want)
	}
	for _, span := range gets {
		if got := span.Status(); got.Code != codes.Error || s.Words && got.Description != "broken" {
			t.Errorf("cache.get has the status %v, want the error: its flight may be in a trace that nobody sampled", got)
		}
	}
}

// The first caller hangs up, and gets its answer at once. The others are served.
func (s Subject) firstCallerHangsUp(t *testing.T) {
	loads, load := Counted(time.Second)
	c := s.New(ttl, load)
	leader, hangUp := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	began := time.Now()
	callers.Go(func() {
		if _, err := c.Get(leader, "a"); !errors.Is(err, context.Canceled) {
			t.Errorf("the leader gets %v, want its own context's end", err)
		}
		if d := time.Since(began); d != 100*time.Millisecond {
			t.Errorf("the leader got its answer after %v, want 100ms", d)
		}
	})
	synctest.Wait()
	for range 4 {
		callers.Go(func() { Get(t, c, "a") })
	}
	time.Sleep(100 * time.Millisecond)
	hangUp()
	callers.Wait()
	loaded(t, loads, 1, "in all")
}

// The second look. Between a caller's look and the lock another flight comes and
// lands; without the second look the caller would load again. It also shows that
// no lock is held while the caller's context is asked.
func (s Subject) secondLook(t *testing.T) {
	loads, load := Counted(0)
	c := s.New(time.Hour, load)
	ctx := &slowContext{Context: t.Context()}
	ctx.between = func() { Get(t, c, "a") }
	if _, err := c.Get(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	synctest.Wait() // for a load that nobody waits for
	loaded(t, loads, 1, "in all")
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

// Whatever ends a load, all callers that wait get the same error, no later than
// the timeout, and the next caller is served.
func (s Subject) deaths(t *testing.T) {
	cause := errors.New("the cause")
	for _, death := range []struct {
		name  string
		die   func(context.Context)
		after time.Duration
		check func(error) bool
	}{
		{"panic", func(context.Context) { panic("doom") }, time.Second, func(err error) bool {
			value, stack, ok := s.Panic(err)
			return ok && value == "doom" && strings.Contains(err.Error(), "doom") && strings.Contains(string(stack), "deaths")
		}},
		{"panic with an error", func(context.Context) { panic(cause) }, time.Second, func(err error) bool {
			return errors.Is(err, cause)
		}},
		{"panic with nil", func(context.Context) { panic(nil) }, time.Second, func(err error) bool {
			var p *runtime.PanicNilError
			return errors.As(err, &p)
		}},
		{"goexit", func(context.Context) { runtime.Goexit() }, time.Second, func(err error) bool {
			return errors.Is(err, s.Goexit)
		}},
		{"hangs until its context ends", func(ctx context.Context) { <-ctx.Done(); panic(ctx.Err()) }, s.Timeout, func(err error) bool {
			return errors.Is(err, context.DeadlineExceeded)
		}},
		{"ignores its context", func(context.Context) { time.Sleep(time.Hour) }, s.Timeout, func(err error) bool {
			return errors.Is(err, context.DeadlineExceeded) && strings.Contains(err.Error(), "within "+s.Timeout.String())
		}},
	} {
		t.Run(death.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				spans := Record(t)
				var loads atomic.Int64
				c := s.New(ttl, func(ctx context.Context, key any) (any, error) {
					if loads.Add(1) == 1 {
						time.Sleep(time.Second) // until all five have joined
						death.die(ctx)
						return "too late", nil
					}
					return valueOf(key), nil
				})
				began := time.Now()
				var callers sync.WaitGroup
				for range 5 {
					callers.Go(func() {
						if v, err := c.Get(Watched(t), "a"); v != nil || !death.check(err) {
							t.Errorf("Get = %v, %v", v, err)
						}
						if d := time.Since(began); d != death.after {
							t.Errorf("answered after %v, want %v", d, death.after)
						}
					})
				}
				callers.Wait()
				synctest.Wait()
				flight := spans.Named("flight")[0]
				if s := flight.Status(); s.Code != codes.Error || s.Description == "" {
					t.Errorf("the flight has the status %v, want an error", s)
				}
				linked := 0
				for _, span := range spans.Named("cache.get") {
					if l := span.Links(); len(l) == 1 && l[0].SpanContext.Equal(flight.SpanContext()) {
						linked++
					}
				}
				if linked != 4 {
					t.Errorf("%d callers link to the dead flight, want the 4 that joined", linked)
				}
				Get(t, c, "a") // the key heals
				time.Sleep(time.Hour + time.Minute)
				// What the dead load brought in the end was not stored: the
				// value was, and has expired.
				Get(t, c, "a")
				loaded(t, &loads, 3, "in all")
			})
		})
	}
}

func (s Subject) panicIsInTheTrace(t *testing.T) {
	spans := Record(t)
	c := s.New(ttl, func(context.Context, any) (any, error) { panic("doom") })
	_, _ = c.Get(Watched(t), "a")
	synctest.Wait()
	events := spans.Named("flight")[0].Events()
	if len(events) != 1 || events[0].Name != "exception" {
		t.Fatalf("the flight's events are %v, want one exception", events)
	}
	stack := ""
	for _, kv := range events[0].Attributes {
		if kv.Key == "exception.stacktrace" {
			stack = kv.Value.AsString()
		}
	}
	if !strings.Contains(stack, "panicIsInTheTrace") {
		t.Errorf("the stack does not name the load:\n%s", stack)
	}
}

// A load that returned late must not replace what a later load has stored.
func (s Subject) lateValueIsNotStored(t *testing.T) {
	var loads atomic.Int64
	c := s.New(time.Hour, func(context.Context, any) (any, error) {
		if loads.Add(1) == 1 {
			time.Sleep(time.Minute) // long after the timeout
			return "late", nil
		}
		return valueOf("a"), nil
	})
	if _, err := c.Get(Watched(t), "a"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Get: %v, want a timeout", err)
	}
	Get(t, c, "a")
	time.Sleep(2 * time.Minute)
	Get(t, c, "a")
	loaded(t, &loads, 2, "in all")
}

// A caller that gives up gets its answer at once; when all have, the load is
// cancelled, and the key is free at once.
func (s Subject) allLeave(t *testing.T) {
	cancelled := false
	var loads atomic.Int64
	c := s.New(ttl, func(ctx context.Context, key any) (any, error) {
		if loads.Add(1) == 1 {
			<-ctx.Done()
			cancelled = true
			time.Sleep(time.Second) // it takes its time to clean up
			return nil, ctx.Err()
		}
		return valueOf(key), nil
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
	Get(t, c, "a") // while the cancelled load still cleans up
	loaded(t, &loads, 2, "in all")
	time.Sleep(time.Second) // until it has cleaned up
}

// A caller's own deadline ends that caller's wait with its cause, and nobody
// else's.
func (s Subject) ownDeadline(t *testing.T) {
	loads, load := Counted(time.Second)
	c := s.New(ttl, load)
	tired := errors.New("tired of waiting")
	var callers sync.WaitGroup
	callers.Go(func() {
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Millisecond, tired)
		defer cancel()
		if _, err := c.Get(ctx, "a"); err != tired {
			t.Errorf("Get: %v, want the cause of the caller's context", err)
		}
	})
	callers.Go(func() { Get(t, c, "a") })
	callers.Wait()
	loaded(t, loads, 1, "in all")
}

// A caller whose context is over starts nothing, but gets what is there.
func (s Subject) contextAlreadyOver(t *testing.T) {
	loads, load := Counted(0)
	c := s.New(time.Hour, load)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Get(over, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("Get: %v, want context canceled", err)
	}
	synctest.Wait()
	loaded(t, loads, 0, "for a caller whose context is over")
	Get(t, c, "a")
	if v, err := c.Get(over, "a"); v != valueOf("a") || err != nil {
		t.Errorf("a hit for a caller whose context is over: %v, %v", v, err)
	}
}

// When the last waiter has left, the key is free before that waiter's Get
// returns: nobody joins a load that is being cancelled. Without that the next
// caller would only sometimes be too quick, so it tries often.
func (s Subject) keyIsFreeAtOnce(t *testing.T) {
	for range 2000 {
		ctx, hangUp := context.WithCancel(t.Context())
		first := true
		c := s.New(time.Hour, func(ctx context.Context, key any) (any, error) {
			if first {
				first = false
				hangUp()
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return valueOf(key), nil
		})
		if _, err := c.Get(ctx, "a"); !errors.Is(err, context.Canceled) {
			t.Fatalf("Get: %v, want context canceled", err)
		}
		Get(t, c, "a")
	}
}

// The load keeps the values of the first caller's context, not its deadline.
func (s Subject) detached(t *testing.T) {
	type name struct{}
	check := func(timeout time.Duration, make func(Load) Cache) {
		c := make(func(ctx context.Context, _ any) (any, error) {
			if ctx.Value(name{}) != "leader" {
				t.Error("the leader's values are gone")
			}
			if at, ok := ctx.Deadline(); !ok || time.Until(at) != timeout {
				t.Errorf("the load has until %v, want its own %v", at, timeout)
			}
			return valueOf("a"), nil
		})
		ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), name{}, "leader"), time.Second)
		defer cancel()
		if _, err := c.Get(ctx, "a"); err != nil {
			t.Error(err)
		}
	}
	check(s.Timeout, func(l Load) Cache { return s.New(ttl, l) })
	if s.Short != nil {
		check(7*time.Second, func(l Load) Cache { return s.Short(ttl, 7*time.Second, l) })
	}
}

// A value that is forgotten during its load is not stored. Callers that waited
// get it; callers that ask later get a new load, which the old one's end does not
// disturb.
func (s Subject) forgetDuringALoad(t *testing.T) {
	var loads atomic.Int64
	c := s.New(time.Hour, func(context.Context, any) (any, error) {
		n := int(loads.Add(1))
		time.Sleep(time.Second)
		return n, nil
	})
	want := func(n int) func() {
		return func() {
			if v, err := c.Get(Watched(t), "a"); v != n || err != nil {
				t.Errorf("Get = %v, %v, want %d", v, err, n)
			}
		}
	}
	var callers sync.WaitGroup
	callers.Go(want(1))
	time.Sleep(600 * time.Millisecond)
	s.Forget(c, "a")
	callers.Go(want(2)) // lands at 1.6 s
	time.Sleep(600 * time.Millisecond)
	callers.Go(want(2)) // at 1.2 s: the first has landed, and left the second alone
	callers.Wait()
	want(2)()
	loaded(t, &loads, 2, "in all")
	s.Forget(c, "a")
	want(3)()
}

// A load may itself use the cache: get another key, and forget its own. What it
// brings then goes to the callers that wait, and is not stored.
func (s Subject) loadUsesTheCache(t *testing.T) {
	loads := 0
	var c Cache
	c = s.New(time.Hour, func(ctx context.Context, key any) (any, error) {
		loads++
		if key == "a" {
			if s.Forget != nil {
				s.Forget(c, "a")
			}
			return c.Get(ctx, "b")
		}
		return valueOf(key), nil
	})
	for range 2 {
		if v, err := c.Get(Watched(t), "a"); v != valueOf("b") || err != nil {
			t.Errorf("Get = %v, %v", v, err)
		}
	}
	if want := 2; s.Forget == nil && loads != want {
		t.Errorf("%d loads, want %d", loads, want)
	}
	if want := 3; s.Forget != nil && loads != want {
		t.Errorf("%d loads, want %d: the first of a was forgotten", loads, want)
	}
	if s.Stats != nil && s.Forget != nil {
		if got, want := s.Stats(c), (Stats{Hits: 1, Misses: 3, Loads: 3}); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
}

// A panic is in the trace once, though the load that asked for it passes it on.
func (s Subject) panicOfAnotherLoad(t *testing.T) {
	spans := Record(t)
	var c Cache
	c = s.New(time.Hour, func(ctx context.Context, key any) (any, error) {
		if key == "a" {
			return c.Get(ctx, "b")
		}
		panic("doom")
	})
	_, err := c.Get(Watched(t), "a")
	if _, _, ok := s.Panic(err); !ok {
		t.Errorf("Get: %v, want the other load's panic", err)
	}
	if s.Stats != nil {
		if got, want := s.Stats(c), (Stats{Misses: 2, Loads: 2, Failures: 2, Panics: 1}); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	synctest.Wait()
	flights := spans.Named("flight")
	if len(flights) != 2 {
		t.Fatalf("%d flights, want 2", len(flights))
	}
	for _, flight := range flights {
		inner := flight.Parent().SpanID() == spans.Named("cache.get")[0].SpanContext().SpanID()
		if (len(flight.Events()) == 1) != inner {
			t.Errorf("a flight has %d exceptions; it is the one that panicked: %v", len(flight.Events()), inner)
		}
	}
}

// A key that no map can look up is its caller's panic, and nobody else's: no
// lock stays.
func (s Subject) keyThatCannotBe(t *testing.T) {
	c := s.New(time.Hour, func(_ context.Context, key any) (any, error) { return key, nil })
	uses := []func(){func() { _, _ = c.Get(t.Context(), []int{1}) }}
	if s.Forget != nil {
		uses = append(uses, func() { s.Forget(c, []int{1}) })
	}
	for i, use := range uses {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("a slice is taken for a key")
				}
			}()
			use()
		}()
		key := string(rune('a' + i))
		if v, err := c.Get(t.Context(), key); v != key || err != nil {
			t.Errorf("Get = %v, %v", v, err)
		}
	}
}

// With no ttl nothing is kept, not even for a moment: in real time, where a timer
// of no length is quick but not at once.
func (s Subject) noTTL(t *testing.T) {
	for _, ttl := range []time.Duration{0, -time.Second} {
		loads, load := Counted(0)
		c := s.New(ttl, load)
		const tries = 50_000
		for range tries {
			Get(t, c, "a")
		}
		loaded(t, loads, tries, "with a ttl of "+ttl.String())
	}
}

// The last waiter leaves while another caller comes: that one gets a value, of
// the old load or of a new one, and never the end of a load that is cancelled.
func (s Subject) lastLeavesAnotherComes(t *testing.T) {
	for range 2000 {
		c := s.New(time.Hour, func(ctx context.Context, key any) (any, error) {
			for range 20 {
				if runtime.Gosched(); ctx.Err() != nil {
					return nil, ctx.Err()
				}
			}
			return valueOf(key), nil
		})
		ctx, hangUp := context.WithCancel(t.Context())
		var callers sync.WaitGroup
		callers.Go(func() { _, _ = c.Get(ctx, "a") })
		callers.Go(func() { runtime.Gosched(); hangUp() })
		callers.Go(func() { Get(t, c, "a") })
		callers.Wait()
	}
}

// What is forgotten, or was never stored, is let go of at once, and not when a
// timer runs out in an hour; so is what has expired, where that is promised.
func (s Subject) nothingIsHeld(t *testing.T) {
	kinds := map[string]time.Duration{"not stored": 0}
	if s.Forget != nil {
		kinds["forgotten"] = time.Hour
	}
	if s.Entries != nil {
		kinds["expired"] = time.Millisecond
	}
	for name, ttl := range kinds {
		t.Run(name, func(t *testing.T) {
			c := s.New(ttl, func(context.Context, any) (any, error) { return new([1 << 10]byte), nil })
			key := 0
			released(t, func() *[1 << 10]byte {
				if name == "expired" { // nor has the next value taken its place
					key++
				}
				v, err := c.Get(t.Context(), key)
				if err != nil {
					t.Fatal(err)
				}
				if name == "forgotten" {
					s.Forget(c, key)
				}
				return v.(*[1 << 10]byte)
			})
			runtime.KeepAlive(c)
		})
	}
}

// released makes 100 values, and fails the test unless nothing holds them within
// 5 s. Some may stay, because the runtime keeps what it used last.
func released(t *testing.T, make func() *[1 << 10]byte) {
	t.Helper()
	var made []weak.Pointer[[1 << 10]byte]
	for range 100 {
		made = append(made, weak.Make(make()))
	}
	n := 0
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		runtime.GC()
		n = 0
		for _, p := range made {
			if p.Value() != nil {
				n++
			}
		}
		if n <= 10 {
			return
		}
	}
	t.Errorf("%d of 100 values are still held", n)
}

// The span of a caller says what became of it; it says nothing for a caller that
// came too late.
func (s Subject) resultIsInTheTrace(t *testing.T) {
	spans := Record(t)
	_, load := Counted(0)
	c := s.New(time.Hour, load)
	over, cancel := context.WithCancel(Watched(t))
	cancel()
	_, _ = c.Get(over, "a")
	Get(t, c, "a")
	Get(t, c, "a")
	var seen []string
	for _, span := range spans.Named("cache.get") {
		seen = append(seen, Attribute(span, "cache.result"))
	}
	if want := []string{"", "miss", "hit"}; !slices.Equal(seen, want) {
		t.Errorf("cache.result: %q, want %q", seen, want)
	}
}

func (s Subject) zeroValueIsRemembered(t *testing.T) {
	var loads atomic.Int64
	c := s.New(time.Hour, func(context.Context, any) (any, error) {
		loads.Add(1)
		return nil, nil
	})
	for range 2 {
		if v, err := c.Get(Watched(t), "a"); v != nil || err != nil {
			t.Errorf("Get = %v, %v", v, err)
		}
	}
	loaded(t, &loads, 1, "for a value of nil")
}

// Expiry counts from the load's end, not from its start.
func (s Subject) expiryCountsFromTheEnd(t *testing.T) {
	loads, load := Counted(time.Second)
	c := s.New(ttl, load)
	Get(t, c, "a")
	time.Sleep(ttl - 1)
	Get(t, c, "a")
	loaded(t, loads, 1, "in all")
}

// A caller without a recorded span makes no cache.get; the load's flight is
// there.
func (s Subject) unwatched(t *testing.T) {
	spans := Record(t)
	_, load := Counted(0)
	c := s.New(time.Hour, load)
	for range 2 {
		if _, err := c.Get(context.Background(), "a"); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Wait()
	if n := len(spans.Named("cache.get")); n != 0 {
		t.Errorf("%d cache.get without a caller's span, want none", n)
	}
	if n := len(spans.Named("flight")); n != 1 {
		t.Errorf("%d flights, want 1", n)
	}
}
