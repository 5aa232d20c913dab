package youtube

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"plaque/steps/kit/origin"
	"plaque/steps/kit/ports"
	"plaque/steps/kit/web/webtest"
)

func TestMain(m *testing.M) {
	otel.SetTextMapPropagator(propagation.TraceContext{})
	os.Exit(m.Run())
}

// serve starts a feed for the length of the test, and returns its URL.
func serve(t *testing.T, tp trace.TracerProvider, next ...string) (*origin.Feed, string) {
	t.Helper()
	feed := origin.New(tp)
	tell(t, feed, origin.Script{Next: next})
	base, err := feed.Serve(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return feed, base + origin.Path
}

func tell(t *testing.T, feed *origin.Feed, s origin.Script) {
	t.Helper()
	if err := feed.Set(s); err != nil {
		t.Fatal(err)
	}
}

// patient is a NewClient for what is not about its Timeout, which a busy machine
// could reach.
func patient(feedURL string) *Client {
	c := NewClient(feedURL)
	c.timeout = time.Minute
	return c
}

// failed checks that err is an Error with that status, and returns its message.
func failed(t *testing.T, err error, status int) string {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Errorf("got %v; want an *Error", err)
		return ""
	}
	if e.Status != status || e.StatusCode() != status {
		t.Errorf("got %d, %d: %v; want %d", e.Status, e.StatusCode(), err, status)
	}
	return err.Error()
}

// Whatever the feed does, its caller is told what happened, on one line.
func TestFaults(t *testing.T) {
	for _, c := range []struct {
		answer string
		status int
		says   string
		more   string
	}{
		{"429", 502, "the feed failed: it answered 429 Too Many Requests", ""},
		{"500", 502, "the feed failed: it answered 500 Internal Server Error", ""},
		{"rubbish", 502, "the feed failed: it is no feed that we can read: ", "detect feed type"},
		{"truncated", 502, "the feed failed: it is no feed that we can read: ", "XML syntax error"},
		{"endless", 502, "the feed failed: it is longer than 1048576 bytes", ""},
		{"empty", 502, "the feed failed: it has no entries", ""},
		{"post", 502, `the feed failed: its newest entry, "yt:post:Ugkx0000", is no video`, ""},
		{"hangup", 502, "the feed failed: it broke off: unexpected EOF", ""},
		{"drip", 504, "the feed took too long: it broke off: context deadline exceeded", ""},
		{"hang", 504, "the feed took too long: http://localhost:", ": context deadline exceeded"},
	} {
		t.Run(c.answer, func(t *testing.T) {
			t.Parallel() // two of them take Timeout each
			_, feedURL := serve(t, noop.NewTracerProvider(), c.answer)
			client := patient(feedURL)
			if c.status == 504 {
				client.timeout = NewClient(feedURL).timeout
			}
			begin := time.Now()
			id, err := client.LatestVideo(t.Context(), DefaultChannel)
			took := time.Since(begin)
			got := failed(t, err, c.status)
			if id != "" || !strings.HasPrefix(got, c.says) || !strings.Contains(got, c.more) || c.more == "" && got != c.says || strings.Contains(got, "\n") {
				t.Errorf("got %q, %s\nwant %s ... %s", id, got, c.says, c.more)
			}
			// Left alone, the feed would go on for 30 s.
			if c.status == 504 && (took < Timeout || took > Timeout+10*time.Second) {
				t.Errorf("it took %v, want %v", took, Timeout)
			}
			// The next one is served, whatever this one did to the connection.
			client.timeout = time.Minute
			if id, err := client.LatestVideo(t.Context(), DefaultChannel); id != origin.VideoID(DefaultChannel) || err != nil {
				t.Errorf("after it: %q, %v", id, err)
			}
		})
	}
}

