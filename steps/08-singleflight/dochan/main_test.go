package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// collector takes spans, and keeps the requests that brought them. Names and
// values stand in them as they are.
type collector struct {
	*httptest.Server
	mu       sync.Mutex // protects requests
	requests [][]byte
}

func newCollector(t *testing.T) *collector {
	c := new(collector)
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.requests = append(c.requests, b)
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(c.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.URL)
	return c
}

func (c *collector) got() [][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.requests
}

// What the page says of each way, a child shows: it dies each time, and the
// collector has the span or has not.
func TestWhatThePanicLeaves(t *testing.T) {
	if how := os.Getenv("PLAQUE_DOCHAN"); how != "" {
		t.Fatal(run(t.Context(), []string{how}))
	}
	page, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for how, says := range map[string]string{"batched": "nothing", "synchronous": "the `flight`, with its exception", "flushed": "the `flight`, with its exception"} {
		c := newCollector(t)
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestWhatThePanicLeaves$")
		child.Env = append(os.Environ(), "PLAQUE_DOCHAN="+how)
		out, err := child.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || !strings.Contains(string(out), "panic: doom") {
			t.Errorf("%s: the child ended with %v, want a panic:\n%s", how, err, out)
		}
		all := bytes.Join(c.got(), nil)
		arrived := "nothing"
		if bytes.Contains(all, []byte("flight")) && bytes.Contains(all, []byte("exception.message")) && bytes.Contains(all, []byte("doom")) {
			arrived = "the `flight`, with its exception"
		} else if len(all) > 0 {
			arrived = "something else"
		}
		if arrived != says {
			t.Errorf("%s: the collector has %s, want %s:\n%q", how, arrived, says, all)
		}
		if row := "| `" + how + "` | " + arrived + " |"; !strings.Contains(string(page), row) {
			t.Errorf("the page has no %q", row)
		}
	}
}

// What it costs: synchronous, each span is a request for which its End waits.
func TestRequests(t *testing.T) {
	for how, want := range map[string]int{"batched": 1, "synchronous": 10} {
		c := newCollector(t)
		p, err := newProvider(t.Context(), how)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 10 {
			_, span := p.Tracer("test").Start(context.Background(), "span")
			span.End()
			if n := len(c.got()); how == "synchronous" && n != i+1 {
				t.Errorf("%d requests when End %d has returned", n, i+1)
			}
		}
		if err := p.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if n := len(c.got()); n != want {
			t.Errorf("%s: 10 spans in %d requests, want %d", how, n, want)
		}
	}
}

func TestBadInput(t *testing.T) {
	for _, args := range [][]string{nil, {"quickly"}, {"batched", "flushed"}} {
		if err := run(t.Context(), args); err == nil || !strings.Contains(err.Error(), "batched, synchronous or flushed") {
			t.Errorf("%q: %v", args, err)
		}
	}
}
