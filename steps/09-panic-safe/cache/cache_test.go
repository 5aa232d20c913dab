package cache

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"plaque/steps/kit/cachetest"
	"plaque/steps/kit/web"
	"plaque/steps/kit/youtube"
)

// subject is this cache for the tests of its contract.
var subject = cachetest.Subject{
	New:     func(ttl time.Duration, load cachetest.Load) cachetest.Cache { return New(ttl, load) },
	Timeout: Timeout,
	Goexit:  ErrGoexit,
	Panic: func(err error) (any, []byte, bool) {
		var p *PanicError
		if errors.As(err, &p) {
			return p.Value, p.Stack, true
		}
		return nil, nil, false
	},
	Flights: func(c cachetest.Cache) int {
		of := c.(*Cache[any, any])
		of.mu.Lock()
		defer of.mu.Unlock()
		return len(of.flights)
	},
}

func TestContract(t *testing.T)  { cachetest.Run(t, subject) }
func TestForeign(t *testing.T)   { cachetest.Foreign(t, subject) }
func TestSchedules(t *testing.T) { cachetest.Schedules(t, subject) }
func FuzzSchedules(f *testing.F) { cachetest.Fuzz(f, subject) }
func TestSoak(t *testing.T)      { cachetest.Soak(t, subject) }

// A load that panics is a bug of ours, so it is a 500, whatever it panics with.
func TestPanicIsA500(t *testing.T) {
	for _, value := range []any{"doom", &youtube.Error{Status: http.StatusNotFound, Err: errors.New("no such channel")}, context.Canceled, context.DeadlineExceeded} {
		c := New(time.Hour, func(context.Context, string) (string, error) { panic(value) })
		w := httptest.NewRecorder()
		web.Handler(func(_ http.ResponseWriter, r *http.Request) error {
			_, err := c.Get(r.Context(), "a")
			return err
		}).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
		if w.Code != http.StatusInternalServerError {
			t.Errorf("a load that panics with %v: %d", value, w.Code)
		}
	}
}

// A pointer is printed as an address: what it points to may be changing.
func TestText(t *testing.T) {
	if s := text(&struct{ word string }{"inside"}); strings.Contains(s, "inside") || !strings.Contains(s, "0x") {
		t.Errorf("a pointer is printed as %s", s)
	}
}
