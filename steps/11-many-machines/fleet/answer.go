package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"

	"plaque/steps/11-many-machines/cache"
)

// answer is what one machine tells another, as JSON.
type answer struct {
	Value string `json:"value,omitempty"`
	Error *Error `json:"error,omitempty"` // instead of Value
	From  string `json:"from"`            // the peer's URL
	// Flight is the span of the load, "" where nobody loaded; AskedFor that of the
	// fleet.get which led to it. All others link to the flight.
	Flight   string `json:"flight,omitempty"`
	AskedFor string `json:"asked_for,omitempty"`
}

// Error is a failure that another machine tells of.
type Error struct {
	Text   string        `json:"text"`
	Status int           `json:"status"`
	Wait   time.Duration `json:"wait,omitempty"` // 0: come again when you like
}

func (e *Error) Error() string             { return e.Text }
func (e *Error) StatusCode() int           { return e.Status }
func (e *Error) RetryAfter() time.Duration { return e.Wait }

// newError keeps of an error what a caller is told.
func newError(err error) *Error {
	e := &Error{Text: err.Error(), Status: http.StatusInternalServerError}
	var coded interface{ StatusCode() int }
	var later interface{ RetryAfter() time.Duration }
	if errors.As(err, &coded) {
		e.Status = coded.StatusCode()
	} else if errors.Is(err, context.DeadlineExceeded) {
		e.Status = http.StatusGatewayTimeout
	}
	if errors.As(err, &later) {
		e.Wait = min(max(later.RetryAfter(), 0), cache.MaxRetryAfter)
	}
	if len(e.Text) > 1000 { // what a panic says can be long
		e.Text = strings.ToValidUTF8(e.Text[:1000], "") + "..."
	}
	return e
}

func (a answer) result() (string, error) {
	if a.Error != nil {
		return "", a.Error
	}
	return a.Value, nil
}

// encode never fails: strings and numbers always marshal.
func (a answer) encode() []byte {
	b, _ := json.Marshal(a)
	return b
}

// decode reads what came from a peer, and trusts nothing in it.
func decode(text []byte) (a answer, err error) {
	if err := json.Unmarshal(text, &a); err != nil {
		return a, fmt.Errorf("the peer's answer is no JSON that we know: %w", err)
	}
	switch e := a.Error; {
	case e == nil && (a.Value == "" || len(a.Value) > 100):
		return a, fmt.Errorf("the peer's answer has a value of %d bytes", len(a.Value))
	case e != nil && (a.Value != "" || e.Status < 400 || e.Status > 599 || e.Wait < 0 || e.Wait > cache.MaxRetryAfter || len(e.Text) > 2000):
		return a, fmt.Errorf("the peer's answer has an error with status %d and wait %v", e.Status, e.Wait)
	}
	return a, nil
}

// spanName writes the span of ctx as its trace's id, -, and its own.
func spanName(ctx context.Context) string {
	sc := trace.SpanContextFromContext(ctx)
	return sc.TraceID().String() + "-" + sc.SpanID().String()
}

// parseSpan reads what spanName wrote.
func parseSpan(text string) (trace.SpanContext, bool) {
	traceText, spanText, _ := strings.Cut(text, "-")
	traceID, err := trace.TraceIDFromHex(traceText)
	spanID, err2 := trace.SpanIDFromHex(spanText)
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: traceID, SpanID: spanID, TraceFlags: trace.FlagsSampled, Remote: true}), err == nil && err2 == nil
}
