package cache

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// A flight that all callers have left is being cancelled: nobody joins it, and when
// it lands late, the flight that followed it stays in the air.
func TestFlightThatAllHaveLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var loads atomic.Int64
		c := New(time.Hour, func(context.Context, string) (int, error) {
			loads.Add(1)
			<-release
			return 1, nil
		})
		left := &flight[int]{done: make(chan struct{}), cancel: func() {}, span: trace.SpanFromContext(t.Context())}
		c.flights["a"] = left
		got := make(chan int, 2)
		get := func() {
			v, _ := c.Get(t.Context(), "a")
			got <- v
		}
		go get()
		synctest.Wait()
		c.land("a", left, context.Canceled)
		go get()
		synctest.Wait()
		close(release)
		if first, second := <-got, <-got; first != 1 || second != 1 || loads.Load() != 1 {
			t.Errorf("the next two callers got %d and %d, after %d loads; want 1 and 1, after one", first, second, loads.Load())
		}
	})
}
