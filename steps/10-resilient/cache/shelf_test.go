package cache

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Values leave the memory within a second or a tenth of the ttl after their end,
// without a call; the same for old values that options keep, with jitter, and for
// failures.
func TestEndedValuesLeave(t *testing.T) {
	for _, ttl := range []time.Duration{time.Nanosecond, time.Millisecond, 5 * time.Second, time.Hour, 1000 * time.Hour} {
		for _, extra := range []time.Duration{0, ttl, 10 * time.Minute} {
			for _, jitter := range []float64{0, 0.1, 1} {
				t.Run(fmt.Sprint(ttl, extra, jitter), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						c := New(ttl, func(_ context.Context, key int) (int, error) {
							if key%2 == 1 {
								return 0, errDown
							}
							return key, nil
						}, WithStaleIfError(extra), WithJitter(jitter), WithBackoff(time.Second, time.Second))
						// Sweeps do not fall on the ends of ticks.
						time.Sleep(max(time.Second, ttl/10) * 37 / 100)
						begin := time.Now()
						for key := range 200 {
							_, _ = c.Get(t.Context(), key)
							time.Sleep(ttl / 100)
						}
						put := time.Since(begin)
						if values, _ := size(c); jitter == 0 && values < 40 {
							t.Errorf("%d values before the end of the last ones", values)
						}
						time.Sleep(ttl + extra - ttl/100 + max(time.Second, ttl/10))
						if values, _ := size(c); values > 0 {
							t.Errorf("%d values are in memory, though the last was stored %v ago", values, time.Since(begin)-put)
						}
						time.Sleep(3 * time.Second)
						if _, failures := size(c); failures > 0 && ttl <= 5*time.Second {
							t.Errorf("%d failures are in memory", failures)
						}
						time.Sleep(ttl)
						if c.sweeper.on || len(c.values.ticks)+len(c.failures.ticks) > 0 {
							t.Error("the sweeper goes on, with nothing to sweep")
						}
					})
				})
			}
		}
	}
}

// Values that have ended hold no room: a live one never makes room for them.
func TestEndedValuesHoldNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		loads := 0
		c := New(time.Hour, func(context.Context, int) (int, error) { loads++; return 1, nil }, WithMaxKeys(1000))
		for range 2 { // used, so that the hand would spare them
			for k := range 500 {
				_, _ = c.Get(t.Context(), k)
			}
		}
		time.Sleep(time.Hour - time.Second)
		for k := range 500 {
			_, _ = c.Get(t.Context(), 1000+k)
		}
		time.Sleep(time.Second) // the first 500 have just ended, and nothing has swept them
		if values, _ := size(c); values != 1000 {
			t.Fatalf("%d values, want 1000: else this shows nothing", values)
		}
		for k := range 500 {
			_, _ = c.Get(t.Context(), 2000+k)
		}
		loads = 0
		for k := range 500 {
			_, _ = c.Get(t.Context(), 1000+k)
			_, _ = c.Get(t.Context(), 2000+k)
		}
		if loads != 0 {
			t.Errorf("%d of 1000 live values made room, though 500 had ended", loads)
		}
	})
}

// A shelf against a model of it: whatever is put, dropped, used and swept, it
// holds what it should, its lists fit together, and it keeps its bound.
func TestShelf(t *testing.T) {
	const tick = 10
	for _, room := range []int{0, 1, 2, 7} {
		seed := rand.Uint64()
		rnd := rand.New(rand.NewPCG(seed, 0))
		s := newShelf[int, int](room, tick)
		type entry struct{ value, end int }
		model := map[int]entry{}
		now := 0
		for n := range 20_000 {
			key := rnd.IntN(20)
			switch rnd.IntN(5) {
			case 0, 1:
				end := now + rnd.IntN(50)
				s.put(key, n, time.Duration(end), time.Duration(now))
				model[key] = entry{n, end}
			case 2:
				s.drop(key)
				delete(model, key)
			case 3:
				now += rnd.IntN(tick)
				for !s.sweep(time.Duration(now), 1) {
				}
				for key, e := range model {
					if e.end/tick < now/tick {
						if _, ok := s.get(key); ok {
							t.Fatalf("seed %d: key %d ended at %d, and is there at %d", seed, key, e.end, now)
						}
						delete(model, key)
					}
				}
			case 4:
				v, ok := s.get(key)
				if e, known := model[key]; ok && (!known || e.value != v) || !ok && known && room == 0 {
					t.Fatalf("seed %d: key %d: %d, %v, want %+v", seed, key, v, ok, e)
				}
			}
			// Every item is in the table, once, and in the line, behind those that end
			// in an earlier tick.
			inTable, inLine := 0, 0
			for place := range *s.table.Load() {
				for i := (*s.table.Load())[place].Load(); i != nil; i = i.next.Load() {
					inTable++
				}
			}
			stretches := map[int64]stretch[int, int]{}
			var before *item[int, int]
			for i := s.first; i != nil; before, i = i, i.behind {
				inLine++
				n := int64(i.end / tick)
				if i.before != before || before != nil && int64(before.end/tick) > n {
					t.Fatalf("seed %d: in the line %+v stands behind %+v", seed, i, before)
				}
				if stretches[n].first == nil {
					stretches[n] = stretch[int, int]{i, i}
				}
				stretches[n] = stretch[int, int]{stretches[n].first, i}
			}
			if s.last != before || !maps.Equal(stretches, s.ticks) {
				t.Fatalf("seed %d: the line ends with %+v, and has %v; last is %+v, and ticks %v", seed, before, stretches, s.last, s.ticks)
			}
			places := len(*s.table.Load())
			if inTable != s.len || inLine != s.len || room > 0 && s.len > room || room == 0 && s.len != len(model) || places < s.len || places > max(leastPlaces, 4*s.len) {
				t.Fatalf("seed %d: %d items in a table of %d places, %d in line, %d counted, room for %d", seed, inTable, places, inLine, s.len, room)
			}
		}
	}
}

