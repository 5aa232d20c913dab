package cache

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

const ttl = 5 * time.Second

// record collects the spans of a test.
func record(t *testing.T) *tracetest.SpanRecorder {
	spans := tracetest.NewSpanRecorder()
	was := tracer
	tracer = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)).Tracer("test")
	t.Cleanup(func() { tracer = was })
	return spans
}

// says is what a span says of key.
func says(s sdktrace.ReadOnlySpan, key string) string {
	for _, kv := range s.Attributes() {
		if string(kv.Key) == key {
			return kv.Value.String()
		}
	}
	return ""
}

// results counts the cache.get spans by cache.result.
func results(spans *tracetest.SpanRecorder) map[string]int {
	n := map[string]int{}
	for _, s := range spans.Ended() {
		if s.Name() == "cache.get" {
			n[says(s, "cache.result")]++
		}
	}
	return n
}

// counted is a load that takes d and counts its calls.
func counted(d time.Duration) (*atomic.Int64, func(context.Context, string) (string, error)) {
	var n atomic.Int64
	return &n, func(_ context.Context, key string) (string, error) {
		n.Add(1)
		time.Sleep(d)
		return "value of " + key, nil
	}
}

// get fails the test unless key has its value.
func get(t *testing.T, c *Cache[string, string], key string) {
	t.Helper()
	if v, err := c.Get(t.Context(), key); v != "value of "+key || err != nil {
		t.Errorf("Get(%q) = %q, %v", key, v, err)
	}
}

func TestOneAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spans := record(t)
		loads, load := counted(50 * time.Millisecond)
		c := New(ttl, load)
		for range 10 {
			get(t, c, "a")
		}
		if n := loads.Load(); n != 1 {
			t.Errorf("%d loads, want 1", n)
		}
		if r := results(spans); r["miss"] != 1 || r["hit"] != 9 {
			t.Errorf("cache.result: %v, want 1 miss and 9 hits", r)
		}
	})
}

// The stampede: nobody knows that somebody else is loading already.
func TestAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spans := record(t)
		loads, load := counted(50 * time.Millisecond)
		c := New(ttl, load)
		var callers sync.WaitGroup
		for range 100 {
			callers.Go(func() { get(t, c, "a") })
		}
		callers.Wait()
		if n := loads.Load(); n != 100 {
			t.Errorf("%d loads, want 100", n)
		}
		if r := results(spans); r["miss"] != 100 {
			t.Errorf("cache.result: %v, want 100 misses", r)
		}
	})
}

func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		loads, load := counted(0)
		c := New(ttl, load)
		get(t, c, "a")
		time.Sleep(ttl - 1)
		get(t, c, "a")
		if n := loads.Load(); n != 1 {
			t.Errorf("%d loads a nanosecond before the value expires, want 1", n)
		}
		time.Sleep(time.Nanosecond)
		get(t, c, "a")
		if n := loads.Load(); n != 2 {
			t.Errorf("%d loads when the value has expired, want 2", n)
		}
	})
}

func TestAnotherKeyDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, load := counted(time.Second)
		c := New(time.Hour, load)
		get(t, c, "b")
		var callers sync.WaitGroup
		callers.Go(func() { get(t, c, "a") })
		synctest.Wait() // a is loading
		began := time.Now()
		get(t, c, "b")
		if d := time.Since(began); d != 0 {
			t.Errorf("b, fresh, took %v while a was loading", d)
		}
		callers.Wait()
	})
}

func TestErrorsAreNotRemembered(t *testing.T) {
	spans := record(t)
	broken := errors.New("broken")
	loads := 0
	c := New(ttl, func(context.Context, string) (string, error) {
		loads++
		return "", broken
	})
	for range 2 {
		if _, err := c.Get(t.Context(), "a"); !errors.Is(err, broken) {
			t.Errorf("Get: %v, want the load's error", err)
		}
	}
	if loads != 2 {
		t.Errorf("%d loads, want 2", loads)
	}
	if s := spans.Ended()[0].Status(); s.Code != codes.Error || s.Description != "broken" {
		t.Errorf("cache.get has the status %v, want the error", s)
	}
}

func TestSpan(t *testing.T) {
	spans := record(t)
	var inLoad trace.SpanContext
	c := New(ttl, func(ctx context.Context, _ string) (string, error) {
		inLoad = trace.SpanContextFromContext(ctx)
		return "", nil
	})
	if _, err := c.Get(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	s := spans.Ended()[0]
	if s.Name() != "cache.get" || says(s, "cache.key") != "a" {
		t.Errorf("span %q with cache.key %q", s.Name(), says(s, "cache.key"))
	}
	if inLoad.SpanID() != s.SpanContext().SpanID() {
		t.Error("the load does not run under cache.get")
	}
}
