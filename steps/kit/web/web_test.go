package web_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime/pprof"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"plaque/steps/kit/stacks"
	"plaque/steps/kit/telemetry"
	"plaque/steps/kit/web"
	"plaque/steps/kit/web/webtest"
)

// captureLog returns what is logged during the test.
func captureLog(t *testing.T) *webtest.Buffer {
	b := new(webtest.Buffer)
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(b, nil)))
	t.Cleanup(func() { slog.SetDefault(before) })
	return b
}

// traced is a server in memory whose requests are recorded.
type traced struct {
	client   *http.Client
	recorder *tracetest.SpanRecorder
}

// serve runs handler in a synctest bubble, as the steps run theirs.
func serve(t *testing.T, handler http.Handler) *traced {
	l := webtest.Listen()
	recorder := tracetest.NewSpanRecorder()
	server := web.NewServer(web.Trace(handler,
		otelhttp.WithTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))),
		otelhttp.WithPropagators(propagation.TraceContext{})))
	server.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0) // panics are expected here
	go func() { _ = server.Serve(l) }()
	transport := &http.Transport{DialContext: l.DialContext}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = server.Close()
	})
	return &traced{&http.Client{Transport: transport}, recorder}
}

// do makes a request and reads its answer. A lost connection is an error.
func (s *traced) do(t *testing.T, method, path string, header ...string) (*http.Response, string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://step"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := s.client.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res, string(b), err
}

// span is the one span that has ended since the last call.
func (s *traced) span(t *testing.T) sdktrace.ReadOnlySpan {
	t.Helper()
	synctest.Wait() // a span ends after its answer
	ended := s.recorder.Ended()
	s.recorder.Reset()
	if len(ended) != 1 {
		t.Fatalf("%d spans, want 1: %v", len(ended), ended)
	}
	return ended[0]
}

func value(s sdktrace.ReadOnlySpan, key string) string {
	for _, kv := range s.Attributes() {
		if kv.Key == attribute.Key(key) {
			return kv.Value.String()
		}
	}
	return ""
}

func testMux() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })
	mux.HandleFunc("GET /panic/{what}", func(http.ResponseWriter, *http.Request) { panic("doom: no video") })
	mux.HandleFunc("GET /half", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half an ans")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	mux.Handle("GET /fails", web.Handler(func(http.ResponseWriter, *http.Request) error { return io.ErrUnexpectedEOF }))
	return mux
}

func TestTrace(t *testing.T) {
	captureLog(t)
	for _, c := range []struct {
		method, path string
		status       int // 0: the connection is lost
		name, route  string
		code         codes.Code
	}{
		{"GET", "/", 200, "GET /{$}", "/{$}", codes.Unset},
		{"GET", "/?channel=x", 200, "GET /{$}", "/{$}", codes.Unset},
		{"HEAD", "/", 200, "HEAD /{$}", "/{$}", codes.Unset},
		{"GET", "/nothing", 404, "GET", "", codes.Unset},
		{"POST", "/", 405, "POST", "", codes.Unset},
		{"GET", "/fails", 500, "GET /fails", "/fails", codes.Error},
		{"GET", "/panic/now", 0, "GET /panic/{what}", "/panic/{what}", codes.Error},
		{"GET", "/half", 0, "GET /half", "/half", codes.Error},
	} {
		t.Run(c.method+" "+c.path, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := serve(t, testMux())
				res, body, err := s.do(t, c.method, c.path)
				if (err != nil) != (c.status == 0) || err == nil && res.StatusCode != c.status {
					t.Errorf("got %v, %q, %v; want %d", res, body, err, c.status)
				}
				if c.method == "HEAD" && body != "" {
					t.Errorf("HEAD is answered with %q", body)
				}
				span := s.span(t)
				if span.Name() != c.name || value(span, "http.route") != c.route || span.Status().Code != c.code {
					t.Errorf("span %q, route %q, status %v; want %q, %q, %v", span.Name(), value(span, "http.route"), span.Status(), c.name, c.route, c.code)
				}
				if c.status > 0 && value(span, "http.response.status_code") != fmt.Sprint(c.status) {
					t.Errorf("the span says %s, the answer %d", value(span, "http.response.status_code"), c.status)
				}
				// The next request is served, whatever this one did.
				if _, body, err := s.do(t, "GET", "/"); body != "hello" || err != nil {
					t.Errorf("the next: %q, %v", body, err)
				}
			})
		})
	}
}

