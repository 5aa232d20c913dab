package cache

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// maxText bounds a text in a span, in bytes.
const maxText = 4 << 10

// text is v for people, as UTF-8. It calls v's method Error or String once; one
// that panics leaves v's type. What a pointer points to is not read: somebody may
// be writing it.
func text(v any) (s string) {
	defer func() {
		if recover() != nil {
			s = fmt.Sprintf("(%T)", v)
		}
		if len(s) > maxText {
			s = s[:maxText]
		}
		s = strings.ToValidUTF8(s, "\uFFFD")
	}()
	switch v := v.(type) {
	case string:
		return v
	case error:
		return v.Error()
	case fmt.Stringer:
		return v.String()
	}
	if reflect.ValueOf(v).Kind() == reflect.Pointer {
		return fmt.Sprintf("(%T) %p", v, v)
	}
	return fmt.Sprint(v)
}

// start starts the flight's span, in the flight's goroutine: a sampler is as
// foreign as a load. A load must not fail because tracing does.
func (f *flight[K, V]) start(ctx context.Context) (started context.Context) {
	defer func() {
		if recover() != nil {
			started, f.span = ctx, noop.Span{}
		}
		if f.span != nil {
			close(f.started)
		}
	}()
	started, f.span = tracer.Start(ctx, "flight")
	return started
}

// link links a caller's span to the flight that it joined.
func (f *flight[K, V]) link(ctx context.Context, span trace.Span) {
	select {
	case <-f.started:
		span.AddLink(trace.Link{SpanContext: f.span.SpanContext()})
	case <-f.done: // before it had a span
	case <-ctx.Done():
	}
}

// end ends the flight's span, after its callers have been woken.
func (f *flight[K, V]) end(err error, panicked bool, at time.Time) {
	select {
	case <-f.started:
	default: // the sampler has not returned
		return
	}
	defer func() { _ = recover() }()
	if !f.span.IsRecording() { // the options of an end cost two allocations
		return
	}
	defer f.span.End(trace.WithTimestamp(at))
	if err != nil {
		describe(f.span, err, panicked)
	}
}

// describe says of a flight's span what err is, and where the load panicked, if it
// did.
func describe(span trace.Span, err error, panicked bool) {
	span.SetStatus(codes.Error, fmt.Sprintf("(%T)", err)) // for an error that has no words
	words := text(err)
	span.SetStatus(codes.Error, words)
	if p, ok := err.(*PanicError); ok && panicked {
		span.AddEvent("exception", trace.WithAttributes(attribute.String("exception.type", fmt.Sprintf("%T", p.Value)),
			attribute.String("exception.message", words), attribute.String("exception.stacktrace", string(p.Stack))))
	}
}
