package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace/noop"

	"plaque/steps/kit/origin"
	"plaque/steps/kit/ports"
	"plaque/steps/kit/web"
	"plaque/steps/kit/web/webtest"
	"plaque/steps/kit/youtube"
)

const channel = "UCs4fQRyl1TJvoeOdekW6lYA"

// TestMain lets the test binary be the step itself, in a separate process.
func TestMain(m *testing.M) {
	if os.Getenv("PLAQUE_TEST_STEP") != "" {
		main()
		return
	}
	otel.SetTextMapPropagator(propagation.TraceContext{})
	os.Exit(m.Run())
}

// overPipes reads feed in a synctest bubble: in fake time nothing may wait for a
// socket.
func overPipes(t *testing.T, feed http.Handler) *videos {
	l := webtest.Listen()
	server := web.NewServer(feed)
	go func() { _ = server.Serve(l) }()
	tr := transport()
	tr.DialContext = l.DialContext
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		_ = server.Close()
	})
	return &videos{"http://feed" + origin.Path, traced(tr)}
}

func tell(t *testing.T, feed *origin.Feed, next ...string) {
	t.Helper()
	if err := feed.Set(origin.Script{Next: next}); err != nil {
		t.Fatal(err)
	}
}

// answering reads a feed that has these answers, in a synctest bubble.
func answering(t *testing.T, next ...string) *videos {
	t.Helper()
	feed := origin.New(noop.NewTracerProvider())
	tell(t, feed, next...)
	return overPipes(t, feed)
}

// listening is a feed on a socket, and its URL.
func listening(t *testing.T) (feed *origin.Feed, url string) {
	t.Helper()
	feed = origin.New(noop.NewTracerProvider())
	base, err := feed.Serve(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return feed, base + origin.Path
}

// Whatever the feed does, the caller is told what happened, and in time. Time
// is fake, so "in time" is exact.
func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		answer string
		status int
		says   string
		takes  time.Duration
	}{
		{"ok", 200, "", origin.DefaultDelay},
		{"ok:2999ms", 200, "", 2999 * time.Millisecond},
		{"ok:3001ms", 504, "took too long", timeout},
		{"429", 502, "it answered 429 Too Many Requests", origin.DefaultDelay},
		{"500", 502, "it answered 500 Internal Server Error", origin.DefaultDelay},
		{"rubbish", 502, "it is no feed that we can read: failed to detect feed type", origin.DefaultDelay},
		{"truncated", 502, "it is no feed that we can read: XML syntax error", origin.DefaultDelay},
		{"endless", 502, "it is longer than 1048576 bytes", origin.DefaultDelay},
		{"empty", 502, "it has no entries", origin.DefaultDelay},
		{"post", 502, `its newest entry, "yt:post:Ugkx0000", is no video`, origin.DefaultDelay},
		{"hangup", 502, "it broke off: unexpected EOF", origin.DefaultDelay},
		{"drip", 504, "took too long: it broke off: context deadline exceeded", timeout},
		{"hang", 504, "context deadline exceeded", timeout},
	} {
		t.Run(c.answer, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := answering(t, c.answer)
				begin := time.Now()
				id, err := v.Latest(t.Context(), channel)
				if took := time.Since(begin); took != c.takes {
					t.Errorf("it took %v, want %v", took, c.takes)
				}
				if c.status == 200 {
					if want := origin.VideoID(channel); id != want || err != nil {
						t.Errorf("got %q, %v; want %q", id, err, want)
					}
					return
				}
				var coded *youtube.Error
				if !errors.As(err, &coded) || coded.Status != c.status || !strings.Contains(err.Error(), c.says) {
					t.Errorf("got %q, %v; want a %d that says %q", id, err, c.status, c.says)
				}
				// The next one is served again, whatever this one did to the connection.
				if id, err := v.Latest(t.Context(), channel); err != nil {
					t.Errorf("after it: %q, %v", id, err)
				}
			})
		})
	}
}