func TestFeedAway(t *testing.T) {
	addr, err := ports.FreeAddr() // nobody listens there
	if err != nil {
		t.Fatal(err)
	}
	for feedURL, says := range map[string]string{
		"http://" + addr: "http://" + addr + ": dial tcp " + addr + ": connect",
		"ftp://" + addr:  "ftp://" + addr + `: unsupported protocol scheme "ftp"`,
		"http://%zz":     "FEED_URL is not a URL",
		addr:             "FEED_URL is not a URL",
		"":               `unsupported protocol scheme ""`,
	} {
		id, err := patient(feedURL).LatestVideo(t.Context(), DefaultChannel)
		if got := failed(t, err, http.StatusBadGateway); id != "" || !strings.HasPrefix(got, "the feed failed: ") || !strings.Contains(got, says) {
			t.Errorf("%q: got %q, %s; want %s", feedURL, id, got, says)
		}
	}
}

// Callers read an error. It says which host failed, and no secret of FEED_URL.
func TestErrorsHoldNoSecret(t *testing.T) {
	var location string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", location)
		w.WriteHeader(http.StatusFound)
	}))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	for _, c := range []struct{ name, feedURL, location string }{
		{"nobody there", "http://who:secretword@127.0.0.1:1/secretpath?key=secret%20value", ""},
		{"no scheme", "secret://who:secretword@host/secretpath?key=secret%20value", ""},
		{"no URL", "http://who:secretword@host:secretport/secretpath?key=secret%20value", ""},
		{"a redirect in circles", "http://who:secretword@" + host + "/secretpath?key=secret%20value", "/secretpath?key=secret%20value"},
		{"a redirect to nonsense", "http://who:secretword@" + host + "/secretpath?key=secret%20value", "http://x:secret%20value/secretpath"},
		{"a redirect that repeats it", "http://who:secretword@" + host + "/secretpath?key=secret%20value", "secret value://x/secretpath secretword"},
		{"a redirect elsewhere", "http://who:secretword@" + host + "/secretpath?key=secret%20value", "secret://elsewhere?key=secret%20value"},
	} {
		t.Run(c.name, func(t *testing.T) {
			location = c.location
			_, err := patient(c.feedURL).LatestVideo(t.Context(), DefaultChannel)
			got := failed(t, err, http.StatusBadGateway)
			for _, secret := range []string{"secretword", "secretpath", "secret value", "secret%20value", "secretport"} {
				if strings.Contains(got, secret) {
					t.Errorf("%s holds %s", got, secret)
				}
			}
		})
	}
	for _, status := range []int{http.StatusTeapot, 999} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			c, _, _ := w.(http.Hijacker).Hijack()
			_, _ = fmt.Fprintf(c, "HTTP/1.1 %d secret words\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", status)
			_ = c.Close()
		}))
		_, err := patient(server.URL).LatestVideo(t.Context(), DefaultChannel)
		server.Close()
		if got, want := failed(t, err, 502), strings.TrimSpace(fmt.Sprintf("the feed failed: it answered %d %s", status, http.StatusText(status))); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// A load ends with its timeout, whatever the feed answers and then does not end.
func TestEveryReadEnds(t *testing.T) {
	for name, head := range map[string]string{
		"another protocol":  "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
		"an early hint":     "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n",
		"a refusal":         "HTTP/1.1 429 Too Many Requests\r\n\r\n",
		"a feed":            "HTTP/1.1 200 OK\r\n\r\n<feed>",
		"a body to come":    "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n",
		"a chunk":           "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n<fe",
		"what unzips":       "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff",
		"a 204 with a body": "HTTP/1.1 204 No Content\r\nContent-Length: 100\r\n\r\n",
		"half a header":     "HTTP/1.1 200 OK\r\nContent-",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stop := make(chan struct{})
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				c, _, _ := w.(http.Hijacker).Hijack()
				_, _ = io.WriteString(c, head)
				<-stop
				_ = c.Close()
			}))
			defer server.Close()
			defer close(stop)
			client := NewClient(server.URL)
			client.timeout = 200 * time.Millisecond
			ended := make(chan error, 1)
			go func() { _, err := client.LatestVideo(context.Background(), DefaultChannel); ended <- err }()
			select {
			case err := <-ended:
				var e *Error
				if !errors.As(err, &e) || e.Status != 502 && e.Status != 504 {
					t.Errorf("got %v", err)
				}
			case <-time.After(10 * time.Second):
				t.Error("the load goes on after 10 s")
			}
		})
	}
}

