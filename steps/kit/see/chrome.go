package see

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// chrome writes spans to a file in Chrome's trace event format, which Perfetto
// and speedscope open.
//
// A process of the file is a service, and a thread, which viewers draw as a row,
// is one trace in it. Slices of one thread must nest. Spans of a trace need not:
// five callers wait at once. So a trace has as many rows as it has spans side by
// side. A span goes to its parent's row if it fits between those that are there.
// Otherwise it goes, with what nests in it, to the trace's first row that is free
// for so long.
//
// The file is whole JSON after each write, whether the process stops, panics or
// is killed: a write puts the new events, and the end of the document after
// them, where the end was. Only a kill within a write can leave the end off, and
// viewers read such a file too.
type chrome struct {
	*trees
	queue *queue[*tree]
	log   *slog.Logger

	// Only write uses the rest.
	file   diskFile
	end    int64 // where the document's end stands in file
	empty  bool  // no events yet
	failed bool  // a write has, and nothing more is written: it would refer to what is not there
	begin  time.Time
	pids   map[string]int // by service
	tids   int            // given so far
	rows   *recent[rowsOf, *rows]
	slices *recent[trace.SpanID, slice]
	// waiters are the slices that link to a span which is not written yet.
	waiters *recent[trace.SpanID, []slice]
	flows   int // so far
}

// diskFile is what chrome needs of an *os.File.
type diskFile interface {
	io.WriterAt
	io.Closer
	Truncate(size int64) error
	Name() string
}

// rowsOf names what has separate rows.
type rowsOf struct {
	trace trace.TraceID
	pid   int
}

// slice is a span in the file.
type slice struct {
	pid, tid   int
	start, end time.Time
}

// event is one object of the file.
type event struct {
	Name  string         `json:"name"`
	Phase string         `json:"ph"`
	Cat   string         `json:"cat,omitempty"`
	PID   int            `json:"pid"`
	TID   int            `json:"tid"`
	TS    micros         `json:"ts"`
	Dur   *micros        `json:"dur,omitempty"`
	Scope string         `json:"s,omitempty"`
	ID    int            `json:"id,omitempty"`
	Bind  string         `json:"bp,omitempty"`
	Args  map[string]any `json:"args,omitempty"`
}

// micros is written in microseconds, to the nanosecond. Times count from the
// start of the file: a float64 holds no nanoseconds since 1970.
type micros time.Duration

func (m micros) MarshalJSON() ([]byte, error) {
	sign, n := "", int64(m)
	if n < 0 {
		sign, n = "-", -n
	}
	return fmt.Appendf(nil, "%s%d.%03d", sign, n/1000, n%1000), nil
}

const documentEnd = "\n]}\n"

// NewChrome draws spans in a file of Chrome's trace event format, which it makes
// or empties. The error says why that cannot be, and names no path. Later failures
// go to log.
func NewChrome(path string, log *slog.Logger) (sdktrace.SpanProcessor, error) {
	f, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	c := &chrome{file: f, log: log, empty: true, begin: time.Now(), pids: map[string]int{},
		rows: newRecent[rowsOf, *rows](), slices: newRecent[trace.SpanID, slice](), waiters: newRecent[trace.SpanID, []slice]()}
	if err = f.Truncate(0); err == nil {
		err = c.append(fmt.Appendf(nil, "{\"displayTimeUnit\":\"ms\",\"otherData\":{\"started\":%q},\"traceEvents\":[", c.begin.UTC().Format(time.RFC3339Nano)))
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	c.queue = &queue[*tree]{limit: queueSize, write: c.write}
	c.trees = newTrees(c.queue.put)
	return c, nil
}

// openRegular looks before it opens: to open a FIFO for writing is to wait for a
// reader.
func openRegular(path string) (*os.File, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, errors.New("it is no regular file")
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o644)
	var reason *os.PathError
	if errors.As(err, &reason) {
		return nil, reason.Err // the caller says the path
	}
	return f, err
}

