package cache

import (
	"math"
	"time"
)

const (
	// DefaultTimeout is how long a load may take unless WithTimeout says otherwise.
	DefaultTimeout = 3 * time.Second
	// DefaultMaxKeys is how many values are kept unless WithMaxKeys says otherwise.
	DefaultMaxKeys = 10_000
	// MaxRetryAfter bounds what a load's error can ask for with RetryAfter: an origin
	// that says "come again next year" is asked again today.
	MaxRetryAfter = 10 * time.Minute
)

// An Option changes what New makes. Without options a cache does what step 09's
// does, except for the bound on its keys. A bound of 0 or less means that there
// is none; another setting of 0 or less switches off what it is for.
type Option func(*options)

type options struct {
	timeout                  time.Duration
	whileRevalidate, ifError time.Duration
	backoff, maxBackoff      time.Duration
	jitter                   float64
	maxKeys, maxLoads        int
}

// WithTimeout bounds how long a load may run, and callers wait for it. With 0 or
// less there is no bound.
func WithTimeout(d time.Duration) Option { return func(o *options) { o.timeout = max(d, 0) } }

// WithStaleWhileRevalidate serves a value that has expired for up to d more while
// a flight brings the new one. Nobody waits. RFC 5861 has the names of this and
// of the next.
func WithStaleWhileRevalidate(d time.Duration) Option {
	return func(o *options) { o.whileRevalidate = max(d, 0) }
}

// WithStaleIfError serves a value that has expired for up to d more when the load
// fails, or none may start. An error with a method StatusCode() int is such a
// failure if that is 500, 502, 503 or 504. Any other status is the origin's
// answer: callers get the error, and the old value is dropped.
func WithStaleIfError(d time.Duration) Option { return func(o *options) { o.ifError = max(d, 0) } }

// WithBackoff remembers that a key's load failed: nobody loads it again before
// least has passed, give or take half, and twice that after each further
// failure, up to most. If the load's error has a method
// RetryAfter() time.Duration, the wait is at least that, up to MaxRetryAfter. A
// success ends it. Without it, or with 0, failures are not remembered.
func WithBackoff(least, most time.Duration) Option {
	return func(o *options) { o.backoff, o.maxBackoff = max(least, 0), max(least, most) }
}

// WithJitter lets each value expire earlier, by a random part of the ttl between
// none and fraction. So values that were loaded together do not expire together.
// A fraction of 0.2 and a ttl of 5 s make it 4 to 5 s. It is cut to 0 to 1, and
// panics if fraction is not a number.
func WithJitter(fraction float64) Option {
	if math.IsNaN(fraction) {
		panic("cache.WithJitter: the fraction is not a number: take one from 0 to 1")
	}
	return func(o *options) { o.jitter = min(max(fraction, 0), 1) }
}

// WithMaxKeys bounds how many values are kept, old ones included, and of how many
// keys a failure is remembered. With 0 or less there is no bound: then the keys
// that strangers ask for must be few, or their values small and the ttl short.
func WithMaxKeys(n int) Option { return func(o *options) { o.maxKeys = max(n, 0) } }

// WithMaxLoads bounds how many loads run at once. A caller that would start one
// more gets an old value that WithStaleIfError allows, or else ErrBusy. A load
// that ignores its context counts until it returns. With 0 or less there is no
// bound.
func WithMaxLoads(n int) Option { return func(o *options) { o.maxLoads = max(n, 0) } }