// A channel's newest video is its own, and the request says who asks.
func TestRequest(t *testing.T) {
	feed := origin.New(noop.NewTracerProvider())
	var asked []*http.Request // by one at a time
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r)
		feed.ServeHTTP(w, r)
	}))
	defer server.Close()
	client := patient(server.URL + origin.Path + "?hl=en&channel_id=replaced&b;c=%zz&a=1+2%2B&chan%6eel_id=too")
	channels := []string{DefaultChannel, "UC0123456789-_0123456789", "a&b=c d/é#?%"}
	for _, channel := range channels {
		if id, err := client.LatestVideo(t.Context(), channel); id != origin.VideoID(channel) || err != nil {
			t.Errorf("%s: got %q, %v; want %s", channel, id, err, origin.VideoID(channel))
		}
	}
	for written, want := range map[string]string{
		"":                              "",
		"?":                             "",
		"?channel_id=x":                 "",
		"?key=A%2fb":                    "key=A%2fb&",
		"?z=1&a=2&z=3":                  "z=1&a=2&z=3&",
		"?flag":                         "flag&",
		"?a;b=c":                        "a;b=c&",
		"?%zz":                          "%zz&",
		"?q=\u00e9#channel_id=fragment": "q=\u00e9&",
	} {
		u, err := FeedOf("https://www.youtube.com/feeds/videos.xml"+written, "C")
		if err != nil || u.RawQuery != want+"channel_id=C" {
			t.Errorf("%s: %v, %v; want ?%schannel_id=C", written, u, err, want)
		}
	}
	if len(asked) != len(channels) {
		t.Fatalf("%d requests for %d loads", len(asked), len(channels))
	}
	for i, r := range asked {
		want := "hl=en&b;c=%zz&a=1+2%2B&channel_id=" + url.QueryEscape(channels[i])
		if r.Method != http.MethodGet || r.UserAgent() != UserAgent || r.URL.RawQuery != want {
			t.Errorf("%s ?%s by %q; want GET ?%s by %q", r.Method, r.URL.RawQuery, r.UserAgent(), want, UserAgent)
		}
	}
	// One of several machines says which one.
	if _, err := client.As("10.0.0.1:3779").LatestVideo(t.Context(), DefaultChannel); err != nil {
		t.Error(err)
	}
	if got, want := asked[len(asked)-1].UserAgent(), UserAgent+" 10.0.0.1:3779"; got != want {
		t.Errorf("a machine asks as %q, want %q", got, want)
	}
	if !strings.Contains(UserAgent, "plaque") {
		t.Errorf("%q does not say who asks", UserAgent)
	}
}

func TestChannel(t *testing.T) {
	const good = "UC0123456789-_aBcDeFgHiJ"
	for _, c := range []struct{ query, want string }{
		{"", DefaultChannel},
		{"?channel=", DefaultChannel},
		{"?other=" + good, DefaultChannel},
		{"?channel=" + good, good},
		{"?channel=" + DefaultChannel, DefaultChannel},
		{"?channel=" + good + "&channel=x", good},
		// Malformed.
		{"?channel=x", ""},
		{"?channel=" + good[:23], ""},
		{"?channel=" + good + "x", ""},
		{"?channel=x" + good, ""},
		{"?channel=uc" + good[2:], ""},
		{"?channel=" + good + "%0A", ""},
		{"?channel=%20" + good, ""},
		{"?channel=" + good[:23] + "%2F", ""},
		{"?channel=" + good[:23] + "%C3%A9", ""},
		{"?channel=" + good[:23] + "%FF", ""},
		{"?channel=" + good + ";x", ""},
		{"?channel=%zz", ""},
		{"?a;b", ""},
		{"?%", ""},
		{"?channel=" + good + "&x=%F", ""},
	} {
		got, err := Channel(httptest.NewRequest(http.MethodGet, "/"+c.query, nil))
		if c.want != "" {
			if got != c.want || err != nil {
				t.Errorf("%s: got %q, %v; want %s", c.query, got, err, c.want)
			}
			continue
		}
		if says := failed(t, err, http.StatusBadRequest); got != "" || !strings.HasSuffix(says, " is not a channel id: it is UC and 22 letters, digits, - or _") &&
			!strings.HasSuffix(says, " is not a query: write it like ?channel="+DefaultChannel) {
			t.Errorf("%s: got %q, %s", c.query, got, says)
		}
	}
}

