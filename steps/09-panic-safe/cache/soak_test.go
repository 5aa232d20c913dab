package cache

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

var soak = flag.Duration("soak", 2*time.Second, "how long TestSoak runs")

const (
	soakCallers = 200
	soakKeys    = 50
	soakTTL     = 50 * time.Millisecond
	soakTimeout = 100 * time.Millisecond
)

// answer is what a load of the soak brings.
type answer struct {
	key    int
	number int64     // of the load, from 1
	ended  time.Time // when the load did
}

// bad is a feed that does what feeds do, and keeps watch over the loads.
type bad struct {
	t      *testing.T
	number atomic.Int64
	panics atomic.Int64
	keys   [soakKeys]struct {
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
func (b *bad) start(ctx context.Context, key int) *watchedLoad {
	k := &b.keys[key]
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
		b.t.Errorf("key %d has two loads in the air", key)
	}
	return l
}

func (b *bad) load(ctx context.Context, key int) (answer, error) {
	number := b.number.Add(1)
	l := b.start(ctx, key)
	defer close(l.ended)
	time.Sleep(rand.N(2 * time.Millisecond))
	switch n := rand.IntN(100); {
	case n < 5:
		b.panics.Add(1)
		panic(errFeed)
	case n < 10:
		return answer{}, errFeed
	case n < 13:
		runtime.Goexit()
	case n < 15: // it hangs, until it is told to stop
		<-ctx.Done()
		return answer{}, ctx.Err()
	case n < 17: // it hangs, and does not listen
		time.Sleep(2 * soakTimeout)
	case n < 20: // it is slow, and fails in the middle
		time.Sleep(rand.N(soakTimeout))
		return answer{}, errFeed
	}
	return answer{key, number, time.Now()}, nil
}

// A soak: 200 callers and 50 keys, a feed that panics, hangs, fails and ends its
// goroutine, callers who hang up and who forget. Every call is answered, and
// rightly; a key has at most one load in the air; memory and goroutines stay
// flat, and at the end nothing is left. For ten minutes of it:
//
//	go test -v -timeout 15m -run Soak ./steps/09-panic-safe/cache -soak 10m
func TestSoak(t *testing.T) {
	b := &bad{t: t}
	c := New(soakTTL, b.load, WithTimeout(soakTimeout))
	goroutines := runtime.NumGoroutine()
	var calls, tooLate, oldest atomic.Int64

	call := func() {
		key := rand.IntN(soakKeys)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var after int64 // the answer must be of a load with a higher number
		over := false
		switch n := rand.IntN(1000); {
		case n < 5:
			k := &b.keys[key]
			after = b.number.Load()
			k.forgetting.Add(1)
			c.Forget(key)
			k.forgotten.Add(1)
		case n < 10:
			cancel()
			over = true
		case n < 100:
			ctx, cancel = context.WithTimeout(ctx, rand.N(5*time.Millisecond))
			defer cancel()
		}
		calls.Add(1)
		began := time.Now()
		a, err := c.Get(ctx, key)
		switch {
		case err == nil && a.key != key:
			t.Errorf("key %d gets the answer of key %d", key, a.key)
		case err == nil && a.number <= after:
			t.Errorf("key %d was forgotten, and gets load %d; %d had started", key, a.number, after)
		case err == nil:
			for age := int64(began.Sub(a.ended)); ; {
				if was := oldest.Load(); age <= was || oldest.CompareAndSwap(was, age) {
					break
				}
			}
		case ctx.Err() == nil && !errors.Is(err, errFeed) && !errors.Is(err, ErrGoexit) && !errors.Is(err, context.DeadlineExceeded):
			t.Errorf("key %d: %v", key, err)
		}
		// Who came too late is in no count, unless there was a value. Nor is one
		// whose context ended on the way in.
		if over && err != nil {
			tooLate.Add(1)
		}
		if d := time.Since(began); d > soakTimeout+10*time.Second {
			t.Errorf("answered after %v", d)
		}
	}

	var callers sync.WaitGroup
	end := time.Now().Add(*soak)
	for range soakCallers {
		callers.Go(func() {
			for time.Now().Before(end) && !t.Failed() {
				call()
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
	t.Logf("%d calls, %+v, the oldest answer %v (the ttl is %v)", calls.Load(), c.Stats(), time.Duration(oldest.Load()), soakTTL)
	early, late := highest(looks[1:8]), highest(looks[13:])
	t.Logf("at most %v early, %v late", early, late)
	if late.heap > 2*early.heap+1<<20 || late.goroutines > 2*early.goroutines+50 {
		t.Errorf("it grows: at most %v early, %v late", early, late)
	}

	// What was in the air lands, what was stored expires, deaf loads return.
	left := ""
	for until := time.Now().Add(30 * time.Second); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		c.mu.Lock()
		flights := len(c.flights)
		c.mu.Unlock()
		entries := 0
		c.entries.Range(func(_, _ any) bool { entries++; return true })
		s := c.Stats()
		n := runtime.NumGoroutine()
		if left = fmt.Sprintf("%d flights, %d entries, %d goroutines of %d, %+v", flights, entries, n, goroutines, s); flights+entries == 0 && n <= goroutines && s.Misses == s.Loads {
			left = ""
			break
		}
	}
	if left != "" {
		t.Errorf("left behind: %s", left)
	}
	s := c.Stats()
	if s.Panics != b.panics.Load() {
		t.Errorf("%d panics are counted, %d loads panicked", s.Panics, b.panics.Load())
	}
	// A context can end between the call and the first look at it.
	if seen := s.Hits + s.Misses + s.Joined; seen > calls.Load()-tooLate.Load() || seen < calls.Load()*9/10 {
		t.Errorf("%d callers are counted; %d called, %d of them too late", seen, calls.Load(), tooLate.Load())
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
