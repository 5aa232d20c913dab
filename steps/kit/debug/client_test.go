package debug

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"
)

// The client reads what the pages say.
func TestClient(t *testing.T) {
	url, tracer, stop := served(t)
	hang(t, tracer, "a")
	c := Client{Base: url + "/"}
	s, err := c.State(t.Context())
	if err != nil || s.Step != "07-inflight" || len(s.Flights) != 1 || s.Flights[0].Key != "a" || s.Flights[0].Waiters != 1 {
		t.Errorf("%+v, %v", s, err)
	}
	if text, err := c.Profile(t.Context(), "goroutine", 2); err != nil || !strings.Contains(text, "debug.TestClient") {
		t.Errorf("%.300s, %v", text, err)
	}
	if n, err := c.Count(t.Context(), "goroutine"); err != nil || n < 3 {
		t.Errorf("%d goroutines, %v", n, err)
	}
	if _, err := c.Profile(t.Context(), "nonsense", 1); err == nil || !strings.Contains(err.Error(), "HTTP 404") {
		t.Errorf("a profile that there is not: %v", err)
	}
	if _, err := c.Count(t.Context(), "cmdline"); err == nil {
		t.Error("what is no profile has a total")
	}
	stop()
	if _, err := c.State(t.Context()); !errors.Is(err, ErrNotListening) || !strings.Contains(err.Error(), "go run ./scripts run 05") {
		t.Errorf("when the process has gone: %v", err)
	}
}

// Whatever listens there, the client ends, and says what it is.
func TestClientAmongStrangers(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	serve := func(h http.HandlerFunc) string {
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		return s.URL
	}
	for name, c := range map[string]struct{ base, says string }{
		"no URL":       {"127.0.0.1:3781", "write it like http://127.0.0.1:3781"},
		"https":        {"https://127.0.0.1:3781", "write it like http://127.0.0.1:3781"},
		"silent":       {"http://" + silent.Addr().String(), "has not answered within 100ms"},
		"another":      {serve(http.NotFound), "(HTTP 404) is not the debug pages of a step"},
		"another JSON": {serve(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") }), "(HTTP 200) is not the debug pages"},
		"half an answer": {serve(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, `{"step":`)
		}), "unexpected EOF"},
		"half an answer, and silence": {serve(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, `{"step":`)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}), "has not answered within 100ms"},
		"text":       {serve(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "Hello from plaque!\n") }), "(HTTP 200) is not the debug pages"},
		"half a URL": {"http://[::1", "write it like http://127.0.0.1:3781"},
	} {
		began := time.Now()
		s, err := Client{Base: c.base, Timeout: 100 * time.Millisecond}.State(t.Context())
		if err == nil || !strings.Contains(err.Error(), c.says) || time.Since(began) > 10*time.Second {
			t.Errorf("%s: %+v, %v after %v; want %q", name, s, err, time.Since(began), c.says)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (Client{Base: "http://" + silent.Addr().String()}).State(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// No text of an answer moves a cursor or colours a terminal. The test fills every
// text that there is, so that a new field is not forgotten.
func TestClientIsPlain(t *testing.T) {
	const evil = "a\x1b[31mb\u009b2Jc\r\nd\u202ee"
	var full State
	var texts int
	var fill func(v reflect.Value)
	fill = func(v reflect.Value) {
		switch {
		case v.Type() == reflect.TypeFor[time.Time]():
		case v.Kind() == reflect.String:
			v.SetString(evil)
			texts++
		case v.Kind() == reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
			fill(v.Index(0))
		case v.Kind() == reflect.Struct:
			for i := range v.NumField() {
				fill(v.Field(i))
			}
		}
	}
	fill(reflect.ValueOf(&full).Elem())
	body, err := json.Marshal(full)
	if err != nil || texts < 13 {
		t.Fatalf("%d texts, %v", texts, err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) }))
	defer s.Close()
	got, err := Client{Base: s.URL}.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case string:
			if strings.ContainsFunc(v, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("%q is not plain", v)
			}
		case []any:
			for _, each := range v {
				walk(each)
			}
		case map[string]any:
			for _, each := range v {
				walk(each)
			}
		}
	}
	var fields any
	back, err := json.Marshal(got)
	if err != nil || json.Unmarshal(back, &fields) != nil {
		t.Fatal(err)
	}
	walk(fields)
}