// A message repeats what was asked for, but not at any length, and not raw.
func TestChannelLong(t *testing.T) {
	query := url.Values{"channel": {"\x1b[31m\n" + strings.Repeat("x", 10_000)}}.Encode()
	_, err := Channel(httptest.NewRequest(http.MethodGet, "/?"+query, nil))
	want := `"\x1b[31m\n` + strings.Repeat("x", 34) + `" is not a channel id: it is UC and 22 letters, digits, - or _`
	if got := failed(t, err, http.StatusBadRequest); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// Connections are kept: one after the other needs one, whatever is answered, as
// long as the answer has an end.
func TestOneConnection(t *testing.T) {
	next := []string{"ok", "429", "500", "rubbish", "truncated", "empty", "post", "ok", "ok", "ok"}
	feed, feedURL := serve(t, noop.NewTracerProvider(), next...)
	client := patient(feedURL)
	for _, answer := range next {
		if _, err := client.LatestVideo(t.Context(), DefaultChannel); (err == nil) != (answer == "ok") {
			t.Errorf("%s: %v", answer, err)
		}
	}
	if s := feed.Stats(); s.Requests != 10 || s.Connections != 1 {
		t.Errorf("%d loads over %d connections, want 10 over 1", s.Requests, s.Connections)
	}
}

// Five at a time need five, and the next five find theirs: by default a
// transport keeps two. The feed answers once five wait.
func TestFiveConnections(t *testing.T) {
	feed, feedURL := serve(t, noop.NewTracerProvider())
	client := patient(feedURL)
	for _, want := range []int{5, 0, 0} {
		tell(t, feed, origin.Script{Hold: 5, HoldFor: origin.Duration(time.Minute)})
		errs := make(chan error)
		for range 5 {
			go func() {
				_, err := client.LatestVideo(t.Context(), DefaultChannel)
				errs <- err
			}()
		}
		for range 5 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		if s := feed.Stats(); s.Requests != 5 || s.Connections != want {
			t.Errorf("%d loads over %d new connections, want 5 over %d", s.Requests, s.Connections, want)
		}
	}
}

func TestTransportsAreTheirOwn(t *testing.T) {
	feed, feedURL := serve(t, noop.NewTracerProvider())
	for range 3 {
		if _, err := patient(feedURL).LatestVideo(t.Context(), DefaultChannel); err != nil {
			t.Error(err)
		}
	}
	if s := feed.Stats(); s.Connections != 3 {
		t.Errorf("three clients have %d connections, want 3", s.Connections)
	}
}

func TestLimit(t *testing.T) {
	const head, tail = `<feed xmlns="http://www.w3.org/2005/Atom"><entry><id>yt:video:abcdefghijk</id></entry>`, "</feed>"
	size := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, head+strings.Repeat(" ", size-len(head)-len(tail))+tail)
	}))
	defer server.Close()
	client := patient(server.URL)
	size = MaxFeed
	if id, err := client.LatestVideo(t.Context(), DefaultChannel); id != "abcdefghijk" || err != nil {
		t.Errorf("a feed of the limit's size: %q, %v", id, err)
	}
	size = MaxFeed + 1
	_, err := client.LatestVideo(t.Context(), DefaultChannel)
	if got := failed(t, err, http.StatusBadGateway); !strings.Contains(got, "longer than") {
		t.Errorf("one byte more: %s", got)
	}
}

// spaces is a body much too long, which counts what is read of it.
type spaces struct{ read int }

func (s *spaces) Read(b []byte) (int, error) {
	if s.read > 4*MaxFeed {
		return 0, io.EOF
	}
	s.read += copy(b, bytes.Repeat([]byte(" "), len(b)))
	return len(b), nil
}

func (s *spaces) Close() error { return nil }

func (s *spaces) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: s, Request: r}, nil
}

