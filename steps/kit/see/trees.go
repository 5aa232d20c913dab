package see

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// patience is how long a tree is kept after its root has ended, for spans that
// have not. A flight may outlive its caller, by less than this; and some spans
// never end: otelhttptrace leaves http.getconn open when a dial fails, and
// http.receive when the connection is lost.
const patience = 5 * time.Second

// trees collects the spans of a request until the last of them has ended, or
// patience has. A span whose parent is in another process starts a separate tree,
// so the requests of a burst come one by one.
type trees struct {
	done func(*tree) // must not wait: spans end meanwhile

	mu    sync.Mutex             // protects what follows
	open  map[trace.SpanID]*tree // by each span of a tree that is not done
	count int                    // trees so far
	// known says what a span was called and in which tree it stands, for links to
	// spans of other trees.
	known *recent[trace.SpanID, place]
}

// place is where a span stands.
type place struct {
	name   string
	number int // of its tree
}

// tree is what one local root has caused.
type tree struct {
	number int // 1, 2, ... as the roots start
	root   trace.SpanID
	spans  []sdktrace.ReadOnlySpan // in the order of their starts; those that are open, too
	late   bool                    // it is one span that ended after its tree was done
	cut    time.Time               // when the program stopped before all had ended

	// waits are the spans that have started and not ended. Fixed when the tree is
	// done, while the spans themselves may go on to end.
	waits map[trace.SpanID]int // where they stand in spans
	timer *time.Timer          // runs when the root has ended and others have not
	done  bool
}

func newTrees(done func(*tree)) *trees {
	return &trees{done: done, open: map[trace.SpanID]*tree{}, known: newRecent[trace.SpanID, place]()}
}

func (c *trees) OnStart(_ context.Context, s sdktrace.ReadWriteSpan) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := s.SpanContext().SpanID()
	t := c.open[s.Parent().SpanID()]
	if t == nil {
		c.count++
		t = &tree{number: c.count, root: id, waits: map[trace.SpanID]int{}}
	}
	t.waits[id] = len(t.spans)
	t.spans = append(t.spans, s)
	c.open[id] = t
	c.known.set(id, place{s.Name(), t.number})
}

func (c *trees) OnEnd(s sdktrace.ReadOnlySpan) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := s.SpanContext().SpanID()
	t := c.open[id]
	if t == nil { // its tree was done without it
		was, known := c.known.values[id]
		if !known {
			c.count++
			was.number = c.count
		}
		t = &tree{number: was.number, root: id, late: known, spans: []sdktrace.ReadOnlySpan{s}}
	}
	c.known.set(id, place{s.Name(), t.number})
	if i, waited := t.waits[id]; waited {
		t.spans[i] = s // as it is to be shown, which a processor before us may have changed
	}
	delete(t.waits, id)
	switch {
	case len(t.waits) == 0:
		c.finish(t)
	case id == t.root:
		t.timer = time.AfterFunc(patience, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.finish(t)
		})
	}
}

// finish hands t over, unless that has happened. c.mu is held.
func (c *trees) finish(t *tree) {
	if t.done {
		return
	}
	t.done = true
	if t.timer != nil {
		t.timer.Stop()
	}
	for _, s := range t.spans {
		delete(c.open, s.SpanContext().SpanID())
	}
	c.done(t)
}

// place looks a span up.
func (c *trees) place(id trace.SpanID) (place, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.known.values[id]
	return p, ok
}

// stop hands over the trees that still have open spans, with what is there.
func (c *trees) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	var left []*tree
	for id, t := range c.open {
		if id == t.root {
			t.cut = time.Now()
			left = append(left, t)
		}
	}
	slices.SortFunc(left, func(a, b *tree) int { return cmp.Compare(a.number, b.number) })
	for _, t := range left {
		c.finish(t)
	}
}

// end is when a span of t ended, as far as t knows; zero if it had not.
func (t *tree) end(s sdktrace.ReadOnlySpan) time.Time {
	if _, open := t.waits[s.SpanContext().SpanID()]; open {
		return time.Time{}
	}
	return s.EndTime()
}

// byStart are the spans as a picture has them: a parent comes before its
// children, even if a coarse clock has them start at once.
func (t *tree) byStart() []sdktrace.ReadOnlySpan {
	spans := slices.Clone(t.spans)
	slices.SortStableFunc(spans, func(a, b sdktrace.ReadOnlySpan) int { return a.StartTime().Compare(b.StartTime()) })
	return spans
}

// of is an attribute of the span's resource, such as service.name.
func of(s sdktrace.ReadOnlySpan, key attribute.Key) string {
	v, _ := s.Resource().Set().Value(key)
	return v.AsString()
}
