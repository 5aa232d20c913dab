package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"

	"plaque/steps/10-resilient/cache"
	"plaque/steps/kit/web"
)

// maxFrom bounds a peer's URL: a host has 253 characters at most.
const maxFrom = 300

// answer is what one machine tells another, as JSON.
type answer struct {
	// Value is any bytes, which JSON's strings are not: it is written in base64.
	// nil: there is an Error instead.
	Value []byte `json:"value,omitzero"`
	Error *Error `json:"error,omitempty"`
	From  string `json:"from"` // the peer's URL
	// Flight is the span of the load, "" where nobody loaded; AskedFor that of the
	// fleet.get which led to it. All others link to the flight.
	Flight   string `json:"flight,omitempty"`
	AskedFor string `json:"asked_for,omitempty"`
}

// Error is a failure that another machine tells of.
type Error struct {
	Text   string        `json:"text"`           // valid UTF-8, at most web.MaxText bytes
	Status int           `json:"status"`         // 400 to 599
	Wait   time.Duration `json:"wait,omitempty"` // 0: come again when you like; at most cache.MaxRetryAfter
}

func (e *Error) Error() string             { return e.Text }
func (e *Error) StatusCode() int           { return e.Status }
func (e *Error) RetryAfter() time.Duration { return e.Wait }

// newError keeps of an error what a caller is told, here and elsewhere.
func newError(err error) *Error {
	f := web.FailureOf(err)
	e := &Error{f.Text, f.Status, min(f.RetryAfter, cache.MaxRetryAfter)}
	failed, remembered := err.(*cache.FailedError)
	if remembered {
		err = failed.Err
	}
	if _, ok := err.(*cache.PanicError); ok {
		e.Status = http.StatusInternalServerError // not what the panic carried
		if !remembered {
			e.Wait = 0
		}
	}
	return e
}

func (a answer) result() (string, error) {
	if a.Error != nil {
		return "", a.Error
	}
	return string(a.Value), nil
}

// encode never fails: strings and numbers always marshal.
func (a answer) encode() []byte {
	b, _ := json.Marshal(a)
	return b
}

// decode reads what came from a peer, and trusts nothing in it. It returns what
// encode was given, if that was within the bounds that Fleet keeps.
func decode(text []byte) (a answer, err error) {
	if err := json.Unmarshal(text, &a); err != nil {
		return a, fmt.Errorf("the peer's answer is no JSON that we know: %w", err)
	}
	switch e := a.Error; {
	case e == nil && (a.Value == nil || len(a.Value) > MaxValue):
		return a, fmt.Errorf("the peer's answer has no value, or one that is too long: %d bytes", len(a.Value))
	case e != nil && (a.Value != nil || e.Status < 400 || e.Status > 599 || e.Wait < 0 || e.Wait > cache.MaxRetryAfter || len(e.Text) > web.MaxText):
		return a, fmt.Errorf("the peer's answer has an error with status %d and wait %v", e.Status, e.Wait)
	}
	if len(a.From) > maxFrom {
		return a, fmt.Errorf("the peer's answer comes from a name of %d bytes", len(a.From))
	}
	for _, span := range []*string{&a.Flight, &a.AskedFor} {
		if _, ok := parseSpan(*span); !ok {
			*span = ""
		}
	}
	return a, nil
}

// nameOf writes a key with letters, digits, _, - and ~ alone. So nothing on its
// way through groupcache and a URL's path changes it. A channel's id stays as it
// is; any other byte becomes ~ and two hexadecimal digits.
func nameOf(key string) string {
	var b strings.Builder
	for i := range len(key) {
		if c := key[i]; strings.IndexByte(plain, c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "~%02X", c)
		}
	}
	return b.String()
}

const plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"

// keyOf reads what nameOf wrote, and nothing else: a key has one name.
func keyOf(name string) (key string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(name) && i <= 3*MaxKey; i++ {
		c := name[i]
		if c == '~' && i+3 <= len(name) {
			n, _ := strconv.ParseUint(name[i+1:i+3], 16, 8)
			c = byte(n)
			i += 2
		}
		b.WriteByte(c)
	}
	key = b.String()
	return key, key != "" && len(key) <= MaxKey && nameOf(key) == name
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