// Not a byte is read beyond the one that shows the feed to be too long.
func TestReadingStopsAtTheLimit(t *testing.T) {
	body := new(spaces)
	client := &Client{&http.Client{Transport: body}, "http://feed", time.Minute, UserAgent}
	if _, err := client.LatestVideo(t.Context(), DefaultChannel); err == nil || body.read != MaxFeed+1 {
		t.Errorf("read %d bytes, %v; want %d", body.read, err, MaxFeed+1)
	}
}

func TestNewest(t *testing.T) {
	entry := func(id string) string {
		return `<feed xmlns="http://www.w3.org/2005/Atom"><entry><id>` + id + `</id></entry><entry><id>yt:video:oldoldoldol</id></entry></feed>`
	}
	for _, c := range []struct{ document, id, says string }{
		{entry("yt:video:newABC012-_"), "newABC012-_", ""},
		{entry("yt:video:doom"), "doom", ""},
		{entry("yt:video:newABC012-"), "", `"yt:video:newABC012-", is no video`},
		{entry("yt:video:newABC012-_x"), "", "is no video"},
		{entry("yt:video:newABC012-/"), "", "is no video"},
		{entry("yt:video:newABC012-\u00e9"), "", "is no video"},
		{entry("yt:video:new ABC012-"), "", "is no video"},
		{entry("yt:video:&lt;script&gt;abc"), "", "is no video"},
		{entry("yt:video:DOOM"), "", "is no video"},
		{"<" + strings.Repeat("x", 1000) + ">", "", "no feed that we can read"},
		{entry("yt:video:"), "", `"yt:video:", is no video`},
		{entry("urn:yt:video:new"), "", `"urn:yt:video:new", is no video`},
		{entry(strings.Repeat("x", 1000)), "", `"` + strings.Repeat("x", 40) + `", is no video`},
		{`<feed xmlns="http://www.w3.org/2005/Atom"><entry/></feed>`, "", `"", is no video`},
		{"", "", "no feed that we can read"},
	} {
		id, err := newest([]byte(c.document))
		if got := fmt.Sprint(err); id != c.id || (err == nil) != (c.id != "") || c.id == "" && !strings.Contains(got, c.says) {
			t.Errorf("%.90s: got %q, %s; want %q, %s", c.document, id, got, c.id, c.says)
		}
	}
}

// The panic of a load costs neither the connection nor the client's span.
func TestDoom(t *testing.T) {
	feed, feedURL := serve(t, noop.NewTracerProvider(), "doom")
	client := patient(feedURL)
	ctx, recorder, end := root(t)
	func() {
		defer func() {
			if got, _ := recover().(string); !strings.HasPrefix(got, "doom: ") {
				t.Errorf("recovered %q; want a panic about doom", got)
			}
		}()
		id, err := client.LatestVideo(ctx, DefaultChannel)
		t.Errorf("got %q, %v; want a panic", id, err)
	}()
	end()
	find(t, recorder, "HTTP GET")
	if _, err := client.LatestVideo(t.Context(), DefaultChannel); err != nil {
		t.Error(err)
	}
	if s := feed.Stats(); s.Requests != 2 || s.Connections != 1 {
		t.Errorf("%d loads over %d connections, want 2 over 1", s.Requests, s.Connections)
	}
}

// A load ends with its caller's context, and the error says how that ended.
func TestCallerLeaves(t *testing.T) {
	feed := origin.New(noop.NewTracerProvider())
	leave := func() {}
	var asked atomic.Int64 // the feed's own count may come after the caller has left
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		leave() // once it has asked
		feed.ServeHTTP(w, r)
	}))
	defer server.Close()
	client := patient(server.URL + origin.Path)

	tell(t, feed, origin.Script{Next: []string{"hang"}})
	ctx, cancel := context.WithCancel(t.Context())
	leave = cancel
	_, err := client.LatestVideo(ctx, DefaultChannel)
	if got := failed(t, err, http.StatusBadGateway); !errors.Is(err, context.Canceled) || !strings.HasPrefix(got, "the feed failed: ") {
		t.Errorf("it left: %v; want context.Canceled", err)
	}
	_, err = client.LatestVideo(ctx, DefaultChannel)
	if failed(t, err, http.StatusBadGateway); !errors.Is(err, context.Canceled) {
		t.Errorf("it had left: %v; want context.Canceled", err)
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("%d requests; one who has left asks for nothing", n)
	}

	ctx, cancel = context.WithDeadline(t.Context(), time.Now())
	defer cancel()
	_, err = client.LatestVideo(ctx, DefaultChannel)
	if got := failed(t, err, http.StatusGatewayTimeout); !errors.Is(err, context.DeadlineExceeded) || !strings.HasPrefix(got, "the feed took too long: ") {
		t.Errorf("its time was over: %v; want context.DeadlineExceeded", err)
	}
}

