package telemetry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"plaque/steps/kit/web/webtest"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	"google.golang.org/protobuf/proto"
)

// badSpan has the text in every place of a span that can have one.
func badSpan(tp trace.TracerProvider, bad string) {
	kvs := trace.WithAttributes(
		attribute.String(bad, bad),
		attribute.StringSlice("list", []string{"good", bad}),
		attribute.KeyValue{Key: "slice", Value: attribute.SliceValue(attribute.StringValue(bad), attribute.SliceValue(attribute.StringValue(bad)))},
		attribute.KeyValue{Key: "map", Value: attribute.MapValue(attribute.String(bad, bad), attribute.KeyValue{Key: "in", Value: attribute.MapValue(attribute.String(bad, bad))})})
	tracer := tp.Tracer(bad, trace.WithInstrumentationVersion(bad), trace.WithSchemaURL(bad), trace.WithInstrumentationAttributes(attribute.String(bad, bad)))
	_, other := tracer.Start(context.Background(), "other")
	other.End()
	_, s := tracer.Start(context.Background(), bad, kvs, trace.WithLinks(trace.Link{SpanContext: other.SpanContext(), Attributes: []attribute.KeyValue{attribute.String(bad, bad)}}))
	s.AddEvent(bad, kvs)
	s.RecordError(errors.New(bad), trace.WithStackTrace(true))
	s.SetStatus(codes.Error, bad)
	s.End()
}

// Whatever bytes strangers put into one span, nobody's span is lost, and the text
// arrives with U+FFFD in place of what is not UTF-8.
func TestTextThatIsNotUTF8(t *testing.T) {
	c := newCollector(t)
	setenv(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+c.URL, "OTEL_SERVICE_NAME=a\xffb", "OTEL_RESOURCE_ATTRIBUTES=team=%ff,x%c3=\xc3")
	tel, log := start(t, Config{})
	const others = 30
	for i := range others {
		emit(t, tel.Provider(), fmt.Sprint("span", i))
	}
	bad := []string{"\xff", "a\xc3(b", "\xed\xa0\xbd", "\xf0\x9f", "cut\xe2\x82"}
	for _, text := range bad {
		badSpan(tel.Provider(), text)
	}
	// What a caller sends: a path, a User-Agent and an address that are no UTF-8.
	server := otelhttp.NewHandler(http.NotFoundHandler(), "server", otelhttp.WithTracerProvider(tel.Provider()))
	r := httptest.NewRequest("GET", "http://127.0.0.1/", nil)
	r.URL.Path, r.RequestURI = "/\xff", "/\xff"
	r.Header.Set("User-Agent", "\xff")
	r.Header.Set("X-Forwarded-For", "\xff")
	server.ServeHTTP(httptest.NewRecorder(), r)
	if err := tel.Stop(); err != nil || log.String() != "" {
		t.Errorf("%v; the log: %s", err, log)
	}
	want := others + 2*len(bad) + 1
	if got := len(c.spans); got != want {
		t.Fatalf("%d spans of %d arrive", got, want)
	}
	mended := 0
	for range want {
		s := c.next(t)
		if s.resource["service.name"] != "a\ufffdb" || s.resource["team"] != "\ufffd" {
			t.Errorf("the resource is %q", s.resource)
		}
		if strings.ContainsRune(s.Name, utf8.RuneError) {
			mended++
			if s.Status.Message != s.Name || s.Events[0].Name != s.Name || s.Attributes[0].Key != s.Name || s.Attributes[0].Value.GetStringValue() != s.Name {
				t.Errorf("mended to %v", s.Span)
			}
		}
	}
	if mended != len(bad) {
		t.Errorf("%d names are mended, want %d", mended, len(bad))
	}
}

// A text that is in order is not touched, and no part of it is lost.
func TestTextStays(t *testing.T) {
	for _, s := range []string{"", "plain", "é ✅ \u009b \x00 \ufffd", strings.Repeat("日本", 1000)} {
		if got := valid(s); got != s {
			t.Errorf("%q becomes %q", s, got)
		}
	}
}

func FuzzOutgoing(f *testing.F) {
	for _, s := range []string{"", "a\xff", "\xed\xa0\x80", "日本\xe6"} {
		f.Add(s, 3, 1)
	}
	f.Fuzz(func(t *testing.T, bad string, length, count int) {
		recorder := tracetest.NewSpanRecorder()
		l := defaults().limits
		l.AttributeValueLengthLimit, l.AttributeCountLimit, l.EventCountLimit = length, count, count
		badSpan(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder)), bad)
		for _, s := range recorder.Ended() {
			out := l.of(s)
			if !utf8.ValidString(out.Name()) || !utf8.ValidString(out.Status().Description) || count >= 0 && (len(out.Attributes()) > count || len(out.Events()) > count) {
				t.Errorf("%q: %v", bad, out)
			}
			if len(out.Attributes())+out.DroppedAttributes() != len(s.Attributes())+s.DroppedAttributes() {
				t.Errorf("%d attributes and %d dropped of %d", len(out.Attributes()), out.DroppedAttributes(), len(s.Attributes()))
			}
			for _, kv := range out.Attributes() {
				if text := kv.Value.AsString(); !utf8.ValidString(string(kv.Key)) || !utf8.ValidString(text) || length >= 0 && utf8.RuneCountInString(text) > length {
					t.Errorf("%q, at most %d: %q", bad, length, text)
				}
			}
		}
	})
}