// While items come and go, and with them the length of the table, get never returns
// another key's value. What stays it finds, or misses for the moment.
func TestGetBesideOthers(t *testing.T) {
	s := newShelf[int, int](0, time.Hour)
	for key := range 100 {
		s.put(key, key, time.Minute, 0)
	}
	var stop atomic.Bool
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for n := 0; !stop.Load(); n++ {
				if v, ok := s.get(n % 1000); ok && v != n%1000 {
					t.Errorf("key %d has the value %d", n%1000, v)
					return
				}
			}
		})
	}
	for range 200 {
		for key := 100; key < 1000; key++ {
			s.put(key, key, time.Minute, 0)
		}
		for key := 100; key < 1000; key++ {
			s.drop(key)
		}
		for key := range 100 {
			if v, ok := s.get(key); v != key || !ok {
				t.Errorf("key %d: %d, %v, with nobody else at work", key, v, ok)
			}
		}
	}
	stop.Store(true)
	readers.Wait()
}

// Sieve: the hand spares what was used since it last came by, and what is asked
// for once makes room for its like.
func TestHand(t *testing.T) {
	s := newShelf[int, int](4, time.Hour)
	put := func(keys ...int) {
		for _, key := range keys {
			s.put(key, key, time.Minute, 0)
		}
	}
	has := func(keys ...int) {
		t.Helper()
		for _, key := range keys {
			if s.find(key).Load() == nil {
				t.Errorf("%d has made room", key)
			}
		}
	}
	put(1, 2, 3, 4)
	s.get(1)
	s.get(3)
	put(5) // spares 1, takes 2
	has(1, 3, 4, 5)
	put(6) // spares 3, takes 4
	has(1, 3, 5, 6)
	put(7, 8) // take 5 and 6: the hand does not come by 1 and 3 again
	has(1, 3, 7, 8)
	s.drop(7) // where the hand is
	put(9, 10)
	has(1, 3, 9, 10)
	s.get(1)
	for key := range 4 { // all used: the hand comes round once, and takes the oldest
		s.get([]int{1, 3, 9, 10}[key])
	}
	put(11)
	if s.len != 4 {
		t.Errorf("%d values, want 4", s.len)
	}
	has(11)
}

// The hand spares a value once for all that it was used.
func TestHandForgets(t *testing.T) {
	s := newShelf[int, int](3, time.Hour)
	for key := range 3 {
		s.put(key, key, time.Minute, 0)
		s.get(key)
	}
	s.put(3, 3, time.Minute, 0) // the hand goes round, and takes the oldest
	s.put(4, 4, time.Minute, 0) // the next one has not been used since
	for key, want := range []bool{false, false, true, true, true} {
		if ok := s.find(key).Load() != nil; ok != want {
			t.Errorf("key %d is there: %v, want %v", key, ok, want)
		}
	}
}

// A value that is loaded anew is as well used as the one before.
func TestRefreshKeepsItsPlace(t *testing.T) {
	s := newShelf[int, int](2, time.Hour)
	s.put(1, 1, time.Minute, 0)
	s.get(1)
	s.put(1, 2, time.Minute, 0)
	s.put(2, 2, time.Minute, 0)
	s.put(3, 3, time.Minute, 0)
	if v, ok := s.get(1); !ok || v != 2 {
		t.Errorf("it has made room for one that nobody used: %d, %v", v, ok)
	}
}

// A sweep of many values lets callers get at the lock in between.
func TestSweepIsCutUp(t *testing.T) {
	s := newShelf[int, int](0, 1)
	for key := range 10 {
		s.put(key, key, time.Duration(key/5), 0)
	}
	for _, left := range []int{7, 4, 1} {
		if all := s.sweep(100, 3); all || s.len != left {
			t.Errorf("%d values are left, want %d, and it says that those are all: %v", s.len, left, all)
		}
	}
	if all := s.sweep(100, 3); !all || s.len != 0 {
		t.Errorf("%d values are left, want none", s.len)
	}
}

func TestOneMakesRoomForOne(t *testing.T) {
	s := newShelf[int, int](4, 10)
	for key, end := range []time.Duration{5, 5, 100, 100} {
		s.put(key, key, end, 0)
	}
	s.put(5, 5, 100, 20)
	if s.len != 4 {
		t.Errorf("%d values, want 4: one for one", s.len)
	}
}

// Where no load fails, the values are swept.
func TestValuesAreSwept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(ttl, func(context.Context, int) (int, error) { return 1, nil })
		_, _ = c.Get(t.Context(), 1)
		time.Sleep(ttl + time.Second)
		if values, _ := size(c); values != 0 {
			t.Errorf("%d values are in memory", values)
		}
	})
}

// Where every load fails, the failures are swept.
func TestFailuresAreSwept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(ttl, func(context.Context, int) (int, error) { return 0, errDown }, WithBackoff(time.Second, time.Second))
		for key := range 100 {
			_, _ = c.Get(t.Context(), key)
		}
		if _, failures := size(c); failures != 100 {
			t.Errorf("%d failures are remembered, want 100", failures)
		}
		time.Sleep(4 * time.Second)
		if _, failures := size(c); failures != 0 {
			t.Errorf("%d failures are in memory", failures)
		}
	})
}