func TestFailed(t *testing.T) {
	for _, c := range []struct {
		cause  error
		status int
		says   string
	}{
		{errors.New("broken"), 502, "the feed failed: broken"},
		{context.Canceled, 502, "the feed failed: context canceled"},
		{fmt.Errorf("load: %w", context.DeadlineExceeded), 504, "the feed took too long: load: context deadline exceeded"},
		{os.ErrDeadlineExceeded, 504, "the feed took too long: i/o timeout"},
		{&net.DNSError{Err: "slow", Name: "feed", IsTimeout: true}, 504, "the feed took too long: lookup feed: slow"},
		{&net.DNSError{Err: "no such host", Name: "feed", IsNotFound: true}, 502, "the feed failed: lookup feed: no such host"},
	} {
		err := Failed(c.cause)
		if got := failed(t, err, c.status); got != c.says || !errors.Is(err, c.cause) {
			t.Errorf("got %s\nwant %s, wrapping its cause", got, c.says)
		}
	}
}

// root starts a new trace. The client takes the provider of its caller's span.
func root(t *testing.T) (context.Context, *tracetest.SpanRecorder, func()) {
	recorder := tracetest.NewSpanRecorder()
	tp := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	ctx, span := tp.Tracer("test").Start(t.Context(), "root")
	return ctx, recorder, func() { span.End() }
}

func named[S sdktrace.ReadOnlySpan](spans []S, name string) []S {
	return slices.DeleteFunc(slices.Clone(spans), func(s S) bool { return s.Name() != name })
}

// find is the one ended span of that name.
func find(t *testing.T, r *tracetest.SpanRecorder, name string) sdktrace.ReadOnlySpan {
	t.Helper()
	found := named(r.Ended(), name)
	if len(found) != 1 {
		t.Fatalf("%d spans %s, want 1", len(found), name)
	}
	return found[0]
}

func below(child, parent sdktrace.ReadOnlySpan) bool {
	return child.Parent().SpanID() == parent.SpanContext().SpanID()
}

// A first load looks the name up and connects; a second one finds the
// connection; an address needs no looking up.
func TestSpans(t *testing.T) {
	_, feedURL := serve(t, noop.NewTracerProvider())
	byName := patient(feedURL)
	address := patient(strings.Replace(feedURL, "localhost", "127.0.0.1", 1))
	for _, c := range []struct {
		name                 string
		client               *Client
		reused, dns, connect bool
	}{
		{"first, by name", byName, false, true, true},
		{"second, by name", byName, true, false, false},
		{"first, by address", address, false, false, true},
		{"second, by address", address, true, false, false},
	} {
		ctx, recorder, end := root(t)
		if _, err := c.client.LatestVideo(ctx, DefaultChannel); err != nil {
			t.Fatal(err)
		}
		end()
		get, conn := find(t, recorder, "HTTP GET"), find(t, recorder, "http.getconn")
		if !below(get, find(t, recorder, "root")) || get.SpanKind() != trace.SpanKindClient || !below(conn, get) {
			t.Errorf("%s: HTTP GET is below %v, http.getconn below %v", c.name, get.Parent().SpanID(), conn.Parent().SpanID())
		}
		reused := ""
		for _, kv := range conn.Attributes() {
			if kv.Key == "http.conn.reused" {
				reused = kv.Value.String()
			}
		}
		if want := fmt.Sprint(c.reused); reused != want {
			t.Errorf("%s: http.conn.reused is %q, want %s", c.name, reused, want)
		}
		for name, want := range map[string]bool{"http.dns": c.dns, "http.connect": c.connect} {
			// Where a first connect is slow, net starts a second one beside it.
			found := named(recorder.Started(), name)
			if (len(found) > 0) != want || want && !below(found[0], conn) {
				t.Errorf("%s: %d spans %s; want one below http.getconn: %t", c.name, len(found), name, want)
			}
		}
		for _, s := range recorder.Started() {
			for _, kv := range s.Attributes() {
				if strings.HasPrefix(string(kv.Key), "http.request.header.") {
					t.Errorf("%s has %s: headers are not ours to tell", s.Name(), kv.Key)
				}
			}
		}
	}
}