// A panic goes its way: net/http closes the connection, and otelhttp keeps the
// panic as an event. The kit adds that it is an error.
func TestPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, testMux())
		if _, _, err := s.do(t, "GET", "/panic/now"); !errors.Is(err, io.EOF) {
			t.Errorf("got %v, want the connection to be closed without an answer", err)
		}
		span := s.span(t)
		if got := span.Status(); got.Code != codes.Error || got.Description != "panic" {
			t.Errorf("status %v", got)
		}
		events := span.Events()
		if len(events) != 1 || events[0].Name != "exception" {
			t.Fatalf("events %v, want the exception", events)
		}
		message := ""
		for _, kv := range events[0].Attributes {
			if kv.Key == "exception.message" {
				message = kv.Value.String()
			}
		}
		if message != "doom: no video" {
			t.Errorf("exception.message %q", message)
		}
	})
}

func TestTraceresponse(t *testing.T) {
	captureLog(t)
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, testMux())
		for _, path := range []string{"/", "/nothing", "/fails"} {
			res, body, err := s.do(t, "GET", path)
			if err != nil {
				t.Fatal(err)
			}
			sc := s.span(t).SpanContext()
			if got, want := res.Header.Get("traceresponse"), fmt.Sprintf("00-%s-%s-01", sc.TraceID(), sc.SpanID()); got != want {
				t.Errorf("%s: traceresponse %q, want %q", path, got, want)
			}
			if path == "/fails" && !strings.Contains(body, sc.TraceID().String()) {
				t.Errorf("%s: %s does not name trace %s", path, body, sc.TraceID())
			}
		}
		// A caller's trace goes on.
		const trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
		if _, _, err := s.do(t, "GET", "/", "traceparent", "00-"+trace+"-"+parent+"-01"); err != nil {
			t.Fatal(err)
		}
		if span := s.span(t); span.SpanContext().TraceID().String() != trace || span.Parent().SpanID().String() != parent {
			t.Errorf("trace %v below %v", span.SpanContext().TraceID(), span.Parent().SpanID())
		}
	})
}

// The goroutine that works for a request, and those that it starts, are labelled
// with the trace; the next request on the connection has its own.
func TestGoroutineNamesTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		labels := make(chan string)
		mux := http.NewServeMux()
		mux.HandleFunc("GET /{$}", func(http.ResponseWriter, *http.Request) {
			go func() {
				var dump bytes.Buffer
				_ = pprof.Lookup("goroutine").WriteTo(&dump, 1)
				labels <- dump.String()
			}()
			<-labels
		})
		s := serve(t, mux)
		for range 2 {
			go func() { _, _, _ = s.do(t, "GET", "/") }()
			dump := <-labels
			labels <- ""
			id := s.span(t).SpanContext().TraceID().String()
			if got := strings.Count(dump, stacks.TraceLabel); got != 2 || strings.Count(dump, `"`+stacks.TraceLabel+`":"`+id+`"`) != 2 {
				t.Errorf("%d goroutines have a trace, want the handler's and the one that it started, with %s:\n%s", got, id, dump)
			}
		}
		// An idle connection works for nobody.
		synctest.Wait()
		var dump bytes.Buffer
		_ = pprof.Lookup("goroutine").WriteTo(&dump, 1)
		if strings.Contains(dump.String(), stacks.TraceLabel) {
			t.Errorf("after the answers a goroutine still has a trace:\n%s", &dump)
		}
	})
}

type codedError int

func (e codedError) Error() string   { return fmt.Sprintf("error %d", int(e)) }
func (e codedError) StatusCode() int { return int(e) }

// answer is what a caller gets of web.Handler.
func answer(h func(http.ResponseWriter, *http.Request) error) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	web.Handler(h).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	return w
}

func TestHandler(t *testing.T) {
	log := captureLog(t)
	for _, c := range []struct {
		err    error
		status int
	}{
		{nil, 200},
		{codedError(400), 400},
		{codedError(502), 502},
		{fmt.Errorf("wrapped: %w", codedError(504)), 504},
		{errors.Join(io.EOF, codedError(502)), 502},
		{context.DeadlineExceeded, 504},
		{fmt.Errorf("load: %w", context.DeadlineExceeded), 504},
		{fmt.Errorf("%w: %w", codedError(502), context.DeadlineExceeded), 502}, // its own status first
		{fmt.Errorf("load: %w", context.Canceled), 499},
		{io.EOF, 500},
	} {
		w := answer(func(w http.ResponseWriter, _ *http.Request) error {
			if c.err != nil {
				return c.err
			}
			return web.JSON(w, map[string]string{"video_id": "a<b"})
		})
		var got map[string]string
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%v: %q, %v", c.err, w.Body, err)
		}
		want := map[string]string{"video_id": "a<b"}
		if c.err != nil {
			want = map[string]string{"error": c.err.Error()} // no trace, so no trace_id
		}
		if w.Code != c.status || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%v: %d %v; want %d %v", c.err, w.Code, got, c.status, want)
		}
	}
	if got := strings.Count(log.String(), `msg="request failed"`); got != 9 {
		t.Errorf("%d of 9 failures are in the log:\n%s", got, log)
	}

	sc := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}})
	w := httptest.NewRecorder()
	web.Handler(func(http.ResponseWriter, *http.Request) error { return io.EOF }).ServeHTTP(w,
		httptest.NewRequest(http.MethodGet, "/", nil).WithContext(trace.ContextWithSpanContext(t.Context(), sc)))
	if want := `{"error":"EOF","trace_id":"01000000000000000000000000000000"}` + "\n"; w.Body.String() != want {
		t.Errorf("in a trace: %s, want %s", w.Body, want)
	}
}