// append puts text where the document's end is, and the end behind it.
func (c *chrome) append(text []byte) error {
	if _, err := c.file.WriteAt(append(text, documentEnd...), c.end); err != nil {
		// The disk may be full; what was there before stays readable.
		_, _ = c.file.WriteAt([]byte(documentEnd), c.end)
		_ = c.file.Truncate(c.end + int64(len(documentEnd)))
		return err
	}
	c.end += int64(len(text))
	return nil
}

func (c *chrome) ForceFlush(ctx context.Context) error { return c.queue.flush(ctx) }

// Shutdown writes the spans that are still open, too, as far as they have come.
// The file stays open: spans of the feed may end later, and the process ends
// soon.
func (c *chrome) Shutdown(ctx context.Context) error {
	c.stop()
	return c.queue.stop(ctx)
}

func (c *chrome) write(trees []*tree, dropped int) {
	if c.failed {
		return
	}
	var d drawing
	for _, t := range trees {
		c.tree(&d, t)
	}
	if d.Len() > 0 {
		text := d.Bytes()
		if c.empty {
			text = text[1:] // no comma before the first event
		}
		if err := c.append(text); err != nil {
			c.failed = true
			c.log.Warn("spans cannot be written; the file keeps what it has", "file", c.file.Name(), "error", err)
			return
		}
		c.empty = false
	}
	if dropped > 0 {
		c.log.Warn("requests lost: the disk is too slow", "lost", dropped, "file", c.file.Name())
	}
}

// drawing is events on their way to the file, each after a comma.
type drawing struct{ bytes.Buffer }