// The span of a failed load is an error, and it has ended when the load has.
func TestSpanOfAFailure(t *testing.T) {
	feed, feedURL := serve(t, noop.NewTracerProvider())
	client := patient(feedURL)
	for _, answer := range []string{"500", "hangup"} {
		tell(t, feed, origin.Script{Next: []string{answer}})
		ctx, recorder, end := root(t)
		_, err := client.LatestVideo(ctx, DefaultChannel)
		failed(t, err, http.StatusBadGateway)
		end()
		if s := find(t, recorder, "HTTP GET"); s.Status().Code != codes.Error {
			t.Errorf("%s: the span's status is %v, want an error", answer, s.Status())
		}
	}
}

// The trace goes over the wire: the feed's span is below the client's.
func TestTraceReachesTheFeed(t *testing.T) {
	theirs := tracetest.NewSpanRecorder()
	_, feedURL := serve(t, sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(theirs)))
	ctx, recorder, end := root(t)
	if _, err := patient(feedURL).LatestVideo(ctx, DefaultChannel); err != nil {
		t.Fatal(err)
	}
	end()
	get := find(t, recorder, "HTTP GET")
	// The feed's span may end after its answer has come.
	started := theirs.Started()
	if len(started) != 1 || !below(started[0], get) || started[0].SpanContext().TraceID() != get.SpanContext().TraceID() {
		t.Errorf("the feed has %d spans; want one below HTTP GET", len(started))
	}
}

// A load that nobody traces goes to the global provider, with all its parts.
func TestSpansWithoutACaller(t *testing.T) {
	recorder := webtest.Record(t)
	_, feedURL := serve(t, noop.NewTracerProvider())
	if _, err := patient(feedURL).LatestVideo(t.Context(), DefaultChannel); err != nil {
		t.Fatal(err)
	}
	get, conn := find(t, recorder, "HTTP GET"), find(t, recorder, "http.getconn")
	if get.Parent().IsValid() || !below(conn, get) {
		t.Errorf("HTTP GET is below %v, http.getconn below %v", get.Parent().SpanID(), conn.Parent().SpanID())
	}
}

type logLines chan string

func (l logLines) Write(b []byte) (int, error) {
	l <- string(b)
	return len(b), nil
}

// With LOG_LEVEL=youtube=debug a reader sees each load begin and end, also one
// that fails and one that panics afterwards.
func TestLog(t *testing.T) {
	for answer, want := range map[string]string{
		"ok":   `level=DEBUG msg="load ends" channel=` + DefaultChannel + ` video=` + origin.VideoID(DefaultChannel) + ` bytes=905 took=`,
		"doom": `level=DEBUG msg="load ends" channel=` + DefaultChannel + ` video=doom bytes=`,
		"500":  `level=DEBUG msg="load fails" channel=` + DefaultChannel + ` bytes=`,
	} {
		lines := make(logLines, 10) // the feed writes to the log, too, and when it likes
		before := slog.Default()
		slog.SetDefault(slog.New(slog.NewTextHandler(lines, &slog.HandlerOptions{Level: slog.LevelDebug})))
		_, url := serve(t, noop.NewTracerProvider(), answer)
		func() {
			defer func() { _ = recover() }()
			_, _ = patient(url).LatestVideo(t.Context(), DefaultChannel)
		}()
		slog.SetDefault(before)
		log := ""
		for len(lines) > 0 {
			log += <-lines
		}
		begins := strings.Index(log, `level=DEBUG msg="load begins" channel=`+DefaultChannel)
		if ends := strings.Index(log, want); begins < 0 || ends < begins {
			t.Errorf("%s: logged\n%s\nwant begins, and %s", answer, log, want)
		}
		if (answer == "500") != strings.Contains(log, `error="it answered 500 Internal Server Error"`) {
			t.Errorf("%s: logged\n%s", answer, log)
		}
	}
}

