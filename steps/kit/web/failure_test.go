package web_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"plaque/steps/kit/web"
)

// foreign is an error whose methods do what a test says.
type foreign struct {
	text  func() string
	code  func() int
	after func() time.Duration
	inner func() error
}

func (f foreign) Error() string             { return f.text() }
func (f foreign) StatusCode() int           { return f.code() }
func (f foreign) RetryAfter() time.Duration { return f.after() }
func (f foreign) Unwrap() error             { return f.inner() }

// well is one that does all right.
func well() foreign {
	return foreign{
		text:  func() string { return "well" },
		code:  func() int { return 502 },
		after: func() time.Duration { return time.Second },
		inner: func() error { return nil },
	}
}

// uncoded wraps an error and says nothing else.
type uncoded struct{ inner func() error }

func (u uncoded) Error() string { return "uncoded" }
func (u uncoded) Unwrap() error { return u.inner() }

// panicked stands for a panic, as a cache's error does: it has a status, and
// wraps what the panic carried.
type panicked struct{ error }

func (panicked) StatusCode() int { return 500 }
func (p panicked) Unwrap() error { return p.error }

func TestFailureOf(t *testing.T) {
	cycle := &uncoded{}
	cycle.inner = func() error { return cycle }
	for name, c := range map[string]struct {
		err  func() error
		want web.Failure
	}{
		"well":              {func() error { return well() }, web.Failure{"well", 502, time.Second}},
		"wrapped":           {func() error { return fmt.Errorf("load: %w", well()) }, web.Failure{"load: well", 502, time.Second}},
		"joined":            {func() error { return errors.Join(io.EOF, well()) }, web.Failure{"EOF\nwell", 502, time.Second}},
		"the outer status":  {func() error { return panicked{codedError(404)} }, web.Failure{"error 404", 500, 0}},
		"a panic of theirs": {func() error { return panicked{context.Canceled} }, web.Failure{"context canceled", 500, 0}},
		"a panic, late":     {func() error { return panicked{context.DeadlineExceeded} }, web.Failure{"context deadline exceeded", 500, 0}},
		"a status, late":    {func() error { return fmt.Errorf("%w: %w", context.DeadlineExceeded, codedError(502)) }, web.Failure{"context deadline exceeded: error 502", 502, 0}},
		"it unwraps itself": {func() error { return cycle }, web.Failure{"uncoded", 500, 0}},
		"a typed nil":       {func() error { var e *net.OpError; return e }, web.Failure{"<nil>", 500, 0}},
		"a nil that panics": {func() error { var e *net.ParseError; return e }, web.Failure{"an error whose text cannot be read", 500, 0}},
		"no text": {func() error { f := well(); f.text = func() string { panic("no text") }; return f },
			web.Failure{"an error whose text cannot be read", 502, time.Second}},
		"a panic in a panic": {func() error { f := well(); f.text = func() string { panic(f) }; return f },
			web.Failure{"an error whose text cannot be read", 502, time.Second}},
		"no status": {func() error { f := well(); f.code = func() int { panic("no status") }; return f },
			web.Failure{"well", 500, time.Second}},
		"no wait": {func() error { f := well(); f.after = func() time.Duration { panic("no header") }; return f },
			web.Failure{"well", 502, 0}},
		"no cause": {func() error { return uncoded{func() error { panic("no cause") }} },
			web.Failure{"uncoded", 500, 0}},
		"Goexit": {func() error { f := well(); f.text = func() string { runtime.Goexit(); return "" }; return f },
			web.Failure{"an error whose text cannot be read", 500, 0}},
		"Goexit, later": {func() error { f := well(); f.after = func() time.Duration { runtime.Goexit(); return 0 }; return f },
			web.Failure{"well", 500, 0}},
		"status 0":     {func() error { return codedError(0) }, web.Failure{"error 0", 500, 0}},
		"status 200":   {func() error { return codedError(200) }, web.Failure{"error 200", 500, 0}},
		"status 1000":  {func() error { return codedError(1000) }, web.Failure{"error 1000", 500, 0}},
		"status -1":    {func() error { return codedError(-1) }, web.Failure{"error -1", 500, 0}},
		"no UTF-8":     {func() error { return errors.New("a\xffb") }, web.Failure{"a\uFFFDb", 500, 0}},
		"long":         {func() error { return errors.New(strings.Repeat("é", 501)) }, web.Failure{strings.Repeat("é", 498) + "...", 500, 0}},
		"as long":      {func() error { return errors.New(strings.Repeat("é", 500)) }, web.Failure{strings.Repeat("é", 500), 500, 0}},
		"a past":       {func() error { return later(-time.Hour) }, web.Failure{"not now", 500, 0}},
		"a far future": {func() error { return later(math.MaxInt64) }, web.Failure{"not now", 500, math.MaxInt64}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := web.FailureOf(c.err()); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
	if f := web.FailureOf(errors.New(strings.Repeat("\xff", 800))); len(f.Text) > web.MaxText || !utf8.ValidString(f.Text) {
		t.Errorf("%d bytes: %q", len(f.Text), f.Text)
	}
}

// An error that waits for its reader, or forever, is read no longer than a
// second.
func TestFailureThatBlocks(t *testing.T) {
	for _, method := range []string{"Error", "StatusCode", "RetryAfter", "Unwrap"} {
		synctest.Test(t, func(t *testing.T) {
			gate, f := make(chan struct{}), well()
			switch method {
			case "Error":
				f.text = func() string { <-gate; return "" }
			case "StatusCode":
				f.code = func() int { <-gate; return 502 }
			case "RetryAfter":
				f.after = func() time.Duration { <-gate; return 0 }
			case "Unwrap":
				f.inner = func() error { <-gate; return nil }
			}
			began := time.Now()
			got := web.FailureOf(f)
			if took := time.Since(began); took != time.Second || got.Status != 500 || got.Text == "" {
				t.Errorf("%s: after %v %+v", method, took, got)
			}
			close(gate)
		})
	}
}

// Each method is called once for an answer, its log line included.
func TestFailureIsReadOnce(t *testing.T) {
	captureLog(t)
	var texts, codes, waits, causes atomic.Int64
	err := foreign{
		text:  func() string { texts.Add(1); return "once" },
		code:  func() int { codes.Add(1); return 503 },
		after: func() time.Duration { waits.Add(1); return time.Second },
		inner: func() error { causes.Add(1); return nil },
	}
	w := answer(func(http.ResponseWriter, *http.Request) error { return err })
	if w.Code != 503 || texts.Load() != 1 || codes.Load() != 1 || waits.Load() != 1 || causes.Load() != 1 {
		t.Errorf("%d; Error %d, StatusCode %d, RetryAfter %d, Unwrap %d times", w.Code, texts.Load(), codes.Load(), waits.Load(), causes.Load())
	}
}
