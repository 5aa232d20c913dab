package see

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"plaque/steps/kit/web/webtest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// document is a file in Chrome's trace event format, as strictly as we write it.
type document struct {
	DisplayTimeUnit string `json:"displayTimeUnit"`
	OtherData       struct {
		Started time.Time `json:"started"`
	} `json:"otherData"`
	TraceEvents []chromeEvent `json:"traceEvents"`
}

type chromeEvent struct {
	Name  *string        `json:"name"`
	Phase *string        `json:"ph"`
	Cat   *string        `json:"cat"`
	PID   *int           `json:"pid"`
	TID   *int           `json:"tid"`
	TS    *json.Number   `json:"ts"`
	Dur   *json.Number   `json:"dur"`
	Scope *string        `json:"s"`
	ID    *int           `json:"id"`
	Bind  *string        `json:"bp"`
	Args  map[string]any `json:"args"`

	start, end int64 // in nanoseconds
}

// key is a thread.
type key struct{ pid, tid int }

// drawn is what a valid file shows.
type drawn struct {
	document
	processes map[int]string
	threads   map[key]string
	slices    map[key][]chromeEvent // in their order: by start, the outer ones first
	instants  []chromeEvent
	flows     [][2]chromeEvent // where each begins and ends: the slices
}

// validate checks a file and fails the test where it is wrong in any way.
func validate(t *testing.T, file []byte) drawn {
	t.Helper()
	d := drawn{processes: map[int]string{}, threads: map[key]string{}, slices: map[key][]chromeEvent{}}
	dec := json.NewDecoder(bytes.NewReader(file))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&d.document); err != nil {
		t.Fatalf("no JSON of that kind: %v\n%.500s", err, file)
	}
	if dec.More() || !json.Valid(file) {
		t.Fatalf("more than one document:\n%.500s", file)
	}
	if d.DisplayTimeUnit != "ms" || d.OtherData.Started.IsZero() || d.TraceEvents == nil {
		t.Errorf("the head is %+v", d)
	}
	type flow struct{ s, f []chromeEvent }
	flows := map[int]*flow{}
	sorted := map[key]int{}
	for i := range d.TraceEvents {
		e := &d.TraceEvents[i]
		if e.Name == nil || e.Phase == nil || e.PID == nil || e.TID == nil || e.TS == nil || *e.PID < 1 || *e.TID < 0 {
			t.Fatalf("name, ph, pid, tid or ts is missing: %s", text(*e))
		}
		e.start = nanos(t, *e.TS)
		thread := key{*e.PID, *e.TID}
		has := ""
		for name, there := range map[string]bool{"cat": e.Cat != nil, "dur": e.Dur != nil, "s": e.Scope != nil, "id": e.ID != nil, "bp": e.Bind != nil} {
			if there {
				has += name + " "
			}
		}
		fields := strings.Fields(has)
		slices.Sort(fields)
		want := map[string]string{"M": "", "X": "cat dur", "i": "cat s", "s": "cat id", "f": "bp cat id"}
		if w, known := want[*e.Phase]; !known || strings.Join(fields, " ") != w {
			t.Fatalf("a %q has %q: %s", *e.Phase, fields, text(*e))
		}
		switch *e.Phase {
		case "M":
			name, _ := e.Args["name"].(string)
			switch *e.Name {
			case "process_name":
				if d.processes[*e.PID] != "" || name == "" || *e.TID != 0 {
					t.Errorf("a second name, or none: %s", text(*e))
				}
				d.processes[*e.PID] = name
			case "process_labels":
				if label, _ := e.Args["labels"].(string); label == "" {
					t.Errorf("no label: %s", text(*e))
				}
			case "thread_name":
				if d.threads[thread] != "" || name == "" || *e.TID == 0 {
					t.Errorf("a second name, or none: %s", text(*e))
				}
				d.threads[thread] = name
			case "thread_sort_index":
				if n, ok := e.Args["sort_index"].(float64); !ok || n < 1 {
					t.Errorf("no index: %s", text(*e))
				}
				sorted[thread]++
			default:
				t.Errorf("metadata that we do not write: %s", text(*e))
			}
		case "X":
			if e.end = e.start + nanos(t, *e.Dur); e.end < e.start {
				t.Errorf("it ends before it begins: %s", text(*e))
			}
			d.slices[thread] = append(d.slices[thread], *e)
		case "i":
			if *e.Scope != "t" {
				t.Errorf("the scope is not the thread: %s", text(*e))
			}
			d.instants = append(d.instants, *e)
		default:
			if flows[*e.ID] == nil {
				flows[*e.ID] = new(flow)
			}
			if f := flows[*e.ID]; *e.Phase == "s" {
				f.s = append(f.s, *e)
			} else if f.f = append(f.f, *e); *e.Bind != "e" {
				t.Errorf("bound to the next slice: %s", text(*e))
			}
		}
	}
	for thread, all := range d.slices {
		if d.processes[thread.pid] == "" || d.threads[thread] == "" || sorted[thread] != 1 {
			t.Errorf("thread %v has no name, or its process has none", thread)
		}
		// Nested: whatever starts within a slice ends within it.
		slices.SortStableFunc(all, func(a, b chromeEvent) int {
			return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(b.end, a.end))
		})
		var open []chromeEvent
		for _, e := range all {
			for len(open) > 0 && open[len(open)-1].end <= e.start {
				open = open[:len(open)-1]
			}
			if len(open) > 0 && e.end > open[len(open)-1].end {
				t.Errorf("on thread %v\n%s\ndoes not nest in\n%s", thread, text(e), text(open[len(open)-1]))
			}
			open = append(open, e)
		}
	}
	for _, e := range d.instants {
		if !slices.ContainsFunc(d.slices[key{*e.PID, *e.TID}], func(s chromeEvent) bool { return s.start <= e.start && e.start <= s.end }) {
			t.Errorf("an event outside of every span: %s", text(e))
		}
	}
	// A viewer ties the end of an arrow to the innermost slice at its time.
	innermost := func(e chromeEvent) (in chromeEvent) {
		for _, s := range d.slices[key{*e.PID, *e.TID}] {
			if s.start <= e.start && (e.start < s.end || e.start == s.start) {
				in = s
			}
		}
		if in.Name == nil {
			t.Errorf("an arrow that ends in no slice: %s", text(e))
		}
		return in
	}
	for id, f := range flows {
		if len(f.s) != 1 || len(f.f) != 1 || *f.s[0].Name != *f.f[0].Name || *f.s[0].Cat != *f.f[0].Cat {
			t.Errorf("flow %d is no pair: %v", id, f)
			continue
		}
		d.flows = append(d.flows, [2]chromeEvent{innermost(f.s[0]), innermost(f.f[0])})
	}
	return d
}