// A load's own timeout is shorter than every other limit on a part of it, so it is
// the one that decides.
func TestLimitsOfALoad(t *testing.T) {
	of := http.DefaultTransport.(*http.Transport)
	if of.TLSHandshakeTimeout != 10*time.Second || of.TLSHandshakeTimeout <= Timeout || of.ResponseHeaderTimeout != 0 {
		t.Errorf("TLS %v, header %v: net/http's defaults have changed", of.TLSHandshakeTimeout, of.ResponseHeaderTimeout)
	}
	// How long its dialer waits cannot be asked, only that the load ends before.
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	hurried := &Client{NewHTTPClient(), "http://" + silent.Addr().String(), 50 * time.Millisecond, UserAgent}
	began := time.Now()
	var failed *Error
	if _, err := hurried.LatestVideo(t.Context(), DefaultChannel); !errors.As(err, &failed) || failed.Status != http.StatusGatewayTimeout {
		t.Errorf("a feed that takes the connection and says nothing: %v, want a 504", err)
	}
	if d := time.Since(began); d >= Timeout {
		t.Errorf("it took %v, want the load's 50ms", d)
	}
}

// What a feed says of when to come again, in both of the header's forms.
func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"":                              0,
		"3":                             3 * time.Second,
		"0":                             0,
		"-5":                            0,
		"soon":                          0,
		"1.5":                           0,
		"+3":                            0,
		"3s":                            0,
		"\u0663":                        0,
		"2147483647":                    2147483647 * time.Second,
		"2147483648":                    2147483648 * time.Second,
		"9223372036":                    9223372036 * time.Second,
		"9223372037":                    math.MaxInt64,
		"9223372036854775808":           math.MaxInt64,
		"99999999999999999999":          math.MaxInt64,
		"Fri, 31 Dec 9999 23:59:59 GMT": math.MaxInt64,
		"Tue, 24 Nov 2026 12:00:30 GMT": 30 * time.Second,
		"Tue, 24 Nov 2026 11:00:00 GMT": 0,
	} {
		if got := retryAfter(http.Header{"Retry-After": {text}}, now); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
	_, feedURL := serve(t, noop.NewTracerProvider(), "429")
	_, err := patient(feedURL).LatestVideo(t.Context(), DefaultChannel)
	var later interface{ RetryAfter() time.Duration }
	if !errors.As(err, &later) || later.RetryAfter() != origin.RetryAfter {
		t.Errorf("%v does not say to come again in %v", err, origin.RetryAfter)
	}
}

// Whatever a feed is, its newest video is one, or none.
func FuzzNewest(f *testing.F) {
	f.Add([]byte(`<feed xmlns="http://www.w3.org/2005/Atom"><entry><id>yt:video:newABC012-_</id></entry></feed>`))
	f.Add([]byte(`<feed xmlns="http://www.w3.org/2005/Atom"><entry><id>yt:video:doom</id></entry></feed>`))
	f.Add([]byte(`<rss><channel><item><guid>yt:video:newABC012-_x</guid></item></channel></rss>`))
	f.Add([]byte(`{"version":"https://jsonfeed.org/version/1","items":[{"id":"yt:video:../../etc/x"}]}`))
	f.Fuzz(func(t *testing.T, document []byte) {
		id, err := newest(document)
		if err == nil && id != doom && (len(id) != 11 || strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "") {
			t.Errorf("%q is no video", id)
		}
		if err != nil && len(err.Error()) > 1000 {
			t.Errorf("an error of %d bytes", len(err.Error()))
		}
	})
}
