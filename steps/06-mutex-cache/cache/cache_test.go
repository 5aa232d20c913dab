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

// A goroutine in Mutex.Lock stops no fake clock, so these tests use gates; what
// they claim holds on every schedule.

func TestAtOnce(t *testing.T) {
	spans := record(t)
	loads, load := counted(time.Millisecond)
	c := New(time.Hour, load)
	var callers sync.WaitGroup
	for range 100 {
		callers.Go(func() { get(t, c, "a") })
	}
	callers.Wait()
	if n := loads.Load(); n != 1 {
		t.Errorf("%d loads, want 1", n)
	}
	if r := results(spans); r["miss"] != 1 || r["hit"] != 99 {
		t.Errorf("cache.result: %v, want 1 miss and 99 hits", r)
	}
}

// waiting signals each caller that is about to wait for the lock.
type waiting struct {
	sdktrace.SpanProcessor
	at chan struct{}
}

func (w waiting) OnStart(_ context.Context, s sdktrace.ReadWriteSpan) {
	if s.Name() == "lock.wait" {
		w.at <- struct{}{}
	}
}

// The lesson: a caller that wants b, which is fresh, waits for the load of a.
func TestAnotherKeyWaits(t *testing.T) {
	was := tracer
	defer func() { tracer = was }()
	at := make(chan struct{}, 10)
	tracer = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(waiting{tracetest.NewSpanRecorder(), at})).Tracer("test")

	started, release := make(chan struct{}), make(chan struct{})
	c := New(time.Hour, func(_ context.Context, key string) (string, error) {
		if key == "a" {
			close(started)
			<-release
		}
		return "value of " + key, nil
	})
	get(t, c, "b")
	<-at
	var callers sync.WaitGroup
	callers.Go(func() { get(t, c, "a") })
	<-at
	<-started // a is loading
	if c.mu.TryLock() {
		t.Fatal("the lock is free while a is loading")
	}
	served := make(chan struct{})
	callers.Go(func() { get(t, c, "b"); close(served) })
	<-at // b's caller waits for the lock, which a's holds
	select {
	case <-served:
		t.Error("b was served while a was loading")
	default:
	}
	close(release)
	callers.Wait()
}

// Callers of a load that fails load one after the other: none of them finds a
// value, and none may load while another does.
func TestConvoy(t *testing.T) {
	spans := record(t)
	var loading, most atomic.Int64
	c := New(ttl, func(context.Context, string) (string, error) {
		most.Store(max(most.Load(), loading.Add(1)))
		time.Sleep(time.Millisecond)
		loading.Add(-1)
		return "", errors.New("timeout")
	})
	var callers sync.WaitGroup
	for range 5 {
		callers.Go(func() {
			if _, err := c.Get(t.Context(), "a"); err == nil {
				t.Error("no error")
			}
		})
	}
	callers.Wait()
	if n := most.Load(); n != 1 {
		t.Errorf("%d loads at once, want 1", n)
	}
	if r := results(spans); r["miss"] != 5 {
		t.Errorf("cache.result: %v, want 5 misses", r)
	}
}

// Unlock is deferred, so a panic leaves the lock open behind it.
func TestDoomedLoad(t *testing.T) {
	doomed := true
	c := New(ttl, func(_ context.Context, key string) (string, error) {
		if doomed {
			panic("doom")
		}
		return "value of " + key, nil
	})
	func() {
		defer func() {
			if p := recover(); p != "doom" {
				t.Errorf("recovered %v, want the load's panic", p)
			}
		}()
		_, _ = c.Get(t.Context(), "a")
	}()
	if !c.mu.TryLock() {
		t.Fatal("the lock is held by a caller that is gone: every caller would wait forever")
	}
	c.mu.Unlock()
	doomed = false
	get(t, c, "a")
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
	if s := ended(spans, "cache.get")[0].Status(); s.Code != codes.Error || s.Description != "broken" {
		t.Errorf("cache.get has the status %v, want the error", s)
	}
}

// ended are the spans with that name.
func ended(spans *tracetest.SpanRecorder, name string) []sdktrace.ReadOnlySpan {
	var found []sdktrace.ReadOnlySpan
	for _, s := range spans.Ended() {
		if s.Name() == name {
			found = append(found, s)
		}
	}
	return found
}

func TestSpans(t *testing.T) {
	spans := record(t)
	var inLoad trace.SpanContext
	c := New(ttl, func(ctx context.Context, key string) (string, error) {
		inLoad = trace.SpanContextFromContext(ctx)
		return "value of " + key, nil
	})
	get(t, c, "a")
	gets, waits := ended(spans, "cache.get"), ended(spans, "lock.wait")
	if len(gets) != 1 || len(waits) != 1 {
		t.Fatalf("%d cache.get and %d lock.wait, want one of each", len(gets), len(waits))
	}
	if k := says(gets[0], "cache.key"); k != "a" {
		t.Errorf("cache.key is %q", k)
	}
	if waits[0].Parent().SpanID() != gets[0].SpanContext().SpanID() {
		t.Error("lock.wait is no child of cache.get")
	}
	if inLoad.SpanID() != gets[0].SpanContext().SpanID() {
		t.Error("the load does not run under cache.get")
	}
	if waits[0].EndTime().After(gets[0].EndTime()) {
		t.Error("lock.wait ends after cache.get")
	}
}