func TestFeedAway(t *testing.T) {
	addr, err := ports.FreeAddr() // nobody listens there
	if err != nil {
		t.Fatal(err)
	}
	for feedURL, where := range map[string]string{"http://" + addr: "http://" + addr, "http://%zz": "FEED_URL", "ftp://" + addr: "ftp://" + addr} {
		var coded *youtube.Error
		if _, err := (&videos{feedURL, traced(transport())}).Latest(t.Context(), channel); !errors.As(err, &coded) || coded.Status != 502 {
			t.Errorf("%s: got %v, want a 502", feedURL, err)
		} else if !strings.Contains(err.Error(), where) {
			t.Errorf("the message does not say where: %v", err)
		}
	}
}

func TestCallerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := answering(t, "hang")
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		begin := time.Now()
		_, err := v.Latest(ctx, channel)
		if took := time.Since(begin); took != 300*time.Millisecond || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after %v: %v; want the load to end with its caller", took, err)
		}
	})
}

// A doomed id is an id like any other for the load: what panics is the handler, and
// the load's span has ended by then.
func TestDoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := answering(t, "doom")
		recorder := tracetest.NewSpanRecorder()
		ctx, span := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder)).Tracer("").Start(t.Context(), "test")
		if id, err := v.Latest(ctx, channel); id != "doom" || err != nil {
			t.Errorf("got %q, %v", id, err)
		}
		span.End()
		if got := names(recorder); !slices.Contains(got, "HTTP GET") {
			t.Errorf("ended spans: %q", got)
		}
	})
}

// An answer that turns the connection into something else has no body that ends.
func TestSwitchingProtocols(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "websocket")
		w.WriteHeader(http.StatusSwitchingProtocols)
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(func() { _ = conn.Close() }) // silent until then
	}))
	defer server.Close()
	failed := make(chan error, 1)
	go func() {
		_, err := (&videos{server.URL, traced(transport())}).Latest(t.Context(), channel)
		failed <- err
	}()
	select {
	case err := <-failed:
		if err == nil || !strings.Contains(err.Error(), "101") {
			t.Errorf("got %v, want the feed's status", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("no answer after 20 s; a load may take 3 s")
	}
}

// What callers and logs are told of a failure holds no secret of the feed's URL.
func TestErrorsHoldNoSecret(t *testing.T) {
	for _, url := range []string{"http://user:s3cret@127.0.0.1:1/feed?key=s3cret", "http://127.0.0.1:port/s3cret", "http://127.0.0.1:1/s3cret?key=s3cret"} {
		if _, err := (&videos{url, traced(transport())}).Latest(t.Context(), channel); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// transportFunc is an http.RoundTripper.
type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// spaces is a body much too long, which counts what is read of it.
type spaces struct {
	read   int
	closed bool
}

func (s *spaces) Read(b []byte) (int, error) {
	if s.read > 4*maxFeed {
		return 0, io.EOF
	}
	for i := range b {
		b[i] = ' '
	}
	s.read += len(b)
	return len(b), nil
}

func (s *spaces) Close() error { s.closed = true; return nil }

func TestReadingStopsAtTheLimit(t *testing.T) {
	body := new(spaces)
	client := traced(transportFunc(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Body: body, Request: r}, nil
	}))
	v := &videos{"http://feed", client}
	if _, err := v.Latest(t.Context(), channel); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("got %v; want it to say that the feed is too long", err)
	}
	// One byte more than the limit tells a feed of the limit's size from a longer one.
	if body.read != maxFeed+1 || !body.closed {
		t.Errorf("read %d bytes, closed: %t; want %d, true", body.read, body.closed, maxFeed+1)
	}
}

func TestAFeedOfTheLimitsSizeIsRead(t *testing.T) {
	const head = `<feed xmlns="http://www.w3.org/2005/Atom"><entry><id>yt:video:abc</id></entry>`
	document := head + strings.Repeat(" ", maxFeed-len(head)-len("</feed>")) + "</feed>"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, document)
	}))
	defer server.Close()
	if id, err := (&videos{server.URL, traced(anew{})}).Latest(t.Context(), channel); id != "abc" || err != nil {
		t.Errorf("got %q, %v", id, err)
	}
}

