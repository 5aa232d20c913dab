package telemetry

import (
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

// patience is how long a tree is kept after its root has ended, for spans that
// have not. A flight may outlive its caller, by less than this; and some spans
// never end: otelhttptrace leaves http.getconn open when a dial fails, and
// http.receive when the connection is lost.
const patience = 5 * time.Second

// console prints the spans of a request as a tree, once the last of them has
// ended, or patience has. A span whose parent is in another process starts a
// tree of its own.
type console struct {
	w io.Writer

	mu    sync.Mutex             // protects what follows
	trees map[trace.SpanID]*tree // by each span of a tree that is not printed yet
}

// tree is what one local root has caused so far.
type tree struct {
	root  trace.SpanID
	spans []sdktrace.ReadOnlySpan // those that are open, too
	open  int                     // spans that have started and not ended
	late  *time.Timer             // runs when the root has ended and others have not
}

func newConsole(w io.Writer) *console {
	return &console{w: w, trees: map[trace.SpanID]*tree{}}
}

func (c *console) OnStart(_ context.Context, s sdktrace.ReadWriteSpan) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := s.SpanContext().SpanID()
	t := c.trees[s.Parent().SpanID()]
	if t == nil {
		t = &tree{root: id}
	}
	t.spans = append(t.spans, s)
	t.open++
	c.trees[id] = t
}

func (c *console) OnEnd(s sdktrace.ReadOnlySpan) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := s.SpanContext().SpanID()
	t := c.trees[id]
	if t == nil { // its tree was printed without it
		t = &tree{root: id, spans: []sdktrace.ReadOnlySpan{s}, open: 1}
	}
	t.open--
	switch {
	case t.open == 0:
		c.print(t)
	case id == t.root:
		t.late = time.AfterFunc(patience, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.print(t)
		})
	}
}

// print writes t, unless that has happened. One write a tree, so that two
// requests never mix. c.mu is held.
func (c *console) print(t *tree) {
	if t.spans == nil {
		return
	}
	if t.late != nil {
		t.late.Stop()
	}
	for _, s := range t.spans {
		delete(c.trees, s.SpanContext().SpanID())
	}
	_, _ = io.WriteString(c.w, t.String())
	t.spans = nil
}

func (c *console) ForceFlush(context.Context) error { return nil }

// Shutdown prints the trees that still have open spans, with what is there.
func (c *console) Shutdown(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var left []*tree
	for id, t := range c.trees {
		if id == t.root {
			left = append(left, t)
		}
	}
	slices.SortFunc(left, func(a, b *tree) int { return a.spans[0].StartTime().Compare(b.spans[0].StartTime()) })
	for _, t := range left {
		c.print(t)
	}
	return nil
}

func (t *tree) String() string {
	spans := slices.Clone(t.spans)
	slices.SortStableFunc(spans, func(a, b sdktrace.ReadOnlySpan) int { return a.StartTime().Compare(b.StartTime()) })
	here := map[trace.SpanID]bool{}
	children := map[trace.SpanID][]sdktrace.ReadOnlySpan{}
	for _, s := range spans {
		here[s.SpanContext().SpanID()] = true
	}
	var roots []sdktrace.ReadOnlySpan
	for _, s := range spans {
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
		if s.EndTime().IsZero() {
			fmt.Fprintf(&b, "%s  has not ended", indent)
		} else {
			fmt.Fprintf(&b, "%s  took %s", indent, round(s.EndTime().Sub(s.StartTime())))
		}
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
			parts = append(parts, fmt.Sprintf("%s=%s", kv.Key, kv.Value.String()))
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
