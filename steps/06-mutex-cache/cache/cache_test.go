package cache

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"

	"plaque/steps/kit/cachetest"
)

const ttl = 5 * time.Second

var subject = cachetest.Subject{
	New:   func(ttl time.Duration, load cachetest.Load) cachetest.Cache { return New(ttl, load) },
	Words: true,
}

// The promises of later steps that are kept already.
func TestContract(t *testing.T) {
	cachetest.RunSome(t, subject, "Expiry", "ErrorsAreNotRemembered")
}

// A goroutine in Mutex.Lock stops no fake clock, so these tests use gates; what
// they claim holds on every schedule.

func TestAtOnce(t *testing.T) {
	spans := cachetest.Record(t)
	loads, load := cachetest.Counted(time.Millisecond)
	c := New(time.Hour, load)
	var callers sync.WaitGroup
	for range 100 {
		callers.Go(func() { cachetest.Get(t, c, "a") })
	}
	callers.Wait()
	if n := loads.Load(); n != 1 {
		t.Errorf("%d loads, want 1", n)
	}
	if r := spans.Results(); r["miss"] != 1 || r["hit"] != 99 {
		t.Errorf("cache.result: %v, want 1 miss and 99 hits", r)
	}
}

// The lesson: a caller that wants b, which is fresh, waits for the load of a.
func TestAnotherKeyWaits(t *testing.T) {
	at := make(chan struct{}, 10) // each caller that is about to wait for the lock
	cachetest.Sampler(t, "lock.wait", func() { at <- struct{}{} })

	started, release := make(chan struct{}), make(chan struct{})
	c := New(time.Hour, func(_ context.Context, key string) (string, error) {
		if key == "a" {
			close(started)
			<-release
		}
		return "value of " + key, nil
	})
	cachetest.Get(t, c, "b")
	<-at
	var callers sync.WaitGroup
	callers.Go(func() { cachetest.Get(t, c, "a") })
	<-at
	<-started // a is loading
	if c.mu.TryLock() {
		t.Fatal("the lock is free while a is loading")
	}
	served := make(chan struct{})
	callers.Go(func() { cachetest.Get(t, c, "b"); close(served) })
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
	spans := cachetest.Record(t)
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
	if r := spans.Results(); r["miss"] != 5 {
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
	cachetest.Get(t, c, "a")
}

func TestSpans(t *testing.T) {
	spans := cachetest.Record(t)
	var inLoad trace.SpanContext
	c := New(ttl, func(ctx context.Context, key string) (string, error) {
		inLoad = trace.SpanContextFromContext(ctx)
		return "value of " + key, nil
	})
	cachetest.Get(t, c, "a")
	gets, waits := spans.Named("cache.get"), spans.Named("lock.wait")
	if len(gets) != 1 || len(waits) != 1 {
		t.Fatalf("%d cache.get and %d lock.wait, want one of each", len(gets), len(waits))
	}
	if k := cachetest.Attribute(gets[0], "cache.key"); k != "a" {
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
