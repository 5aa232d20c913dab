package cache

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"plaque/steps/kit/cachetest"
)

// subject is this cache for the tests of its contract.
var subject = cachetest.Subject{
	New: func(ttl time.Duration, load cachetest.Load) cachetest.Cache { return New(ttl, load) },
	Short: func(ttl, timeout time.Duration, load cachetest.Load) cachetest.Cache {
		return New(ttl, load, WithTimeout(timeout))
	},
	Timeout: DefaultTimeout,
	Late:    true,
	Goexit:  ErrGoexit,
	Panic: func(err error) (any, []byte, bool) {
		var p *PanicError
		if errors.As(err, &p) {
			return p.Value, p.Stack, true
		}
		return nil, nil, false
	},
	Flights: func(c cachetest.Cache) int {
		of := c.(*Cache[any, any])
		of.mu.Lock()
		defer of.mu.Unlock()
		return len(of.flights)
	},
	Forget: func(c cachetest.Cache, key any) { c.(*Cache[any, any]).Forget(key) },
	Stats:  func(c cachetest.Cache) cachetest.Stats { return cachetest.Stats(c.(*Cache[any, any]).Stats()) },
	Entries: func(c cachetest.Cache) (n int) {
		c.(*Cache[any, any]).entries.Range(func(_, _ any) bool { n++; return true })
		return n
	},
}

func TestContract(t *testing.T)  { cachetest.Run(t, subject) }
func TestSchedules(t *testing.T) { cachetest.Schedules(t, subject) }
func FuzzSchedules(f *testing.F) { cachetest.Fuzz(f, subject) }
func TestSoak(t *testing.T)      { cachetest.Soak(t, subject) }

// A timer that fires while its entry is forgotten finds another in its place, and
// leaves that alone. Which of the two is quicker is luck, so they race often.
func TestLateTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		loads := 0
		c := New(5*time.Second, func(context.Context, string) (string, error) { loads++; return "v", nil })
		get := func() {
			if _, err := c.Get(t.Context(), "a"); err != nil {
				t.Fatal(err)
			}
		}
		for range 1000 {
			get()
			time.Sleep(5 * time.Second) // now the timer is due, too
			c.Forget("a")
			get()
			before := loads
			synctest.Wait()
			get()
			if loads != before {
				t.Fatal("a timer has removed an entry that is not its own")
			}
			c.Forget("a")
		}
	})
}
