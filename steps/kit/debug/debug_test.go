package debug

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/encoding/protowire"

	"plaque/steps/kit/need"
	"plaque/steps/kit/telemetry"
	"plaque/steps/kit/web/webtest"
)

// newPages are the pages of a step whose spans tracer makes.
func newPages(t *testing.T) (*Pages, trace.Tracer) {
	p := New("07-inflight")
	var opts []sdktrace.TracerProviderOption
	for _, see := range p.Processors() {
		opts = append(opts, sdktrace.WithSpanProcessor(see))
	}
	tp := sdktrace.NewTracerProvider(opts...)
	t.Cleanup(func() { _ = tp.Shutdown(context.WithoutCancel(t.Context())) })
	return p, tp.Tracer("test")
}

// ask makes a request from this machine, with headers in pairs.
func ask(h http.Handler, method, path string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://127.0.0.1:3781"+path, nil)
	r.RemoteAddr = "127.0.0.1:50000"
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
		} else {
			r.Header.Set(header[i], header[i+1])
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// hang leaves a flight dead, as 07 does, with one caller who waits.
func hang(t *testing.T, tracer trace.Tracer, key string) (leader, waiter trace.Span) {
	ctx, leader := tracer.Start(t.Context(), "cache.get", trace.WithAttributes(attribute.String("cache.key", key)))
	_, flight := tracer.Start(ctx, "flight")
	_, waiter = tracer.Start(t.Context(), "cache.get", trace.WithAttributes(attribute.String("cache.key", key), attribute.String("cache.result", "joined")))
	waiter.AddLink(trace.Link{SpanContext: flight.SpanContext()})
	flight.SetStatus(codes.Error, "the load did not return")
	flight.End()
	leader.End()
	return leader, waiter
}

// all are the addresses that the start page links to.
func all(t *testing.T, h http.Handler) []string {
	t.Helper()
	start := ask(h, "GET", "/").Body.String()
	_, list, _ := strings.Cut(start, "<dl>")
	var paths []string
	for _, m := range regexp.MustCompile(`<dt><a href="([^"]+)">[^<]+</a></dt>\n<dd>[^<]{20}`).FindAllStringSubmatch(list, -1) {
		paths = append(paths, m[1])
	}
	if len(paths) != 8 || strings.Count(list, "<dt>") != 8 {
		t.Fatalf("the start page has %q, want 8 pages with a sentence each:\n%s", paths, start)
	}
	return paths
}

func TestPagesShowWhatHangs(t *testing.T) {
	p, tracer := newPages(t)
	h := p.Handler()
	const key = `<key & "co">`
	leader, waiter := hang(t, tracer, key)
	leaderID, waiterID := leader.SpanContext().TraceID().String(), waiter.SpanContext().TraceID().String()
	for path, wants := range map[string][]string{
		"/debug/flights": {"&lt;key &amp;", "1 waiter<", "the load did not return", "leader’s trace", leaderID, waiterID, "0 hits, 0 misses, 1 joined, 1 without a result; 1 load."},
		"/debug/spans":   {"1 span started", "cache.get", waiterID, waiter.SpanContext().SpanID().String(), "cache.result=joined", "→ span"},
		"/debug/tracez?zspanname=cache.get&ztype=0": {waiterID, waiter.SpanContext().SpanID().String(), "cache.result=joined"},
		"/debug/goroutines":                         {"debug.lookAt", "goroutines. Left out: "},
		"/debug/pprof/goroutine?debug=2":            {"TestPagesShowWhatHangs"},
		"/debug/pprof/":                             {"goroutine?debug=", "heap?debug=", "threadcreate?debug="},
		"/debug/pprof/heap?debug=1":                 {"heap profile: ", "# TotalAlloc = "},
		"/debug/pprof/cmdline":                      {filepath.Base(os.Args[0])},
		"/debug/pprof/threadcreate?debug=1":         {"threadcreate profile: total"},
		"/debug/pprof/profile?seconds=1":            {"\x1f\x8b"}, // gzip
		"/debug/pprof/trace?seconds=0":              {"go 1."},
	} {
		w := ask(h, "GET", path)
		for _, want := range wants {
			if w.Code != 200 || !strings.Contains(w.Body.String(), want) {
				t.Errorf("%s: %d, no %q in\n%.3000s", path, w.Code, want, w.Body)
			}
		}
		if strings.Contains(w.Body.String(), "<key") {
			t.Errorf("%s does not escape the key", path)
		}
	}
	waiter.End()
	if w := ask(h, "GET", "/debug/flights"); !strings.Contains(w.Body.String(), "No load is in the air") {
		t.Errorf("when all is over:\n%s", w.Body)
	}
}

// The state is a contract: top, stacks and the reader's scripts live on it.
func TestState(t *testing.T) {
	p, tracer := newPages(t)
	hang(t, tracer, "a")
	w := ask(p.Handler(), "GET", "/debug/state")
	if w.Code != 200 || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("%d %v", w.Code, w.Header())
	}
	var got map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	flights := got["flights"].([]any)
	groups := got["goroutines"].(map[string]any)["groups"].([]any)
	if len(flights) != 1 || len(groups) == 0 {
		t.Fatalf("%s", w.Body)
	}
	for _, c := range []struct {
		v    any
		want string
	}{
		{got, "step pid go began at flights queues counters goroutines running_spans"},
		{flights[0], "key trace_id span_id started age_ms shared ended error waiters linked waiter_traces"},
		{got["counters"], "hits misses joined unknown loads"},
		{got["goroutines"], "total aside groups"},
		{groups[0], "count state func file line own"},
	} {
		fields, _ := c.v.(map[string]any)
		for _, name := range strings.Fields(c.want) {
			if _, there := fields[name]; !there {
				t.Errorf("no field %q in %v", name, c.v)
			}
		}
	}
	if got["queues"] == nil || got["step"] != "07-inflight" || got["pid"] != float64(os.Getpid()) || got["go"] != runtime.Version() {
		t.Errorf("%s", w.Body)
	}
}

