// Package cache remembers what a load returned, for a while, and coalesces the
// loads of callers that miss at once.
//
// The claim of step 10: an origin that is slow or down costs callers an older
// answer where there is one, and else an error at once; it is left alone
// meanwhile; and no stranger can fill the memory, or start loads without end.
//
// What step 09 promises holds here too, with options and without. The folder
// needs the standard library and OpenTelemetry's API alone: copy it home.
//
//	cache.go    callers and flights
//	options.go  what New can be told
//	shelf.go    what is remembered: by key, with an end, within a bound
//	failures.go how failures are told, remembered, and answered with an old value
//	text.go     keys, errors and panics as text for a span
//	stats.go    counts
package cache

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

var tracer = otel.Tracer("plaque/cache")

// hit is a variable so that a hit without a span allocates nothing.
var hit = []attribute.KeyValue{attribute.String("cache.result", "hit")}

// Cache keeps the values of keys for a time, and as many as it may. Make one with
// New; its methods may be called at once, also by load.
//
// Keys, values, errors and contexts are other people's: no method of theirs is
// called under the lock, and no caller waits for one.
type Cache[K comparable, V any] struct {
	options
	ttl  time.Duration
	load func(context.Context, K) (V, error)
	born time.Time // the cache's clock counts from here
	counts

	mu       sync.Mutex              // protects what follows, and flights' waiters; never held across load
	values   *shelf[K, kept[V]]      // read without mu
	failures *shelf[K, *FailedError] // keys whose last load failed; apart, so that they push out no value
	flights  map[K]*flight[K, V]     // loads in the air
	timed    list.List               // the *flights in the air that have a timeout, the oldest first
	running  int                     // goroutines in load, also those whose flight has landed without them
	sweeper  alarm[K, V]             // takes what has ended off the shelves
	watch    alarm[K, V]             // lands the flights whose loads take too long
}

// kept is a value and until when it is fresh, by the cache's clock.
type kept[V any] struct {
	value V
	fresh time.Duration
}

// flight is one load and all callers that wait for it.
type flight[K comparable, V any] struct {
	key     K
	cancel  context.CancelFunc // of the load
	ends    time.Duration      // when it times out, by the cache's clock
	place   *list.Element      // among those that do; nil: it does not
	waiters int                // callers that still want the answer; one that was served an old value does, without waiting

	started chan struct{} // closed when span is there
	span    trace.Span

	landed atomic.Bool
	done   chan struct{} // closed when the flight has landed
	value  V             // set before done is closed, fixed afterwards, like the rest
	err    error
	old    bool // the load failed, and value is the one from before
}

// New makes a cache that keeps what load returns for ttl, from the end of the
// load. With a ttl of 0 or less it keeps nothing, and only coalesces. It panics
// if load or an option is nil.
func New[K comparable, V any](ttl time.Duration, load func(context.Context, K) (V, error), opts ...Option) *Cache[K, V] {
	if load == nil {
		panic("cache.New: load is nil: there is nothing to load with")
	}
	c := &Cache[K, V]{ttl: ttl, load: load, born: time.Now(), flights: map[K]*flight[K, V]{}}
	here := weak.Make(c)
	c.sweeper = alarm[K, V]{cache: here, ring: (*Cache[K, V]).sweep}
	c.watch = alarm[K, V]{cache: here, ring: (*Cache[K, V]).timeOut}
	c.options = options{timeout: DefaultTimeout, maxKeys: DefaultMaxKeys}
	for i, opt := range opts {
		if opt == nil {
			panic(fmt.Sprintf("cache.New: option %d of %d is nil", i+1, len(opts)))
		}
		opt(&c.options)
	}
	// A value stays for at most two ticks after its end: half of what is promised.
	tick := max(time.Second, ttl/10) / 4
	c.values = newShelf[K, kept[V]](c.maxKeys, tick)
	c.failures = newShelf[K, *FailedError](c.maxKeys, tick)
	return c
}