func TestRequest(t *testing.T) {
	got := make(chan *http.Request, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r }))
	defer server.Close()
	v := &videos{server.URL + "/feed?hl=en", traced(transport())}
	const strange = "a&b=c d/é#?%"
	_, err := v.Latest(t.Context(), strange) // an empty answer is an error; the request is what counts
	if len(got) == 0 {
		t.Fatalf("the request did not arrive: %v", err)
	}
	r := <-got
	if want := "/feed?hl=en&channel_id=a%26b%3Dc+d%2F%C3%A9%23%3F%25"; r.RequestURI != want {
		t.Errorf("asked for %s\n     want %s", r.RequestURI, want)
	}
	if q := r.URL.Query(); q.Get("channel_id") != strange || q.Get("hl") != "en" {
		t.Errorf("the feed understood %v", q)
	}
	if r.UserAgent() != userAgent || r.Method != http.MethodGet {
		t.Errorf("%s by %q", r.Method, r.UserAgent())
	}
}

func TestNewest(t *testing.T) {
	entry := func(id string) string {
		return `<feed xmlns="http://www.w3.org/2005/Atom"><entry><id>` + id + `</id></entry><entry><id>yt:video:old</id></entry></feed>`
	}
	for _, c := range []struct{ document, id string }{
		{entry("yt:video:new"), "new"},
		{entry("yt:video:"), ""},
		{entry("urn:yt:video:new"), ""},
		{`<feed xmlns="http://www.w3.org/2005/Atom"><entry/></feed>`, ""},
		{"", ""},
	} {
		if id, err := newest([]byte(c.document)); id != c.id || (err == nil) != (id != "") {
			t.Errorf("%s: got %q, %v; want %q", c.document, id, err, c.id)
		}
	}
}