// Plain HTML: no script, and nothing from elsewhere, zpages' included.
func TestPlain(t *testing.T) {
	p, _ := newPages(t)
	h := p.Handler()
	for _, path := range all(t, h) {
		w := ask(h, "GET", path)
		if csp := w.Header().Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'; style-src 'unsafe-inline';") {
			t.Errorf("%s: %q lets scripts or other sites in", path, csp)
		}
		if path == "/debug/flightrecorder" || path == "/debug/state" || path == "/debug/tracez" || path == "/debug/pprof/" {
			continue
		}
		body := w.Body.String()
		for _, want := range []string{`<meta name="viewport" content="width=device-width`, "color-scheme: light dark", "overflow-wrap: anywhere", "</html>"} {
			if w.Code != 200 || !strings.Contains(body, want) {
				t.Errorf("%s: %d without %q", path, w.Code, want)
			}
		}
		if strings.Contains(body, "<script") || strings.Contains(body, "src=") {
			t.Errorf("%s has more than HTML", path)
		}
	}
}

// The pages answer the person at the machine, and nobody else.
func TestGuard(t *testing.T) {
	p, _ := newPages(t)
	h := p.Handler()
	for _, c := range []struct {
		header []string
		code   int
	}{
		{nil, 200},
		{[]string{"Host", "localhost:3781"}, 200},
		{[]string{"Host", "LOCALHOST"}, 200},
		{[]string{"Host", "[::1]:3781"}, 200},
		{[]string{"Host", "127.3.2.1:80"}, 200}, // another address of this machine's, or a tunnel's port
		{[]string{"Origin", "http://127.0.0.1:3781"}, 200},
		{[]string{"Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate"}, 200},
		{[]string{"Sec-Fetch-Site", "same-origin"}, 200},
		{[]string{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "navigate"}, 200}, // a link in Jaeger

		{[]string{"Host", "evil.example:3781"}, 403},
		{[]string{"Host", "127.0.0.1.evil.example"}, 403},
		{[]string{"Host", "localhost.evil.example"}, 403},
		{[]string{"Host", "192.168.1.2:3781"}, 403},
		{[]string{"Host", "0.0.0.0:3781"}, 403},
		{[]string{"Host", "evil.example@127.0.0.1"}, 403},
		{[]string{"Host", ""}, 403},
		{[]string{"Origin", "http://evil.example"}, 403},
		{[]string{"Origin", "http://127.0.0.1:8080"}, 403},
		{[]string{"Origin", "https://127.0.0.1:3781"}, 403},
		{[]string{"Origin", "null"}, 403},
		{[]string{"Sec-Fetch-Site", "cross-site"}, 403},
		{[]string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"}, 403},
		{[]string{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "no-cors"}, 403},
		{[]string{"Sec-Fetch-Site", "something"}, 403},
	} {
		for _, path := range append(all(t, h), "/debug/pprof/cmdline", "/debug/pprof/profile?seconds=1") {
			want := c.code
			if want == 200 && (path == "/debug/flightrecorder" || strings.Contains(path, "profile")) {
				continue // not served here, or slow; both have tests
			}
			w := ask(h, "GET", path, c.header...)
			if w.Code != want {
				t.Errorf("%s with %q: %d, want %d", path, c.header, w.Code, want)
			}
			if c.code == 403 && (strings.Contains(w.Body.String(), "07-inflight") || strings.Contains(w.Body.String(), "goroutine")) {
				t.Errorf("%s with %q says something all the same: %.200s", path, c.header, w.Body)
			}
		}
	}
	r := httptest.NewRequest("GET", "http://127.0.0.1:3781/", nil)
	for addr, want := range map[string]int{"192.168.1.2:5000": 403, "[::1]:5000": 200, "[::ffff:127.0.0.1]:5000": 200, "": 403} {
		r.RemoteAddr = addr
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != want {
			t.Errorf("from %s: %d, want %d", addr, w.Code, want)
		}
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS"} {
		for _, path := range all(t, h) {
			if w := ask(h, method, path); w.Code != 405 {
				t.Errorf("%s %s: %d, want 405", method, path, w.Code)
			}
		}
	}
}

// Otherwise they would show the process's inside to the network.
func TestOnlyLoopback(t *testing.T) {
	p, _ := newPages(t)
	for _, addr := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.168.1.2:0", "example.org:0", "3781"} {
		if err := p.Serve(t.Context(), addr); err == nil || !strings.Contains(err.Error(), "127.0.0.1 only") {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

// served are pages on a separate port.
func served(t *testing.T) (url string, tracer trace.Tracer, stop func()) {
	var log webtest.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	t.Cleanup(func() { slog.SetDefault(before) })
	t.Setenv("GODEBUG", os.Getenv("GODEBUG")) // put back afterwards
	p, tracer := newPages(t)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	if err := p.Serve(ctx, "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	_, url, _ = strings.Cut(log.String(), `msg="debug pages" url=`)
	url = strings.TrimSpace(url)
	stop = sync.OnceFunc(func() {
		cancel()
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
			conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
			if err != nil {
				return
			}
			conn.Close()
			if time.Now().After(end) {
				t.Fatal("it still listens")
			}
		}
	})
	t.Cleanup(stop)
	return url, tracer, stop
}

func TestServe(t *testing.T) {
	url, _, stop := served(t)
	// A goroutine says its trace; those that serve the pages are left out.
	block := make(chan int)
	defer close(block)
	pprof.Do(t.Context(), pprof.Labels("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736"), func(context.Context) { go func() { <-block }() })
	page := webtest.Get(t, url+"/debug/goroutines")
	if !strings.Contains(page, "4bf92f3577b34da6a3ce929d0e0e4736") || !strings.Contains(page, "chan receive") {
		t.Errorf("no trace in\n%s", page)
	}
	if strings.Contains(page, "debug.(*Pages)") || strings.Contains(page, "http.(*conn).serve") {
		t.Errorf("it shows those who look:\n%s", page)
	}
	stop() // and it listens no more
}

// The profiles name functions and files and no folder: not that of the binary
// either.
func TestProfiles(t *testing.T) {
	p, _ := newPages(t)
	for path, wants := range map[string][]string{
		"/debug/pprof/goroutine":         {"debug.TestProfiles", "goroutine", "count"},
		"/debug/pprof/heap":              {"inuse_space", "bytes"},
		"/debug/pprof/heap?seconds=1":    {"inuse_space", "bytes"},
		"/debug/pprof/profile?seconds=1": {"cpu", "nanoseconds"},
	} {
		zipped, err := gzip.NewReader(ask(p.Handler(), "GET", path).Body)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		texts := profileTexts(t, zipped)
		for _, want := range append(wants, filepath.Base(os.Args[0])) {
			if !slices.ContainsFunc(texts, func(s string) bool { return s == want || strings.HasSuffix(s, "/"+want) }) {
				t.Errorf("%s has no text %q", path, want)
			}
		}
		for _, s := range texts {
			if folder := filepath.Dir(os.Args[0]); strings.Contains(s, folder) || strings.HasPrefix(s, "/lib") || filepath.IsAbs(s) {
				t.Errorf("%s names a folder: %s", path, s)
			}
		}
	}
}

// profileTexts is the table of texts of a profile: names of functions, files,
// binaries, labels and units.
func profileTexts(t *testing.T, r io.Reader) []string {
	t.Helper()
	rest, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for len(rest) > 0 {
		number, kind, n := protowire.ConsumeField(rest)
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		if number == stringTable && kind == protowire.BytesType {
			text, _ := protowire.ConsumeString(rest[protowire.SizeTag(number):])
			texts = append(texts, text)
		}
		rest = rest[n:]
	}
	return texts
}

// buildsGo is why some tests are CI's.
const buildsGo = "it builds parts of Go, a minute on two cores with an empty cache"

// go tool pprof reads them all the same.
func TestToolReadsProfiles(t *testing.T) {
	need.Gate(t, buildsGo)
	p, _ := newPages(t)
	for path, want := range map[string]string{
		"/debug/pprof/goroutine":         "debug.TestToolReadsProfiles",
		"/debug/pprof/heap":              "inuse_space",
		"/debug/pprof/heap?seconds=1":    "inuse_space",
		"/debug/pprof/profile?seconds=1": "cpu/nanoseconds",
	} {
		file := filepath.Join(t.TempDir(), "profile")
		if err := os.WriteFile(file, ask(p.Handler(), "GET", path).Body.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), "go", "tool", "pprof", "-raw", file).CombinedOutput()
		_, mappings, _ := strings.Cut(string(out), "\nMappings\n")
		if err != nil || !strings.Contains(string(out), want) || !strings.Contains(mappings, filepath.Base(os.Args[0])) {
			t.Errorf("%s: %v, no %q or no binary in\n%.2000s", path, err, want, out)
		}
		if folder := filepath.Dir(os.Args[0]); strings.Contains(mappings, folder) || strings.Contains(mappings, "/lib") {
			t.Errorf("%s tells of folders:\n%s", path, mappings)
		}
	}
}

// What it downloads is a trace of the last seconds, in which our spans are tasks.
func TestFlightRecorder(t *testing.T) {
	url, tracer, _ := served(t)
	_, span := tracer.Start(t.Context(), "cache.get")
	span.End()
	res, err := http.Get(url + "/debug/flightrecorder")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if d := res.Header.Get("Content-Disposition"); d != `attachment; filename="07-inflight.trace"` {
		t.Errorf("Content-Disposition: %s", d)
	}
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 200 {
		t.Fatalf("%s, %v", res.Status, err)
	}
	if !regexp.MustCompile(`^go 1\.\d+ trace\x00`).Match(b) || !bytes.Contains(b, []byte("cache.get")) {
		t.Errorf("%d bytes that begin with %.20q and name cache.get: %v", len(b), b, bytes.Contains(b, []byte("cache.get")))
	}
	if need.CI() { // else see buildsGo
		file := filepath.Join(t.TempDir(), "x.trace")
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		events, err := exec.CommandContext(t.Context(), "go", "tool", "trace", "-d=parsed", file).CombinedOutput()
		if err != nil {
			t.Fatalf("go tool trace does not read it: %v\n%.500s", err, events)
		}
		if !regexp.MustCompile(`TaskBegin .*Type="cache\.get"`).Match(events) {
			t.Errorf("no task cache.get among %d bytes of events", len(events))
		}
	}
	// There can be one recorder in a process. A second set of pages says so.
	p, _ := newPages(t)
	p.noTrace = io.EOF
	if w := ask(p.Handler(), "GET", "/debug/flightrecorder"); w.Code != 503 || !strings.Contains(w.Body.String(), "no flight recorder") {
		t.Errorf("without one: %d %s", w.Code, w.Body)
	}
}

// Where nobody records spans there is no recorder to pay for, and the page says
// what else there is.
func TestNoRecorderWithoutSpans(t *testing.T) {
	start := func(exporter string) {
		t.Setenv("OTEL_TRACES_EXPORTER", exporter)
		tel, err := telemetry.Start(t.Context(), telemetry.Config{Out: io.Discard, JSON: io.Discard})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = tel.Stop() }()
	}
	defer start("json") // what is off is the process's
	start("none")
	p, _ := newPages(t)
	p.recorder, p.noTrace = startRecorder()
	if w := ask(p.Handler(), "GET", "/debug/flightrecorder"); w.Code != 503 || !strings.Contains(w.Body.String(), "nobody records spans") || !strings.Contains(w.Body.String(), "/debug/pprof/trace") {
		t.Errorf("with no spans: %d %s", w.Code, w.Body)
	}
}

// A goroutine on a channel that nobody has is found. Where Go has no such
// profile, the page says how to have it, and on CI the test runs itself with it.
func TestLeaks(t *testing.T) {
	p, _ := newPages(t)
	if pprof.Lookup("goroutineleak") == nil {
		body := ask(p.Handler(), "GET", "/debug/leaks").Body.String()
		if !strings.Contains(body, "GOEXPERIMENT=goroutineleakprofile go run ./scripts run 07-inflight") {
			t.Errorf("it does not say how to have the profile:\n%s", body)
		}
		need.Gate(t, buildsGo)
		cmd := exec.CommandContext(t.Context(), "go", "test", "-vet=off", "-count=1", "-v", "-run=^TestLeaks$", ".")
		cmd.Env = append(os.Environ(), "GOEXPERIMENT=goroutineleakprofile")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "found the leak") {
			t.Errorf("with the experiment: %v\n%s", err, out)
		}
		return
	}
	leak()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		body := ask(p.Handler(), "GET", "/debug/leaks").Body.String()
		if strings.Contains(body, "1 place in the code") && strings.Contains(body, "<b>3 × chan receive</b>") && strings.Contains(body, "debug.leak.func1") {
			t.Log("found the leak")
			return
		}
		if time.Now().After(end) {
			t.Fatalf("no leak in\n%s", body)
		}
	}
}

