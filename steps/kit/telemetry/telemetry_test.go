package telemetry

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"plaque/steps/kit/need"
	"plaque/steps/kit/web/webtest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// setenv leaves no OTEL_ variable and no LOG_LEVEL but those given, as NAME=value.
func setenv(t *testing.T, given ...string) {
	t.Helper()
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "OTEL_") || name == "LOG_LEVEL" {
			t.Setenv(name, "")
		}
	}
	for _, kv := range given {
		name, value, _ := strings.Cut(kv, "=")
		t.Setenv(name, value)
	}
}

// start starts telemetry that logs into the buffer, and stops it with the test.
func start(t *testing.T, c Config) (*Telemetry, *webtest.Buffer) {
	t.Helper()
	out := new(webtest.Buffer)
	c.Out = out
	tel, err := Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tel.Stop() })
	return tel, out
}

// emit makes a span that ends at once.
func emit(t *testing.T, tp trace.TracerProvider, name string) {
	_, s := tp.Tracer("test").Start(t.Context(), name)
	s.End()
}

// span is what a collector gets.
type span struct {
	*tracepb.Span
	resource map[string]string
}

// collector is an OTLP/HTTP collector. Its URL is the base one.
type collector struct {
	*httptest.Server
	spans chan span
}

func newCollector(t *testing.T) *collector {
	c := &collector{spans: make(chan span, 1<<16)}
	c.Server = httptest.NewServer(c)
	t.Cleanup(c.Close)
	return c
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var request collectorpb.ExportTraceServiceRequest
	if err != nil || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" || proto.Unmarshal(body, &request) != nil {
		http.Error(w, "that is no OTLP", http.StatusBadRequest)
		return
	}
	for _, rs := range request.ResourceSpans {
		resource := texts(rs.Resource.Attributes)
		for _, ss := range rs.ScopeSpans {
			for _, s := range ss.Spans {
				c.spans <- span{s, resource}
			}
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// next is the next span that arrives.
func (c *collector) next(t *testing.T) span {
	t.Helper()
	select {
	case s := <-c.spans:
		return s
	case <-time.After(20 * time.Second):
		t.Fatal("no span arrives")
		panic("unreachable")
	}
}

func texts(kvs []*commonpb.KeyValue) map[string]string {
	m := map[string]string{}
	for _, kv := range kvs {
		m[kv.Key] = kv.Value.GetStringValue()
	}
	return m
}

func TestSettings(t *testing.T) {
	for _, c := range []struct {
		env  string // separated by spaces
		says string // the error; "" for none
	}{
		{"", ""},
		{"OTEL_TRACES_EXPORTER=otlp", ""},
		{"OTEL_TRACES_EXPORTER=console", ""},
		{"OTEL_TRACES_EXPORTER=none", ""},
		{"OTEL_TRACES_EXPORTER=otlp,console,json", ""},
		{"OTEL_TRACES_EXPORTER=jaeger", `OTEL_TRACES_EXPORTER="jaeger": there is no exporter "jaeger": it can be otlp, console, json, chrome:FILE or none, and several of them with commas between, as in otlp,chrome:trace.json`},
		{"OTEL_TRACES_EXPORTER=Console", `there is no exporter "Console"`},
		{"OTEL_TRACES_EXPORTER=otlp,", "an entry is empty"},
		{"OTEL_TRACES_EXPORTER=,", "an entry is empty"},
		{"OTEL_TRACES_EXPORTER=:file", "an entry is empty"},
		{"OTEL_TRACES_EXPORTER=chrome", "chrome needs a file"},
		{"OTEL_TRACES_EXPORTER=chrome:", "chrome needs a file"},
		{"OTEL_TRACES_EXPORTER=json:spans.json", `json takes no "spans.json"`},
		{"OTEL_TRACES_EXPORTER=otlp,otlp", "otlp is there twice"},
		{"OTEL_TRACES_EXPORTER=chrome:a,chrome:b", "chrome is there twice"},
		{"OTEL_TRACES_EXPORTER=none,console", "none goes with no other"},
		{"OTEL_TRACES_EXPORTER=console,none", "none goes with no other"},
		{"OTEL_SDK_DISABLED=true", ""},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318/", ""},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=https://example.com", ""},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=localhost:4318", `OTEL_EXPORTER_OTLP_ENDPOINT="localhost:4318" is not a URL with a scheme: write it like http://127.0.0.1:4318`},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=127.0.0.1:4318", "OTEL_EXPORTER_OTLP_ENDPOINT="},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=jaeger", "OTEL_EXPORTER_OTLP_ENDPOINT="},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=http://", "OTEL_EXPORTER_OTLP_ENDPOINT="},
		{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=localhost:4318 OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318", `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="localhost:4318"`},
		{"OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf", ""},
		{"OTEL_EXPORTER_OTLP_PROTOCOL=grpc", `OTEL_EXPORTER_OTLP_PROTOCOL="grpc": this program speaks http/protobuf only`},
		{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/json", `OTEL_EXPORTER_OTLP_TRACES_PROTOCOL="http/json"`},
		{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/protobuf OTEL_EXPORTER_OTLP_PROTOCOL=grpc", ""},
		{"OTEL_BSP_MAX_QUEUE_SIZE=1", ""},
		{"OTEL_BSP_MAX_QUEUE_SIZE=0", `OTEL_BSP_MAX_QUEUE_SIZE="0": it can be a number of spans that may wait to be sent, from 1 to 1048576`},
		{"OTEL_BSP_MAX_QUEUE_SIZE=99999999", "OTEL_BSP_MAX_QUEUE_SIZE="},
		{"OTEL_BSP_MAX_QUEUE_SIZE=many", `OTEL_BSP_MAX_QUEUE_SIZE="many"`},
		{"OTEL_RESOURCE_ATTRIBUTES=team=a,zone=b", ""},
		{"OTEL_RESOURCE_ATTRIBUTES=team", "OTEL_RESOURCE_ATTRIBUTES"},
		{"LOG_LEVEL=debug", ""},
		{"LOG_LEVEL=WARN", ""},
		{"LOG_LEVEL=loud", `LOG_LEVEL="loud": "loud" is no level: it can be debug, info, warn or error, and target=level for the lines of one package, with commas between: warn,youtube=debug`},
		{"LOG_LEVEL=warn,youtube=debug", ""},
		{"LOG_LEVEL=warn,nobody=debug", ""},
	} {
		t.Run(c.env, func(t *testing.T) {
			setenv(t, strings.Fields(c.env)...)
			tel, err := Start(t.Context(), Config{Out: io.Discard})
			if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("got %v, want %q", err, c.says)
			}
			if err == nil {
				_ = tel.Stop()
			}
		})
	}
}

// A program that names the endpoint depends on no variable.
func TestEndpointIsOurs(t *testing.T) {
	cert, _ := certificate(t, t.TempDir())
	setenv(t, "OTEL_TRACES_EXPORTER=none", "OTEL_SDK_DISABLED=true", "OTEL_EXPORTER_OTLP_ENDPOINT=nonsense",
		"OTEL_EXPORTER_OTLP_PROTOCOL=grpc", "OTEL_SERVICE_NAME=theirs", "OTEL_TRACES_SAMPLER=always_off", "OTEL_BSP_MAX_QUEUE_SIZE=no",
		"OTEL_EXPORTER_OTLP_HEADERS=k=v", "OTEL_EXPORTER_OTLP_COMPRESSION=gzip", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT=0", "OTEL_EXPORTER_OTLP_CERTIFICATE="+cert)
	c := newCollector(t)
	start(t, Config{Service: "load", Endpoint: c.URL})
	emit(t, otel.GetTracerProvider(), "burst")
	if got := c.next(t); got.Name != "burst" || got.resource["service.name"] != "load" {
		t.Errorf("got %q of %q", got.Name, got.resource["service.name"])
	}
}

func TestSpansArrive(t *testing.T) {
	c := newCollector(t)
	for _, env := range []string{
		"OTEL_EXPORTER_OTLP_ENDPOINT=" + c.URL,
		"OTEL_EXPORTER_OTLP_ENDPOINT=" + c.URL + "/",
		"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=" + c.URL + "/v1/traces",
	} {
		setenv(t, env)
		tel, out := start(t, Config{Version: "05-naive-cache"})
		ctx, parent := otel.Tracer("test").Start(t.Context(), "parent", trace.WithAttributes(attribute.String("cache.key", "a")))
		_, child := otel.Tracer("test").Start(ctx, "child", trace.WithLinks(trace.LinkFromContext(ctx)))
		ended := time.Now()
		child.End()
		parent.End()
		got := []span{c.next(t), c.next(t)}
		// By themselves, and long before the SDK's default of 5 s.
		if took := time.Since(ended); took > 4*time.Second {
			t.Errorf("%s: the spans took %v", env, took)
		}
		if got[0].Name != "child" || got[1].Name != "parent" || !bytes.Equal(got[0].ParentSpanId, got[1].SpanId) || len(got[0].Links) != 1 {
			t.Errorf("%s: got %v", env, got)
		}
		if texts(got[1].Attributes)["cache.key"] != "a" {
			t.Errorf("%s: attributes %v", env, got[1].Attributes)
		}
		if r := got[0].resource; r["service.name"] != "plaque" || r["service.version"] != "05-naive-cache" || r["telemetry.sdk.language"] != "go" {
			t.Errorf("%s: resource %v", env, r)
		}
		if err := tel.Stop(); err != nil || out.String() != "" {
			t.Errorf("%s: %v; log: %s", env, err, out)
		}
	}
}

func TestDefaultEndpoint(t *testing.T) {
	l, err := net.Listen("tcp", strings.TrimPrefix(DefaultEndpoint, "http://"))
	if err != nil {
		need.Missing(t, "the port of "+DefaultEndpoint, fmt.Sprintf("stop what listens there (%v)", err))
	}
	c := &collector{spans: make(chan span, 1<<16)}
	c.Server = &httptest.Server{Listener: l, Config: &http.Server{Handler: c}}
	c.Start()
	defer c.Close()
	setenv(t)
	start(t, Config{})
	emit(t, otel.GetTracerProvider(), t.Name())
	for c.next(t).Name != t.Name() { // other programs use that port too
	}
}

func TestNames(t *testing.T) {
	c := newCollector(t)
	endpoint := "OTEL_EXPORTER_OTLP_ENDPOINT=" + c.URL
	for _, e := range []struct {
		env           []string
		service       string
		name, version string
		feed          string
	}{
		{nil, "", "plaque", "v", "feed"},
		{nil, "load", "load", "v", "feed"},
		{[]string{"OTEL_SERVICE_NAME=mine"}, "load", "mine", "v", "feed"},
		{[]string{"OTEL_RESOURCE_ATTRIBUTES=service.name=mine,service.version=w"}, "", "mine", "w", "feed"},
		{[]string{"OTEL_RESOURCE_ATTRIBUTES=service.name=other", "OTEL_SERVICE_NAME=mine"}, "", "mine", "v", "feed"},
	} {
		setenv(t, append(e.env, endpoint)...)
		tel, _ := start(t, Config{Service: e.service, Version: "v"})
		for _, p := range []struct {
			trace.TracerProvider
			name string
		}{{tel.Provider(), e.name}, {tel.For("feed"), e.feed}} {
			emit(t, p, "span")
			if r := c.next(t).resource; r["service.name"] != p.name || r["service.version"] != e.version {
				t.Errorf("%v, %q: got %v, want %s, %s", e.env, e.service, r, p.name, e.version)
			}
		}
		if err := tel.Stop(); err != nil {
			t.Error(err)
		}
	}
}

func TestNone(t *testing.T) {
	c := newCollector(t)
	for _, env := range []string{"OTEL_TRACES_EXPORTER=none", "OTEL_SDK_DISABLED=TRUE", "OTEL_TRACES_SAMPLER=always_off"} {
		setenv(t, env, "OTEL_EXPORTER_OTLP_ENDPOINT="+c.URL)
		tel, out := start(t, Config{})
		if !Off() {
			t.Errorf("%s: Off does not know", env)
		}
		pages := tracetest.NewSpanRecorder()
		tel.Watch(pages)
		for _, tp := range []trace.TracerProvider{tel.Provider(), tel.For("feed")} {
			_, s := tp.Tracer("test").Start(t.Context(), "span")
			if !s.SpanContext().IsValid() {
				t.Errorf("%s: the span has no id, and an error would have no trace_id", env)
			}
			if s.IsRecording() {
				t.Errorf("%s: the span is recorded, for nobody", env)
			}
			s.End()
		}
		if n := len(pages.Started()); n != 0 {
			t.Errorf("%s: the debug pages keep %d spans that nobody records", env, n)
		}
		if err := tel.Stop(); err != nil || out.String() != "" {
			t.Errorf("%s: %v; log: %s", env, err, out)
		}
	}
	if len(c.spans) != 0 {
		t.Errorf("%d spans arrived", len(c.spans))
	}
}

// One warning while the collector is away, not one for each batch; and at the
// end how many were lost.
func TestCollectorAway(t *testing.T) {
	c := newCollector(t)
	c.Close() // nobody listens there now
	setenv(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+c.URL)
	tel, out := start(t, Config{})
	for range 5 {
		emit(t, otel.GetTracerProvider(), "span")
		if err := tel.Flush(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if log := out.String(); strings.Count(log, "\n") != 1 || !strings.Contains(log, "no spans are delivered: is Jaeger running?") || !strings.Contains(log, "endpoint="+c.URL) {
		t.Errorf("five lost batches, logged as\n%s", log)
	}
	err := tel.Stop()
	if want := "5 of 5 spans did not reach " + c.URL + ": "; err == nil || !strings.HasPrefix(err.Error(), want) || !strings.Contains(err.Error(), "dial tcp") {
		t.Errorf("Stop returned %v, want %s and that nobody could be called", err, want)
	}
	if tel.Endpoint() != c.URL {
		t.Errorf("Endpoint is %q, want %q", tel.Endpoint(), c.URL)
	}
	if log := out.String(); strings.Count(log, "\n") != 2 || !strings.Contains(log, `msg="spans lost" lost=5 of=5`) {
		t.Errorf("log:\n%s", log)
	}
}

// What is lost is what did not arrive, and no more. The spans of the feed count
// too.
func TestCollectorComesBack(t *testing.T) {
	c := newCollector(t)
	var up atomic.Bool
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if !up.Load() {
			http.Error(w, "not yet", http.StatusServiceUnavailable)
			return
		}
		c.ServeHTTP(w, r)
	}))
	defer server.Close()
	setenv(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+server.URL)
	tel, out := start(t, Config{})
	for i, p := range []trace.TracerProvider{tel.Provider(), tel.For("feed"), tel.Provider(), tel.For("feed"), tel.Provider()} {
		up.Store(i >= 2)
		emit(t, p, "span")
		if err := tel.Flush(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if err := tel.Stop(); err == nil || !strings.HasPrefix(err.Error(), "2 of 5 spans did not reach") || len(c.spans) != 3 {
		t.Errorf("%d arrived, Stop returned %v; log:\n%s", len(c.spans), err, out)
	}
	if n := asked.Load(); n != 5 {
		t.Errorf("5 batches, %d requests: a lost batch is not sent again", n)
	}
}

// A collector that takes the connection and never answers.
func TestCollectorHangs(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	setenv(t, "OTEL_EXPORTER_OTLP_ENDPOINT=http://"+l.Addr().String())
	tel, out := start(t, Config{})
	const all = 2000 // several batches, each of which would take its own time
	for range all {
		emit(t, otel.GetTracerProvider(), "span")
	}
	begin := time.Now()
	err = tel.Stop()
	if took := time.Since(begin); took > stopWithin+3*time.Second {
		t.Errorf("Stop took %v", took)
	}
	if err == nil || !strings.Contains(err.Error(), "2000 of 2000 spans did not reach") || !strings.Contains(out.String(), "lost=2000 of=2000") {
		t.Errorf("Stop returned %v; log:\n%s", err, out)
	}
}

// A burst makes spans faster than they are sent; the queue has room for them.
func TestTightLoop(t *testing.T) {
	c := newCollector(t)
	setenv(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+c.URL)
	tel, out := start(t, Config{})
	const all = 20_000
	tracer := otel.Tracer("test")
	for range all {
		_, s := tracer.Start(t.Context(), "span")
		s.End()
	}
	if err := tel.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	if got := len(c.spans); got != all {
		t.Errorf("%d of %d spans arrived; log:\n%s", got, all, out)
	}
}

// What does not fit into the queue is told of when it happens, and counted at the
// stop, with what to do. The collector holds the first delivery, so that the queue
// fills whatever the machine does.
func TestDrops(t *testing.T) {
	c := newCollector(t)
	asked, open := make(chan struct{}, 1<<16), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-open
		c.ServeHTTP(w, r)
	}))
	defer server.Close()
	setenv(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+server.URL, "OTEL_BSP_MAX_QUEUE_SIZE=10")
	tel, out := start(t, Config{})
	end := func(n int) {
		for range n {
			emit(t, otel.GetTracerProvider(), "span")
		}
	}
	end(10) // the first batch
	<-asked
	end(10) // what the queue takes
	if log := out.String(); log != "" {
		t.Errorf("nothing is dropped so far, and the log says\n%s", log)
	}
	end(1000)
	const why = `why="more spans ended at once than the queue of 10 takes: set OTEL_BSP_MAX_QUEUE_SIZE higher, or unset it for 32768"`
	if log := out.String(); strings.Count(log, "\n") != 1 || !strings.Contains(log, `level=WARN msg="spans are dropped" `+why) {
		t.Errorf("1000 are dropped, and the log says\n%s", log)
	}
	close(open)
	err := tel.Stop()
	// Where the machine stops for 200 ms, the first batch is not a full one.
	lost := 1020 - len(c.spans)
	if lost < 1000 || lost > 1010 {
		t.Errorf("%d spans arrived, want 20", len(c.spans))
	}
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%d of 1020 spans did not reach", lost)) || !strings.Contains(err.Error(), "set OTEL_BSP_MAX_QUEUE_SIZE higher") {
		t.Errorf("Stop returned %v", err)
	}
	if log := out.String(); strings.Count(log, "\n") != 2 || !strings.Contains(log, fmt.Sprintf(`msg="spans lost" lost=%d of=1020 endpoint=%s dropped=%d %s`, lost, server.URL, lost, why)) {
		t.Errorf("log:\n%s", log)
	}
}

