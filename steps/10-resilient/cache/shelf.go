package cache

import (
	"sync"
	"sync/atomic"
	"time"
)

// shelf holds values by key, each until its end, and at most room of them.
//
// get takes no lock, so that no core waits for another. The other methods are
// called one at a time; the caller sees to that.
type shelf[K comparable, T any] struct {
	room  int           // 0: no bound
	tick  time.Duration // values whose ends are within the same tick are swept together
	items sync.Map      // an *item[K, T] for each K
	len   int

	// Without a timer for each value: those of one tick are one list, and a sweep
	// takes the lists whose tick is over.
	ticks map[int64]*chain[K, T]
	swept int64 // the ticks before this one have no list

	// With a bound, the value that makes room is found with SIEVE (Zhang et al.,
	// NSDI 2024): a hand goes from the oldest value to the newest. It spares
	// those that were used since it last came by, and takes the first that was
	// not. So keys that are asked for once push out each other.
	order chain[K, T] // from the oldest to the newest
	hand  *item[K, T]
}

// item is a value on a shelf. Only used changes once get can find it.
type item[K comparable, T any] struct {
	key   K
	value T
	end   time.Duration
	used  atomic.Bool
	links [2]links[K, T] // in order and in a tick's list
}

type links[K comparable, T any] struct{ before, behind *item[K, T] }

// The two lists that an item is in.
const (
	byAge = iota
	byTick
)

func newShelf[K comparable, T any](room int, tick time.Duration) shelf[K, T] {
	return shelf[K, T]{room: room, tick: tick, ticks: map[int64]*chain[K, T]{}, order: chain[K, T]{kind: byAge}}
}

// get returns the value of key, which may have ended.
func (s *shelf[K, T]) get(key K) (value T, ok bool) {
	found, ok := s.items.Load(key)
	if !ok {
		return value, false
	}
	i := found.(*item[K, T])
	if s.room > 0 && !i.used.Load() { // look first: a write would take the line from the other cores
		i.used.Store(true)
	}
	return i.value, true
}

// put stores a value until end, in place of the one that key has. If there is no
// room, a value that has ended goes, or else one that nobody used.
func (s *shelf[K, T]) put(key K, value T, end, now time.Duration) {
	i := &item[K, T]{key: key, value: value, end: end}
	if was, ok := s.items.Swap(key, i); ok {
		was := was.(*item[K, T])
		i.used.Store(was.used.Load())
		s.unlink(was)
	} else if s.room > 0 && s.len >= s.room && !s.sweepEnded(now) {
		s.evict()
	}
	if s.len == 0 {
		s.swept = int64(now / s.tick)
	}
	s.len++
	s.order.push(i)
	l := s.ticks[int64(end/s.tick)]
	if l == nil {
		l = &chain[K, T]{kind: byTick}
		s.ticks[int64(end/s.tick)] = l
	}
	l.push(i)
}

// drop removes the value of key, if there is one.
func (s *shelf[K, T]) drop(key K) {
	if s.len == 0 { // no look, which costs an allocation
		return
	}
	if i, ok := s.items.LoadAndDelete(key); ok {
		s.unlink(i.(*item[K, T]))
	}
}

func (s *shelf[K, T]) remove(i *item[K, T]) {
	s.items.Delete(i.key)
	s.unlink(i)
}

// unlink takes an item out of both lists.
func (s *shelf[K, T]) unlink(i *item[K, T]) {
	if s.hand == i {
		s.hand = i.links[byAge].behind
	}
	s.len--
	s.order.remove(i)
	tick := int64(i.end / s.tick)
	l := s.ticks[tick]
	if l.remove(i); l.first == nil {
		delete(s.ticks, tick)
	}
}

// evict removes a value that was not used since the hand came by.
func (s *shelf[K, T]) evict() {
	i := s.hand
	for n := s.len; ; n-- { // callers that are quicker than the hand do not keep it going
		if i == nil {
			i = s.order.first
		}
		if !i.used.Load() || n == 0 {
			break
		}
		i.used.Store(false)
		i = i.links[byAge].behind
	}
	s.hand = i.links[byAge].behind
	s.remove(i)
}

// sweep removes at most so many values of ticks that are over, and reports
// whether those were all.
func (s *shelf[K, T]) sweep(now time.Duration, most int) (all bool) {
	for ; s.len > 0 && s.swept < int64(now/s.tick); s.swept++ {
		for l := s.ticks[s.swept]; l != nil && l.first != nil; most-- {
			if most == 0 {
				return false
			}
			s.remove(l.first)
		}
	}
	return true
}

// sweepEnded removes a value that has ended, and reports whether there was one.
// In a tick that is not over, those that ended first come first, except for jitter.
func (s *shelf[K, T]) sweepEnded(now time.Duration) bool {
	before := s.len
	if s.sweep(now, 1); s.len < before {
		return true
	}
	l := s.ticks[int64(now/s.tick)]
	if l == nil || l.first.end > now {
		return false
	}
	s.remove(l.first)
	return true
}

// chain is a list of items, linked in the items themselves.
type chain[K comparable, T any] struct {
	kind        int
	first, last *item[K, T]
}

func (l *chain[K, T]) push(i *item[K, T]) {
	i.links[l.kind] = links[K, T]{before: l.last}
	if l.last == nil {
		l.first = i
	} else {
		l.last.links[l.kind].behind = i
	}
	l.last = i
}

func (l *chain[K, T]) remove(i *item[K, T]) {
	at := i.links[l.kind]
	if at.before == nil {
		l.first = at.behind
	} else {
		at.before.links[l.kind].behind = at.behind
	}
	if at.behind == nil {
		l.last = at.before
	} else {
		at.behind.links[l.kind].before = at.before
	}
}