// Get returns the value of key: the one that it remembers, or else what the key's
// flight brings. With options that allow it, an old value is returned at once
// while a flight brings the new one. So it is where no load may start, or the
// load has failed. Otherwise no value is older than the ttl when Get is called.
//
// Errors go to all callers that wait for the flight, who share them: load's own,
// a *PanicError, ErrGoexit, or one that wraps context.DeadlineExceeded when the
// load takes longer than the timeout; with WithBackoff in a *FailedError, which a
// caller that asks too early gets as well. It is ErrBusy when there are as many
// loads as WithMaxLoads allows. A caller whose own ctx ends gets that context's
// cause at once; the flight goes on as long as somebody wants it.
func (c *Cache[K, V]) Get(ctx context.Context, key K) (V, error) {
	span := trace.SpanFromContext(ctx)
	if span.IsRecording() { // a span that nobody records would take ten times as long as a hit
		ctx, span = tracer.Start(ctx, "cache.get", trace.WithAttributes(attribute.String("cache.key", text(key))))
		defer span.End()
	}
	if value, ok := c.Fresh(key); ok {
		span.SetAttributes(hit...)
		return value, nil
	}
	if ctx.Err() != nil { // a caller that has left already starts nothing
		return *new(V), context.Cause(ctx)
	}
	a := c.board(ctx, key)
	if span.IsRecording() { // attributes for a span that records nothing cost an allocation
		span.SetAttributes(attribute.String("cache.result", a.result))
		if a.flight != nil && !a.leads {
			a.flight.link(ctx, span)
		}
	}
	value, err := a.value, a.err
	if a.waits {
		f := a.flight
		select {
		case <-f.done:
			value, err = f.value, f.err
			if f.old {
				span.SetAttributes(attribute.Bool("cache.stale", true))
			}
		case <-ctx.Done():
			c.leave(f)
			return *new(V), context.Cause(ctx)
		}
	}
	if err != nil && span.IsRecording() {
		// The flight has the error's words. They are the work of its methods, for which
		// no caller waits; but the flight may be in a trace that is not sampled.
		span.SetStatus(codes.Error, fmt.Sprintf("no value: %T", err))
	}
	return value, err
}

// Fresh returns the value of key if it is a hit. If not, it starts nothing: a
// caller that can get the value elsewhere looks here first.
func (c *Cache[K, V]) Fresh(key K) (value V, ok bool) {
	kept, ok := c.values.get(key)
	if !ok || c.now() >= kept.fresh {
		return value, false
	}
	c.hits.add()
	return kept.value, true
}

// Forget drops the value of key, and what is remembered of its failures. A load
// in the air goes on for the callers that wait for it, but what it brings is not
// stored. A caller that asks from now on gets a new load.
func (c *Cache[K, V]) Forget(key K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.values.drop(key)
	c.failures.drop(key)
	delete(c.flights, key)
}

// now is the cache's clock: how long ago the cache was made. It takes half of the
// time that time.Now does, and is monotonic.
func (c *Cache[K, V]) now() time.Duration { return time.Since(c.born) }

// after is d after t, or the end of time if that is later.
func after(t, d time.Duration) time.Duration {
	if d > math.MaxInt64-t {
		return math.MaxInt64
	}
	return t + d
}

// answer is what becomes of a caller that had no hit at first sight.
type answer[K comparable, V any] struct {
	result string        // hit, stale, failed, busy: served at once; miss, joined: waits for flight
	waits  bool          // until flight has landed
	leads  bool          // flight is the caller's own
	flight *flight[K, V] // the key's flight in the air, if there is one
	value  V             // what is served at once
	err    error
}