// nanos is a number of microseconds, exactly.
func nanos(t *testing.T, n json.Number) int64 {
	t.Helper()
	r, ok := new(big.Rat).SetString(string(n))
	if !ok || strings.ContainsAny(string(n), "eE") {
		t.Fatalf("%s is no plain number", n)
	}
	if r.Mul(r, big.NewRat(1000, 1)); !r.IsInt() {
		t.Fatalf("%s has more digits than nanoseconds", n)
	}
	return r.Num().Int64()
}

func text(e chromeEvent) string {
	b, _ := json.Marshal(e)
	return string(b)
}

func chromeFile(t *testing.T) (*chrome, func() drawn) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "trace.json")
	view, err := NewChrome(path, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	c := view.(*chrome)
	t.Cleanup(func() { _ = c.file.Close() }) // Windows removes no open file
	return c, func() drawn {
		t.Helper()
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return validate(t, b)
	}
}

func TestChrome(t *testing.T) {
	c, read := chromeFile(t)
	if d := read(); len(d.TraceEvents) != 0 {
		t.Errorf("an empty file has %v", d.TraceEvents)
	}
	c.begin = noon
	spans := sample(t, c)
	d := read()

	found := map[string]chromeEvent{}
	on := map[string]key{}
	for thread, all := range d.slices {
		for _, e := range all {
			id := e.Args["span_id"].(string)
			if _, twice := found[id]; twice {
				t.Errorf("twice: %s", text(e))
			}
			found[id], on[id] = e, thread
		}
	}
	if len(found) != len(spans) {
		t.Errorf("%d slices for %d spans", len(found), len(spans))
	}
	events, links := 0, map[string]int{}
	for _, s := range spans {
		id := s.SpanContext().SpanID().String()
		e := found[id]
		if *e.Name != s.Name() || *e.Cat != s.SpanKind().String() || e.start != s.StartTime().Sub(noon).Nanoseconds() || e.end != s.EndTime().Sub(noon).Nanoseconds() {
			t.Errorf("%s: %s", s.Name(), text(e))
		}
		if d.processes[*e.PID] != of(s, "service.name") || !strings.HasPrefix(d.threads[on[id]], "trace "+s.SpanContext().TraceID().String()) {
			t.Errorf("%s stands in %q, %q", text(e), d.processes[*e.PID], d.threads[on[id]])
		}
		want := decoded(s.Attributes())
		want["trace_id"], want["span_id"], want["parent_id"] = s.SpanContext().TraceID().String(), id, parentID(s)
		want["status"] = strings.ToLower(s.Status().Code.String())
		if s.Status().Description != "" {
			want["message"] = s.Status().Description
		}
		if fmt.Sprint(e.Args) != fmt.Sprint(want) {
			t.Errorf("got %v\nwant %v", e.Args, want)
		}
		events += len(s.Events())
		for _, l := range s.Links() {
			if _, here := found[l.SpanContext.SpanID().String()]; here {
				links[l.SpanContext.SpanID().String()+" to "+id]++
			}
		}
	}
	if len(d.instants) != events {
		t.Errorf("%d instants for %d events", len(d.instants), events)
	}
	for _, f := range d.flows {
		links[f[0].Args["span_id"].(string)+" to "+f[1].Args["span_id"].(string)]--
	}
	for pair, n := range links {
		if n != 0 {
			t.Errorf("%s: %d links more than arrows", pair, n)
		}
	}
	// One row while they nest: a leader's spans stand below each other, and a
	// caller that waits beside it stands on a separate row.
	var names []string
	for thread := range d.slices {
		names = append(names, d.processes[thread.pid]+": "+d.threads[thread])
	}
	slices.Sort(names)
	want := []string{
		"feed: trace aa0000000000000000000000000000ff",
		"plaque: trace aa0000000000000000000000000000ff",
		"plaque: trace aa0000000000000000000000000000ff (2)",
		"plaque: trace aa0000000000000000000000000000ff (3)",
		"plaque: trace aa0000000000000000000000000000ff (4)",
		"plaque: trace ab00000000000000000000000000000d",
		"plaque: trace ab00000000000000000000000000000d (2)",
	}
	if !slices.Equal(names, want) {
		t.Errorf("the rows are\n%s\nwant\n%s", strings.Join(names, "\n"), strings.Join(want, "\n"))
	}
}

