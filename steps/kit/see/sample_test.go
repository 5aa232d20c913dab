package see

import (
	"context"
	"encoding/binary"
	"errors"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// at is so many microseconds after noon.
func at(us int) trace.SpanEventOption {
	return trace.WithTimestamp(noon.Add(time.Duration(us) * time.Microsecond))
}

// counter gives ids 1, 2, 3.
type counter struct{ n atomic.Uint64 }

func (c *counter) NewIDs(ctx context.Context) (id trace.TraceID, span trace.SpanID) {
	span = c.NewSpanID(ctx, id)
	id[0], id[15] = 0xab, span[7]
	return id, span
}

func (c *counter) NewSpanID(context.Context, trace.TraceID) (id trace.SpanID) {
	binary.BigEndian.PutUint64(id[:], c.n.Add(1))
	return id
}

// services are plaque and its feed, with ids that count.
func services(p ...sdktrace.SpanProcessor) (plaque, feed *sdktrace.TracerProvider) {
	ids := new(counter)
	of := func(name string) *sdktrace.TracerProvider {
		opts := []sdktrace.TracerProviderOption{sdktrace.WithIDGenerator(ids), sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", name), attribute.String("service.version", "08-singleflight")))}
		for _, p := range p {
			opts = append(opts, sdktrace.WithSpanProcessor(p))
		}
		return sdktrace.NewTracerProvider(opts...)
	}
	return of("plaque"), of("feed")
}

// sample is a burst at fixed times: a leader and two who join its flight, a
// doomed load, and one who waits for a lock. It waits after each request until
// it is written.
func sample(t *testing.T, p ...sdktrace.SpanProcessor) []sdktrace.ReadOnlySpan {
	t.Helper()
	all := tracetest.NewSpanRecorder()
	plaque, feed := services(append(p, all)...)
	tracer, theirs := plaque.Tracer("test"), feed.Tracer("test")
	flush := func() {
		for _, p := range p {
			if err := p.ForceFlush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	burst := trace.ContextWithRemoteSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{0xaa, 15: 0xff}, SpanID: trace.SpanID{0xbb}, TraceFlags: trace.FlagsSampled, Remote: true}))
	request := func(us int) (context.Context, trace.Span) {
		return tracer.Start(burst, "GET /{$}", at(us), trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
			attribute.String("server.address", "127.0.0.1"), attribute.Int("server.port", 3779), attribute.String("url.path", "/")))
	}
	get := func(ctx context.Context, us int, result string, opts ...trace.SpanStartOption) (context.Context, trace.Span) {
		return tracer.Start(ctx, "cache.get", append(opts, at(us), trace.WithAttributes(
			attribute.String("cache.key", "UCs4fQRyl1TJvoeOdekW6lYA"), attribute.String("cache.result", result)))...)
	}

	ctx, leader := request(0)
	getCtx, leads := get(ctx, 1000, "miss")
	flightCtx, flight := tracer.Start(getCtx, "flight", at(2000))
	httpCtx, client := tracer.Start(flightCtx, "HTTP GET", at(3000), trace.WithSpanKind(trace.SpanKindClient))
	_, answer := theirs.Start(httpCtx, "GET /feeds/videos.xml", at(3500), trace.WithSpanKind(trace.SpanKindServer))
	answer.AddEvent("asked", at(3600), trace.WithAttributes(attribute.String("answer", "ok"), attribute.Int("n", 7)))
	waiters := make([]trace.Span, 4)
	for i := range 2 {
		ctx, waiters[2*i] = request(4000 + i)
		_, waiters[2*i+1] = get(ctx, 4100+i, "joined", trace.WithLinks(trace.LinkFromContext(flightCtx, attribute.String("why", "waited"))))
	}
	answer.End(at(56_000))
	client.End(at(57_000))
	flight.End(at(58_000))
	for i := range 2 { // one before the leader, whose flight is not written yet
		waiters[2*i+1].End(at(58_500 + i))
		waiters[2*i].SetAttributes(attribute.Int("http.response.status_code", 200))
		waiters[2*i].End(at(59_000 + i))
		flush()
		if i == 0 {
			leads.End(at(58_900))
			leader.End(at(60_000))
			flush()
		}
	}

	ctx, doomed := request(5000)
	getCtx, inner := get(ctx, 5010, "miss")
	_, load := tracer.Start(getCtx, "flight", at(5020))
	load.SetStatus(codes.Error, "the load panicked: doom: the load cannot take this video, and this says so at a length that no narrow terminal holds on one line")
	load.RecordError(errors.New("doom: the load cannot take this video\n\nruntime/debug.Stack()\n\tstack.go:26"), at(6000),
		trace.WithAttributes(attribute.String("exception.stacktrace", "goroutine 7")))
	load.End(at(6010))
	inner.End(at(6020))
	doomed.AddEvent("request failed", at(6030), trace.WithAttributes(attribute.String("level", "WARN"), attribute.String("error", "a \x1b[31mred\x1b[0m \"word\"\nof another"), attribute.Int("status", 500)))
	doomed.SetStatus(codes.Error, "")
	doomed.End(at(1_234_567))
	flush()

	ctx, alone := tracer.Start(t.Context(), "GET /{$}", at(2_000_000))
	_, lock := tracer.Start(ctx, "lock.wait", at(2_000_001))
	deep := ctx
	var below []trace.Span
	for range 12 {
		var s trace.Span
		deep, s = tracer.Start(deep, "deeper", at(2_000_500))
		below = append(below, s)
	}
	for _, s := range below {
		s.End(at(2_000_900))
	}
	lock.End(at(2_001_000))
	alone.AddLink(trace.Link{SpanContext: trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{0xcc}})})
	for range 4 {
		alone.AddLink(trace.Link{SpanContext: flight.SpanContext()})
	}
	alone.SetStatus(codes.Ok, "")
	alone.End(at(2_002_000))
	flush()
	return all.Ended()
}

// lines is text without its last line feed, by line.
func lines(s string) []string { return strings.Split(strings.TrimSuffix(s, "\n"), "\n") }

var ids = regexp.MustCompile(`\b[0-9a-f]{16}([0-9a-f]{16})?\b`)

// unnamed hides what differs from run to run.
func unnamed(s string) string { return ids.ReplaceAllString(s, "ID") }