type later time.Duration

func (later) Error() string               { return "not now" }
func (l later) RetryAfter() time.Duration { return time.Duration(l) }

// An error that knows when to come again tells it, rounded up.
func TestRetryAfter(t *testing.T) {
	for d, want := range map[time.Duration]string{-time.Second: "", 0: "", 1: "1", time.Second: "1", time.Second + 1: "2", time.Minute: "60", math.MaxInt64: "9223372037"} {
		w := answer(func(http.ResponseWriter, *http.Request) error {
			return fmt.Errorf("%w: %w", later(d), codedError(502))
		})
		if got := w.Header().Get("Retry-After"); got != want || w.Code != 502 {
			t.Errorf("%v: %d with Retry-After %q, want 502 with %q", d, w.Code, got, want)
		}
	}
}

// stopping serves handler in a bubble until stop is called; done has what Serve
// returned.
func stopping(t *testing.T, handler http.HandlerFunc) (l *webtest.Listener, client *http.Client, stop func(), done chan error) {
	l = webtest.Listen()
	ctx, stop := context.WithCancel(t.Context())
	done = make(chan error, 1)
	go func() { done <- web.ServeOn(ctx, l, web.NewServer(handler)) }()
	transport := &http.Transport{DialContext: l.DialContext}
	t.Cleanup(transport.CloseIdleConnections)
	return l, &http.Client{Transport: transport}, stop, done
}

func TestStopWaitsForRequests(t *testing.T) {
	log := captureLog(t)
	synctest.Test(t, func(t *testing.T) {
		const takes = web.StopWithin - 100*time.Millisecond
		_, client, stop, done := stopping(t, func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(takes)
			_, _ = io.WriteString(w, "late, but here")
		})
		answer := make(chan string)
		go func() {
			res, err := client.Get("http://step/")
			if err != nil {
				answer <- err.Error()
				return
			}
			defer res.Body.Close()
			b, _ := io.ReadAll(res.Body)
			answer <- string(b)
		}()
		synctest.Wait() // the request is in the air
		begin := time.Now()
		stop()
		if got := <-answer; got != "late, but here" {
			t.Errorf("the request in the air got %q", got)
		}
		// Shutdown looks every now and then.
		if err := <-done; err != nil || time.Since(begin) > web.StopWithin {
			t.Errorf("it stopped after %v: %v", time.Since(begin), err)
		}
		if _, err := client.Get("http://step/"); err == nil {
			t.Error("it still answers")
		}
	})
	if strings.Contains(log.String(), "level=WARN") {
		t.Errorf("a clean stop is not worth a warning:\n%s", log)
	}
}

// In step 07 some requests never end. They do not keep the process from ending.
func TestStopIsBounded(t *testing.T) {
	log := captureLog(t)
	synctest.Test(t, func(t *testing.T) {
		forever := make(chan struct{})
		_, client, stop, done := stopping(t, func(http.ResponseWriter, *http.Request) { <-forever })
		lost := make(chan error)
		for range 3 {
			go func() {
				_, err := client.Get("http://step/")
				lost <- err
			}()
		}
		synctest.Wait()
		begin := time.Now()
		stop()
		if err := <-done; err != nil || time.Since(begin) != web.StopWithin {
			t.Errorf("it stopped after %v: %v; want %v", time.Since(begin), err, web.StopWithin)
		}
		for range 3 {
			if err := <-lost; err == nil {
				t.Error("a request without an end was answered")
			}
		}
		close(forever)
	})
	if !strings.Contains(log.String(), "requests did not end in time") || !strings.Contains(log.String(), "requests=3 waited=2s") {
		t.Errorf("the log does not say what was cut off:\n%s", log)
	}
}

