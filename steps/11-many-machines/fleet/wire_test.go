package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/golang/groupcache/consistenthash"

	"plaque/steps/10-resilient/cache"
	"plaque/steps/kit/web"
)

// What one peer writes another reads, whatever the load returned: the same value,
// or the error that callers of the first one get.
func FuzzWire(f *testing.F) {
	for _, value := range []string{"", "v", "a\xffb", "\x00", "\u2028<&>", strings.Repeat("x", 101), strings.Repeat("\xff", MaxValue), strings.Repeat("x", MaxValue+1)} {
		f.Add(value, "", 0, int64(0), byte(0))
	}
	for kind := range byte(8) {
		for _, status := range []int{0, -1, 200, 399, 400, 404, 499, 599, 600, 999, 1 << 40} {
			f.Add("", "an error", status, int64(time.Second), kind)
		}
		for _, text := range []string{"", "a\xffb", strings.Repeat("\xff", 800), strings.Repeat("é", 1000), "\x1b[31m\u0085\n"} {
			for _, wait := range []int64{0, 1, -1, math.MaxInt64, math.MinInt64, int64(time.Hour)} {
				f.Add("", text, 503, wait, kind)
			}
		}
	}
	f.Fuzz(func(t *testing.T, value, text string, status int, wait int64, kind byte) {
		var err error
		switch kind % 8 {
		case 0:
		case 1:
			err = said{text, status, time.Duration(wait)}
		case 2:
			err = errors.New(text)
		case 3:
			err = fmt.Errorf("%s: %w", text, context.DeadlineExceeded)
		case 4:
			err = &cache.PanicError{Value: said{text, status, time.Duration(wait)}}
		case 5:
			err = &cache.FailedError{Err: said{text, status, time.Duration(wait)}, Until: time.Now().Add(time.Duration(wait))}
		case 6:
			err = &cache.FailedError{Err: &cache.PanicError{Value: text}, Until: time.Now().Add(time.Duration(wait))}
		case 7:
			err = cache.ErrBusy
		}
		a := answer{Value: []byte(value), From: self, AskedFor: "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7"}
		if err != nil {
			a = answer{Error: newError(err), From: self}
		} else if len(value) > MaxValue {
			return // New makes an error of it
		}
		wire := a.encode()
		if len(wire) > MaxAnswer {
			t.Errorf("%+v takes %d bytes", a, len(wire))
		}
		if got, err := decode(wire); err != nil || !reflect.DeepEqual(got, a) {
			t.Errorf("%+v becomes %+v, %v", a, got, err)
		}
	})
}

// said is an error that says what a test says.
type said struct {
	text   string
	status int
	wait   time.Duration
}

func (s said) Error() string             { return s.text }
func (s said) StatusCode() int           { return s.status }
func (s said) RetryAfter() time.Duration { return s.wait }

// Whatever comes from a peer, reading it ends, and what is taken is within bounds.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"value":"dg==","from":"x"}`))
	f.Add([]byte(`{"value":"","from":"x"}`))
	f.Add([]byte(`{"error":{"text":"e","status":500,"wait":1},"flight":"nonsense"}`))
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := decode(b)
		if err != nil {
			return
		}
		v, err := a.result()
		var e *Error
		if err == nil && len(v) > MaxValue || err != nil && (!errors.As(err, &e) || e.Status < 400 || e.Status > 599 || e.Wait < 0 || e.Wait > cache.MaxRetryAfter || len(e.Text) > web.MaxText) {
			t.Errorf("%q: %q, %v", b, v, err)
		}
		again, err := decode(a.encode())
		if err != nil || !reflect.DeepEqual(again, a) {
			t.Errorf("%q: %+v is %+v the second time: %v", b, a, again, err)
		}
	})
}

