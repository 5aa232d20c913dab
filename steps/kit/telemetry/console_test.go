package telemetry

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// Some spans never end. Their tree is printed all the same, not only when the
// program stops.
func TestConsolePatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := new(buffer)
		tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(newConsole(out))).Tracer("test")
		ctx, root := tracer.Start(t.Context(), "root")
		leftCtx, left := tracer.Start(ctx, "http.getconn")
		_, inner := tracer.Start(leftCtx, "http.connect")
		time.Sleep(time.Second)
		inner.End()
		root.End()
		time.Sleep(patience - time.Nanosecond)
		synctest.Wait()
		if out.String() != "" {
			t.Errorf("printed too early:\n%s", out)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		want := "trace ID\n  root\n    took TIME\n    http.getconn\n      has not ended\n      http.connect\n        took TIME\n"
		if got := masked(out.String()); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		// Should it end after all, it is not lost.
		left.End()
		if want += "trace ID\n  http.getconn\n    took TIME\n"; masked(out.String()) != want {
			t.Errorf("got\n%s\nwant\n%s", out, want)
		}
	})
}

// A flight that outlives its caller is in the tree, and the tree is printed
// once.
func TestConsoleWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := new(buffer)
		console := newConsole(out)
		tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(console)).Tracer("test")
		ctx, root := tracer.Start(t.Context(), "root")
		_, flight := tracer.Start(ctx, "flight")
		root.End()
		time.Sleep(2 * time.Second)
		flight.End()
		want := "trace ID\n  root\n    took TIME\n    flight\n      took TIME\n"
		if got := masked(out.String()); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := masked(out.String()); got != want || len(console.trees) != 0 {
			t.Errorf("later it is\n%s, with %d spans kept", got, len(console.trees))
		}
	})
}

// The last span ends in the moment in which patience does: whoever comes first
// prints the tree, and the other does not print it again. (The span alone may
// come again, which is better than not at all.)
func TestConsolePrintsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 100 {
			out := new(buffer)
			tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(newConsole(out))).Tracer("test")
			ctx, root := tracer.Start(t.Context(), "root")
			_, flight := tracer.Start(ctx, "flight")
			root.End()
			time.Sleep(patience)
			flight.End()
			synctest.Wait()
			if got := out.String(); strings.Count(got, "  root\n") != 1 || !strings.Contains(got, "flight\n      took") && !strings.Contains(got, "flight\n    took") {
				t.Fatalf("got\n%s", got)
			}
		}
	})
}

// A caller that is stuck for ever shows when the program stops.
func TestConsoleStop(t *testing.T) { synctest.Test(t, testConsoleStop) }

func testConsoleStop(t *testing.T) {
	out := new(buffer)
	console := newConsole(out)
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(console)).Tracer("test")
	ctx, root := tracer.Start(t.Context(), "stuck")
	_, child := tracer.Start(ctx, "waits")
	time.Sleep(time.Nanosecond) // a clock may be coarse
	_, other := tracer.Start(t.Context(), "other")
	if err := console.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	want := "trace ID\n  stuck\n    has not ended\n    waits\n      has not ended\ntrace ID\n  other\n    has not ended\n"
	if got := masked(out.String()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	// The spans of the feed may end later than that.
	child.End()
	root.End()
	other.End()
	if got := strings.Count(out.String(), "took"); got != 3 {
		t.Errorf("%d spans that ended late, want 3:\n%s", got, out)
	}
}