func leak() {
	for range 3 {
		go func() { <-make(chan int) }()
	}
}

func TestShortFunc(t *testing.T) {
	for name, want := range map[string]string{
		"plaque/steps/07-inflight/cache.(*Cache[...]).Get": "cache.(*Cache).Get",
		"main.run.func1":               "main.run.func1",
		"net/http.(*conn).serve":       "http.(*conn).serve",
		"golang.org/x/sync/sf.(*G).Do": "sf.(*G).Do",
		"":                             "",
	} {
		if got := ShortFunc(name); got != want {
			t.Errorf("%q is %q, want %q", name, got, want)
		}
	}
}

// What the pages count does not depend on the limits for what is exported.
func TestCountsUnderLimits(t *testing.T) {
	for name, value := range map[string]string{"OTEL_TRACES_EXPORTER": "json", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "0", "OTEL_SPAN_LINK_COUNT_LIMIT": "0", "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": "1"} {
		t.Setenv(name, value)
	}
	tel, err := telemetry.New(t.Context(), telemetry.Config{Out: io.Discard, JSON: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tel.Stop() }()
	p := New("07-inflight")
	for _, see := range p.Processors() {
		tel.Watch(see)
	}
	hang(t, tel.Provider().Tracer("test"), "a")
	s := p.State()
	if len(s.Flights) != 1 || s.Flights[0].Key != "a" || s.Flights[0].Linked != 1 || s.Counters.Joined != 1 {
		t.Errorf("%+v", s)
	}
}