func TestPropagator(t *testing.T) {
	setenv(t, "OTEL_TRACES_EXPORTER=none")
	start(t, Config{})
	if got := otel.GetTextMapPropagator().Fields(); !slices.Contains(got, "traceparent") || !slices.Contains(got, "baggage") {
		t.Errorf("the propagator carries %q", got)
	}
}

func TestLog(t *testing.T) {
	c := newCollector(t)
	setenv(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+c.URL)
	_, out := start(t, Config{})
	ctx, s := otel.Tracer("test").Start(t.Context(), "span")
	slog.WarnContext(ctx, "request failed", "status", 502, "error", io.ErrUnexpectedEOF)
	slog.With("step", "05").WithGroup("g").InfoContext(ctx, "second", "n", 1)
	slog.DebugContext(ctx, "too quiet to be told")
	slog.Info("not of a span")
	s.End()

	id := s.SpanContext().TraceID().String()
	for i, want := range []string{
		`level=WARN msg="request failed" status=502 error="unexpected EOF" trace_id=` + id,
		`level=INFO msg=second step=05 g.n=1 g.trace_id=` + id,
		`level=INFO msg="not of a span"`,
		"",
	} {
		lines := strings.Split(out.String(), "\n")
		if len(lines) != 4 || !strings.HasSuffix(lines[i], want) {
			t.Errorf("line %d is not %s\n%s", i, want, out)
		}
	}
	events := c.next(t).Events
	if len(events) != 2 || events[0].Name != "request failed" || events[1].Name != "second" {
		t.Fatalf("the span's events: %v", events)
	}
	if got := texts(events[0].Attributes); fmt.Sprint(got) != "map[error:unexpected EOF level:WARN status:502]" {
		t.Errorf("the event's attributes: %v", got)
	}
}