func (d *drawing) add(e event) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(e) // texts, numbers and maps of them: it cannot fail
	d.WriteString(",\n")
	d.Write(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

// tree draws the spans of a tree.
func (c *chrome) tree(d *drawing, t *tree) {
	ends := map[trace.SpanID]time.Time{}
	var spans []sdktrace.ReadOnlySpan
	for _, s := range t.byStart() {
		end := t.end(s)
		if end.IsZero() {
			end = t.cut
		}
		if end.IsZero() { // it is drawn when it ends, if it ever does
			continue
		}
		ends[s.SpanContext().SpanID()] = end
		spans = append(spans, s)
	}
	children := map[trace.SpanID][]sdktrace.ReadOnlySpan{}
	for _, s := range spans {
		parent := s.Parent().SpanID()
		if _, here := ends[parent]; !here {
			parent = trace.SpanID{}
		}
		children[parent] = append(children[parent], s)
	}
	var branch func(s sdktrace.ReadOnlySpan)
	var draw func(s sdktrace.ReadOnlySpan, at slice)
	// branch draws s on a row where there is room.
	branch = func(s sdktrace.ReadOnlySpan) {
		at := slice{pid: c.pid(d, s), start: s.StartTime(), end: ends[s.SpanContext().SpanID()]}
		at.tid = c.row(d, s, at)
		draw(s, at)
	}
	draw = func(s sdktrace.ReadOnlySpan, at slice) {
		id := s.SpanContext().SpanID()
		c.span(d, s, at, t.end(s).IsZero())
		free := at.start // the row is taken until then
		for _, child := range children[id] {
			in := slice{at.pid, at.tid, child.StartTime(), ends[child.SpanContext().SpanID()]}
			if c.pid(d, child) != at.pid || in.start.Before(free) || in.end.After(at.end) {
				branch(child)
				continue
			}
			free = in.end
			draw(child, in)
		}
	}
	for _, s := range children[trace.SpanID{}] {
		branch(s)
	}
	for _, s := range spans {
		c.link(d, s)
	}
}

// pid is the process of a span's service.
func (c *chrome) pid(d *drawing, s sdktrace.ReadOnlySpan) int {
	name := service(s)
	pid, known := c.pids[name]
	if !known {
		pid = len(c.pids) + 1
		c.pids[name] = pid
		d.add(event{Name: "process_name", Phase: "M", PID: pid, Args: map[string]any{"name": name}})
		if v := of(s, "service.version"); v != "" {
			d.add(event{Name: "process_labels", Phase: "M", PID: pid, Args: map[string]any{"labels": v}})
		}
	}
	return pid
}

// row takes a place in the trace's rows.
func (c *chrome) row(d *drawing, s sdktrace.ReadOnlySpan, at slice) int {
	key := rowsOf{s.SpanContext().TraceID(), at.pid}
	all := c.rows.values[key]
	if all == nil {
		all = new(rows)
		c.rows.set(key, all)
	}
	i, added := all.take(span{at.start, at.end})
	if added {
		c.tids++
		all.rows[i].tid = c.tids
		name := "trace " + key.trace.String()
		if i > 0 {
			name = fmt.Sprintf("%s (%d)", name, i+1)
		}
		d.add(event{Name: "thread_name", Phase: "M", PID: at.pid, TID: c.tids, Args: map[string]any{"name": name}})
		d.add(event{Name: "thread_sort_index", Phase: "M", PID: at.pid, TID: c.tids, Args: map[string]any{"sort_index": c.tids}})
	}
	return all.rows[i].tid
}

// span draws one span and its events.
func (c *chrome) span(d *drawing, s sdktrace.ReadOnlySpan, at slice, open bool) {
	c.slices.set(s.SpanContext().SpanID(), at)
	args := values(s.Attributes())
	args["trace_id"] = s.SpanContext().TraceID().String()
	args["span_id"] = s.SpanContext().SpanID().String()
	args["parent_id"] = parentID(s)
	args["status"] = strings.ToLower(s.Status().Code.String())
	if s.Status().Description != "" {
		args["message"] = s.Status().Description
	}
	if open {
		args["unfinished"] = true
	}
	dur := micros(at.end.Sub(at.start))
	d.add(event{Name: s.Name(), Phase: "X", Cat: s.SpanKind().String(), PID: at.pid, TID: at.tid, TS: c.since(at.start), Dur: &dur, Args: args})
	for _, e := range s.Events() {
		d.add(event{Name: e.Name, Phase: "i", Cat: "event", PID: at.pid, TID: at.tid, TS: c.since(e.Time), Scope: "t", Args: values(e.Attributes)})
	}
}

func (c *chrome) since(at time.Time) micros { return micros(at.Sub(c.begin)) }

// link draws the arrows between a span and those it links to, as soon as both
// ends are there. It does so for the spans that have waited for it, too.
func (c *chrome) link(d *drawing, s sdktrace.ReadOnlySpan) {
	id := s.SpanContext().SpanID()
	own := c.slices.values[id]
	for _, l := range s.Links() {
		to := l.SpanContext.SpanID()
		if flight, there := c.slices.values[to]; there {
			c.flow(d, flight, own)
		} else {
			c.waiters.set(to, append(c.waiters.values[to], own))
		}
	}
	if waiters := c.waiters.values[id]; len(waiters) > 0 {
		for _, waiter := range waiters {
			c.flow(d, own, waiter)
		}
		c.waiters.set(id, nil)
	}
}

// flow draws an arrow from a flight to one who waited for it. A viewer ties
// each end to the innermost slice of its row at that time: at its start a
// flight is that, and a waiter, who has nothing below it, is it all the time.
func (c *chrome) flow(d *drawing, flight, waiter slice) {
	joined := waiter.start
	if flight.start.After(joined) && flight.start.Before(waiter.end) {
		joined = flight.start
	}
	c.flows++
	d.add(event{Name: "link", Phase: "s", Cat: "link", ID: c.flows, PID: flight.pid, TID: flight.tid, TS: c.since(flight.start)})
	d.add(event{Name: "link", Phase: "f", Cat: "link", ID: c.flows, Bind: "e", PID: waiter.pid, TID: waiter.tid, TS: c.since(joined)})
}
