package telemetry

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// console prints the spans of a request as a tree, once the last of them has
// ended. A span whose parent is in another process starts a tree of its own.
type console struct {
	w io.Writer

	mu    sync.Mutex             // protects what follows
	trees map[trace.SpanID]*tree // by each span that is open or waits to be printed
}

// tree is what one local root has caused so far.
type tree struct {
	open  int // spans that have started and not ended
	ended []sdktrace.ReadOnlySpan
}

func newConsole(w io.Writer) *console {
	return &console{w: w, trees: map[trace.SpanID]*tree{}}
}

func (c *console) OnStart(_ context.Context, s sdktrace.ReadWriteSpan) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.trees[s.Parent().SpanID()]
	if t == nil {
		t = &tree{}
	}
	t.open++
	c.trees[s.SpanContext().SpanID()] = t
}

func (c *console) OnEnd(s sdktrace.ReadOnlySpan) {
	c.mu.Lock()
	t := c.trees[s.SpanContext().SpanID()]
	t.open--
	t.ended = append(t.ended, s)
	if t.open > 0 {
		c.mu.Unlock()
		return
	}
	for _, s := range t.ended {
		delete(c.trees, s.SpanContext().SpanID())
	}
	c.mu.Unlock()
	// One write a tree, so that two requests never mix.
	_, _ = io.WriteString(c.w, t.String())
}

func (c *console) ForceFlush(context.Context) error { return nil }

// Shutdown prints the trees that still have open spans, with what is there.
func (c *console) Shutdown(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	done := map[*tree]bool{}
	for _, t := range c.trees {
		if !done[t] && len(t.ended) > 0 {
			done[t] = true
			_, _ = fmt.Fprintf(c.w, "%s  (%d spans had not ended)\n", t, t.open)
		}
	}
	c.trees = map[trace.SpanID]*tree{}
	return nil
}

func (t *tree) String() string {
	slices.SortFunc(t.ended, func(a, b sdktrace.ReadOnlySpan) int {
		return cmp.Or(a.StartTime().Compare(b.StartTime()), b.EndTime().Compare(a.EndTime()))
	})
	here := map[trace.SpanID]bool{}
	children := map[trace.SpanID][]sdktrace.ReadOnlySpan{}
	for _, s := range t.ended {
		here[s.SpanContext().SpanID()] = true
	}
	var roots []sdktrace.ReadOnlySpan
	for _, s := range t.ended {
		if p := s.Parent().SpanID(); here[p] {
			children[p] = append(children[p], s)
		} else {
			roots = append(roots, s)
		}
	}
	var b strings.Builder
	var draw func(s sdktrace.ReadOnlySpan, indent string)
	draw = func(s sdktrace.ReadOnlySpan, indent string) {
		fmt.Fprintf(&b, "%s%s%s%s\n", indent, s.Name(), attributes(s.Attributes()), status(s))
		fmt.Fprintf(&b, "%s  took %s", indent, round(s.EndTime().Sub(s.StartTime())))
		for _, l := range s.Links() {
			fmt.Fprintf(&b, ", linked to span %s", l.SpanContext.SpanID())
		}
		b.WriteByte('\n')
		for _, e := range s.Events() {
			fmt.Fprintf(&b, "%s  %s %s%s\n", indent, round(e.Time.Sub(s.StartTime())), e.Name, attributes(e.Attributes))
		}
		for _, child := range children[s.SpanContext().SpanID()] {
			draw(child, indent+"  ")
		}
	}
	for _, s := range roots {
		fmt.Fprintf(&b, "trace %s\n", s.SpanContext().TraceID())
		draw(s, "  ")
	}
	return b.String()
}

func status(s sdktrace.ReadOnlySpan) string {
	if s.Status().Code == codes.Error {
		return " ERROR " + s.Status().Description
	}
	return ""
}

// attributes writes {k=v ...}. A stack trace is left to Jaeger: forty lines in
// a tree hide the tree.
func attributes(kvs []attribute.KeyValue) string {
	var parts []string
	for _, kv := range kvs {
		if kv.Key != "exception.stacktrace" {
			parts = append(parts, fmt.Sprintf("%s=%s", kv.Key, kv.Value.Emit()))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return " {" + strings.Join(parts, " ") + "}"
}

// round keeps three digits or so: 1.23ms, 45.6µs.
func round(d time.Duration) time.Duration {
	switch {
	case d > time.Second:
		return d.Round(10 * time.Millisecond)
	case d > time.Millisecond:
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(100 * time.Nanosecond)
}