// What the SDK has to say comes through the same log.
func TestErrorsOfTheSDK(t *testing.T) {
	setenv(t, "OTEL_TRACES_EXPORTER=none")
	_, out := start(t, Config{})
	otel.Handle(io.ErrClosedPipe)
	if got := out.String(); !strings.HasSuffix(got, `level=WARN msg=telemetry error="io: read/write on closed pipe"`+"\n") {
		t.Errorf("logged %q", got)
	}
}

var ids = regexp.MustCompile(`\b[0-9a-f]{16}([0-9a-f]{16})?\b`)

// unnamed hides what differs from run to run.
func unnamed(s string) string { return ids.ReplaceAllString(s, "ID") }

func TestConsole(t *testing.T) { synctest.Test(t, testConsole) }

func testConsole(t *testing.T) {
	setenv(t, "OTEL_TRACES_EXPORTER=console")
	tel, out := start(t, Config{Version: "05-naive-cache"})
	tracer, feed := otel.Tracer("test"), tel.For("feed").Tracer("test")

	caller := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled, Remote: true})
	ctx, root := tracer.Start(trace.ContextWithRemoteSpanContext(t.Context(), caller), "GET /{$}")
	time.Sleep(time.Millisecond)
	getCtx, get := tracer.Start(ctx, "cache.get", trace.WithAttributes(attribute.Bool("hit", false), attribute.String("cache.key", "a")))
	_, load := feed.Start(getCtx, "GET /feeds/videos.xml")
	load.AddEvent("asked", trace.WithAttributes(attribute.String("answer", "500")))
	_, joined := tracer.Start(ctx, "cache.get", trace.WithLinks(trace.LinkFromContext(getCtx)))
	time.Sleep(1234567)
	slog.WarnContext(ctx, "request failed", "status", 502)
	get.RecordError(io.ErrUnexpectedEOF, trace.WithStackTrace(true))
	get.SetStatus(codes.Error, "it broke off")
	get.End()
	joined.End()
	root.End()
	if err := tel.Flush(t.Context()); err != nil || strings.Contains(out.String(), "trace ") {
		t.Errorf("the tree was printed before all of it had ended (%v)", err)
	}
	time.Sleep(time.Second)
	load.End()
	if err := tel.Flush(t.Context()); err != nil {
		t.Error(err)
	}

	_, tree, _ := strings.Cut(out.String(), "\n") // the log's line comes first
	want := `#1  trace ID  plaque 05-naive-cache
        0  2.23ms  GET /{$}
     +1ms  1.23ms    cache.get ERROR it broke off  cache.key=a hit=false
     +1ms      1s      GET /feeds/videos.xml (feed)
     +1ms                · asked  answer=500
  +2.23ms              · exception unexpected EOF  exception.type=*errors.errorString
     +1ms  1.23ms    cache.get → cache.get
  +2.23ms            · request failed  status=502 level=WARN
`
	if got := unnamed(tree); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// Requests that run at once come out as whole trees, and no line of the log