// A key has one name, and no part of its way changes that: not groupcache's
// escaping, nor net/url's, nor a mux that cleans paths.
func FuzzKey(f *testing.F) {
	for _, key := range []string{"UCs4fQRyl1TJvoeOdekW6lYA", "UC 1", "UC+1", "UC%201", "../x", "a//b", ".", "..", "~", "~7E", "a/../b", "\xff", "\x00", "é", "?#&=;", strings.Repeat("~", MaxKey)} {
		f.Add(key)
	}
	f.Add(strings.Repeat("x", MaxKey+1))
	f.Fuzz(func(t *testing.T, key string) {
		got, ok := keyOf(nameOf(key))
		if want := key != "" && len(key) <= MaxKey; ok != want || ok && got != key {
			t.Fatalf("%q: %q, %v", key, got, ok)
		}
		if ok {
			seen := ""
			mux := http.NewServeMux()
			mux.HandleFunc("GET "+Path, func(_ http.ResponseWriter, r *http.Request) { seen, _ = strings.CutPrefix(r.URL.Path, Path+keys+"/") })
			r, err := http.NewRequest(http.MethodGet, self+Path+keys+"/"+url.QueryEscape(nameOf(key)), nil) // as groupcache does
			if err != nil {
				t.Fatal(err)
			}
			mux.ServeHTTP(httptest.NewRecorder(), r)
			if got, ok := keyOf(seen); !ok || got != key {
				t.Errorf("%q arrives as %q, %v", key, got, ok)
			}
		}
		// And a name is one key's, or none's.
		if got, ok := keyOf(key); ok && nameOf(got) != key {
			t.Errorf("%q is a name of %q, whose name is %q", key, got, nameOf(got))
		}
	})
}

// A key that no URL holds as it is reaches the owner unchanged, and an invalid
// key reaches nobody.
func TestKeys(t *testing.T) {
	ring := consistenthash.New(replicas, hash)
	ring.Add(fleet.Peers...)
	for _, base := range []string{"UC 1", "UC+1", "UC/../1", "UC//1", "UC?a=b#c", "UC\xff", "UC~20"} {
		key := base
		for ring.Get(nameOf(key)) == self {
			key += "1"
		}
		got := ""
		fleet.begin(value, func(w http.ResponseWriter, r *http.Request) {
			name, _ := strings.CutPrefix(r.URL.Path, Path+keys+"/")
			got, _ = keyOf(name)
			says(answer{Value: []byte("v"), From: "x"}.encode2())(w, r)
		})
		if v, err := get(t, key); v != "v" || err != nil || got != key {
			t.Errorf("%q: %q, %v; the owner is asked for %q", key, v, err, got)
		}
		fleet.seen(t, 0, 1)
	}
	for _, key := range []string{"", strings.Repeat("x", MaxKey+1), "no channel"} {
		fleet.begin(value, never(t))
		_, err := fleet.Get(t.Context(), key)
		var e *Error
		if !errors.As(err, &e) || e.Status != 400 && key != "no channel" {
			t.Errorf("%.20q: %v", key, err)
		}
		fleet.seen(t, 0, 0)
	}
}

// Any bytes are a value, at home and on another machine.
func TestValues(t *testing.T) {
	for _, want := range []string{"", "a\xffb", strings.Repeat("x", 101), strings.Repeat("\x00", MaxValue)} {
		load := func(context.Context, string) (string, error) { return want, nil }
		fleet.begin(load, never(t))
		key := fleet.key(true)
		if v, err := get(t, key); v != want || err != nil {
			t.Errorf("%.20q: %.20q, %v", want, v, err)
		}
		a, err := decode(message(t, ask(t, key, "Bearer "+secret).Body.Bytes()))
		if v, failed := a.result(); v != want || failed != nil || err != nil {
			t.Errorf("%.20q elsewhere: %.20q, %v, %v", want, v, failed, err)
		}
		fleet.seen(t, 1, 0)
	}
}

