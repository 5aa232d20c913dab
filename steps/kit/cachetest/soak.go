package cachetest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var soak = flag.Duration("soak", 2*time.Second, "how long the soak of a cache runs")

const (
	soakCallers = 200
	soakKeys    = 50
	soakTTL     = 50 * time.Millisecond
	soakTimeout = 100 * time.Millisecond
)

// answer is what a load of the soak brings.
type answer struct {
	key    int
	number int64        // of the load, from 1
	ended  time.Time    // when the load did, before the cache knows
	seen   atomic.Int64 // when a caller first had it, as a time since began; 0: nobody has
}

// origin does what origins do, and keeps watch over the loads.
type origin struct {
	t       *testing.T
	began   time.Time
	timeout time.Duration // of a load
	number  atomic.Int64
	panics  atomic.Int64
	keys    [soakKeys]struct {
		mu   sync.Mutex // protects last
		last *watchedLoad

		forgetting, forgotten atomic.Int64 // calls of Forget that have begun, that have ended
	}
}

// watchedLoad is the load that a key has seen last.
type watchedLoad struct {
	ctx       context.Context
	ended     chan struct{}
	forgotten int64 // calls of Forget that had ended when it started
}

// start fails the test when the key has a load in the air: one that has not
// ended, whose context is not over, and that nobody can have forgotten.
func (o *origin) start(ctx context.Context, key int) *watchedLoad {
	k := &o.keys[key]
	l := &watchedLoad{ctx: ctx, ended: make(chan struct{}), forgotten: k.forgotten.Load()}
	k.mu.Lock()
	before := k.last
	k.last = l
	k.mu.Unlock()
	if before == nil || k.forgetting.Load() > before.forgotten {
		return l
	}
	select {
	case <-before.ended:
	case <-before.ctx.Done(): // a moment after its key was free
	case <-time.After(10 * time.Second):
		o.t.Errorf("key %d has two loads in the air", key)
	}
	return l
}

func (o *origin) load(ctx context.Context, k any) (any, error) {
	key := k.(int)
	number := o.number.Add(1)
	l := o.start(ctx, key)
	defer close(l.ended)
	time.Sleep(rand.N(2 * time.Millisecond))
	switch n := rand.IntN(100); {
	case n < 5:
		o.panics.Add(1)
		panic(errOrigin)
	case n < 10:
		return nil, errOrigin
	case n < 13:
		runtime.Goexit()
	case n < 15: // it hangs, until it is told to stop
		<-ctx.Done()
		return nil, ctx.Err()
	case n < 17: // it hangs, and does not listen
		time.Sleep(2 * o.timeout)
	case n < 20: // it is slow, and fails in the middle
		time.Sleep(rand.N(o.timeout))
		return nil, errOrigin
	}
	return &answer{key: key, number: number, ended: time.Now()}, nil
}

// Soak runs for as long as the flag -soak says: 200 callers and 50 keys, an
// origin that panics, hangs, fails and ends its goroutine, callers that hang up
// and that forget. Every call is answered, and rightly; no value is older than
// the ttl; a key has at most one load in the air; memory and goroutines stay flat,
// and at the end nothing is left. Ten minutes of it:
//
//	go test -v -timeout 15m -run Soak ./cache -soak 10m
func Soak(t *testing.T, s Subject) {
	k := &soaking{t: t, s: s, o: &origin{t: t, began: time.Now(), timeout: s.Timeout}}
	if s.Short != nil {
		k.o.timeout = soakTimeout
		k.c = s.Short(soakTTL, soakTimeout, k.o.load)
	} else {
		k.c = s.New(soakTTL, k.o.load)
	}
	goroutines := runtime.NumGoroutine()
	var callers sync.WaitGroup
	end := time.Now().Add(*soak)
	for range soakCallers {
		callers.Go(func() {
			for time.Now().Before(end) && !t.Failed() {
				k.call()
				time.Sleep(rand.N(2 * time.Millisecond))
			}
		})
	}
	// Twenty looks while it runs. In the first it warms up.
	var looks []look
	for range 20 {
		time.Sleep(*soak / 20)
		looks = append(looks, lookAround())
	}
	callers.Wait()
	t.Logf("%d calls, the oldest answer %v after the end of its load (the ttl is %v)", k.calls.Load(), time.Duration(k.oldest.Load()), soakTTL)
	early, later := highest(looks[1:8]), highest(looks[13:])
	t.Logf("at most %v early, %v late", early, later)
	if later.heap > 2*early.heap+1<<20 || later.goroutines > 2*early.goroutines+50 {
		t.Errorf("it grows: at most %v early, %v late", early, later)
	}
	k.nothingIsLeft(goroutines)
	if s.Stats != nil {
		k.countsAgree()
	}
}

