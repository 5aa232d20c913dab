package see

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"plaque/steps/kit/names"
	"plaque/steps/kit/terminal"
)

// consoleQueue bounds the trees that wait for a slow terminal.
const consoleQueue = 1000

// console prints the spans of a request as a tree, once it is complete.
type console struct {
	*trees
	queue *queue[*tree]
	w     io.Writer
	// columns is how wide the terminal is now; 0 means that lines are not cut:
	// what goes to a file is read by grep.
	columns func() int
	color   bool
}

// NewConsole prints the spans of a request as a tree, once they are complete.
// columns is how wide the terminal is at that moment; 0 cuts nothing. Each tree
// is one write.
func NewConsole(w io.Writer, columns func() int, color bool) sdktrace.SpanProcessor {
	c := &console{w: w, columns: columns, color: color}
	c.queue = &queue[*tree]{limit: consoleQueue, write: c.write}
	c.trees = newTrees(c.queue.put)
	return c
}

// write prints trees, one after the other, in one write: neither another
// request nor a line of the log comes between.
func (c *console) write(trees []*tree, dropped int) {
	p := painter{columns: c.columns(), color: c.color, place: c.place}
	for _, t := range trees {
		p.tree(t)
	}
	if dropped > 0 {
		p.line(part{fmt.Sprintf("%d more requests are not shown: the terminal was too slow for them", dropped), red})
	}
	_, _ = io.WriteString(c.w, p.String())
}

func (c *console) ForceFlush(ctx context.Context) error { return c.queue.flush(ctx) }

// Shutdown prints the trees that still have open spans, too.
func (c *console) Shutdown(ctx context.Context) error {
	c.stop()
	return c.queue.stop(ctx)
}

// Styles are the arguments of ANSI's "select graphic rendition".
const (
	dim  = "2"
	bold = "1"
	red  = "31"
)

// part is a piece of a line in one style.
type part struct{ text, style string }

// painter draws trees.
type painter struct {
	strings.Builder
	columns int // 0: no limit
	color   bool
	place   func(trace.SpanID) (place, bool)

	t      *tree
	start  time.Time // of t
	offset int       // widths of the first two columns
	took   int
}

// entry is what one line tells of: a span, or an event of one.
type entry struct {
	at    time.Time
	depth int
	span  sdktrace.ReadOnlySpan
	event *sdktrace.Event // nil: it is the span itself
}

func (p *painter) tree(t *tree) {
	spans := t.byStart()
	first := spans[0]
	p.t, p.start = t, first.StartTime()
	here := map[trace.SpanID]bool{}
	for _, s := range spans {
		here[s.SpanContext().SpanID()] = true
	}
	// Children and events of a span, in the order in which they came. A span
	// whose parent was printed earlier stands at the left.
	below := map[trace.SpanID][]entry{}
	for _, s := range spans {
		id, parent := s.SpanContext().SpanID(), s.Parent().SpanID()
		if !here[parent] {
			parent = trace.SpanID{}
		}
		below[parent] = append(below[parent], entry{at: s.StartTime(), span: s})
		for _, e := range s.Events() {
			below[id] = append(below[id], entry{at: e.Time, span: s, event: &e})
		}
	}
	var lines []entry
	var gather func(id trace.SpanID, depth int)
	gather = func(id trace.SpanID, depth int) {
		entries := below[id]
		slices.SortStableFunc(entries, func(a, b entry) int { return a.at.Compare(b.at) })
		for _, e := range entries {
			e.depth = depth
			lines = append(lines, e)
			if e.event == nil {
				gather(e.span.SpanContext().SpanID(), depth+1)
			}
		}
	}
	gather(trace.SpanID{}, 0)

	p.offset, p.took = 0, 0
	for _, e := range lines {
		p.offset = max(p.offset, terminal.Width(p.since(e.at)))
		p.took = max(p.took, terminal.Width(p.duration(e)))
	}
	head := fmt.Sprintf("#%d  trace %s  %s", t.number, first.SpanContext().TraceID(), service(first))
	if v := of(first, "service.version"); v != "" {
		head += " " + v
	}
	if t.late {
		head += ", later"
	}
	p.line(part{terminal.Plain(head), bold})
	for _, e := range lines {
		p.entry(e)
	}
}

// entry draws a line, and what did not fit on it and must be read all the same.
func (p *painter) entry(e entry) {
	offset := p.since(e.at)
	left := strings.Repeat(" ", 2+p.offset-terminal.Width(offset)) + offset
	mid := "  " + strings.Repeat(" ", p.took-terminal.Width(p.duration(e))) + p.duration(e) + "  "
	// A deep tree on a narrow terminal is cut off in its indent, so that there is
	// room for its names.
	margin := terminal.Width(left + mid)
	indent := 2 * e.depth
	if p.columns > 0 {
		indent = max(0, min(indent, p.columns-margin-24))
	}
	margin += indent

	name, words, notes := p.describe(e)
	style, rest := bold, ""
	if waits(e.span) || e.event != nil {
		style, rest = dim, dim
	}
	line := []part{{left, dim}, {mid + strings.Repeat(" ", indent), rest}, {name, style}}
	if to := p.links(e); to != "" {
		line = append(line, part{" " + to, ""})
	}
	// What went wrong is never cut.
	over := p.columns > 0 && widthOf(line)+1+terminal.Width(words) > p.columns
	if words != "" && !over {
		line = append(line, part{" " + words, red})
	}
	if notes != "" {
		line = append(line, part{"  " + notes, rest})
	}
	p.line(line...)
	if over {
		for _, l := range terminal.Wrap(words, p.columns-margin-4) {
			p.line(part{strings.Repeat(" ", margin+4), ""}, part{l, red})
		}
	}
}