// failing is an exporter that fails.
type failing struct{ err error }

func (f failing) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return f.err }
func (f failing) Shutdown(context.Context) error                             { return nil }

// A failure to marshal is said to be that, and sends nobody to look for a Jaeger.
func TestMarshalFails(t *testing.T) {
	_, err := proto.Marshal(&commonpb.KeyValue{Key: "\xff"})
	if err == nil {
		t.Fatal("protobuf takes any bytes for text, so nothing needs mending")
	}
	for _, c := range []struct {
		err  error
		says string
	}{
		{fmt.Errorf("failed to marshal request body in protobuf: %w", err), "spans cannot be marshalled"},
		{io.ErrUnexpectedEOF, "is Jaeger running?"},
	} {
		var log bytes.Buffer
		d := &delivery{exporter: failing{c.err}, limits: defaults().limits, log: slog.New(slog.NewTextHandler(&log, nil))}
		_ = d.ExportSpans(t.Context(), tracetest.SpanStubs{{Name: "span"}}.Snapshots())
		if !strings.Contains(log.String(), c.says) || strings.Contains(log.String(), "Jaeger") != strings.Contains(c.says, "Jaeger") {
			t.Errorf("%v: the log: %s", c.err, &log)
		}
	}
}

// Limits cut what leaves the process, by every way out, and not what the debug
// pages see.
func TestLimits(t *testing.T) {
	c := newCollector(t)
	setenv(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+c.URL, "OTEL_TRACES_EXPORTER=otlp,json",
		"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT=2", "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT=3", "OTEL_SPAN_EVENT_COUNT_LIMIT=1",
		"OTEL_SPAN_LINK_COUNT_LIMIT=1", "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT=1", "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT=0")
	stdout := new(webtest.Buffer)
	tel, _ := start(t, Config{JSON: stdout})
	seen := tracetest.NewSpanRecorder()
	tel.Watch(seen)
	_, s := tel.Provider().Tracer("test").Start(t.Context(), "long name", trace.WithAttributes(
		attribute.String("a", "日本語日本"), attribute.StringSlice("b", []string{"abcd"}), attribute.String("cache.result", "joined")))
	for i := range 3 {
		s.AddEvent(fmt.Sprint("event", i), trace.WithAttributes(attribute.Int("a", 1), attribute.Int("b", 2)))
		s.AddLink(trace.Link{SpanContext: trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{byte(i + 1)}}),
			Attributes: []attribute.KeyValue{attribute.Int("a", 1)}})
	}
	s.End()
	if err := tel.Stop(); err != nil {
		t.Fatal(err)
	}
	got := c.next(t)
	if len(got.Attributes) != 2 || got.DroppedAttributesCount != 1 || got.Attributes[0].Value.GetStringValue() != "日本語" ||
		got.Attributes[1].Value.GetArrayValue().Values[0].GetStringValue() != "abc" || got.Name != "long name" {
		t.Errorf("attributes %v, %d dropped, of %q", got.Attributes, got.DroppedAttributesCount, got.Name)
	}
	if len(got.Events) != 1 || got.Events[0].Name != "event2" || got.DroppedEventsCount != 2 || len(got.Events[0].Attributes) != 1 || got.Events[0].DroppedAttributesCount != 1 {
		t.Errorf("events %v, %d dropped", got.Events, got.DroppedEventsCount)
	}
	if len(got.Links) != 1 || got.Links[0].SpanId[0] != 3 || got.DroppedLinksCount != 2 || len(got.Links[0].Attributes) != 0 || got.Links[0].DroppedAttributesCount != 1 {
		t.Errorf("links %v, %d dropped", got.Links, got.DroppedLinksCount)
	}
	if line := stdout.String(); strings.Contains(line, "joined") || strings.Contains(line, "event1") || !strings.Contains(line, `"a":"日本語"`) {
		t.Errorf("as JSON: %s", line)
	}
	whole := seen.Ended()[0]
	if !slices.Contains(whole.Attributes(), attribute.String("cache.result", "joined")) || len(whole.Links()) != 3 || len(whole.Events()) != 3 {
		t.Errorf("the debug pages see %v, %d links, %d events", whole.Attributes(), len(whole.Links()), len(whole.Events()))
	}
}
