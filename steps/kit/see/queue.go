package see

import (
	"context"
	"sync"
	"time"
)

const (
	// queueSize bounds the spans that wait for a reader or a disk that is slow.
	queueSize = 32768
	// stopWithin bounds the writing of what is left when the program stops: a
	// terminal on which somebody has pressed Ctrl-S must not take the time of
	// those that come after it.
	stopWithin = 500 * time.Millisecond
)

// queue hands items to a goroutine that writes them, so that a span which ends
// waits for no terminal, pipe or disk. What does not fit is dropped and counted.
// The goroutine runs while there is something to write.
type queue[T any] struct {
	limit int
	write func(items []T, dropped int) // one call at a time; dropped since the last one

	mu      sync.Mutex // protects what follows; not held while writing
	items   []T
	dropped int
	idle    chan struct{} // closed when all is written; nil when nobody writes
}

func (q *queue[T]) put(item T) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.items) >= q.limit {
		q.dropped++
		return
	}
	q.items = append(q.items, item)
	if q.idle == nil {
		q.idle = make(chan struct{})
		go q.run()
	}
}

func (q *queue[T]) run() {
	for {
		q.mu.Lock()
		items, dropped := q.items, q.dropped
		q.items, q.dropped = nil, 0
		if len(items) == 0 { // nothing is dropped while the queue is empty
			close(q.idle)
			q.idle = nil
			q.mu.Unlock()
			return
		}
		q.mu.Unlock()
		q.write(items, dropped)
	}
}

// flush waits until all is written.
func (q *queue[T]) flush(ctx context.Context) error {
	q.mu.Lock()
	idle := q.idle
	q.mu.Unlock()
	if idle == nil {
		return nil
	}
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// stop is flush within stopWithin.
func (q *queue[T]) stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopWithin)
	defer cancel()
	return q.flush(ctx)
}

// recent remembers the values of the last so many different keys.
type recent[K comparable, V any] struct {
	values map[K]V
	keys   []K // a ring
	next   int // in keys: the oldest, once the ring is full
}

// remembered is how many keys a recent keeps.
const remembered = 1 << 15

func newRecent[K comparable, V any]() *recent[K, V] { return &recent[K, V]{values: map[K]V{}} }

func (r *recent[K, V]) set(key K, value V) {
	if _, known := r.values[key]; !known {
		if len(r.keys) < remembered {
			r.keys = append(r.keys, key)
		} else {
			delete(r.values, r.keys[r.next])
			r.keys[r.next] = key
			r.next = (r.next + 1) % remembered
		}
	}
	r.values[key] = value
}