// connections serves feed on a socket and tells of connections.
func connections(t *testing.T, feed http.Handler) (url string, opened, closed chan net.Conn) {
	opened, closed = make(chan net.Conn, 100), make(chan net.Conn, 100)
	server := httptest.NewUnstartedServer(feed)
	server.Config.ConnState = func(c net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			opened <- c
		case http.StateClosed:
			closed <- c
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	return server.URL + origin.Path, opened, closed
}

func TestOneConnection(t *testing.T) {
	feed := origin.New(noop.NewTracerProvider())
	url, opened, _ := connections(t, feed)
	v := &videos{url, traced(transport())}
	// These answers have an end, which is read: none costs the connection.
	next := []string{"ok", "429", "500", "rubbish", "truncated", "empty", "post", "ok", "ok", "ok"}
	tell(t, feed, next...)
	for _, answer := range next {
		if _, err := v.Latest(t.Context(), channel); (err == nil) != (answer == "ok") {
			t.Errorf("%s: %v", answer, err)
		}
	}
	if loads := feed.Stats().Requests; loads != 10 || len(opened) != 1 {
		t.Errorf("%d loads over %d connections, want 10 over 1", loads, len(opened))
	}
}

// With 5 callers at once nobody's connection is thrown away for lack of room:
// the gate has all five ask before any is answered, and the next five find theirs.
func TestFiveConnections(t *testing.T) {
	feed := origin.New(noop.NewTracerProvider())
	url, opened, _ := connections(t, feed)
	v := &videos{url, traced(transport())}
	for range 3 {
		if err := feed.Set(origin.Script{Hold: 5, HoldFor: origin.Duration(time.Minute)}); err != nil {
			t.Fatal(err)
		}
		failed := make(chan error)
		for range 5 {
			go func() {
				_, err := v.Latest(t.Context(), channel)
				failed <- err
			}()
		}
		for range 5 {
			if err := <-failed; err != nil {
				t.Error(err)
			}
		}
	}
	if len(opened) != 5 {
		t.Errorf("15 loads, 5 at a time, opened %d connections; want 5", len(opened))
	}
}

func TestNewTransport(t *testing.T) {
	feed := origin.New(noop.NewTracerProvider())
	url, opened, closed := connections(t, feed)
	v := &videos{url, traced(anew{})}
	next := []string{"ok", "500", "truncated", "endless", "hangup", "doom", "ok", "ok", "ok", "ok"}
	tell(t, feed, next...)
	for _, answer := range next {
		if _, err := v.Latest(t.Context(), channel); (err == nil) != (answer == "ok" || answer == "doom") {
			t.Errorf("%s: %v", answer, err)
		}
	}
	if len(opened) != 10 {
		t.Errorf("10 loads over %d connections, want 10", len(opened))
	}
	// The cost is shown, and nothing is left behind.
	deadline := time.After(10 * time.Second)
	for i := range 10 {
		select {
		case <-closed:
		case <-deadline:
			t.Fatalf("%d of 10 connections are still open", 10-i)
		}
	}
}

func names(r *tracetest.SpanRecorder) []string {
	var all []string
	for _, s := range r.Ended() {
		all = append(all, s.Name())
	}
	return all
}

// find returns the one span of that name.
func find(t *testing.T, r *tracetest.SpanRecorder, name string) sdktrace.ReadOnlySpan {
	t.Helper()
	found := slices.DeleteFunc(r.Ended(), func(s sdktrace.ReadOnlySpan) bool { return s.Name() != name })
	if len(found) != 1 {
		t.Fatalf("%d spans %q among %q, want 1", len(found), name, names(r))
	}
	return found[0]
}

func value(s sdktrace.ReadOnlySpan, key string) string {
	for _, kv := range s.Attributes() {
		if kv.Key == attribute.Key(key) {
			return kv.Value.String()
		}
	}
	return ""
}

// A first load looks the name up and connects; a second one finds the
// connection, unless it has a separate transport.
func TestSpans(t *testing.T) {
	_, url := listening(t)
	for _, c := range []struct {
		name      string
		transport http.RoundTripper
		loads     []string // http.conn.reused of each
	}{
		{"shared", transport(), []string{"false", "true", "true"}},
		{"new transport", anew{}, []string{"false", "false", "false"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := &videos{url, traced(c.transport)}
			for _, reused := range c.loads {
				recorder := tracetest.NewSpanRecorder()
				tp := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
				ctx, root := tp.Tracer("").Start(t.Context(), "root")
				if _, err := v.Latest(ctx, channel); err != nil {
					t.Fatal(err)
				}
				root.End()

				get := find(t, recorder, "HTTP GET")
				conn := find(t, recorder, "http.getconn")
				if get.Parent().SpanID() != root.SpanContext().SpanID() || conn.Parent().SpanID() != get.SpanContext().SpanID() {
					t.Errorf("HTTP GET is below %v, http.getconn below %v", get.Parent().SpanID(), conn.Parent().SpanID())
				}
				if got := value(conn, "http.conn.reused"); got != reused {
					t.Errorf("http.conn.reused is %q, want %s", got, reused)
				}
				for _, name := range []string{"http.dns", "http.connect"} {
					if reused == "true" {
						if slices.Contains(names(recorder), name) {
							t.Errorf("a span %s, though the connection was there", name)
						}
					} else if s := find(t, recorder, name); s.Parent().SpanID() != conn.SpanContext().SpanID() {
						t.Errorf("%s is below %v, want http.getconn", name, s.Parent().SpanID())
					}
				}
				for _, s := range recorder.Ended() {
					for _, kv := range s.Attributes() {
						if strings.HasPrefix(string(kv.Key), "http.request.header.") {
							t.Errorf("%s has %s: headers are not ours to tell", s.Name(), kv.Key)
						}
					}
				}
			}
		})
	}
}

// The feed's span hangs below the client's: the trace goes over the wire.
func TestTraceReachesTheFeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		recorder := tracetest.NewSpanRecorder()
		tp := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
		v := overPipes(t, origin.New(tp))
		ctx, root := tp.Tracer("").Start(t.Context(), "root")
		if _, err := v.Latest(ctx, channel); err != nil {
			t.Fatal(err)
		}
		root.End()
		synctest.Wait() // the feed ends its span after its answer
		get, asked := find(t, recorder, "HTTP GET"), find(t, recorder, "GET "+origin.Path)
		if asked.Parent().SpanID() != get.SpanContext().SpanID() {
			t.Errorf("the feed's span is below %v, want HTTP GET", asked.Parent().SpanID())
		}
	})
}