// A caller that is stuck forever is in the file when the program stops, and a
// span that ends late is there once.
func TestChromeUnfinished(t *testing.T) {
	c, read := chromeFile(t)
	plaque, _ := services(c)
	ctx, stuck := plaque.Tracer("test").Start(t.Context(), "stuck")
	_, flight := plaque.Tracer("test").Start(ctx, "flight")
	_, child := plaque.Tracer("test").Start(ctx, "waits", trace.WithLinks(trace.Link{SpanContext: flight.SpanContext()}))
	child.End()
	if err := c.ForceFlush(t.Context()); err != nil || len(read().slices) != 0 {
		t.Errorf("written before its root has ended (%v)", err)
	}
	for range 2 {
		if err := c.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}
	d := read()
	got := map[string]any{}
	for _, all := range d.slices {
		for _, e := range all {
			got[*e.Name] = e.Args["unfinished"]
		}
	}
	if fmt.Sprint(got) != "map[flight:true stuck:true waits:<nil>]" || len(d.flows) != 1 {
		t.Errorf("unfinished: %v, %d arrows", got, len(d.flows))
	}
	_ = stuck
}

// Whatever overlaps, the file is right after every write: a killed process would
// have left it so.
func TestChromeAtRandom(t *testing.T) {
	c, read := chromeFile(t)
	var left [][]byte // by the writer; read when it is idle
	c.queue.write = func(trees []*tree, dropped int) {
		c.write(trees, dropped)
		b, err := os.ReadFile(c.file.Name())
		if err != nil {
			t.Error(err)
		}
		left = append(left, b)
	}
	plaque, feed := services(c)
	const traces, requests = 4, 60
	tracers := []trace.Tracer{plaque.Tracer("test"), plaque.Tracer("test"), feed.Tracer("test")}
	var mu sync.Mutex // protects flights and spans
	flights, spans, links := []trace.SpanContext{}, 0, 0
	var all sync.WaitGroup
	for i := range traces * requests {
		all.Go(func() {
			random := rand.New(rand.NewPCG(7, uint64(i)))
			us := random.IntN(2000)
			var grow func(ctx context.Context, from, depth int)
			grow = func(ctx context.Context, from, depth int) {
				opts := []trace.SpanStartOption{at(from), trace.WithAttributes(attribute.Int("n", i))}
				mu.Lock()
				if len(flights) > 0 && random.IntN(4) == 0 {
					opts = append(opts, trace.WithLinks(trace.Link{SpanContext: flights[random.IntN(len(flights))]}))
					links++
				}
				spans++
				mu.Unlock()
				ctx, s := tracers[random.IntN(3)].Start(ctx, "span", opts...)
				mu.Lock()
				flights = append(flights, s.SpanContext())
				mu.Unlock()
				for range random.IntN(4 - depth) {
					grow(ctx, from+random.IntN(300)-20, depth+1) // a clock may even go back
				}
				end := from + random.IntN(400)
				s.AddEvent("event", at(from+(end-from)/2))
				s.End(at(end))
			}
			grow(trace.ContextWithRemoteSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{
				TraceID: trace.TraceID{byte(1 + i%traces)}, SpanID: trace.SpanID{9}, TraceFlags: trace.FlagsSampled, Remote: true})), us, 0)
		})
	}
	all.Wait()
	if err := c.ForceFlush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, b := range left {
		validate(t, b)
	}
	d := read()
	n := 0
	for _, s := range d.slices {
		n += len(s)
	}
	if n != spans {
		t.Errorf("%d slices for %d spans", n, spans)
	}
	if len(d.flows) != links {
		t.Errorf("%d arrows for %d links", len(d.flows), links)
	}
}

