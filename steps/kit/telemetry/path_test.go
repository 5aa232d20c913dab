package telemetry

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"plaque/steps/kit/see"
)

// begin starts a span and says where.
func begin(ctx context.Context, name string) (context.Context, trace.Span, string) {
	_, _, line, _ := runtime.Caller(0)
	ctx, s := otel.Tracer("test").Start(ctx, name)
	return ctx, s, fmt.Sprintf("kit/telemetry/path_test.go:%d", line+1)
}

func fail(s trace.Span) {
	s.SetStatus(codes.Error, "broken")
	s.End()
}

func TestErrorPath(t *testing.T) {
	setenv(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+newCollector(t).URL)
	start(t, Config{ErrorPath: true})
	// A leader in a separate trace, whose flight panics and has two loads that
	// fail, the second a retry.
	leads, _, at := begin(t.Context(), "GET")
	lctx, get, _ := begin(leads, "cache.get")
	fctx, flight, _ := begin(lctx, "flight")
	_, first, _ := begin(fctx, "first try")
	fail(first)
	_, second, _ := begin(fctx, "second try")
	fail(second)
	_, fine, _ := begin(fctx, "log it")
	fine.End()
	fail(flight)
	get.End()
	// A waiter, in another trace, whose link is all that leads there. Links may
	// go round in a circle.
	waits, root, _ := begin(t.Context(), "GET")
	_, joined, _ := begin(waits, "cache.get")
	joined.AddLink(trace.LinkFromContext(fctx))
	joined.AddLink(trace.LinkFromContext(waits))
	joined.End()
	root.AddLink(trace.LinkFromContext(waits))

	want := fmt.Sprint([]see.Station{{Span: "GET", At: at}, {Span: "cache.get", At: at}, {Span: "flight", At: at}, {Span: "second try", At: at}})
	for name, ctx := range map[string]context.Context{"leader": leads, "waiter": waits} {
		if got := fmt.Sprint(ErrorPath(ctx)); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	alone, _, _ := begin(t.Context(), "GET") // nothing below it has failed
	if got := fmt.Sprint(ErrorPath(alone)); got != fmt.Sprint([]see.Station{{Span: "GET", At: at}}) {
		t.Errorf("alone: %s", got)
	}
}

// Waiters have their error before the flight's span has said its own: it is on the
// way of the caller that failed, and of nobody else.
func TestErrorPathOfARunningFlight(t *testing.T) {
	setenv(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+newCollector(t).URL)
	start(t, Config{ErrorPath: true})
	flies, flight, at := begin(t.Context(), "flight")
	_, load, _ := begin(flies, "load")
	load.End()
	for _, status := range []codes.Code{codes.Error, codes.Ok, codes.Unset} {
		ctx, _, _ := begin(t.Context(), "GET")
		_, get, _ := begin(ctx, "cache.get")
		get.AddLink(trace.LinkFromContext(flies))
		get.SetStatus(status, "")
		want := []see.Station{{Span: "GET", At: at}}
		if status == codes.Error {
			want = append(want, see.Station{Span: "cache.get", At: at}, see.Station{Span: "flight", At: at})
		}
		if got := fmt.Sprint(ErrorPath(ctx)); got != fmt.Sprint(want) {
			t.Errorf("%v: got %s, want %v", status, got, want)
		}
	}
	flight.End()
}

// A span of a goroutine in which nothing is ours stands where a library began it,
// not where the runtime did.
func TestErrorPathInALibrary(t *testing.T) {
	setenv(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+newCollector(t).URL)
	tel, _ := start(t, Config{ErrorPath: true})
	ended := tracetest.NewSpanRecorder()
	tel.Watch(ended)
	go otel.Tracer("test").Start(t.Context(), "span") // our frame ends here
	for end := time.Now().Add(20 * time.Second); len(ended.Started()) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("no span")
		}
	}
	for _, kv := range ended.Started()[0].Attributes() {
		if at := kv.Value.String(); kv.Key == "code.file.path" && at != "trace/tracer.go" {
			t.Errorf("it stands in %s", at)
		}
	}
	if n := len(ended.Started()[0].Attributes()); n != 2 {
		t.Errorf("%d attributes say where it stands", n)
	}
}

// A panic stands where it was thrown, also one of the runtime.
func TestErrorPathOfAPanic(t *testing.T) {
	setenv(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+newCollector(t).URL)
	start(t, Config{ErrorPath: true})
	var none *see.Station
	_, _, line, _ := runtime.Caller(0)
	for i, die := range []func(){
		func() { panic("doom") },
		func() { none.At = "" },
	} {
		ctx, root, _ := begin(t.Context(), "GET")
		_, flight, _ := begin(ctx, "flight")
		func() {
			defer func() {
				flight.RecordError(fmt.Errorf("%v", recover()), trace.WithAttributes(attribute.String("exception.stacktrace", string(debug.Stack()))))
				fail(flight)
			}()
			die()
		}()
		got := ErrorPath(ctx)
		if want := (see.Station{Panic: fmt.Sprintf("telemetry.TestErrorPathOfAPanic.func%d", i+1), At: fmt.Sprintf("kit/telemetry/path_test.go:%d", line+2+i)}); len(got) != 3 || got[2] != want {
			t.Errorf("got %v, want the last to be %v", got, want)
		}
		root.End()
	}
}

// Unless asked for, nothing says where in the code it was made: a stranger could
// read it.
func TestNoErrorPath(t *testing.T) {
	c := newCollector(t)
	setenv(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+c.URL)
	tel, _ := start(t, Config{ErrorPath: true})
	ctx, root, _ := begin(t.Context(), "GET")
	_, feed := tel.For("feed").Tracer("test").Start(ctx, "GET /feeds/videos.xml")
	fail(feed)
	if got := ErrorPath(ctx); len(got) != 1 {
		t.Errorf("another service's span is in the path: %v", got)
	}
	root.End()
	if err := tel.Stop(); err != nil {
		t.Error(err)
	}
	for range 2 { // in either order
		switch s := c.next(t); s.Name {
		case "GET":
			if texts(s.Attributes)["code.file.path"] != "kit/telemetry/path_test.go" {
				t.Errorf("asked for, the span has %v", s.Attributes)
			}
		default:
			if len(s.Attributes) != 0 {
				t.Errorf("another service's span, %s, has %v", s.Name, s.Attributes)
			}
		}
	}

	start(t, Config{})
	ctx, root, _ = begin(t.Context(), "GET")
	_, child, _ := begin(ctx, "flight")
	fail(child)
	if got := ErrorPath(ctx); got != nil {
		t.Errorf("nobody has asked, and the path is %v", got)
	}
	if s := root.(sdktrace.ReadOnlySpan); len(s.Attributes()) != 0 {
		t.Errorf("nobody has asked, and the span has %v", s.Attributes())
	}
}