// lands inside of one.
func TestConsoleAtOnce(t *testing.T) {
	setenv(t, "OTEL_TRACES_EXPORTER=console")
	out := new(bytes.Buffer) // not safe by itself, as a terminal is not
	tel, err := Start(t.Context(), Config{Out: out})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tel.Stop() }()
	const requests = 200
	tracer := otel.Tracer("test")
	var all sync.WaitGroup
	for i := range requests {
		all.Go(func() {
			n := attribute.Int("request", i)
			ctx, root := tracer.Start(context.Background(), "root", trace.WithAttributes(n))
			var children sync.WaitGroup
			for range 3 {
				_, child := tracer.Start(ctx, "child", trace.WithAttributes(n))
				children.Go(func() {
					slog.Info("line")
					child.End()
				})
			}
			root.End() // before its children, or after them
			children.Wait()
		})
	}
	all.Wait()
	if err := tel.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	line := regexp.MustCompile(`(?m)^time=\S+ level=INFO msg=line\n`)
	if got := len(line.FindAllString(out.String(), -1)); got != 3*requests {
		t.Errorf("%d lines of the log, want %d", got, 3*requests)
	}
	trees := regexp.MustCompile(`#\d+  trace [0-9a-f]{32}  plaque\n +0 +\S+  root  request=(\d+)\n((?: +\S+ +\S+    child  request=\d+\n){3})`)
	found := trees.FindAllStringSubmatch(out.String(), -1) // each in one piece
	for _, tree := range found {
		if strings.Count(tree[2], " request="+tree[1]+"\n") != 3 {
			t.Errorf("a tree with others' spans:\n%s", tree[0])
		}
	}
	if len(found) != requests {
		t.Errorf("%d whole trees, want %d", len(found), requests)
	}
}
