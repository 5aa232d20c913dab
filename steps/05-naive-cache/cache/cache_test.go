package cache

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
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
	cachetest.RunSome(t, subject, "Expiry", "AnotherKeyDoesNotWait", "ErrorsAreNotRemembered")
}

func TestOneAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spans := cachetest.Record(t)
		loads, load := cachetest.Counted(50 * time.Millisecond)
		c := New(ttl, load)
		for range 10 {
			cachetest.Get(t, c, "a")
		}
		if n := loads.Load(); n != 1 {
			t.Errorf("%d loads, want 1", n)
		}
		if r := spans.Results(); r["miss"] != 1 || r["hit"] != 9 {
			t.Errorf("cache.result: %v, want 1 miss and 9 hits", r)
		}
	})
}

// The stampede: nobody knows that somebody else is loading already.
func TestAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spans := cachetest.Record(t)
		loads, load := cachetest.Counted(50 * time.Millisecond)
		c := New(ttl, load)
		var callers sync.WaitGroup
		for range 100 {
			callers.Go(func() { cachetest.Get(t, c, "a") })
		}
		callers.Wait()
		if n := loads.Load(); n != 100 {
			t.Errorf("%d loads, want 100", n)
		}
		if r := spans.Results(); r["miss"] != 100 {
			t.Errorf("cache.result: %v, want 100 misses", r)
		}
	})
}

func TestSpan(t *testing.T) {
	spans := cachetest.Record(t)
	var inLoad trace.SpanContext
	c := New(ttl, func(ctx context.Context, _ string) (string, error) {
		inLoad = trace.SpanContextFromContext(ctx)
		return "", nil
	})
	if _, err := c.Get(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	s := spans.Ended()[0]
	if key := cachetest.Attribute(s, "cache.key"); s.Name() != "cache.get" || key != "a" {
		t.Errorf("span %q with cache.key %q", s.Name(), key)
	}
	if inLoad.SpanID() != s.SpanContext().SpanID() {
		t.Error("the load does not run under cache.get")
	}
}
