package check

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/trace/noop"

	"plaque/scripts/internal/caller"
	"plaque/scripts/internal/otlp"
	"plaque/steps/kit/origin"
)

func TestRetryAfter(t *testing.T) {
	for header, want := range map[string]bool{
		"": false, "0": true, "1": true, "5": true, "05": true, "6": false, "1.5": false, "-1": false, "+1": false,
		"soon": false, "1 s": false, "Thu, 26 Nov 2026 12:00:00 GMT": false, "99999999999999999999": false,
	} {
		if wait, ok := retryAfter(header); ok != want {
			t.Errorf("%q: %v, %v; want %v", header, wait, ok, want)
		}
	}
}

func TestSingle(t *testing.T) {
	distinct := map[string]int{}
	for i := range asksEach + 1 {
		distinct[fmt.Sprint("request ", i)] = 1
	}
	for _, c := range []struct {
		names map[string]int
		want  string
	}{
		{nil, noMachines},
		{map[string]int{"a": 13}, noMachines},
		{map[string]int{"a": 7, "b": 6}, ""},
		{distinct, "X-Served-By is another in each of 13 answers: at most 12 machines can be told apart"},
	} {
		if got := single(c.names); got != c.want {
			t.Errorf("%v: %q, want %q", c.names, got, c.want)
		}
	}
}

// A server that does not end when it is told to is killed, and the person is told.
func TestKilled(t *testing.T) {
	t.Parallel()
	var notes []string
	o := Options{Command: faultyServer("deaf"), Only: []string{"not-found"}, Note: func(note string) { notes = append(notes, note) }}
	verdicts, err := Run(t.Context(), o)
	if err != nil || len(verdicts) != 1 || verdicts[0].Has != "yes" {
		t.Errorf("%+v, %v", verdicts, err)
	}
	if len(notes) != 1 || !strings.Contains(notes[0], "had to be killed, 2 of 2 times") {
		t.Errorf("the person is told %q", notes)
	}
}

// A server that has just been started anew takes no connection for a moment.
func TestConnectWaits(t *testing.T) {
	addr := freeAddr(t)
	again := make(chan net.Listener, 1)
	time.AfterFunc(300*time.Millisecond, func() {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Error(err)
		}
		again <- l
	})
	conn, err := (&subject{url: "http://" + addr}).connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	_ = (<-again).Close()
}

// burstOf is a trace of n callers, the first of whom made the load, with the
// load's span below its own, and the calls.
func burstOf(n int) (map[string]otlp.Span, []*call) {
	at := time.Unix(1_700_000_000, 0)
	spans := map[string]otlp.Span{"load": {ID: "load", Parent: "r0", Start: at, End: at.Add(time.Second)}}
	var calls []*call
	for i := range n {
		c := &call{span: fmt.Sprint("c", i), answer: caller.Answer{Status: 200}}
		calls = append(calls, c)
		root := otlp.Span{ID: fmt.Sprint("r", i), Parent: c.span, Start: at, End: at.Add(time.Second)}
		if i > 0 {
			root.Links = []otlp.Link{{ID: "load"}}
		}
		spans[root.ID] = root
	}
	return spans, calls
}

func TestJoined(t *testing.T) {
	change := func(id string, f func(*otlp.Span)) func(map[string]otlp.Span) {
		return func(spans map[string]otlp.Span) { s := spans[id]; f(&s); spans[id] = s }
	}
	for _, c := range []struct {
		name   string
		change func(map[string]otlp.Span)
		has    string
		what   string
	}{
		{"all as it should be", func(map[string]otlp.Span) {}, "yes", "1 load, and 4 of the 4 others link to its span"},
		{"the leader links to its load, too", change("r0", func(s *otlp.Span) { s.Links = []otlp.Link{{ID: "load"}} }), "yes", "4 of the 4"},
		{"one does not link", change("r2", func(s *otlp.Span) { s.Links = nil }), "no", "3 of the 4"},
		{"one came when the load was over", change("r2", func(s *otlp.Span) { s.Links, s.Start = nil, s.End.Add(time.Millisecond) }), "yes", "3 of the 3"},
		{"one links to itself", change("r2", func(s *otlp.Span) { s.Links = []otlp.Link{{ID: "r2"}} }), "no", "3 of the 4"},
		{"one has no span", func(spans map[string]otlp.Span) { delete(spans, "r2") }, "no", "3 of the 4"},
		{"the load has none", func(spans map[string]otlp.Span) { delete(spans, "load") }, "no", "no span for it"},
		{"the load's is below no caller", change("load", func(s *otlp.Span) { s.Parent = "" }), "yes", "4 of the 4"},
		{"spans go round", change("load", func(s *otlp.Span) { s.Parent = "load" }), "yes", "4 of the 4"},
	} {
		spans, calls := burstOf(5)
		c.change(spans)
		if got := joined(spans, calls, "load"); got.has != c.has || !strings.Contains(got.what, c.what) {
			t.Errorf("%s: %s, %q; want %s, %q", c.name, got.has, got.what, c.has, c.what)
		}
	}
}

// A deep trace costs no more than a wide one: each span is looked at once, however
// many stand above it.
func TestDeepTrace(t *testing.T) {
	const deep = 20_000
	spans, calls := burstOf(5)
	parent := "r0"
	for i := range deep {
		id := fmt.Sprint("deep ", i)
		spans[id] = otlp.Span{ID: id, Parent: parent, Links: []otlp.Link{{ID: "load"}}}
		parent = id
	}
	rootOf := below(spans, map[string]bool{"r0": true})
	if rootOf["load"] != "r0" || rootOf[parent] != "r0" {
		t.Errorf("the load's span was found below %q, the deepest below %q", rootOf["load"], rootOf[parent])
	}
	began := time.Now()
	if got := joined(spans, calls, "load"); got.has != "yes" {
		t.Errorf("%s, %s", got.has, got.what)
	}
	if took := time.Since(began); took > 5*time.Second { // quadratic: 20,000 deep took over an hour
		t.Errorf("it took %v", took)
	}
}

// What a load shows that was held beyond its timeout counts for nothing.
func TestHeldTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &subject{feed: origin.New(noop.NewTracerProvider()), checker: &checker{}}
		holds := []time.Duration{heldMost + beat, joinFor}
		m := measured{times: 1, take: func(ctx context.Context, s *subject) seen {
			s.hold(origin.Script{})
			held := holds[0]
			holds = holds[1:]
			pause(ctx, held)
			s.open()
			return is(held < heldMost, "it was given up")
		}}
		if got := m.measure(t.Context(), s); got.has != "yes" || len(holds) > 0 {
			t.Errorf("%q, %d measurements left; want yes, by the second", got.has, len(holds))
		}
	})
}
