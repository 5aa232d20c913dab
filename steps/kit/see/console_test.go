package see

import (
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"plaque/steps/kit/terminal"
	"plaque/steps/kit/web/webtest"
)

// plain is a console that writes to a file.
func plain(out io.Writer) *console {
	return NewConsole(out, func() int { return 0 }, false).(*console)
}

// provider is a separate service.
func provider(opts ...sdktrace.TracerProviderOption) *sdktrace.TracerProvider {
	return sdktrace.NewTracerProvider(append(opts, sdktrace.WithResource(
		resource.NewSchemaless(attribute.String("service.name", "plaque"))))...)
}

// Some spans never end. Their tree is printed all the same, not only when the
// program stops.
func TestConsolePatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := new(webtest.Buffer)
		tracer := provider(sdktrace.WithSpanProcessor(plain(out))).Tracer("test")
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
		want := `#1  trace ID  plaque
  0  1s  root
  0   …    http.getconn  has not ended
  0  1s      http.connect
`
		if got := unnamed(out.String()); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		// Should it end after all, it is not lost.
		left.End()
		synctest.Wait()
		if want += "#1  trace ID  plaque, later\n  0  6s  http.getconn\n"; unnamed(out.String()) != want {
			t.Errorf("got\n%s\nwant\n%s", out, want)
		}
	})
}

// A flight that outlives its caller is in the tree, and the tree is printed
// once.
func TestConsoleWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := new(webtest.Buffer)
		console := plain(out)
		tracer := provider(sdktrace.WithSpanProcessor(console)).Tracer("test")
		ctx, root := tracer.Start(t.Context(), "root")
		_, flight := tracer.Start(ctx, "flight")
		root.End()
		time.Sleep(2 * time.Second)
		flight.End()
		synctest.Wait()
		want := "#1  trace ID  plaque\n  0  0s  root\n  0  2s    flight\n"
		if got := unnamed(out.String()); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := unnamed(out.String()); got != want || len(console.open) != 0 {
			t.Errorf("later it is\n%s, with %d spans kept", got, len(console.open))
		}
	})
}

// The last span ends in the moment in which patience does: the first of the two
// prints the tree, and the other does not print it again. (The span comes in the
// tree or alone, and its end once.)
func TestConsolePrintsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 100 {
			out := new(webtest.Buffer)
			tracer := provider(sdktrace.WithSpanProcessor(plain(out))).Tracer("test")
			ctx, root := tracer.Start(t.Context(), "root")
			_, flight := tracer.Start(ctx, "flight")
			root.End()
			time.Sleep(patience)
			flight.End()
			synctest.Wait()
			if got := out.String(); strings.Count(got, "  root\n") != 1 || strings.Count(got, "  5s    flight\n")+strings.Count(got, "  5s  flight\n") != 1 {
				t.Fatalf("got\n%s", got)
			}
		}
	})
}

// A caller that is stuck forever shows when the program stops.
func TestConsoleStop(t *testing.T) { synctest.Test(t, testConsoleStop) }