// One load, whatever the error is, and its methods hold nobody up for long.
func TestForeignErrors(t *testing.T) {
	gate := make(chan struct{})
	defer close(gate)
	for name, e := range map[string]error{
		"no UTF-8":     errors.New(strings.Repeat("\xff", 800)),
		"status 0":     coded{0, 0},
		"status 200":   coded{200, 0},
		"status 999":   coded{999, 0},
		"it panics":    does{func() string { panic("no text") }},
		"it ends":      does{func() string { runtime.Goexit(); return "" }},
		"it waits":     does{func() string { <-gate; return "" }},
		"a typed nil":  (*url.Error)(nil),
		"a long value": nil,
	} {
		fleet.begin(func(context.Context, string) (string, error) {
			if e == nil {
				return strings.Repeat("x", MaxValue+1), nil
			}
			return "", e
		}, never(t))
		key := fleet.key(true)
		began := time.Now()
		var failed *Error
		if _, err := get(t, key); !errors.As(err, &failed) || failed.Status != 500 {
			t.Errorf("%s: %v", name, err)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%s: it took %v", name, took)
		}
		fleet.seen(t, 1, 0)
	}
}

// does is an error whose text is what a function says.
type does struct{ text func() string }

func (d does) Error() string { return d.text() }

// What a peer sends along with its question is no text of any length in the answer.
func TestLongHeader(t *testing.T) {
	fleet.begin(value, never(t))
	for _, id := range []string{strings.Repeat("\x01", 30<<10), strings.Repeat("x", 30<<10), "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-x"} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, Path+keys+"/"+fleet.key(true), nil)
		r.Header.Set("Authorization", "Bearer "+secret)
		r.Header[askedFor] = []string{id}
		w := httptest.NewRecorder()
		fleet.Handler().ServeHTTP(w, r)
		if n := w.Body.Len(); w.Code != 200 || n > 1000 {
			t.Errorf("a header of %d bytes: %d, %d bytes", len(id), w.Code, n)
		}
	}
}

// A peer that refuses looks like a dead one to callers, and not in the log: once.
func TestRefusalsAreLogged(t *testing.T) {
	fleet.asking.refused.Clear()
	var log strings.Builder
	was := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	defer slog.SetDefault(was)
	for _, status := range []int{403, 403, 400, 400, 403} {
		fleet.begin(value, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
		key := fleet.key(false)
		if v, err := get(t, key); v != "here "+key || err != nil {
			t.Errorf("%d: %q, %v", status, v, err)
		}
	}
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "PEER_SECRET must be the same") || !strings.Contains(lines[0], "status=403") || !strings.Contains(lines[1], "status=400") {
		t.Errorf("the log has:\n%s", &log)
	}
	if strings.Contains(log.String(), secret) {
		t.Errorf("the log has the secret:\n%s", &log)
	}
}

func TestCheckSecret(t *testing.T) {
	for secret, says := range map[string]string{
		"sixteen letters.":     "",
		"0123456789abcdef":     "",
		"0123456789abcdef\n":   "ends with a space or a newline",
		"0123456789abcdef ":    "ends with a space or a newline",
		"\t0123456789abcdef":   "begins or ends",
		"                ":     "begins or ends",
		"0123456789\x00abcdef": "has the byte 0x00",
		"0123456789\nabcdef":   "has the byte 0x0a",
		"0123456789abcdé":      "has the byte 0xc3",
		"short":                "has 5 characters: take 16 or more",
	} {
		if err := CheckSecret(secret); (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q", secret, err, says)
		}
	}
}

