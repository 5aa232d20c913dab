package cache

import (
	"errors"
	"testing"
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
	Goexit:  ErrGoexit,
	Quiet:   true,
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
	Entries: func(c cachetest.Cache) int {
		of := c.(*Cache[any, any])
		of.mu.Lock()
		defer of.mu.Unlock()
		return of.values.len
	},
	Forget: func(c cachetest.Cache, key any) { c.(*Cache[any, any]).Forget(key) },
	Stats: func(c cachetest.Cache) cachetest.Stats {
		s := c.(*Cache[any, any]).Stats()
		return cachetest.Stats{Hits: s.Hits, Misses: s.Misses, Joined: s.Joined, Loads: s.Loads, Failures: s.Failures, Panics: s.Panics}
	},
}

func TestContract(t *testing.T)  { cachetest.Run(t, subject) }
func TestForeign(t *testing.T)   { cachetest.Foreign(t, subject) }
func TestSchedules(t *testing.T) { cachetest.Schedules(t, subject) }
func FuzzSchedules(f *testing.F) { cachetest.Fuzz(f, subject) }
func TestSoak(t *testing.T)      { cachetest.Soak(t, subject) }