// soaking is a cache under load.
type soaking struct {
	t *testing.T
	s Subject
	c Cache
	o *origin

	calls, tooLate, oldest atomic.Int64 // oldest in nanoseconds
}

// call is one call of one of the callers, and judges its answer.
func (k *soaking) call() {
	key := rand.IntN(soakKeys)
	ctx, cancel := context.WithCancel(k.t.Context())
	defer cancel()
	var after int64 // the answer must be of a load with a higher number
	over := false
	switch n := rand.IntN(1000); {
	case n < 5 && k.s.Forget != nil:
		forgets := &k.o.keys[key]
		after = k.o.number.Load()
		forgets.forgetting.Add(1)
		k.s.Forget(k.c, key)
		forgets.forgotten.Add(1)
	case n < 10:
		cancel()
		over = true
	case n < 100:
		ctx, cancel = context.WithTimeout(ctx, rand.N(5*time.Millisecond))
		defer cancel()
	}
	k.calls.Add(1)
	called := time.Now()
	v, err := k.c.Get(ctx, key)
	switch {
	case err == nil:
		a := v.(*answer)
		if a.key != key {
			k.t.Errorf("key %d gets the answer of key %d", key, a.key)
		}
		if a.number <= after {
			k.t.Errorf("key %d was forgotten, and gets load %d; %d had started", key, a.number, after)
		}
		// It was stored between the end of its load and the moment when a caller
		// first had it. The first of the two is shown, the second is judged.
		raise(&k.oldest, int64(called.Sub(a.ended)))
		a.seen.CompareAndSwap(0, int64(time.Since(k.o.began)))
		if age := called.Sub(k.o.began) - time.Duration(a.seen.Load()); age >= soakTTL {
			k.t.Errorf("key %d gets a value that is at least %v old, the ttl is %v", key, age, soakTTL)
		}
	case ctx.Err() == nil && !errors.Is(err, errOrigin) && !errors.Is(err, k.s.Goexit) && !errors.Is(err, context.DeadlineExceeded):
		k.t.Errorf("key %d: %v", key, err)
	}
	// A caller that came too late is in no count, unless there was a value. Nor is
	// one whose context ended on the way in.
	if over && err != nil {
		k.tooLate.Add(1)
	}
	if d := time.Since(called); d > k.o.timeout+10*time.Second {
		k.t.Errorf("answered after %v", d)
	}
}

// nothingIsLeft waits until what was in the air has landed, values have expired, and
// deaf loads have returned. goroutines ran before the callers came.
func (k *soaking) nothingIsLeft(goroutines int) {
	var left string
	for until := time.Now().Add(30 * time.Second); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		n := runtime.NumGoroutine()
		flights, entries, counts := k.s.Flights(k.c), 0, Stats{}
		if k.s.Entries != nil {
			entries = k.s.Entries(k.c)
		}
		if k.s.Stats != nil {
			counts = k.s.Stats(k.c)
		}
		left = fmt.Sprintf("%d flights, %d values, %d goroutines of %d, %+v", flights, entries, n, goroutines, counts)
		if flights+entries == 0 && n <= goroutines && counts.Misses == counts.Loads {
			return
		}
	}
	k.t.Errorf("left behind: %s", left)
}

// countsAgree compares the cache's counts with ours.
func (k *soaking) countsAgree() {
	counts := k.s.Stats(k.c)
	k.t.Logf("%+v", counts)
	if counts.Panics != k.o.panics.Load() {
		k.t.Errorf("%d panics are counted, %d loads panicked", counts.Panics, k.o.panics.Load())
	}
	// A context can end between the call and the first look at it.
	if seen := counts.Hits + counts.Misses + counts.Joined; seen > k.calls.Load()-k.tooLate.Load() || seen < k.calls.Load()*9/10 {
		k.t.Errorf("%d callers are counted; %d called, %d of them too late", seen, k.calls.Load(), k.tooLate.Load())
	}
}

// raise makes most at least n.
func raise(most *atomic.Int64, n int64) {
	for was := most.Load(); n > was && !most.CompareAndSwap(was, n); {
		was = most.Load()
	}
}

// look is what the process holds at one moment.
type look struct {
	heap       uint64 // bytes, after a collection
	goroutines int
}

func (l look) String() string {
	return fmt.Sprintf("%d KiB and %d goroutines", l.heap>>10, l.goroutines)
}

func lookAround() look {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return look{m.HeapAlloc, runtime.NumGoroutine()}
}

func highest(looks []look) look {
	var high look
	for _, l := range looks {
		high.heap, high.goroutines = max(high.heap, l.heap), max(high.goroutines, l.goroutines)
	}
	return high
}