func testConsoleStop(t *testing.T) {
	out := new(webtest.Buffer)
	console := plain(out)
	tracer := provider(sdktrace.WithSpanProcessor(console)).Tracer("test")
	ctx, root := tracer.Start(t.Context(), "stuck")
	_, child := tracer.Start(ctx, "waits")
	time.Sleep(time.Nanosecond) // a clock may be coarse
	_, other := tracer.Start(t.Context(), "other")
	if err := console.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	want := `#1  trace ID  plaque
  0  …  stuck  has not ended
  0  …    waits  has not ended
#2  trace ID  plaque
  0  …  other  has not ended
`
	if got := unnamed(out.String()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	// The spans of the feed may end later than that.
	child.End()
	root.End()
	other.End()
	synctest.Wait()
	if got := strings.Count(out.String(), ", later\n"); got != 3 {
		t.Errorf("%d spans that ended late, want 3:\n%s", got, out)
	}
}

var update = flag.Bool("update", false, "write the golden files anew")

// The same trace in a file and on terminals. Look at a difference before you
// write it with -update.
func TestConsoleGolden(t *testing.T) {
	for _, c := range []struct {
		file    string
		columns int
		color   bool
	}{
		{"console-file.txt", 0, false},
		{"console-80.txt", 80, false},
		{"console-120-colour.txt", 120, true},
		{"console-40.txt", 40, false},
	} {
		out := new(webtest.Buffer)
		sample(t, NewConsole(out, func() int { return c.columns }, c.color))
		got, path := out.String(), filepath.Join("testdata", c.file)
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got != strings.ReplaceAll(string(want), "\r\n", "\n") {
			t.Errorf("%s: got\n%s", c.file, got)
		}
		bare := regexp.MustCompile(`\x1b\[[0-9]+m`).ReplaceAllString(got, "")
		for _, line := range lines(bare) {
			if c.columns > 0 && terminal.Width(line) > c.columns {
				t.Errorf("%s: a line of %d columns: %s", c.file, terminal.Width(line), line)
			}
		}
		// What a span says moves no cursor and adds no line.
		if strings.Contains(bare, "\x1b") || !c.color && bare != got {
			t.Errorf("%s: escape codes in it: %q", c.file, got)
		}
		// What went wrong is never cut.
		if !strings.Contains(strings.Join(strings.Fields(bare), " "), "at a length that no narrow terminal holds on one line") {
			t.Errorf("%s: the error is cut:\n%s", c.file, got)
		}
	}
}

// writes keeps what each Write was given.
type writes []string

func (w *writes) Write(b []byte) (int, error) {
	*w = append(*w, string(b))
	return len(b), nil
}

// A tree is one write: what else goes to the terminal, such as the stack of a
// panic, cannot land inside it.
func TestConsoleWritesOnce(t *testing.T) {
	var out writes
	sample(t, plain(&out))
	if len(out) != 5 {
		t.Errorf("%d writes for 5 requests", len(out))
	}
	for _, w := range out {
		if !strings.HasPrefix(w, "#") || strings.Count(w, "\n") < 3 {
			t.Errorf("no whole tree: %q", w)
		}
	}
}

// slowWriter takes nothing until it is let go, like a terminal after Ctrl-S.
type slowWriter struct {
	webtest.Buffer
	let chan struct{}
}

func (w *slowWriter) Write(b []byte) (int, error) {
	<-w.let
	return w.Buffer.Write(b)
}

// A terminal that stands still holds no request up, and takes no more memory
// than it may. What is not shown is counted, and the stop does not wait for it.
func TestConsoleStandsStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &slowWriter{let: make(chan struct{})}
		console := plain(out)
		tracer := provider(sdktrace.WithSpanProcessor(console)).Tracer("test")
		begin := time.Now()
		request := func() {
			_, s := tracer.Start(t.Context(), "request")
			s.End()
		}
		request()
		synctest.Wait() // it is being written
		for range consoleQueue + 7 {
			request()
		}
		if took := time.Since(begin); took != 0 {
			t.Errorf("requests waited %v", took)
		}
		if err := console.Shutdown(t.Context()); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) > 2*stopWithin {
			t.Errorf("after %v: %v; want a stop within %v that says that it did not get all out", time.Since(begin), err, 2*stopWithin)
		}
		close(out.let)
		synctest.Wait()
		if n := strings.Count(out.String(), "  request\n"); n != consoleQueue+1 || !strings.HasSuffix(out.String(), "\n7 more requests are not shown: the terminal was too slow for them\n") {
			t.Errorf("%d are shown, want %d and a word on 7 more:\n%.200s", n, consoleQueue+1, out.String())
		}
	})
}

// Links to what was forgotten name the span's id.
func TestRecent(t *testing.T) {
	r := newRecent[int, int]()
	for i := range remembered + 10 {
		r.set(i, i)
		r.set(i, i+1)
	}
	if len(r.values) != remembered || len(r.keys) != remembered {
		t.Errorf("%d values and %d keys, want %d", len(r.values), len(r.keys), remembered)
	}
	for i, want := range map[int]int{9: 0, 10: 11, remembered + 9: remembered + 10} {
		if got := r.values[i]; got != want {
			t.Errorf("%d: got %d, want %d", i, got, want)
		}
	}
}
