package cache

import (
	"math/rand/v2"
	"sync/atomic"
)

// Stats counts since New.
//
// Of the callers, Hits found a fresh value, and Stale were served an old one at
// once. Misses started a flight and wait for it; Joined wait for another's.
// Spared got a remembered failure, and Refused got ErrBusy. A caller whose
// context is over when it comes, and that finds no fresh value, is not counted.
// Of the flights, Loads have landed; Failures are those of Loads that brought an
// error. Panics are loads that panicked, also after their flight had landed
// without them.
type Stats struct{ Hits, Stale, Misses, Joined, Spared, Refused, Loads, Failures, Panics int64 }

// Stats returns the counts. It takes no lock. Each count is exact; under way they
// are read one after the other, so that a caller can be in one and not yet in the
// next.
func (c *Cache[K, V]) Stats() Stats {
	return Stats{c.hits.sum(), c.stale.Load(), c.misses.Load(), c.joined.Load(), c.spared.Load(), c.refused.Load(),
		c.loads.Load(), c.failed.Load(), c.panics.Load()}
}

// counts are a cache's Stats, by their names.
type counts struct {
	hits                                                          stripes
	stale, misses, joined, spared, refused, loads, failed, panics atomic.Int64
}

// stripes is one counter in many parts. A hit takes less time than two cores need
// to hand a counter's cache line to each other, so each adds to a random part.
type stripes [64]struct {
	atomic.Int64
	_ [56]byte // to the end of the cache line
}

func (s *stripes) add() { s[rand.Uint32()%uint32(len(s))].Add(1) }

func (s *stripes) sum() (n int64) {
	for i := range s {
		n += s[i].Load()
	}
	return n
}
