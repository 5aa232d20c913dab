package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"plaque/steps/kit/web"
	"plaque/steps/kit/web/webtest"
)

const request = "GET / HTTP/1.1\r\nHost: plaque\r\n\r\n"

func init() { slog.SetDefault(slog.New(slog.DiscardHandler)) }

// start serves h in memory until the test ends or stop is called. What serving
// returns comes out of done.
func start(t *testing.T, h http.Handler) (l *webtest.Listener, stop context.CancelFunc, done <-chan error) {
	t.Helper()
	l = webtest.Listen()
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	ended := make(chan struct{})
	go func() {
		result <- web.ServeOn(ctx, l, newServer(h))
		close(ended)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return l, cancel, result
}

// client is a connection and what was read from it.
type client struct {
	net.Conn
	answers *bufio.Reader
}

func dial(t *testing.T, l *webtest.Listener) client {
	t.Helper()
	conn, err := l.Dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return client{conn, bufio.NewReader(conn)}
}

// answer reads one answer: its status and its body.
func (c client) answer() (int, string, error) {
	res, err := http.ReadResponse(c.answers, nil)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return res.StatusCode, string(body), err
}

// hello asks for / and reads the answer.
func (c client) hello() error {
	if _, err := io.WriteString(c, request); err != nil {
		return err
	}
	if code, body, err := c.answer(); err != nil || code != 200 || body != "Hello from plaque!\n" {
		return fmt.Errorf("answered with %d, %q, %v", code, body, err)
	}
	return nil
}

// closed waits for the server to hang up, and returns how long that took and
// what it sent before.
func (c client) closed() (time.Duration, string, error) {
	began := time.Now()
	rest, err := io.ReadAll(c.answers)
	return time.Since(began), string(rest), err
}

func TestTwoRequestsOnOneConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _, _ := start(t, newHandler())
		conn := dial(t, l)
		for range 2 {
			if err := conn.hello(); err != nil {
				t.Error(err)
			}
		}
	})
}

// Each timeout of the server, to the nanosecond. They are on the server's side
// alone: these clients would wait forever.
func TestTimeouts(t *testing.T) {
	hello := func(t *testing.T, c client) {
		if err := c.hello(); err != nil {
			t.Error(err)
		}
	}
	for _, test := range []struct {
		says string
		does func(*testing.T, client)
		want time.Duration // from then to the end of the connection
		sent string        // in between
	}{
		{"ReadHeaderTimeout: an idle client", func(*testing.T, client) {}, 2 * time.Second, ""},
		{"ReadHeaderTimeout: a byte now and then", func(_ *testing.T, c client) {
			for i := range 3 {
				_, _ = io.WriteString(c, request[i:i+1])
				time.Sleep(500 * time.Millisecond)
			}
		}, 500 * time.Millisecond, "HTTP/1.1 400 Bad Request\r\n"},
		{"ReadHeaderTimeout: half a second request", func(t *testing.T, c client) {
			hello(t, c)
			time.Sleep(30 * time.Second)
			_, _ = io.WriteString(c, request[:20])
		}, 2 * time.Second, "HTTP/1.1 400 Bad Request\r\n"},
		{"ReadTimeout: a body that does not come", func(_ *testing.T, c client) {
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: plaque\r\nContent-Length: 10\r\n\r\n")
		}, 5 * time.Second, "HTTP/1.1 200 OK\r\n"},
		{"WriteTimeout: an answer that nobody takes", func(_ *testing.T, c client) {
			_, _ = io.WriteString(c, request)
			time.Sleep(10 * time.Second)
			synctest.Wait()
		}, 0, ""},
		{"WriteTimeout and IdleTimeout: an answer that is taken late", func(_ *testing.T, c client) {
			_, _ = io.WriteString(c, request)
			time.Sleep(10*time.Second - 1)
		}, 60 * time.Second, "HTTP/1.1 200 OK\r\n"},
		{"IdleTimeout: no second request", hello, 60 * time.Second, ""},
		{"IdleTimeout: no third request", func(t *testing.T, c client) {
			hello(t, c)
			time.Sleep(60*time.Second - 1)
			hello(t, c)
		}, 60 * time.Second, ""},
	} {
		t.Run(test.says, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, _, _ := start(t, newHandler())
				conn := dial(t, l)
				test.does(t, conn)
				_ = conn.SetDeadline(time.Now().Add(time.Hour)) // a server that never hangs up fails the test
				took, sent, err := conn.closed()
				if err != nil || took != test.want {
					t.Errorf("hung up after %s, %v, want %s", took, err, test.want)
				}
				if !strings.HasPrefix(sent, test.sent) || test.sent == "" && sent != "" {
					t.Errorf("sent %q before, want %q", sent, test.sent)
				}
			})
		})
	}
}

