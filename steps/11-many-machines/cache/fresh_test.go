package cache

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		loads := 0
		c := New(5*time.Second, func(context.Context, string) (string, error) { loads++; return "v", nil },
			WithStaleWhileRevalidate(time.Minute))
		if _, ok := c.Fresh("k"); ok || loads > 0 {
			t.Errorf("found before it is loaded: %v, %d loads", ok, loads)
		}
		if _, err := c.Get(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		if v, ok := c.Fresh("k"); v != "v" || !ok || c.Stats().Hits != 1 {
			t.Errorf("got %q, %v, %d hits", v, ok, c.Stats().Hits)
		}
		time.Sleep(5 * time.Second)
		// An old value is for those who know that there is none better.
		if v, ok := c.Fresh("k"); v != "" || ok || loads != 1 {
			t.Errorf("after its time: %q, %v, %d loads", v, ok, loads)
		}
	})
}
