package cache

import (
	"hash/maphash"
	"sync/atomic"
	"time"
)

// shelf holds values by key, each until its end, and at most room of them.
//
// get takes no lock, so that no core waits for another. The other methods are
// called one at a time; the caller sees to that.
type shelf[K comparable, T any] struct {
	room int           // 0: no bound
	tick time.Duration // values whose ends are within the same tick are swept together
	len  int

	// A hash table of chains, with a place for each item, and at most four.
	seed  maphash.Seed
	table atomic.Pointer[[]place[K, T]]

	// Without a timer for each value: all stand in one line, by the tick of their end,
	// and in a tick by their age. A sweep takes those whose tick is over, from the
	// front. Without jitter, and for one ttl, the line is by age.
	first, last *item[K, T]
	ticks       map[int64]stretch[K, T]

	// With a bound, the value that makes room is found with SIEVE (Zhang et al.,
	// NSDI 2024): a hand goes along the line. It spares those that were used since it
	// last came by, and takes the first that was not. So keys that are asked for once
	// push out each other.
	hand *item[K, T]
}

// item is a value on a shelf. Only used and next change once get can find it.
type item[K comparable, T any] struct {
	key   K
	value T
	end   time.Duration
	used  atomic.Bool
	next  place[K, T] // in its chain

	before, behind *item[K, T] // in the line
}

// place is where a chain begins, or goes on.
type place[K comparable, T any] struct{ atomic.Pointer[item[K, T]] }

// stretch is the part of the line whose items end in the same tick.
type stretch[K comparable, T any] struct{ first, last *item[K, T] }

const leastPlaces = 8

func newShelf[K comparable, T any](room int, length time.Duration) *shelf[K, T] {
	s := &shelf[K, T]{room: room, tick: length, seed: maphash.MakeSeed(), ticks: map[int64]stretch[K, T]{}}
	table := make([]place[K, T], leastPlaces)
	s.table.Store(&table)
	return s
}

// get returns the value of key, which may have ended. Beside another method it can
// miss a value that is there; it is exact for callers that keep them out.
func (s *shelf[K, T]) get(key K) (value T, ok bool) {
	i := s.place(*s.table.Load(), key).Load()
	for ; i != nil; i = i.next.Load() {
		if i.key == key {
			if s.room > 0 && !i.used.Load() { // look first: a write would take the line from the other cores
				i.used.Store(true)
			}
			return i.value, true
		}
	}
	return value, false
}

// place is where the chain of key begins. The length of a table is a power of two.
func (s *shelf[K, T]) place(table []place[K, T], key K) *place[K, T] {
	return &table[maphash.Comparable(s.seed, key)&uint64(len(table)-1)]
}

// find is the place that holds key's item, or the end of its chain.
func (s *shelf[K, T]) find(key K) *place[K, T] {
	p := s.place(*s.table.Load(), key)
	for i := p.Load(); i != nil && i.key != key; i = p.Load() {
		p = &i.next
	}
	return p
}

// put stores a value until end, in place of the one that key has. If there is no
// room, a value that has ended goes, or else one that nobody used.
func (s *shelf[K, T]) put(key K, value T, end, now time.Duration) {
	i := &item[K, T]{key: key, value: value, end: end}
	if p := s.find(key); p.Load() != nil {
		was := p.Load()
		i.used.Store(was.used.Load())
		i.next.Store(was.next.Load())
		p.Store(i)
		s.leave(was)
	} else {
		if s.room > 0 && s.len >= s.room && !s.sweepEnded(now) {
			s.evict()
		}
		if p := *s.table.Load(); s.len >= len(p) {
			s.resize(2 * len(p))
		}
		s.find(key).Store(i)
		s.len++
	}
	s.queue(i)
}

// drop removes the value of key, if there is one.
func (s *shelf[K, T]) drop(key K) {
	if i := s.find(key).Load(); i != nil {
		s.remove(i)
	}
}

func (s *shelf[K, T]) remove(i *item[K, T]) {
	s.find(i.key).Store(i.next.Load())
	s.leave(i)
	s.len--
	if n := len(*s.table.Load()); n > leastPlaces && s.len < n/4 {
		s.resize(n / 2)
	}
}

// resize moves all items into another table. A get that is on its way may be led
// into another chain, and miss.
func (s *shelf[K, T]) resize(places int) {
	table := make([]place[K, T], places)
	for i := s.first; i != nil; i = i.behind {
		p := s.place(table, i.key)
		i.next.Store(p.Load())
		p.Store(i)
	}
	s.table.Store(&table)
}

// queue puts an item into the line: behind those of its tick and of ticks before.
func (s *shelf[K, T]) queue(i *item[K, T]) {
	n := int64(i.end / s.tick)
	t, ok := s.ticks[n]
	i.before = t.last
	if !ok { // behind the last item of an earlier tick
		t.first = i
		for i.before = s.last; i.before != nil && int64(i.before.end/s.tick) > n; {
			i.before = s.ticks[int64(i.before.end/s.tick)].first.before
		}
	}
	t.last = i
	s.ticks[n] = t
	if i.before == nil {
		i.behind, s.first = s.first, i
	} else {
		i.behind, i.before.behind = i.before.behind, i
	}
	if i.behind == nil {
		s.last = i
	} else {
		i.behind.before = i
	}
}

// leave takes an item out of the line.
func (s *shelf[K, T]) leave(i *item[K, T]) {
	if s.hand == i {
		s.hand = i.behind
	}
	n := int64(i.end / s.tick)
	switch t := s.ticks[n]; {
	case t.first == t.last:
		delete(s.ticks, n)
	case t.first == i:
		s.ticks[n] = stretch[K, T]{i.behind, t.last}
	case t.last == i:
		s.ticks[n] = stretch[K, T]{t.first, i.before}
	}
	if i.before == nil {
		s.first = i.behind
	} else {
		i.before.behind = i.behind
	}
	if i.behind == nil {
		s.last = i.before
	} else {
		i.behind.before = i.before
	}
}

// evict removes a value that was not used since the hand came by.
func (s *shelf[K, T]) evict() {
	i := s.hand
	for n := s.len; ; n-- { // callers that are quicker than the hand do not keep it going
		if i == nil {
			i = s.first
		}
		if !i.used.Load() || n == 0 {
			break
		}
		i.used.Store(false)
		i = i.behind
	}
	s.hand = i.behind
	s.remove(i)
}

// sweep removes at most so many values of ticks that are over, and reports
// whether those were all.
func (s *shelf[K, T]) sweep(now time.Duration, most int) (all bool) {
	for ; s.first != nil && s.first.end/s.tick < now/s.tick; most-- {
		if most == 0 {
			return false
		}
		s.remove(s.first)
	}
	return true
}

// sweepEnded removes a value that has ended, and reports whether there was one.
// In a tick that is not over, those that ended first come first, except for jitter.
func (s *shelf[K, T]) sweepEnded(now time.Duration) bool {
	if s.first == nil || s.first.end > now {
		return false
	}
	s.remove(s.first)
	return true
}