// describe says what an entry is: its name, what went wrong, and its attributes.
func (p *painter) describe(e entry) (name, words, notes string) {
	s := e.span
	if e.event != nil {
		name, attrs := "· "+e.event.Name, e.event.Attributes
		if e.event.Name == "exception" {
			attrs = slices.Clone(attrs)
			attrs = slices.DeleteFunc(attrs, func(kv attribute.KeyValue) bool {
				if kv.Key == "exception.message" {
					words = firstLine(kv.Value.String())
				}
				return kv.Key == "exception.message" || kv.Key == "exception.stacktrace"
			})
		}
		return terminal.Plain(name), terminal.Plain(words), attributes(attrs)
	}
	name = s.Name()
	if s.Status().Code == codes.Error {
		words = strings.TrimSpace("ERROR " + firstLine(s.Status().Description))
	}
	notes = attributes(s.Attributes())
	if p.t.end(s).IsZero() {
		notes = strings.TrimSpace("has not ended  " + notes)
	}
	// The feed lives in the step's process and is another service.
	if where := service(s); where != "plaque" {
		name += " (" + where + ")"
	}
	return terminal.Plain(name), terminal.Plain(words), notes
}

func service(s sdktrace.ReadOnlySpan) string { return cmp.Or(of(s, "service.name"), "unknown") }

// waits reports whether the span spends its time waiting for another one: for a
// flight that it joined, or for a lock.
func waits(s sdktrace.ReadOnlySpan) bool {
	return strings.HasSuffix(s.Name(), ".wait") || slices.ContainsFunc(s.Attributes(), func(kv attribute.KeyValue) bool {
		return kv.Key == names.CacheResult && kv.Value.AsString() == names.Joined
	})
}

// links names the spans that a span is linked to, and where they are printed.
func (p *painter) links(e entry) string {
	if e.event != nil {
		return ""
	}
	var names []string
	for _, l := range e.span.Links() {
		name := "span " + l.SpanContext.SpanID().String()
		to, known := p.place(l.SpanContext.SpanID())
		if known {
			name = terminal.Plain(to.name)
		}
		switch {
		case known && to.number != p.t.number:
			name += fmt.Sprintf(" in #%d", to.number)
		case !known && l.SpanContext.TraceID() != e.span.SpanContext().TraceID():
			name += " of trace " + l.SpanContext.TraceID().String()
		}
		names = append(names, name)
	}
	if n := len(names); n > 3 {
		names = append(names[:2], fmt.Sprintf("%d more", n-2))
	}
	if len(names) == 0 {
		return ""
	}
	return "→ " + strings.Join(names, ", ")
}

// rank has the attributes that matter come first, and those last which are the
// same for every request.
var rank = map[attribute.Key]int{
	names.CacheResult: -9, names.CacheKey: -8, "http.response.status_code": -7, "http.conn.reused": -6, "status": -5, "error": -4,
	"http.request.method": 1, "http.route": 1, "level": 1, "server.address": 2, "server.port": 2, "url.scheme": 3, "network.protocol.version": 3,
	"network.peer.address": 3, "network.peer.port": 3, "client.address": 3, "user_agent.original": 4,
}

// attributes writes k=v, and text with spaces in quotes.
func attributes(kvs []attribute.KeyValue) string {
	kvs = slices.Clone(kvs)
	slices.SortStableFunc(kvs, func(a, b attribute.KeyValue) int { return cmp.Compare(rank[a.Key], rank[b.Key]) })
	var parts []string
	for _, kv := range kvs {
		value := kv.Value.String()
		if value == "" || strings.ContainsAny(value, " \"\n\t") {
			value = fmt.Sprintf("%q", value)
		}
		parts = append(parts, terminal.Plain(string(kv.Key)+"="+value))
	}
	return strings.Join(parts, " ")
}

// firstLine leaves a panic's stack to Jaeger: forty lines in a tree hide it.
func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return strings.TrimSpace(s)
}

// since is how long after the tree's start that was.
func (p *painter) since(at time.Time) string {
	switch d := round(at.Sub(p.start)); {
	case d == 0:
		return "0"
	case d < 0:
		return d.String()
	default:
		return "+" + d.String()
	}
}

// duration is how long a span took, "" for an event.
func (p *painter) duration(e entry) string {
	if e.event != nil {
		return ""
	}
	end := p.t.end(e.span)
	if end.IsZero() {
		return "…"
	}
	return round(end.Sub(e.span.StartTime())).String()
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

// line writes one line, not wider than the terminal.
func (p *painter) line(parts ...part) {
	room := p.columns
	for i, part := range parts {
		text := part.text
		if p.columns > 0 {
			if i < len(parts)-1 && terminal.Width(text) >= room {
				text += "…" // more would follow
			}
			text = terminal.Clip(text, room)
			room -= terminal.Width(text)
		}
		if p.color && part.style != "" && strings.TrimSpace(text) != "" {
			text = "\x1b[" + part.style + "m" + text + "\x1b[0m"
		}
		p.WriteString(text)
		if p.columns > 0 && room <= 0 {
			break
		}
	}
	p.WriteByte('\n')
}

func widthOf(line []part) int {
	n := 0
	for _, part := range line {
		n += terminal.Width(part.text)
	}
	return n
}
