package web

import (
	"context"
	"net/http"
	"strings"
	"time"
)

const (
	// MaxText bounds the Text of a Failure, in bytes.
	MaxText = 1000
	// readWithin bounds how long an error's methods may take together.
	readWithin = time.Second
	// maxChain bounds how many errors are looked at: one can unwrap to itself.
	maxChain = 100
)

// Failure is what a caller is told of an error.
type Failure struct {
	Text       string        // valid UTF-8, at most MaxText bytes
	Status     int           // 400 to 599
	RetryAfter time.Duration // 0 where the error does not say; never less
}

// FailureOf reads an error.
//
// The status is the error's own, when it or what it wraps has a method
// StatusCode() int; 504 when it wraps context.DeadlineExceeded; 499 when it wraps
// context.Canceled; else 500. RetryAfter is that of a method
// RetryAfter() time.Duration. Where several errors have a method, the outermost
// counts: an error that stands for a panic says 500, whatever it wraps.
//
// The methods of an error are foreign code: they can panic, end the goroutine,
// block, or return what is no status. FailureOf calls each once, returns within
// about a second all the same, and says what it could learn. Do not hold a lock
// when you call it. It may be called at once.
func FailureOf(err error) Failure {
	read := make(chan Failure, 1)
	go func() {
		f := Failure{Text: "an error whose text cannot be read", Status: http.StatusInternalServerError}
		defer func() { read <- f }() // also after runtime.Goexit
		f.read(err)
	}()
	timer := time.NewTimer(readWithin)
	defer timer.Stop()
	select {
	case f := <-read:
		return f
	case <-timer.C:
		return Failure{Text: "an error that takes too long to read", Status: http.StatusInternalServerError}
	}
}

// read learns what it can of err. A method that panics or returns nonsense
// leaves what it is about as it was.
func (f *Failure) read(err error) {
	guarded(func() { f.Text = bounded(err.Error()) })
	coded, timed := false, false
	var seen int
	var walk func(error)
	walk = func(e error) {
		if seen++; e == nil || seen > maxChain {
			return
		}
		if l, ok := e.(interface{ RetryAfter() time.Duration }); ok && !timed {
			timed = true
			guarded(func() { f.RetryAfter = max(0, l.RetryAfter()) })
		}
		if c, ok := e.(interface{ StatusCode() int }); ok && !coded {
			coded = true
			f.Status = http.StatusInternalServerError // also where a context has ended
			guarded(func() { f.setStatus(c.StatusCode()) })
		}
		if !coded {
			guarded(func() { f.setStatus(contextStatus(e)) })
		}
		switch e := e.(type) {
		case interface{ Unwrap() error }:
			guarded(func() { walk(e.Unwrap()) })
		case interface{ Unwrap() []error }:
			guarded(func() {
				for _, inner := range e.Unwrap() {
					walk(inner)
				}
			})
		}
	}
	walk(err)
}

// setStatus takes what is the status of a failure.
func (f *Failure) setStatus(code int) {
	if code >= 400 && code <= 599 {
		f.Status = code
	}
}

// contextStatus is the status of an error that is a context's, else 0.
func contextStatus(err error) int {
	is, ok := err.(interface{ Is(error) bool })
	switch {
	case err == context.DeadlineExceeded || ok && is.Is(context.DeadlineExceeded):
		return http.StatusGatewayTimeout
	case err == context.Canceled || ok && is.Is(context.Canceled):
		return 499 // nginx's number for a caller that has hung up
	}
	return 0
}

// guarded calls foreign code that may panic.
func guarded(call func()) {
	defer func() { _ = recover() }()
	call()
}

// bounded is text as valid UTF-8, cut where it is too long.
func bounded(text string) string {
	const more = "..."
	if len(text) <= MaxText {
		if text = strings.ToValidUTF8(text, "\uFFFD"); len(text) <= MaxText { // each byte can become three
			return text
		}
	}
	text = strings.ToValidUTF8(text[:MaxText-len(more)], "")
	return text + more
}