// board decides what becomes of a caller, and starts the key's flight if there
// is none and one may start.
func (c *Cache[K, V]) board(ctx context.Context, key K) (a answer[K, V]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	// The second look: between the first one and this lock, the flight that we
	// would have joined may have landed, and we would load once more.
	kept, found := c.values.get(key)
	if found && now < kept.fresh {
		c.hits.add()
		a.value, a.result = kept.value, "hit"
		return a
	}
	a.flight = c.flights[key]
	if a.flight == nil {
		if a.err = c.mayLoad(key, now); a.err == nil {
			a.flight, a.leads = c.takeOff(ctx, key, now), true
		}
	}
	switch {
	case found && (now < after(kept.fresh, c.whileRevalidate) || a.err != nil && now < after(kept.fresh, c.ifError)):
		c.stale.Add(1)
		a.value, a.err, a.result = kept.value, nil, "stale"
	case a.err == ErrBusy:
		c.refused.Add(1)
		a.result = "busy"
	case a.err != nil:
		c.spared.Add(1)
		a.result = "failed"
	case a.leads:
		c.misses.Add(1)
		a.result, a.waits = "miss", true
	default:
		c.joined.Add(1)
		a.flight.waiters++
		a.result, a.waits = "joined", true
	}
	return a
}

// mayLoad says why key may not be loaded now: it has just failed, or too many
// loads run. The caller holds mu.
func (c *Cache[K, V]) mayLoad(key K, now time.Duration) error {
	if f, ok := c.failures.get(key); ok && now < f.until {
		return f
	}
	if c.maxLoads > 0 && c.running >= c.maxLoads {
		return ErrBusy
	}
	return nil
}

// takeOff starts a flight. The caller holds mu.
func (c *Cache[K, V]) takeOff(ctx context.Context, key K, now time.Duration) *flight[K, V] {
	f := &flight[K, V]{key: key, waiters: 1, started: make(chan struct{}), done: make(chan struct{})}
	// Detached: the load keeps the leader's values, its trace among them, but not
	// its hang-up. In exchange it gets a separate timeout.
	ctx = context.WithoutCancel(ctx)
	if c.timeout > 0 {
		ctx, f.cancel = context.WithTimeout(ctx, c.timeout)
		// A load that ignores its context holds nobody past the timeout.
		f.ends, f.place = after(now, c.timeout), c.timed.PushBack(f)
		c.watch.set(c.timeout)
	} else {
		ctx, f.cancel = context.WithCancel(ctx)
	}
	if same(key, key) { // NaN is not equal to itself: nobody could find its flight, or remove it
		c.flights[key] = f
	}
	c.running++
	go c.fly(ctx, f)
	return f
}

func same[K comparable](a, b K) bool { return a == b }

// fly loads, in a separate goroutine, and lands in one defer, which runs whether
// load returns, panics or ends the goroutine.
func (c *Cache[K, V]) fly(ctx context.Context, f *flight[K, V]) {
	l := landing[V]{err: ErrGoexit} // until load has returned
	defer func() { c.land(f, &l, true) }()
	ctx = f.start(ctx)
	if f.landed.Load() { // the sampler took longer than a load may
		<-f.done
		f.end(f.err, false, time.Now())
		return
	}
	c.call(ctx, f.key, &l)
	if l.err != nil && max(c.backoff, c.ifError, c.whileRevalidate) > 0 {
		l.inspect(l.err)
	}
}

// call loads, and makes an error of a panic.
func (c *Cache[K, V]) call(ctx context.Context, key K, l *landing[V]) {
	defer func() {
		if p := recover(); p != nil {
			c.panics.Add(1)
			l.err, l.panicked = newPanicError(p), true
		}
	}()
	l.value, l.err = c.load(ctx, key)
}

// timeOut lands the flights whose loads have taken too long. All have the same
// time, so those that started first come first, and one timer does for all.
func (c *Cache[K, V]) timeOut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watch.on = false
	for oldest := c.timed.Front(); oldest != nil; oldest = c.timed.Front() {
		f := oldest.Value.(*flight[K, V])
		if left := f.ends - c.now(); left > 0 {
			c.watch.set(left)
			return
		}
		c.timed.Remove(oldest)
		err := fmt.Errorf("the load did not end within %v: %w", c.timeout, context.DeadlineExceeded)
		go c.land(f, &landing[V]{err: err}, false)
	}
}