// step starts this step in a separate process, with its standard input as the
// leash. It returns the step's URL; stop ends it and returns its exit code.
func step(t *testing.T, feedURL string, args ...string) (url string, stop func() int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), "PLAQUE_TEST_STEP=1", "ADDR=127.0.0.1:0", "FEED_URL="+feedURL, "OTEL_TRACES_EXPORTER=none", "LOG_LEVEL=info")
	leash, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(log)
	listening := regexp.MustCompile(`msg=listening url=(\S+)`)
	for lines.Scan() {
		if m := listening.FindStringSubmatch(lines.Text()); m != nil {
			url = m[1]
			break
		}
	}
	if url == "" {
		_ = cmd.Wait()
		t.Fatalf("it never listened: %v", lines.Err())
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		for lines.Scan() {
		}
	}()
	return url, func() int {
		_ = leash.Close()
		<-drained
		_ = cmd.Wait()
		return cmd.ProcessState.ExitCode()
	}
}

// fetch answers with the status, or 0 when the connection was lost, and the JSON.
func fetch(t *testing.T, url string) (int, map[string]string) {
	t.Helper()
	// A connection for each: on a used one, net/http tries a lost GET again.
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
	res, err := client.Get(url)
	if errors.Is(err, io.EOF) {
		return 0, nil
	}
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var answer map[string]string
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, answer
}

func TestStep(t *testing.T) {
	feed, feedURL := listening(t)
	url, stop := step(t, feedURL)
	const other = "UC0123456789-_0123456789"
	for _, c := range []struct {
		answer, path string
		status       int
		video, says  string
	}{
		{"ok", "/", 200, origin.VideoID(youtube.DefaultChannel), ""},
		{"ok", "/?channel=" + other, 200, origin.VideoID(other), ""},
		{"ok", "/?channel=nonsense", 400, "", `"nonsense" is not a channel id`},
		{"500", "/", 502, "", "500 Internal Server Error"},
		{"hang", "/", 504, "", "took too long"},
		{"doom", "/", 0, "", ""}, // the caller's connection is all that a panic costs here
		{"ok", "/", 200, origin.VideoID(youtube.DefaultChannel), ""},
	} {
		tell(t, feed, c.answer)
		status, answer := fetch(t, url+c.path)
		if status != c.status || answer["video_id"] != c.video || !strings.Contains(answer["error"], c.says) {
			t.Errorf("%s, %s: got %d %v, want %d %s%s", c.answer, c.path, status, answer, c.status, c.video, c.says)
		}
		if status >= 400 && len(answer["trace_id"]) != 32 {
			t.Errorf("%s, %s: no trace id in %v", c.answer, c.path, answer)
		}
	}
	if code := stop(); code != 0 {
		t.Errorf("exit code %d after a clean stop", code)
	}
}

func TestStepWithNewTransport(t *testing.T) {
	feed, feedURL := listening(t)
	for _, c := range []struct {
		args        []string
		connections int
	}{{nil, 1}, {[]string{"-new-transport"}, 3}} {
		url, stop := step(t, feedURL, c.args...)
		tell(t, feed)
		for range 3 {
			if status, answer := fetch(t, url); status != 200 {
				t.Errorf("%d %v", status, answer)
			}
		}
		if got := feed.Stats().Connections; got != c.connections {
			t.Errorf("%q: 3 loads over %d connections, want %d", c.args, got, c.connections)
		}
		if code := stop(); code != 0 {
			t.Errorf("exit code %d", code)
		}
	}
}

func TestFlags(t *testing.T) {
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"-h", 0, "-new-transport"},
		{"-no-such-flag", 2, "flag provided but not defined: -no-such-flag"},
		{"something", 2, `takes flags only, not ["something"]`},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // should it run after all
		defer cancel()
		cmd := exec.CommandContext(ctx, os.Args[0], c.args)
		cmd.Env = append(os.Environ(), "PLAQUE_TEST_STEP=1", "OTEL_TRACES_EXPORTER=none")
		out, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != c.code || !strings.Contains(string(out), c.says) {
			t.Errorf("%s: exit code %d, want %d that says %q\n%s", c.args, code, c.code, c.says, out)
		}
	}
}
