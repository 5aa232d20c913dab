package cache

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"runtime/debug"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// Timeout is how long callers wait for a load.
const Timeout = 3 * time.Second

var (
	errTimeout = fmt.Errorf("the load did not end within %v: %w", Timeout, context.DeadlineExceeded)
	// ErrGoexit is what callers get when the load ended its goroutine with
	// runtime.Goexit, as t.FailNow does.
	ErrGoexit = errors.New("the load ended its goroutine without an answer")
)

// PanicError is what callers get when the load panicked. It wraps the value of
// the panic if that is an error.
type PanicError struct {
	Value any
	Stack []byte // of the goroutine that panicked
}

func (e *PanicError) Error() string { return "the load panicked: " + text(e.Value) }

// Unwrap returns the panic's value if it is an error, else nil.
func (e *PanicError) Unwrap() error { err, _ := e.Value.(error); return err }

// StatusCode is 500: a panic is no 404, whatever it wraps.
func (e *PanicError) StatusCode() int { return http.StatusInternalServerError }

// panicked returns the error of a panic with value, and records the stack, which
// is still that of the panic.
func panicked(value any, span trace.Span) error {
	e := &PanicError{value, debug.Stack()}
	span.AddEvent("exception", trace.WithAttributes(
		attribute.String("exception.type", fmt.Sprintf("%T", value)),
		attribute.String("exception.stacktrace", string(e.Stack))))
	return e
}

// describe ends the span of a flight that landed with err. All callers have err by
// then, because its methods are foreign code: they may block, or end the goroutine.
func describe(span trace.Span, err error) {
	defer span.End()
	if err == nil {
		span.SetStatus(codes.Ok, "")
		return
	}
	span.SetStatus(codes.Error, fmt.Sprintf("%T", err)) // for an error that has no text
	span.SetStatus(codes.Error, text(err))
}

// text is what v says of itself, or its type if that panics. A pointer that has
// no text is not followed: another goroutine may be writing there.
func text(v any) (s string) {
	defer func() {
		if recover() != nil {
			s = fmt.Sprintf("%T", v)
		}
	}()
	switch v := v.(type) {
	case error:
		return v.Error()
	case fmt.Stringer:
		return v.String()
	}
	if reflect.ValueOf(v).Kind() == reflect.Pointer {
		return fmt.Sprintf("%T %p", v, v)
	}
	return fmt.Sprint(v)
}

// given returns load, or panics if there is none: the first Get would be late.
func given[F ~func(context.Context, K) (V, error), K comparable, V any](load F) F {
	if load == nil {
		panic("cache: New needs a load")
	}
	return load
}
