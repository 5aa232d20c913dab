package cache

import (
	"errors"
	"math/rand/v2"
	"runtime/debug"
	"time"
)

// PanicError is what callers get when the load panicked. It wraps the value of
// the panic where that is an error.
type PanicError struct {
	Value any
	Stack []byte // of the goroutine that panicked
}

// newPanicError is called in the deferred function that recovered value.
func newPanicError(value any) *PanicError { return &PanicError{value, debug.Stack()} }

func (e *PanicError) Error() string { return "the load panicked: " + text(e.Value) }

// Unwrap returns the panic's value if it is an error, else nil.
func (e *PanicError) Unwrap() error { err, _ := e.Value.(error); return err }

// BusyError is the type of ErrBusy.
type BusyError struct{}

// ErrBusy is what a caller gets that would start one load too many.
var ErrBusy error = BusyError{}

func (BusyError) Error() string { return "too many loads are in the air" }

// RetryAfter is how long to wait before asking again.
func (BusyError) RetryAfter() time.Duration { return time.Second }

// StatusCode is what to answer over HTTP: 503, Service Unavailable.
func (BusyError) StatusCode() int { return 503 }

// FailedError is a failure that is remembered. It wraps the load's error, unless
// that has a method Unwrap, Is or As that panics, as a nil *net.OpError has: then
// errors.Is and errors.As would panic in every caller.
type FailedError struct {
	Err   error
	Until time.Time // nobody loads the key before

	broken bool
	until  time.Duration // the same by the cache's clock
	wait   time.Duration // how long after the next failure, give or take half
}

func (e *FailedError) Error() string { return text(e.Err) }

func (e *FailedError) Unwrap() error {
	if e.broken {
		return nil
	}
	return e.Err
}

// RetryAfter is how long to wait before asking again.
func (e *FailedError) RetryAfter() time.Duration { return time.Until(e.Until) }

// failure is what an error's own methods say of it.
type failure struct {
	broken bool          // it cannot be looked into
	answer bool          // the origin has answered, and says that there is no value
	rest   time.Duration // how long it wants to be left alone
}

// inspect asks an error what it is. Its methods are the load's, and run in the
// load's time: before the flight lands, and no longer than its timeout. One that
// panics says nothing.
func (f *failure) inspect(err error) {
	var (
		panicked *PanicError
		status   interface{ StatusCode() int }
		rest     interface{ RetryAfter() time.Duration }
	)
	f.broken = true // until it has been looked into
	guard(func() {
		errors.As(err, &panicked)
		errors.As(err, &status)
		errors.As(err, &rest)
		f.broken = false
	})
	if panicked != nil { // a panic is no answer, whatever it carries
		return
	}
	if status != nil {
		guard(func() {
			// RFC 5861, 4: these four stand for an error, for which an old value may do.
			switch status.StatusCode() {
			case 500, 502, 503, 504:
			default:
				f.answer = true
			}
		})
	}
	if rest != nil {
		guard(func() { f.rest = rest.RetryAfter() })
	}
}

// guard calls f, and ends a panic.
func guard(f func()) {
	defer func() { _ = recover() }()
	f()
}

// fail decides what the callers of a failed flight get, and the next ones. The
// caller holds mu.
func (c *Cache[K, V]) fail(f *flight[K, V], l *landing[V]) {
	now := c.now()
	if c.backoff > 0 {
		f.err = c.remember(f.key, l, now)
	}
	if l.answer { // the origin has spoken: what it said before is over
		c.values.drop(f.key)
		return
	}
	if kept, ok := c.values.get(f.key); ok && now < after(kept.fresh, c.ifError) {
		f.value, f.err, f.old = kept.value, nil, true
	}
}

// remember notes that key's load has failed, and returns what its callers get.
// The caller holds mu.
func (c *Cache[K, V]) remember(key K, l *landing[V], now time.Duration) *FailedError {
	next := c.backoff
	if before, ok := c.failures.get(key); ok {
		next = before.wait
	}
	wait := after(next/2, rand.N(next)) // give or take half
	wait = max(wait, min(l.rest, MaxRetryAfter))
	e := &FailedError{Err: l.err, broken: l.broken, Until: time.Now().Add(wait), until: after(now, wait), wait: min(after(next, next), c.maxBackoff)}
	// For as long again as it may wait at most, it is known that it has failed before.
	c.failures.put(key, e, after(e.until, c.maxBackoff), now)
	c.sweeper.set(c.values.tick)
	return e
}
