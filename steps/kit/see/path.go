package see

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"plaque/steps/kit/stacks"
)

// A Station is a place that an error has come through.
type Station struct {
	Span  string `json:"span,omitempty"`  // its name; "" for the place of a panic
	Panic string `json:"panic,omitempty"` // the function that panicked
	// At is where the span was started, or where it panicked: cache/cache.go:129.
	// It has no folder of the machine that built the program.
	At string `json:"at"`
}

// Of is the way that an error has come to the request of ctx: from the request's
// span down to the innermost span that is an error. It goes over a link where a
// caller waited for another's flight. nil when the request is not recorded.
//
// A flight tells its callers first, and its span afterwards. So a span that has
// not ended yet counts as an error below one that is.
func (p *Paths) Of(ctx context.Context) []Station {
	root, recorded := trace.SpanFromContext(ctx).(sdktrace.ReadOnlySpan)
	if !recorded {
		return nil
	}
	p.mu.Lock()
	started := slices.Clone(p.started)
	p.mu.Unlock()
	slices.Reverse(started) // where several have failed, the last one matters
	seen := map[trace.SpanID]bool{}
	var down func(s sdktrace.ReadOnlySpan, above bool) []Station
	down = func(s sdktrace.ReadOnlySpan, above bool) []Station {
		seen[s.SpanContext().SpanID()] = true
		running := s.EndTime().IsZero() // asked first: the status of an ended span stays
		failed := s.Status().Code == codes.Error || above && running
		for _, next := range started {
			id := next.SpanContext().SpanID()
			if seen[id] || next.Parent().SpanID() != s.SpanContext().SpanID() &&
				!slices.ContainsFunc(s.Links(), func(l sdktrace.Link) bool { return l.SpanContext.SpanID() == id }) {
				continue
			}
			if rest := down(next, failed); rest != nil {
				return append([]Station{{Span: s.Name(), At: startedAt(s)}}, rest...)
			}
		}
		if !failed && s != root {
			return nil
		}
		return append([]Station{{Span: s.Name(), At: startedAt(s)}}, panicked(s)...)
	}
	return down(root, false)
}

const (
	filePath   = attribute.Key("code.file.path")
	lineNumber = attribute.Key("code.line.number")
	// pathSpans bounds the spans among which a path is looked for: those of
	// some hundred requests.
	pathSpans = 4096
)

// Paths writes on each span where in the code it was started, and keeps the last
// ones that have started. The zero value is ready; its methods may be called at once.
type Paths struct {
	mu      sync.Mutex // protects started
	started []sdktrace.ReadOnlySpan
}

// OnStart looks for our innermost frame: what lies between is OpenTelemetry's, or
// net/http's. In a goroutine of a library's it is the library's outermost.
func (p *Paths) OnStart(_ context.Context, s sdktrace.ReadWriteSpan) {
	var pcs [64]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	var g stacks.Goroutine
	for more := true; more; {
		var f runtime.Frame
		f, more = frames.Next()
		if !strings.HasPrefix(f.Function, "runtime.") { // where each goroutine begins
			g.Frames = append(g.Frames, stacks.Frame{Func: f.Function, File: f.File, Line: f.Line})
		}
	}
	at := g.At()
	s.SetAttributes(filePath.String(stacks.Short(at.File)), lineNumber.Int(at.Line))
	p.mu.Lock()
	defer p.mu.Unlock()
	p.started = append(p.started, s)
	p.started = p.started[max(0, len(p.started)-pathSpans):]
}

// OnEnd does nothing.
func (p *Paths) OnEnd(sdktrace.ReadOnlySpan) {}

// ForceFlush does nothing.
func (p *Paths) ForceFlush(context.Context) error { return nil }

// Shutdown does nothing.
func (p *Paths) Shutdown(context.Context) error { return nil }

// startedAt is what OnStart has written.
func startedAt(s sdktrace.ReadOnlySpan) string {
	var file string
	var line int64
	for _, kv := range s.Attributes() {
		switch kv.Key {
		case filePath:
			file = kv.Value.AsString()
		case lineNumber:
			line = kv.Value.AsInt64()
		}
	}
	return fmt.Sprintf("%s:%d", file, line)
}

// panicked is the place of a panic whose stack a span has kept: what called panic,
// or, for a panic of the runtime, what it happened in.
func panicked(s sdktrace.ReadOnlySpan) []Station {
	for _, e := range s.Events() {
		for _, kv := range e.Attributes {
			if kv.Key != "exception.stacktrace" {
				continue
			}
			for _, g := range stacks.Parse(kv.Value.AsString()) {
				i := slices.IndexFunc(g.Frames, func(f stacks.Frame) bool { return f.Func == "panic" })
				if i >= 0 && i+1 < len(g.Frames) {
					f := g.Frames[i+1]
					return []Station{{Panic: f.Func[strings.LastIndexByte(f.Func, '/')+1:], At: fmt.Sprintf("%s:%d", stacks.Short(f.File), f.Line)}}
				}
			}
		}
	}
	return nil
}