// landing is what a load came to.
type landing[V any] struct {
	value    V
	err      error
	panicked bool
	failure
}

// land gives a flight its end. The first end counts: the load's, or its timeout.
// What the flight holds is given back before a caller wakes; only then do
// methods of the error and of the span run.
func (c *Cache[K, V]) land(f *flight[K, V], l *landing[V], returned bool) {
	c.mu.Lock()
	if returned {
		c.running--
	}
	if f.landed.Swap(true) {
		c.mu.Unlock()
		return
	}
	f.value, f.err = l.value, l.err
	// Forget, or the last waiter, may have taken the key from this flight, and
	// another flight may have it by now.
	if c.flights[f.key] == f {
		delete(c.flights, f.key)
		if l.err == nil {
			c.keep(f.key, l.value)
		} else {
			c.fail(f, l)
		}
	}
	if f.place != nil {
		c.timed.Remove(f.place)
	}
	c.loads.Add(1)
	if l.err != nil {
		c.failed.Add(1)
	}
	c.mu.Unlock()
	f.cancel() // the load's context, if it still runs; its timer, if not
	landed := time.Now()
	close(f.done)
	f.end(l.err, l.panicked, landed)
}

// keep stores a new value. The caller holds mu.
func (c *Cache[K, V]) keep(key K, value V) {
	c.failures.drop(key)
	if c.ttl <= 0 {
		return
	}
	now := c.now()
	fresh := after(now, c.ttl-time.Duration(c.jitter*rand.Float64()*float64(c.ttl)))
	c.values.put(key, kept[V]{value, fresh}, after(fresh, max(c.whileRevalidate, c.ifError)), now)
	c.sweeper.set(c.values.tick)
}

// leave takes one waiter off a flight. When the last one has left, nobody wants
// the answer: the key is free at once, and the load is cancelled.
func (c *Cache[K, V]) leave(f *flight[K, V]) {
	c.mu.Lock()
	f.waiters--
	last := f.waiters == 0
	if last && c.flights[f.key] == f {
		delete(c.flights, f.key)
	}
	c.mu.Unlock()
	if last {
		f.cancel()
	}
}

// sweep takes what has ended off the shelves, some at a time, so that callers
// get at the lock in between.
func (c *Cache[K, V]) sweep() {
	const some = 1000
	for more := true; more; {
		c.mu.Lock()
		now := c.now()
		more = !c.values.sweep(now, some) || !c.failures.sweep(now, some)
		if !more {
			c.sweeper.on = false
			if c.values.len+c.failures.len > 0 {
				c.sweeper.set(c.values.tick)
			}
		}
		c.mu.Unlock()
	}
}

// alarm is one timer for all that a cache waits for. It holds the cache weakly: one
// that nobody uses any more goes at once, and not when the timer fires. The cache's
// mu protects it.
type alarm[K comparable, V any] struct {
	cache weak.Pointer[Cache[K, V]]
	ring  func(*Cache[K, V]) // sets on to false
	timer *time.Timer        // nil: it was never set
	on    bool
}

// set calls ring after d, unless the alarm is on already.
func (a *alarm[K, V]) set(d time.Duration) {
	switch {
	case a.on:
		return
	case a.timer != nil:
		a.timer.Reset(d)
	default:
		cache, ring := a.cache, a.ring
		a.timer = time.AfterFunc(d, func() {
			if c := cache.Value(); c != nil {
				ring(c)
			}
		})
	}
	a.on = true
}

// ErrGoexit is what callers get when the load ended its goroutine with
// runtime.Goexit, as t.FailNow does.
var ErrGoexit = errors.New("the load ended its goroutine without an answer")