// fullDisk has room for so many bytes of a file.
type fullDisk struct {
	diskFile
	room int64
}

func (f *fullDisk) WriteAt(b []byte, at int64) (int, error) {
	fits := max(0, min(int64(len(b)), f.room-at))
	n, err := f.diskFile.WriteAt(b[:fits], at)
	if err == nil && n < len(b) {
		err = errors.New("no space left")
	}
	return n, err
}

// When the disk is full, what was written stays readable.
func TestChromeDiskFull(t *testing.T) {
	c, read := chromeFile(t)
	log := new(webtest.Buffer)
	c.log = slog.New(slog.NewTextHandler(log, nil))
	sample(t, c)
	before := len(read().TraceEvents)
	disk := &fullDisk{c.file, c.end + 1000} // the next write breaks off in the middle of an event
	c.file = disk
	sample(t, c)
	if n := len(read().TraceEvents); n != before {
		t.Errorf("%d events, before %d", n, before)
	}
	// Once there is room again, what comes would link to what is not there.
	disk.room = 1 << 40
	sample(t, c)
	if n := len(read().TraceEvents); n != before {
		t.Errorf("%d events later, before %d", n, before)
	}
	if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "spans cannot be written") {
		t.Errorf("the log: %s", got)
	}
}

// The file of a process that dies of a panic can be read.
func TestChromePanic(t *testing.T) {
	const file = "PLAQUE_TEST_PANIC"
	if path := os.Getenv(file); path != "" {
		view, err := NewChrome(path, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		tp := provider(sdktrace.WithSpanProcessor(view))
		_, s := tp.Tracer("test").Start(t.Context(), "before")
		s.End()
		if err := tp.ForceFlush(t.Context()); err != nil {
			t.Fatal(err)
		}
		go panic("doom")
		select {}
	}
	path := filepath.Join(t.TempDir(), "trace.json")
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChromePanic$")
	cmd.Env = append(os.Environ(), file+"="+path)
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "panic: doom") {
		t.Fatalf("%v\n%s", err, out)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := validate(t, b); len(d.slices) != 1 {
		t.Errorf("%d threads, want 1", len(d.slices))
	}
}
