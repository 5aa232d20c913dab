package otlp

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// patient bounds nothing that a test could hit by being slow.
var patient = limits{body: 1 << 20, flight: 8 << 20, parts: 10_000, depth: 100, spans: 1000, held: 1 << 30, queue: 1 << 20, read: time.Hour, post: time.Hour, close: time.Hour}

func start(t *testing.T, c Config, l limits) *Receiver {
	t.Helper()
	r, err := listen(c, l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// message is a valid request with so many spans.
func message(t *testing.T, spans int) []byte {
	t.Helper()
	list := make([]*tracepb.Span, spans)
	for i := range list {
		list[i] = &tracepb.Span{
			TraceId: bytes.Repeat([]byte{1}, 16), SpanId: []byte{9, 0, 0, 0, 0, 0, byte(i >> 8), byte(i)},
			Name: "flight", StartTimeUnixNano: uint64(noon.UnixNano()) + uint64(spans-i), EndTimeUnixNano: uint64(noon.UnixNano()) + 5000,
		}
	}
	return encode(t, list...)
}

func encode(t *testing.T, spans ...*tracepb.Span) []byte {
	t.Helper()
	body, err := proto.Marshal(&tracepb.TracesData{ResourceSpans: []*tracepb.ResourceSpans{{
		Resource: &resourcepb.Resource{Attributes: []*commonpb.KeyValue{{
			Key: "service.name", Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: "plaque"}},
		}}},
		ScopeSpans: []*tracepb.ScopeSpans{{Spans: spans}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func zip(t *testing.T, body []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// send posts a body and returns the answer's status and text. Headers are pairs.
func send(t *testing.T, url string, body []byte, headers ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

func mustSend(t *testing.T, r *Receiver, body []byte) {
	t.Helper()
	if status, answer := send(t, r.URL()+tracesPath, body, "Content-Type", typeProtobuf); status != http.StatusOK {
		t.Fatalf("%d %s", status, answer)
	}
}

// forwarded fails the test unless so many spans were passed on and so many not,
// for a reason that says this; "" means that there is none.
func forwarded(t *testing.T, r *Receiver, sent, failed int, says string) {
	t.Helper()
	gotSent, gotFailed, err := r.Forwarded()
	if gotSent != sent || gotFailed != failed {
		t.Errorf("%d sent, %d failed, want %d and %d (%v)", gotSent, gotFailed, sent, failed, err)
	}
	if says == "" && err != nil {
		t.Errorf("error %v, want none", err)
	}
	if says != "" && (err == nil || !strings.Contains(err.Error(), says) || len(err.Error()) > 400) {
		t.Errorf("error %v, want it to say %q", err, says)
	}
}

// What the SDK's own exporter sends must arrive, in each of its formats.
func TestExporter(t *testing.T) {
	for _, encoding := range []otlptracehttp.Encoding{otlptracehttp.EncodingProtobuf, otlptracehttp.EncodingJSON} {
		for _, compression := range []otlptracehttp.Compression{otlptracehttp.NoCompression, otlptracehttp.GzipCompression} {
			t.Run(fmt.Sprintf("encoding %d, compression %d", encoding, compression), func(t *testing.T) {
				r := start(t, Config{}, patient)
				t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", r.URL()) // as a child gets it
				export(t, otlptracehttp.WithEncoding(encoding), otlptracehttp.WithCompression(compression))

				spans := r.Spans()
				if len(spans) != 2 {
					t.Fatalf("%d spans arrived, want 2", len(spans))
				}
				root, child := spans[0], spans[1]
				if root.Name != "GET /{$}" || root.Kind != "server" || root.Parent != "" || root.Status != "ok" {
					t.Errorf("the root is %+v", root)
				}
				if len(root.TraceID) != 32 || len(root.ID) != 16 || root.TraceID != child.TraceID || child.Parent != root.ID {
					t.Errorf("the ids do not fit together: %+v and %+v", root, child)
				}
				if child.Name != "cache.get" || child.Kind != "internal" || child.Service != "plaque" || child.Version != "07-inflight" {
					t.Errorf("the child is %+v", child)
				}
				if !child.Start.Equal(noon.Add(time.Millisecond)) || !child.End.Equal(noon.Add(3*time.Millisecond)) || child.Duration() != 2*time.Millisecond {
					t.Errorf("the child's times are %v and %v", child.Start, child.End)
				}
				for key, want := range map[string]string{"cache.result": "joined", "bytes": "42", "ratio": "0.5", "fresh": "false", "tags": "[a, b]"} {
					if got := child.Attrs[key]; got != want {
						t.Errorf("attribute %s is %q, want %q", key, got, want)
					}
				}
				if child.Status != "error" || child.Message != "the flight died" {
					t.Errorf("the child's status is %q %q", child.Status, child.Message)
				}
				if len(child.Links) != 1 || child.Links[0].ID != root.ID || child.Links[0].TraceID != root.TraceID || child.Links[0].Attrs["why"] != "waited" {
					t.Errorf("the child's links are %v", child.Links)
				}
				if len(child.Events) != 1 || child.Events[0].Name != "exception" || child.Events[0].Attrs["exception.message"] != "doom" || !child.Events[0].Time.Equal(noon.Add(2*time.Millisecond)) {
					t.Errorf("the child's events are %v", child.Events)
				}
				if child.DroppedLinks != 1 {
					t.Errorf("%d links dropped, want 1", child.DroppedLinks)
				}
			})
		}
	}
}

// export sends two spans with the SDK.
func export(t *testing.T, options ...otlptracehttp.Option) {
	t.Helper()
	exporter, err := otlptracehttp.New(t.Context(), options...)
	if err != nil {
		t.Fatal(err)
	}
	limits := sdktrace.NewSpanLimits()
	limits.LinkCountLimit = 1
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithSyncer(exporter),
		sdktrace.WithRawSpanLimits(limits),
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "plaque"), attribute.String("service.version", "07-inflight"))),
	)
	tracer := provider.Tracer("test")
	at := func(ms int) time.Time { return noon.Add(time.Duration(ms) * time.Millisecond) }
	ctx, root := tracer.Start(t.Context(), "GET /{$}", trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(at(0)))
	root.SetStatus(codes.Ok, "")
	_, child := tracer.Start(ctx, "cache.get", trace.WithTimestamp(at(1)))
	child.SetAttributes(attribute.String("cache.result", "joined"), attribute.Int("bytes", 42),
		attribute.Float64("ratio", 0.5), attribute.Bool("fresh", false), attribute.StringSlice("tags", []string{"a", "b"}))
	child.AddLink(trace.Link{SpanContext: child.SpanContext()}) // pushed out by the next
	child.AddLink(trace.Link{SpanContext: root.SpanContext(), Attributes: []attribute.KeyValue{attribute.String("why", "waited")}})
	child.RecordError(errors.New("doom"), trace.WithTimestamp(at(2)))
	child.SetStatus(codes.Error, "the flight died")
	child.End(trace.WithTimestamp(at(3)))
	root.End(trace.WithTimestamp(at(4)))
	if err := provider.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestJSON(t *testing.T) {
	r := start(t, Config{}, patient)
	// After the example in OTLP's specification: ids in hex, in either case, enums
	// as numbers, and a field that nobody knows yet.
	body := `{"resourceSpans": [{
		"resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "my.service"}}]},
		"scopeSpans": [{
			"scope": {"name": "my.library", "version": "1.0.0"},
			"spans": [{
				"traceId": "5B8EFFF798038103D269B633813FC60C", "spanId": "EEE19B7EC3C1B174", "parentSpanId": "eee19b7ec3c1b173",
				"name": "I'm a server span", "startTimeUnixNano": "1544712660000000000", "endTimeUnixNano": "1544712661000000000",
				"kind": 2, "newField": {"a": 1},
				"attributes": [{"key": "my.span.attr", "value": {"intValue": "7"}}],
				"links": [{"traceId": "5b8efff798038103d269b633813fc60d", "spanId": "eee19b7ec3c1b175"}]
			}]
		}]
	}]}`
	status, answer := send(t, r.URL()+tracesPath, []byte(body), "Content-Type", "application/json; charset=utf-8")
	if status != http.StatusOK || answer != "{}" {
		t.Fatalf("%d %s", status, answer)
	}
	spans := r.Spans()
	if len(spans) != 1 {
		t.Fatalf("%d spans, want 1", len(spans))
	}
	s := spans[0]
	if s.TraceID != "5b8efff798038103d269b633813fc60c" || s.ID != "eee19b7ec3c1b174" || s.Parent != "eee19b7ec3c1b173" {
		t.Errorf("ids %s %s %s", s.TraceID, s.ID, s.Parent)
	}
	if s.Kind != "server" || s.Service != "my.service" || s.Duration() != time.Second || s.Attrs["my.span.attr"] != "7" {
		t.Errorf("got %+v", s)
	}
	if len(s.Links) != 1 || s.Links[0].TraceID != "5b8efff798038103d269b633813fc60d" || s.Links[0].ID != "eee19b7ec3c1b175" {
		t.Errorf("links %+v", s.Links)
	}
}

func TestRefusals(t *testing.T) {
	l := patient
	l.body = 1000
	r := start(t, Config{}, l)
	traces := r.URL() + tracesPath
	bomb := zip(t, make([]byte, 1<<20))
	if int64(len(bomb)) >= 2*l.body {
		t.Fatal("the bomb is too large to get past the first limit")
	}
	l.body = 2000
	wide := start(t, Config{}, l).URL() + tracesPath
	tests := []struct {
		name    string
		url     string
		body    []byte
		headers []string
		status  int
		says    string
	}{
		{"no such path", r.URL() + "/", nil, nil, 404, "POST /v1/traces"},
		{"metrics", r.URL() + "/v1/metrics", nil, []string{"Content-Type", typeProtobuf}, 404, "traces only"},
		{"no type", traces, message(t, 1), nil, 415, typeProtobuf},
		{"form", traces, message(t, 1), []string{"Content-Type", "text/plain"}, 415, `"text/plain"`},
		{"broken type", traces, message(t, 1), []string{"Content-Type", ";;"}, 415, typeJSON},
		{"encoding", traces, message(t, 1), []string{"Content-Type", typeProtobuf, "Content-Encoding", "br"}, 415, "gzip"},
		{"rubbish", traces, []byte("GET / HTTP/1.1"), []string{"Content-Type", typeProtobuf}, 400, "not an OTLP trace request"},
		{"cut off", traces, message(t, 1)[:30], []string{"Content-Type", typeProtobuf}, 400, "not an OTLP trace request"},
		{"rubbish as JSON", traces, []byte("<html>"), []string{"Content-Type", typeJSON}, 400, "in JSON"},
		{"nothing as JSON", traces, nil, []string{"Content-Type", typeJSON}, 400, "in JSON"},
		{"nulls as JSON", traces, []byte(`{"resourceSpans":[{"scopeSpans":[{"spans":[null]}]}]}`), []string{"Content-Type", typeJSON}, 400, "in JSON"},
		{"deep JSON", wide, []byte(strings.Repeat(`{"resourceSpans":[`, 100)), []string{"Content-Type", typeJSON}, 400, "in JSON"},
		{"not gzip", traces, message(t, 1), []string{"Content-Type", typeProtobuf, "Content-Encoding", "gzip"}, 400, "cannot be read"},
		{"half a gzip", traces, zip(t, message(t, 1))[:40], []string{"Content-Type", typeProtobuf, "Content-Encoding", "gzip"}, 400, "cannot be read"},
		{"too large", traces, message(t, 100), []string{"Content-Type", typeProtobuf}, 413, "1000 bytes"},
		{"too large and nothing when unpacked", traces, bytes.Repeat(zip(t, nil), 100), []string{"Content-Type", typeProtobuf, "Content-Encoding", "gzip"}, 413, "1000 bytes"},
		{"too large when unpacked", wide, bomb, []string{"Content-Type", typeProtobuf, "Content-Encoding", "gzip"}, 413, "2000 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, answer := send(t, tt.url, tt.body, tt.headers...)
			if status != tt.status || !strings.Contains(answer, tt.says) {
				t.Errorf("%d %q, want %d with %q", status, answer, tt.status, tt.says)
			}
		})
	}

	resp, err := http.Get(traces)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 405 || resp.Header.Get("Allow") != "POST" {
		t.Errorf("GET: %d, Allow %q", resp.StatusCode, resp.Header.Get("Allow"))
	}

	if n := len(r.Spans()); n != 0 {
		t.Errorf("%d spans came out of that", n)
	}
	mustSend(t, r, message(t, 1)) // and it still works
	if n := len(r.Spans()); n != 1 {
		t.Errorf("%d spans, want 1", n)
	}
	mustSend(t, r, nil) // an empty message is a message without spans
}

// Spans without ids are told to the sender; the others count.
func TestPartialSuccess(t *testing.T) {
	good := &tracepb.Span{TraceId: bytes.Repeat([]byte{7}, 16), SpanId: bytes.Repeat([]byte{7}, 8), Name: "good"}
	good.ParentSpanId = make([]byte, 8) // zeros are no parent
	bad := []*tracepb.Span{
		{SpanId: bytes.Repeat([]byte{7}, 8), Name: "no trace id"},
		{TraceId: bytes.Repeat([]byte{7}, 16), SpanId: []byte{1, 2}, Name: "short span id"},
		{TraceId: make([]byte, 16), SpanId: bytes.Repeat([]byte{7}, 8), Name: "zeros"},
	}
	next := start(t, Config{}, patient)
	r := start(t, Config{Forward: next.URL()}, patient)

	status, answer := send(t, r.URL()+tracesPath, encode(t, append(bad, good)...), "Content-Type", typeProtobuf)
	rejected, why := rejectedIn(typeProtobuf, []byte(answer))
	if status != http.StatusOK || rejected != 3 || !strings.Contains(why, `"no trace id" has no usable trace id`) {
		t.Errorf("%d, %d rejected, %q", status, rejected, why)
	}
	// An id that is nothing, and one in base64, as protobuf's own JSON has it.
	body := `{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"xyz","name":"a\u0007\"b"},{"traceId":"BwcHBwcHBwcHBwcHBwcHBw==","spanId":"BwcHBwcHBwc=","name":"a\u0007\"b"}]}]}]}`
	status, answer = send(t, r.URL()+tracesPath, []byte(body), "Content-Type", typeJSON)
	want := `{"partialSuccess":{"rejectedSpans":"2","errorMessage":"span \"a\\a\\\"b\" has no usable trace id: 32 hex digits for the trace, 16 for the span, not all zero"}}`
	if status != http.StatusOK || answer != want {
		t.Errorf("%d %s\nwant %s", status, answer, want)
	}

	if spans := r.Spans(); len(spans) != 1 || spans[0].Name != "good" || spans[0].Parent != "" {
		t.Errorf("kept %v", spans)
	}
	r.Close()
	if spans := next.Spans(); len(spans) != 1 || spans[0].Name != "good" {
		t.Errorf("passed on %v", spans)
	}
}

func TestSpansAndTake(t *testing.T) {
	r := start(t, Config{}, patient)
	mustSend(t, r, message(t, 3)) // the last of them starts first
	spans := r.Spans()
	if len(spans) != 3 || !spans[0].Start.Before(spans[1].Start) || !spans[1].Start.Before(spans[2].Start) {
		t.Errorf("Spans: %v, want 3 ordered by start", spans)
	}
	spans[0].Name = "mine"
	if r.Spans()[0].Name != "flight" {
		t.Error("Spans handed out what it keeps")
	}
	if taken := r.Take(); len(taken) != 3 || !taken[0].Start.Before(taken[2].Start) {
		t.Errorf("Take: %v, want 3 ordered by start", taken)
	}
	if left := r.Spans(); len(left) != 0 {
		t.Errorf("%d spans after Take", len(left))
	}
}

func TestTooManySpans(t *testing.T) {
	l := patient
	l.spans = 5
	r := start(t, Config{}, l)
	mustSend(t, r, message(t, 4))
	status, answer := send(t, r.URL()+tracesPath, message(t, 2), "Content-Type", typeProtobuf)
	if status != http.StatusServiceUnavailable || !strings.Contains(answer, "4 spans are held") {
		t.Errorf("%d %s", status, answer)
	}
	r.Take()
	mustSend(t, r, message(t, 5))
}

func TestConcurrentPosts(t *testing.T) {
	next := start(t, Config{}, patient)
	r := start(t, Config{Forward: next.URL()}, patient)
	body := message(t, 5)
	var posts sync.WaitGroup
	for range 40 {
		posts.Go(func() {
			status, answer := send(t, r.URL()+tracesPath, body, "Content-Type", typeProtobuf)
			if status != http.StatusOK {
				t.Errorf("%d %s", status, answer)
			}
			r.Spans()
		})
	}
	if err := r.Wait(t.Context(), func(s []Span) bool { return len(s) == 200 }); err != nil {
		t.Error(err)
	}
	posts.Wait()
	http.DefaultClient.CloseIdleConnections() // Close waits 5 s for one that was made and not used
	r.Close()
	forwarded(t, r, 200, 0, "")
	if n := len(next.Spans()); n != 200 {
		t.Errorf("%d spans were passed on, want 200", n)
	}
}

func TestWait(t *testing.T) {
	// waiting waits for three spans. asked says with how many it was asked.
	waiting := func(t *testing.T, r *Receiver) (asked chan int, done chan error) {
		asked, done = make(chan int, 10), make(chan error, 1)
		go func() {
			done <- r.Wait(t.Context(), func(s []Span) bool {
				asked <- len(s)
				return len(s) == 3
			})
		}()
		return asked, done
	}
	t.Run("enough already, or never", func(t *testing.T) {
		r := start(t, Config{}, patient)
		mustSend(t, r, message(t, 2))
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // what has come counts, however late one asks
		if err := r.Wait(ctx, func(s []Span) bool { return len(s) == 2 }); err != nil {
			t.Error(err)
		}
		err := r.Wait(ctx, func([]Span) bool { return false })
		if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "2 spans had come") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("enough later", func(t *testing.T) {
		r := start(t, Config{}, patient)
		asked, done := waiting(t, r)
		if n := <-asked; n != 0 {
			t.Errorf("asked with %d spans before any had come", n)
		}
		mustSend(t, r, message(t, 1))
		if n := <-asked; n != 1 {
			t.Errorf("asked with %d spans, want 1", n)
		}
		mustSend(t, r, message(t, 2))
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Run("enough in the last moment", func(t *testing.T) {
		r := start(t, Config{}, patient)
		for range 20 { // the end and the spans are both there, and either may be seen first
			r.Take()
			ctx, cancel := context.WithCancel(t.Context())
			first := true
			err := r.Wait(ctx, func(s []Span) bool {
				if first {
					first = false
					mustSend(t, r, message(t, 1))
					cancel()
				}
				return len(s) == 1
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	})
	t.Run("closed", func(t *testing.T) {
		r := start(t, Config{}, patient)
		asked, done := waiting(t, r)
		<-asked
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; err == nil || !strings.Contains(err.Error(), "closed with 0 spans") {
			t.Errorf("got %v", err)
		}
	})
}

// collector is another collector, which answers as the handler says.
func collector(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return s.URL
}

func TestForwardExact(t *testing.T) {
	next := start(t, Config{}, patient)
	r := start(t, Config{Forward: next.URL() + "/"}, patient)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", r.URL())
	export(t, otlptracehttp.WithCompression(otlptracehttp.GzipCompression))
	export(t, otlptracehttp.WithEncoding(otlptracehttp.EncodingJSON))
	r.Close()
	forwarded(t, r, 4, 0, "")
	got, want := fmt.Sprintf("%+v", next.Spans()), fmt.Sprintf("%+v", r.Spans())
	if got != want {
		t.Errorf("passed on:\n%s\nreceived:\n%s", got, want)
	}
}

func TestForwardFailures(t *testing.T) {
	const refused = "http://127.0.0.1:0" // nobody can listen there
	answers := func(status int, format, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", format)
			w.WriteHeader(status)
			io.WriteString(w, text)
		}
	}
	tests := []struct {
		name   string
		url    string
		sent   int
		failed int
		says   string
	}{
		{"refused", refused, 0, 4, refused + "/v1/traces: dial tcp"},
		{"404", collector(t, answers(404, "text/plain", "404 page not found\n")), 0, 4, "answered 404 Not Found: 404 page not found"},
		{"500", collector(t, answers(500, "text/plain", "")), 0, 4, "answered 500 Internal Server Error"},
		{"500 with rubbish", collector(t, answers(500, "text/plain", "\x1b[2Jno"+strings.Repeat("x", 1<<20))), 0, 4, "Error: ·[2Jno"},
		{"500 in two lines", collector(t, answers(500, "text/plain", "no\nmore")), 0, 4, "Error: no"},
		{"an answer without end", collector(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
			for {
				if _, err := w.Write(bytes.Repeat([]byte("x"), 4096)); err != nil {
					return
				}
			}
		}), 0, 4, "answered 502 Bad Gateway"},
		{"redirect", collector(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		}), 0, 4, "answered 302 Found"},
		{"web page", collector(t, answers(200, "text/html; charset=utf-8", "<html>")), 0, 4, "answered with a web page"},
		{"some rejected", collector(t, answers(200, typeProtobuf, string(answer(typeProtobuf, 1, "too old")))), 2, 2, "not all of it: too old"},
		{"some rejected, in JSON", collector(t, answers(200, typeJSON, string(answer(typeJSON, 1, "too old")))), 2, 2, "not all of it: too old"},
		{"fewer than none rejected", collector(t, answers(200, typeProtobuf, string(answer(typeProtobuf, -5, "")))), 4, 0, ""},
		{"more rejected than sent", collector(t, answers(200, typeProtobuf, string(answer(typeProtobuf, 99, "")))), 0, 4, "not all of it"},
		{"an answer nobody can read", collector(t, answers(200, typeProtobuf, "\xff\xff\xff")), 4, 0, ""},
		{"hangs up", collector(t, func(_ http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body) // what is left unread would make it a reset
			panic(http.ErrAbortHandler)
		}), 0, 4, "EOF"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := start(t, Config{Forward: tt.url}, patient)
			mustSend(t, r, message(t, 2))
			mustSend(t, r, message(t, 2))
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			forwarded(t, r, tt.sent, tt.failed, tt.says)
			if n := len(r.Spans()); n != 4 {
				t.Errorf("%d spans are still here, want 4", n)
			}
		})
	}
}

// hanging takes a request and never answers it. entered says when it has one.
func hanging(t *testing.T) (url string, entered chan struct{}) {
	entered = make(chan struct{}, 1000)
	release := make(chan struct{})
	url = collector(t, func(_ http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	t.Cleanup(func() { close(release) })
	return url, entered
}

func TestForwardTimesOut(t *testing.T) {
	url, _ := hanging(t)
	l := patient
	l.post = 10 * time.Millisecond
	r := start(t, Config{Forward: url}, l)
	mustSend(t, r, message(t, 2))
	mustSend(t, r, message(t, 3))
	r.Close() // has an hour for the queue and needs two posts' time
	forwarded(t, r, 0, 5, "did not answer within 10ms")
}

// A collector that is slow, but in time for each request, gets all of a burst.
func TestForwardBurst(t *testing.T) {
	const each = 100 * time.Millisecond
	url := collector(t, func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		time.Sleep(each) // its slowness is what is tried
	})
	l := patient
	l.post = 10 * each // in which it takes 40 of 60
	r := start(t, Config{Forward: url}, l)
	for range 60 {
		mustSend(t, r, message(t, 1))
	}
	r.Close()
	forwarded(t, r, 60, 0, "")
}

// While another collector hangs, for as long as the test runs, senders are
// answered, the queue is bounded, and Close gives up in its time.
func TestHangingCollectorHoldsNobodyUp(t *testing.T) {
	url, entered := hanging(t)
	l := patient
	body := message(t, 2)
	l.queue = int64(11*len(body)) + 1
	l.close = 30 * time.Millisecond
	r := start(t, Config{Forward: url}, l)
	mustSend(t, r, body)
	<-entered
	for range 25 {
		mustSend(t, r, body)
	}
	forwarded(t, r, 0, 30, "is too slow") // 11 of 26 posts are on their way
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	forwarded(t, r, 0, 52, "had not answered when the receiver was closed")
	if n := len(r.Spans()); n != 52 {
		t.Errorf("%d spans are still here, want 52", n)
	}
}

// Whatever comes too late for the other collector is counted, not forgotten.
func TestForwardAfterClose(t *testing.T) {
	next := start(t, Config{}, patient)
	r := start(t, Config{Forward: next.URL()}, patient)
	r.Close()
	r.next.add(parcel{format: typeProtobuf, spans: 3})
	forwarded(t, r, 0, 3, "the receiver was closed first")
}

func TestForwardURL(t *testing.T) {
	for _, bad := range []string{"127.0.0.1:4318", "grpc://127.0.0.1:4317", "http://", "http://a b", "/v1/traces", "http://127.0.0.1:4318?x=1", "\x00"} {
		r, err := Listen(Config{Forward: bad})
		if err == nil {
			r.Close()
			t.Errorf("%q was taken", bad)
			continue
		}
		if !strings.Contains(err.Error(), "http://127.0.0.1:4318") {
			t.Errorf("%q: %v does not say what is wanted", bad, err)
		}
	}
}

func TestClose(t *testing.T) {
	l := patient
	l.close = 30 * time.Millisecond
	url, _ := hanging(t)
	r := start(t, Config{Forward: url}, l)
	mustSend(t, r, message(t, 1))

	// A sender that stops in the middle must not keep it open.
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.URL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Type: %s\r\nContent-Length: 100\r\n\r\n", tracesPath, typeProtobuf)
	if _, err := conn.Read(make([]byte, 12)); err != nil { // "100 Continue": the body is being read
		t.Fatal(err)
	}

	var closing sync.WaitGroup
	for range 3 {
		closing.Go(func() {
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			forwarded(t, r, 0, 1, "had not answered") // given up before Close came back
		})
	}
	closing.Wait()
	if _, err := net.Dial("tcp", strings.TrimPrefix(r.URL(), "http://")); err == nil {
		t.Error("the port still answers")
	}
	if n := len(r.Spans()); n != 1 {
		t.Errorf("%d spans are left to read, want 1", n)
	}
}

func TestDefaults(t *testing.T) {
	r, err := Listen(Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if !strings.HasPrefix(r.URL(), "http://127.0.0.1:") {
		t.Errorf("it listens on %s", r.URL())
	}
	forwarded(t, r, 0, 0, "") // there is nobody to forward to
	if r.limits.close > 3*time.Second || r.limits.post > 2*time.Second || r.limits.body != 16<<20 {
		t.Errorf("limits are %+v", r.limits)
	}
	if s := r.server; s.ReadHeaderTimeout == 0 || s.ReadTimeout == 0 || s.WriteTimeout == 0 || s.IdleTimeout == 0 {
		t.Error("the server waits forever")
	}
}
