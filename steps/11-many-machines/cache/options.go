package cache

import (
	"errors"
	"time"

	"github.com/cenkalti/backoff/v5"
)

const (
	// DefaultTimeout is how long a load may take unless WithTimeout says otherwise.
	DefaultTimeout = 3 * time.Second
	// DefaultMaxKeys is how many values are kept unless WithMaxKeys says otherwise.
	DefaultMaxKeys = 10_000
	// MaxRetryAfter bounds what a load's error can ask for with RetryAfter: a feed
	// that says "come again next year" is asked again today.
	MaxRetryAfter = 10 * time.Minute
)

// An Option changes what New makes. Without options a cache does what step 09's
// does, but for the bound on its keys.
type Option func(*options)

type options struct {
	timeout                  time.Duration
	whileRevalidate, ifError time.Duration
	backoff, maxBackoff      time.Duration
	jitter                   float64
	maxKeys, maxLoads        int
}

// WithTimeout bounds how long callers wait for one load.
func WithTimeout(d time.Duration) Option { return func(o *options) { o.timeout = d } }

// WithStaleWhileRevalidate serves a value that has expired for up to d more while
// a flight brings the new one. Nobody waits. RFC 5861 has the names of this and
// of the next.
func WithStaleWhileRevalidate(d time.Duration) Option {
	return func(o *options) { o.whileRevalidate = d }
}

// WithStaleIfError serves a value that has expired for up to d more when the load
// fails, or none may start.
func WithStaleIfError(d time.Duration) Option { return func(o *options) { o.ifError = d } }

// WithBackoff remembers that a key's load failed: nobody loads it again before
// least has passed, give or take half, and twice that after each further
// failure, up to most. Where the load's error has a method
// RetryAfter() time.Duration, that is waited for at least, up to MaxRetryAfter.
// A success ends it. Without it, or with 0, failures are not remembered.
func WithBackoff(least, most time.Duration) Option {
	return func(o *options) { o.backoff, o.maxBackoff = least, max(least, most) }
}

// WithJitter lets each value expire earlier, by a random part of the ttl between
// none and fraction, so that what was loaded together is not loaded again
// together. A fraction of 0.2 and a ttl of 5 s make it 4 to 5 s.
func WithJitter(fraction float64) Option {
	return func(o *options) { o.jitter = min(max(fraction, 0), 1) }
}

// WithMaxKeys bounds how many values are kept, old ones included, and of how many
// keys a failure is remembered. The least is 2.
func WithMaxKeys(n int) Option { return func(o *options) { o.maxKeys = max(n, 2) } }

// WithMaxLoads bounds how many loads run at once. Who would start one more gets
// an old value that WithStaleIfError allows, or else ErrBusy. A load that ignores
// its context counts until it returns. With 0 or less there is no bound.
func WithMaxLoads(n int) Option { return func(o *options) { o.maxLoads = n } }

// BusyError is the type of ErrBusy.
type BusyError struct{}

// ErrBusy is what a caller gets who would start one load too many.
var ErrBusy error = BusyError{}

func (BusyError) Error() string { return "too many loads are in the air" }

// RetryAfter is how long to wait before asking again.
func (BusyError) RetryAfter() time.Duration { return time.Second }

// StatusCode is what to answer over HTTP: 503, Service Unavailable.
func (BusyError) StatusCode() int { return 503 }

// FailedError is a failure that is remembered. It wraps the load's error.
type FailedError struct {
	Err   error
	Until time.Time // nobody loads the key before
}

func (e *FailedError) Error() string { return e.Err.Error() }
func (e *FailedError) Unwrap() error { return e.Err }

// RetryAfter is how long to wait before asking again.
func (e *FailedError) RetryAfter() time.Duration { return time.Until(e.Until) }

// failure is what is remembered of a key whose last loads have failed.
type failure struct {
	err  *FailedError
	wait backoff.ExponentialBackOff // how long after the next failure
}

// remember notes that key's load has failed, and returns what its callers get.
// The caller holds mu.
func (c *Cache[K, V]) remember(key K, err error) error {
	if c.backoff <= 0 {
		return err
	}
	f, ok := c.failed.Get(key)
	if !ok {
		f = &failure{wait: backoff.ExponentialBackOff{
			InitialInterval: c.backoff, MaxInterval: c.maxBackoff, Multiplier: 2, RandomizationFactor: 0.5,
		}}
	}
	wait := f.wait.NextBackOff()
	var told interface{ RetryAfter() time.Duration }
	if errors.As(err, &told) {
		wait = max(wait, min(told.RetryAfter(), MaxRetryAfter))
	}
	f.err = &FailedError{err, time.Now().Add(wait)}
	c.failed.Add(key, f)
	return f.err
}

// Stats counts since New.
//
// Of the callers, Hits found a fresh value, Stale were served an old one at once,
// Misses started a flight and wait for it, Joined wait for another's, Spared were
// told a remembered failure, and Refused were told ErrBusy; who comes when its
// context is over and finds no fresh value is none of these. Of the flights,
// Loads have landed; Failures are those of Loads that brought an error. Panics
// are loads that panicked, also after their flight had landed without them.
type Stats struct{ Hits, Stale, Misses, Joined, Spared, Refused, Loads, Failures, Panics int64 }

// Stats returns the counts. It takes no lock. Each count is exact; under way they
// are read one after the other, so that a caller can be in one and not yet in the
// next.
func (c *Cache[K, V]) Stats() Stats {
	return Stats{c.hits.Load(), c.stale.Load(), c.misses.Load(), c.joined.Load(), c.spared.Load(), c.refused.Load(),
		c.loads.Load(), c.failures.Load(), c.panics.Load()}
}