func TestStopWithASilentClient(t *testing.T) {
	log := captureLog(t)
	synctest.Test(t, func(t *testing.T) {
		l, _, stop, done := stopping(t, func(http.ResponseWriter, *http.Request) {})
		conn, err := l.Dial()
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		begin := time.Now()
		stop()
		if err := <-done; err != nil || time.Since(begin) > web.StopWithin {
			t.Errorf("it stopped after %v: %v", time.Since(begin), err)
		}
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			t.Error("the connection is still open")
		}
	})
	if strings.Contains(log.String(), "level=WARN") {
		t.Errorf("nobody lost an answer, but the log says\n%s", log)
	}
}

// What is drawn out is cut off: a header, and a connection that says nothing
// more.
func TestTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _, _, _ := stopping(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })
		for _, c := range []struct {
			sends string
			open  time.Duration
		}{
			{"", 2 * time.Second},
			{"GET / HTTP/1.1\r\nHost: step\r\nX-", 2 * time.Second},
			{"GET / HTTP/1.1\r\nHost: step\r\n\r\n", 60 * time.Second},
		} {
			conn, err := l.Dial()
			if err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			go func() { _, _ = io.WriteString(conn, c.sends) }()
			_, _ = io.Copy(io.Discard, conn) // until it is closed
			if took := time.Since(begin); took != c.open {
				t.Errorf("%q: closed after %v, want %v", c.sends, took, c.open)
			}
		}
	})
}

func TestHeaderLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, testMux())
		if res, _, err := s.do(t, "GET", "/", "X-Long", strings.Repeat("x", 32<<10)); err != nil || res.StatusCode != 200 {
			t.Errorf("32 KiB of header: %v, %v", res, err)
		}
		if res, _, err := s.do(t, "GET", "/", "X-Long", strings.Repeat("x", 128<<10)); err == nil && res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("128 KiB of header: %v", res)
		}
	})
}

func TestServe(t *testing.T) {
	log := captureLog(t)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		done <- web.Serve(ctx, "127.0.0.1:0", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
	}()
	url := loggedURL(t, log, "listening")
	if body := webtest.Get(t, url); body != "hello" {
		t.Errorf("got %q", body)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := http.Get(url); err == nil {
		t.Error("it still answers")
	}
}

// loggedURL waits for a line with that message and returns its URL.
func loggedURL(t *testing.T, log *webtest.Buffer, msg string) string {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		for line := range strings.Lines(log.String()) {
			if strings.Contains(line, "msg="+msg) {
				_, url, _ := strings.Cut(line, "url=")
				return strings.TrimSpace(url)
			}
		}
	}
	t.Fatalf("no line %s in the log:\n%s", msg, log)
	return ""
}

func TestTakenPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	addr := l.Addr().String()
	for name, listen := range map[string]func() error{
		"Listen": func() error { _, err := web.Listen(addr); return err },
		"Serve":  func() error { return web.Serve(t.Context(), addr, http.NotFoundHandler()) },
	} {
		err := listen()
		if err == nil || !strings.HasPrefix(err.Error(), "cannot listen on "+addr) || !strings.Contains(err.Error(), "ADDR=127.0.0.1:PORT") {
			t.Errorf("%s: %v; want it to say where, and what to do", name, err)
		}
	}
}

// When nobody records, a request still has the ids that its answer, its log and
// the feed are told of, in the caller's trace; and it is not recorded.
func TestNobodyRecords(t *testing.T) {
	log := slog.Default()
	t.Setenv("OTEL_TRACES_EXPORTER", "none")
	if _, err := telemetry.Start(t.Context(), telemetry.Config{Out: io.Discard}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		t.Setenv("OTEL_TRACES_EXPORTER", "console")
		_, _ = telemetry.Start(context.Background(), telemetry.Config{Out: io.Discard})
		slog.SetDefault(log)
	})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		span := trace.SpanFromContext(r.Context())
		fmt.Fprintf(w, "%s %v", span.SpanContext().TraceID(), span.IsRecording())
	})
	const id = "0af7651916cd43dd8448eb211c80319c"
	request := httptest.NewRequest(http.MethodGet, "/", nil)
	request.Header.Set("traceparent", "00-"+id+"-b7ad6b7169203331-01")
	answer := httptest.NewRecorder()
	web.Trace(mux).ServeHTTP(answer, request)
	if got, want := answer.Body.String(), id+" false"; got != want {
		t.Errorf("the handler sees the trace and recording %q, want %q", got, want)
	}
	// The span is not the caller's, and is not sampled.
	h := answer.Header().Get("traceresponse")
	if !strings.HasPrefix(h, "00-"+id+"-") || strings.Contains(h, "b7ad6b7169203331") || !strings.HasSuffix(h, "-00") {
		t.Errorf("traceresponse: %q", h)
	}
}