func TestPeerURL(t *testing.T) {
	for text, want := range map[string]string{
		"http://10.0.0.1:3779":         "http://10.0.0.1:3779",
		"HTTP://10.0.0.1:3779/":        "http://10.0.0.1:3779",
		"http://10.0.0.1:03779":        "http://10.0.0.1:3779",
		"http://b":                     "http://b:80",
		"http://B:80":                  "http://b:80",
		"http://b.:80/":                "http://b:80",
		"https://b":                    "https://b:443",
		"https://b:":                   "https://b:443",
		"http://peer_1:3779":           "http://peer_1:3779",
		"http://localhost:1":           "http://127.0.0.1:1",
		"http://LOCALHOST:1":           "http://127.0.0.1:1",
		"http://[::ffff:127.0.0.1]:1":  "http://127.0.0.1:1",
		"http://[::1]:1":               "http://[::1]:1",
		"http://[0:0::0:1]":            "http://[::1]:80",
		"http://[FE80::1]:1":           "http://[fe80::1]:1",
		"http://[fe80::1%25eth0]:3779": "error: its zone names an interface of one machine",
		"http://0.0.0.0:1":             "error: each machine takes that address for itself",
		"http://[::]:1":                "error: each machine takes",
		"":                             "error: it begins with neither",
		"nonsense":                     "error: it begins with neither",
		"10.0.0.1:3779":                "error: it cannot be read",
		"ftp://b":                      "error: it begins with neither",
		"http://":                      "error: it has no host",
		"http://:80":                   "error: it has no host",
		"http://b:0":                   "error: its port",
		"http://b:65536":               "error: its port",
		"http://b:http":                "error: it cannot be read",
		"http://u@b":                   "error: it has more than",
		"http://b/x":                   "error: it has more than",
		"http://b//":                   "error: it has more than",
		"http://b?x":                   "error: it has more than",
		"http://b?":                    "error: it has more than",
		"http://b#x":                   "error: it has more than",
		"http://b#":                    "error: it has more than",
		"http://b c":                   "error: it cannot be read",
		"http://bücher":                "error: its host is no name",
		"http://127.1:1":               "error: its address is none",
		"http://0x7f.1:1":              "error: its address is none",
		"http://0x7f000001:1":          "error: its address is none",
		"http://2130706433:1":          "error: its address is none",
		"http://10.0.0.256:1":          "error: its address is none",
		"http://10.0.0.01:1":           "error: its address is none",
	} {
		u, err := PeerURL(text)
		got := fmt.Sprint("error: ", err)
		if err == nil {
			got = u.String()
		}
		if says, bad := strings.CutPrefix(want, "error: "); bad && (err == nil || !strings.Contains(got, says)) || !bad && got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
			continue
		}
		if err == nil {
			if again, err := PeerURL(got); err != nil || again.String() != got {
				t.Errorf("%s is %v, %v the second time", got, again, err)
			}
		}
	}
}

// The same peers are the same fleet, however they are written.
func TestChecked(t *testing.T) {
	good := Config{Self: "http://localhost:1", Peers: []string{"http://127.0.0.1:1", "http://B:80/", "http://[::1]:2"}, Timeout: time.Second, Key: func(string) error { return nil }}
	other := good
	other.Self, other.Peers = "http://b", []string{"http://[0::1]:2", "http://b", "http://LocalHost:1/"}
	a, err := good.checked()
	b, err2 := other.checked()
	if err != nil || err2 != nil || !reflect.DeepEqual(a.Peers, b.Peers) || a.Self != "http://127.0.0.1:1" || b.Self != "http://b:80" {
		t.Errorf("%v, %v: %+v and %+v", err, err2, a, b)
	}
	load := func(context.Context, string) (string, error) { return "", nil }
	for says, change := range map[string]func(*Config){
		"judges keys":          func(c *Config) { c.Key = nil },
		"must be more than 0":  func(c *Config) { c.Timeout = 0 },
		"secret has 5":         func(c *Config) { c.Secret = "short" },
		"is there twice":       func(c *Config) { c.Peers = append(c.Peers, "http://localhost:1") },
		"is none of":           func(c *Config) { c.Self = "http://c" },
		"is no peer's URL":     func(c *Config) { c.Peers = []string{"nonsense"} },
		`"x" is no peer's URL`: func(c *Config) { c.Self = "x" },
	} {
		c := good
		c.Peers = append([]string{}, good.Peers...)
		change(&c)
		if _, err := New(c, time.Minute, load); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %s", err, says)
		}
	}
	for says, make := range map[string]func() (*Fleet, error){
		"a function that loads": func() (*Fleet, error) { return New(Config{}, time.Minute, nil) },
		"option 2":              func() (*Fleet, error) { return New(Config{}, time.Minute, load, cache.WithJitter(0), nil) },
		"has a fleet already":   func() (*Fleet, error) { return New(good, time.Minute, load) },
	} {
		if f, err := make(); f != nil || err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, %v; want %s", f, err, says)
		}
	}
}