// What is no request is told so, and the connection ended.
func TestRubbish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _, _ := start(t, newHandler())
		conn := dial(t, l)
		_, _ = io.WriteString(conn, "this is no request\r\n\r\n")
		if code, _, err := conn.answer(); err != nil || code != http.StatusBadRequest {
			t.Errorf("answered with %d, %v, want 400", code, err)
		}
		if took, _, err := conn.closed(); err != nil || took > time.Second {
			t.Errorf("the connection ended after %s, %v, want soon", took, err)
		}
	})
}

// A header that never ends is cut off at a limit, and the next caller served.
func TestHeaderTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _, _ := start(t, newHandler())
		conn := dial(t, l)
		var sent int
		go func() { // the server answers while we still send, and a pipe buffers nothing
			n, err := io.WriteString(conn, request[:16])
			for sent += n; err == nil; sent += n {
				n, err = io.WriteString(conn, "X-Header: that never ends\r\n")
			}
		}()
		code, _, err := conn.answer()
		if err != nil || code != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("answered with %d, %v, want 431", code, err)
		}
		if _, rest, err := conn.closed(); err != nil || rest != "" {
			t.Errorf("then %q, %v, want the end of the connection", rest, err)
		}
		synctest.Wait()
		if sent < 64<<10 || sent > 80<<10 {
			t.Errorf("%d bytes were taken, want about 64 KiB", sent)
		}
		if err := dial(t, l).hello(); err != nil {
			t.Errorf("the next caller: %v", err)
		}
	})
}

// What is answered is traced, and so is what is turned away.
func TestSpans(t *testing.T) {
	for _, test := range []struct {
		method, path string
		code         int
		name, route  string
	}{
		{"GET", "/", 200, "GET /{$}", "/{$}"},
		{"HEAD", "/", 200, "HEAD /{$}", "/{$}"},
		{"GET", "/nope", 404, "GET", ""},
		{"POST", "/", 405, "POST", ""},
	} {
		t.Run(fmt.Sprint(test.code, " ", test.method), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				recorder := webtest.Record(t)
				l, _, _ := start(t, newHandler())
				transport := &http.Transport{DialContext: l.DialContext}
				defer transport.CloseIdleConnections()
				r, err := http.NewRequest(test.method, "http://plaque"+test.path, nil)
				if err != nil {
					t.Fatal(err)
				}
				res, err := transport.RoundTrip(r)
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				if res.StatusCode != test.code {
					t.Errorf("answered with %s, want %d", res.Status, test.code)
				}
				if kind := "text/plain; charset=utf-8"; res.Header.Get("Content-Type") != kind {
					t.Errorf("Content-Type %q, want %q", res.Header.Get("Content-Type"), kind)
				}
				synctest.Wait()
				spans := recorder.Ended()
				if len(spans) != 1 {
					t.Fatalf("%d spans, want 1: %v", len(spans), spans)
				}
				s := spans[0]
				if s.Name() != test.name || s.SpanKind() != trace.SpanKindServer {
					t.Errorf("the span is %s %q, want server %q", s.SpanKind(), s.Name(), test.name)
				}
				if got := value(s, "http.response.status_code"); got != fmt.Sprint(test.code) {
					t.Errorf("http.response.status_code is %q, want %d", got, test.code)
				}
				if got := value(s, "http.route"); got != test.route {
					t.Errorf("http.route is %q, want %q", got, test.route)
				}
				if got := res.Header.Get("traceresponse"); !strings.Contains(got, s.SpanContext().TraceID().String()) {
					t.Errorf("traceresponse is %q, want the trace %s", got, s.SpanContext().TraceID())
				}
			})
		})
	}
}

// value writes an attribute of a span out; "" if it has none of that name.
func value(s sdktrace.ReadOnlySpan, key attribute.Key) string {
	i := slices.IndexFunc(s.Attributes(), func(kv attribute.KeyValue) bool { return kv.Key == key })
	if i < 0 {
		return ""
	}
	return s.Attributes()[i].Value.String()
}

// A stop lets the request in flight end, hangs up on those who are idle, and
// lets nobody in.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		entered, gate := make(chan struct{}), make(chan struct{})
		h := newHandler()
		l, stop, done := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Slow") != "" {
				close(entered)
				<-gate
			}
			h.ServeHTTP(w, r)
		}))
		idle := dial(t, l)
		if err := idle.hello(); err != nil {
			t.Fatal(err)
		}
		slow := dial(t, l)
		_, _ = io.WriteString(slow, "GET / HTTP/1.1\r\nHost: plaque\r\nSlow: yes\r\n\r\n")
		<-entered

		stop()
		if took, rest, err := idle.closed(); err != nil || rest != "" || took > 0 {
			t.Errorf("the idle client got %q, %v after %s, want the end at once", rest, err, took)
		}
		if _, err := l.Dial(); err == nil {
			t.Error("a new client was let in")
		}
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatalf("ServeOn returned %v with a request in flight", err)
		default:
		}
		close(gate)
		if code, body, err := slow.answer(); err != nil || code != 200 || body != "Hello from plaque!\n" {
			t.Errorf("the request in flight got %d, %q, %v", code, body, err)
		}
		if err := <-done; err != nil {
			t.Errorf("ServeOn: %v", err)
		}
	})
}
