package waterfall

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"plaque/scripts/internal/otlp"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
)

var update = flag.Bool("update", false, "write the pictures under testdata anew")

// scene is a set of spans under construction. Its ids count up and its times
// are fixed, so that its picture is always the same.
type scene struct {
	spans []otlp.Span
	trace int
}

var noon = time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)

// us is a time on the axis, in microseconds.
func us(n float64) time.Time { return noon.Add(time.Duration(n * 1000)) }

// add puts a span below its parent, "" for the root of a new trace, and returns
// its id. Attributes are pairs.
func (s *scene) add(parent, service, name string, start, end float64, attrs ...string) string {
	if parent == "" {
		s.trace++
	}
	span := otlp.Span{
		TraceID: fmt.Sprintf("%032x", s.trace),
		ID:      fmt.Sprintf("%016x", len(s.spans)+1),
		Parent:  parent,
		Service: service,
		Name:    name,
		Kind:    "internal",
		Start:   us(start),
		End:     us(end),
		Status:  "unset",
		Attrs:   map[string]string{},
	}
	for i := 0; i < len(attrs); i += 2 {
		span.Attrs[attrs[i]] = attrs[i+1]
	}
	s.spans = append(s.spans, span)
	return span.ID
}

func (s *scene) find(id string) *otlp.Span {
	for i := range s.spans {
		if s.spans[i].ID == id {
			return &s.spans[i]
		}
	}
	panic("no span " + id)
}

func (s *scene) link(from, to string) {
	target := s.find(to)
	span := s.find(from)
	span.Links = append(span.Links, otlp.Link{TraceID: target.TraceID, ID: to})
}

func (s *scene) fail(id, message string) {
	span := s.find(id)
	span.Status, span.Message = "error", message
}

func (s *scene) panics(id, message string) {
	s.fail(id, message)
	span := s.find(id)
	span.Events = append(span.Events, otlp.Event{Name: "exception", Time: span.End, Attrs: map[string]string{
		"exception.type": "*errors.errorString", "exception.message": message,
	}})
}

func (s *scene) burst(end float64) string {
	return s.add("", "load", "burst", 0, end, "plaque.requests", "10", "plaque.concurrency", "5")
}

// request adds a handler's span and the look into the cache below it.
func (s *scene) request(burst string, start, end float64, status, result string) (get, cache string) {
	get = s.add(burst, "plaque", "GET /{$}", start, end, "http.response.status_code", status)
	if status[0] == '5' {
		s.fail(get, "")
	}
	cache = s.add(get, "plaque", "cache.get", start+40, end-60, "cache.key", "UCBR8-60-B28hp2BmDPdntcQ", "cache.result", result)
	return get, cache
}

// load adds what a load of the feed looks like from both sides of the wire.
func (s *scene) load(parent string, start, end float64) string {
	get := s.add(parent, "plaque", "HTTP GET", start, end, "http.response.status_code", "200")
	conn := s.add(get, "plaque", "http.getconn", start+30, start+480, "http.conn.reused", "false")
	s.add(conn, "plaque", "http.dns", start+40, start+210)
	s.add(conn, "plaque", "http.connect", start+220, start+470)
	s.add(get, "plaque", "http.send", start+490, start+510)
	s.add(get, "feed", "GET /feeds/videos.xml", start+640, end-350, "http.response.status_code", "200")
	s.add(get, "plaque", "http.receive", end-320, end-20)
	return get
}

// stampede is step 05: five callers miss together and each makes its own load.
func stampede() *scene {
	s := new(scene)
	burst := s.burst(304_800)
	for i := range 5 {
		at := float64(i)
		_, cache := s.request(burst, 900+170*at, 302_900+230*at, "200", "miss")
		s.load(cache, 1010+170*at, 302_600+230*at)
	}
	for i := range 5 {
		at := float64(i)
		s.request(burst, 303_300+220*at, 303_480+220*at, "200", "hit")
	}
	return s
}

// coalesced is step 07 and after: one flight, and four callers who wait for it.
func coalesced() *scene {
	s := new(scene)
	burst := s.burst(304_800)
	_, leader := s.request(burst, 900, 302_900, "200", "miss")
	flight := s.add(leader, "plaque", "flight", 960, 302_800)
	s.load(flight, 1010, 302_600)
	for i := range 4 {
		at := float64(i)
		_, waiter := s.request(burst, 1070+170*at, 303_130+230*at, "200", "joined")
		s.link(waiter, flight)
	}
	for i := range 5 {
		at := float64(i)
		s.request(burst, 303_300+220*at, 303_480+220*at, "200", "hit")
	}
	return s
}

// doomed is step 09 with a feed that dooms the first load: everyone gets an
// answer, and the next five are served by a second flight.
func doomed() *scene {
	s := new(scene)
	burst := s.burst(558_300)
	round := func(start, end float64, status string) {
		_, leader := s.request(burst, start, end, status, "miss")
		flight := s.add(leader, "plaque", "flight", start+90, end-110)
		s.load(flight, start+130, end-260)
		if status == "500" {
			s.panics(flight, "panic: no frame of video doom can be decoded\ngoroutine 41 [running]:\nmain.load(...)")
			s.fail(leader, "panic: no frame of video doom can be decoded\ngoroutine 41 [running]:\nmain.load(...)")
		}
		for i := range 4 {
			at := float64(i)
			_, waiter := s.request(burst, start+170*(at+1), end+230*(at+1), status, "joined")
			s.link(waiter, flight)
			if status == "500" {
				s.fail(waiter, "panic: no frame of video doom can be decoded")
			}
		}
	}
	round(900, 503_200, "500")
	round(505_700, 556_900, "200")
	return s
}

// connections is step 01, one client after the other, or 02, all at once.
func connections(apart float64) *scene {
	s := new(scene)
	for i := range 5 {
		at := float64(i) * apart
		root := s.add("", "plaque", "handle_connection", at, at+2_300)
		s.add(root, "plaque", "read_http_request", at+30, at+2_050)
		s.add(root, "plaque", "write_http_response", at+2_080, at+2_290)
	}
	return s
}

func convoy() *scene {
	s := new(scene)
	burst := s.burst(255_000)
	for i := range 5 {
		at := float64(i)
		get := s.add(burst, "plaque", "GET /{$}", 900+100*at, 50_900*(at+1), "http.response.status_code", "504")
		s.fail(get, "")
		cache := s.add(get, "plaque", "cache.get", 950+100*at, 50_800*(at+1), "cache.key", "UCBR8-60-B28hp2BmDPdntcQ", "cache.result", "miss")
		s.fail(cache, "the feed took longer than 50ms")
		s.add(cache, "plaque", "lock.wait", 960+100*at, 980+50_500*at)
		client := s.add(cache, "plaque", "HTTP GET", 1_200+50_510*at, 50_700*(at+1))
		s.fail(client, "context deadline exceeded")
	}
	return s
}

func burstNotes(s otlp.Span) string {
	if s.Name != "burst" {
		return ""
	}
	return s.Attrs["plaque.requests"] + " requests, " + s.Attrs["plaque.concurrency"] + " at a time"
}

// loadNames are what one wants to see of 04 and later.
var loadNames = []string{"burst", "GET /{$}", "cache.get", "lock.wait", "flight", "HTTP GET", "GET /feeds/videos.xml"}

func picture(t *testing.T, spans []otlp.Span, o Options) string {
	t.Helper()
	var b bytes.Buffer
	if err := Waterfall(&b, spans, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestWaterfall(t *testing.T) {
	fleet := stampede()
	for i := range fleet.spans { // every request for another key
		if fleet.spans[i].Name == "cache.get" {
			fleet.spans[i].Attrs["cache.key"] = fmt.Sprintf("UC%022d", i)
		}
	}
	tests := []struct {
		file  string
		spans []otlp.Span
		o     Options
	}{
		{"stampede", stampede().spans, Options{Only: loadNames, Notes: burstNotes}},
		{"coalesced", coalesced().spans, Options{Only: loadNames, Notes: burstNotes}},
		{"doomed", doomed().spans, Options{Only: loadNames, Notes: burstNotes}},
		{"doomed-80", doomed().spans, Options{Only: loadNames, Notes: burstNotes, Width: 80}},
		{"doomed-120-color", doomed().spans, Options{Only: loadNames, Notes: burstNotes, Width: 120, Color: true}},
		{"convoy", convoy().spans, Options{Notes: burstNotes}},
		{"keys-first-9", fleet.spans, Options{Only: loadNames, Max: 9}},
		{"one-by-one", connections(2_400).spans, Options{}},
		{"all-at-once", connections(20).spans, Options{}},
		{"everything", coalesced().spans, Options{Width: 110}},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			got := picture(t, tt.spans, tt.o)
			file := filepath.Join("testdata", tt.file+".txt")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatalf("%v (go test -update writes it)", err)
			}
			if want := strings.ReplaceAll(string(want), "\r\n", "\n"); got != want {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
			// The order in which spans are delivered must not show.
			turned := slices.Clone(tt.spans)
			slices.Reverse(turned)
			if picture(t, turned, tt.o) != got {
				t.Error("the same spans, delivered in another order, make another picture")
			}
		})
	}
}

var escape = regexp.MustCompile("\x1b\\[[0-9;]*m")

// line returns the line of the picture that starts with the name, without the
// bar: its words at the right.
func line(t *testing.T, picture, name string) string {
	t.Helper()
	for l := range strings.Lines(picture) {
		if strings.HasPrefix(strings.TrimSpace(l), name+" ") {
			return strings.TrimSuffix(l, "\n")
		}
	}
	t.Fatalf("no line starts with %q:\n%s", name, picture)
	return ""
}

func TestNotes(t *testing.T) {
	// Two spans on one line of time; change sees the second, named "b".
	tests := []struct {
		name   string
		change func(s *scene, a, b string)
		want   string // how the line of b ends
	}{
		{"nothing to say", func(*scene, string, string) {}, "▄ 5.00 ms"},
		{"status", func(s *scene, a, b string) { s.find(b).Attrs["http.response.status_code"] = "404" }, "5.00 ms  404"},
		{"error without words", func(s *scene, a, b string) { s.fail(b, "") }, "5.00 ms  ✗"},
		{"error", func(s *scene, a, b string) { s.fail(b, "no such video") }, "5.00 ms  ✗ no such video"},
		{"error with a status", func(s *scene, a, b string) {
			s.fail(b, "no such video")
			s.find(b).Attrs["http.response.status_code"] = "502"
		}, "5.00 ms  ✗ 502 · no such video"},
		{"error in one line", func(s *scene, a, b string) { s.fail(b, "doom\r\ngoroutine 1") }, "5.00 ms  ✗ doom"},
		{"error already told by the child", func(s *scene, a, b string) {
			s.fail(b, "doom")
			c := s.add(b, "plaque", "c", 7_000, 8_000)
			s.fail(c, "doom")
		}, "5.00 ms  ✗"},
		{"error already told further down", func(s *scene, a, b string) {
			s.fail(b, "doom")
			c := s.add(b, "plaque", "c", 7_000, 8_000)
			s.fail(s.add(c, "plaque", "c", 7_000, 8_000), "doom")
		}, "5.00 ms  ✗"},
		{"error told by the span linked to", func(s *scene, a, b string) {
			c := s.add(a, "plaque", "c", 0, 5_000)
			s.fail(c, "doom")
			s.fail(b, "doom")
			s.link(b, c)
		}, "5.00 ms  ✗ → c a"},
		{"another error in the child", func(s *scene, a, b string) {
			s.fail(b, "gave up")
			c := s.add(b, "plaque", "c", 7_000, 8_000)
			s.fail(c, "doom")
		}, "5.00 ms  ✗ gave up"},
		{"exception that is no error", func(s *scene, a, b string) {
			s.panics(b, "doom")
			s.find(b).Status, s.find(b).Message = "unset", ""
		}, "5.00 ms  recorded doom"},
		{"exception of an error without words", func(s *scene, a, b string) {
			s.panics(b, "doom")
			s.find(b).Message = ""
		}, "5.00 ms  ✗ doom"},
		{"link", func(s *scene, a, b string) { s.link(b, a) }, "5.00 ms  → a a"},
		{"joined", func(s *scene, a, b string) {
			s.link(b, a)
			s.find(b).Attrs["cache.result"] = "joined"
		}, "5.00 ms  joined → a a"},
		{"linked twice to the same span", func(s *scene, a, b string) { s.link(b, a); s.link(b, a) }, "5.00 ms  → a a"},
		{"link from another span", func(s *scene, a, b string) { s.link(a, b) }, "5.00 ms  ← 1 linked"},
		{"link to a span not drawn", func(s *scene, a, b string) {
			s.link(b, s.add(a, "plaque", "hidden", 0, 1_000))
		}, "5.00 ms  → hidden"},
		{"link to a span not received", func(s *scene, a, b string) {
			s.find(b).Links = []otlp.Link{{TraceID: strings.Repeat("a", 32), ID: strings.Repeat("b", 16)}}
		}, "5.00 ms  → not received"},
		{"many links", func(s *scene, a, b string) {
			for range 5 {
				s.link(b, s.add(a, "plaque", "c", 0, 1_000))
			}
		}, "5.00 ms  → c a, c b, 3 more"},
		{"links lost", func(s *scene, a, b string) { s.find(b).DroppedLinks = 2 }, "5.00 ms  2 links dropped"},
		{"new connection", func(s *scene, a, b string) {
			s.add(b, "plaque", "hidden", 6_000, 7_000, "http.conn.reused", "false")
		}, "5.00 ms  new connection"},
		{"reused connection", func(s *scene, a, b string) {
			s.add(b, "plaque", "hidden", 6_000, 7_000, "http.conn.reused", "true")
		}, "5.00 ms  reused connection"},
		{"two new connections", func(s *scene, a, b string) {
			s.add(b, "plaque", "hidden", 6_000, 7_000, "http.conn.reused", "false")
			s.add(b, "plaque", "hidden", 7_000, 8_000, "http.conn.reused", "false")
		}, "5.00 ms  2 new connections"},
		{"connection as an event", func(s *scene, a, b string) {
			s.find(b).Events = []otlp.Event{{Name: "http.getconn.done", Attrs: map[string]string{"http.conn.reused": "true"}}}
		}, "5.00 ms  reused connection"},
		{"one key", func(s *scene, a, b string) {
			s.find(a).Attrs["cache.key"] = "UC1"
			s.find(b).Attrs["cache.key"] = "UC1"
		}, "▄ 5.00 ms"},
		{"two keys", func(s *scene, a, b string) {
			s.find(a).Attrs["cache.key"] = "UC1"
			s.find(b).Attrs["cache.key"] = "UC2"
		}, "5.00 ms  UC2"},
		{"two long keys", func(s *scene, a, b string) {
			s.find(a).Attrs["cache.key"] = "UC00000000000000000001"
			s.find(b).Attrs["cache.key"] = "UC00000000000000000002"
		}, "5.00 ms  UC0000…000002"},
		{"two long keys that differ in the middle", func(s *scene, a, b string) {
			s.find(a).Attrs["cache.key"] = "UC00000000100000000000"
			s.find(b).Attrs["cache.key"] = "UC00000000200000000000"
		}, "5.00 ms  UC00000000200000000000"},
		{"parent not received", func(s *scene, a, b string) { s.find(b).Parent = strings.Repeat("c", 16) }, "5.00 ms  parent not received"},
		{"a circle", func(s *scene, a, b string) { s.find(b).Parent = b }, "5.00 ms  its own ancestor"},
		{"no end", func(s *scene, a, b string) { s.find(b).End = time.Time{} }, "0  no end time"},
		{"no start", func(s *scene, a, b string) { s.find(b).Start = time.Time{} }, "0  no start time"},
		{"no times", func(s *scene, a, b string) { s.find(b).Start, s.find(b).End = time.Time{}, time.Time{} }, "0  no times"},
		{"backwards", func(s *scene, a, b string) { s.find(b).End = us(1_000) }, "0  ends before it starts"},
		{"something of the caller's", func(s *scene, a, b string) {
			s.link(a, b)
			s.find(b).Attrs["noted"] = "the only one"
		}, "5.00 ms  ← 1 linked · the only one"},
		{"text that moves the cursor", func(s *scene, a, b string) { s.fail(b, "\x1b[2J\aboo\t\u202e!") }, "5.00 ms  ✗ ·[2J·boo ·!"},
		{"text that is not UTF-8", func(s *scene, a, b string) { s.fail(b, "a\xffb") }, "5.00 ms  ✗ a·b"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := new(scene)
			a := s.add("", "plaque", "a", 0, 10_000)
			b := s.add(a, "plaque", "b", 5_000, 10_000)
			tt.change(s, a, b)
			p := picture(t, s.spans, Options{Width: 120, Only: []string{"a", "b", "c"}, Notes: func(s otlp.Span) string { return s.Attrs["noted"] }})
			if got := line(t, p, "b"); !strings.HasSuffix(got, tt.want) {
				t.Errorf("%q does not end in %q\n%s", got, tt.want, p)
			}
		})
	}
}

// A narrow picture keeps what counts: every span, its time, its answer.
func TestNarrow(t *testing.T) {
	p := picture(t, coalesced().spans, Options{Only: loadNames[:len(loadNames)-1], Width: 59})
	for _, want := range []string{"      flight a", "← 4 joined", "joined → flight a", "200 · new\n"} {
		if !strings.Contains(p, want) {
			t.Errorf("it does not say %q:\n%s", want, p)
		}
	}
	for _, not := range []string{"service", "plaque", "connection", "…"} {
		if strings.Contains(strings.Split(p, "not drawn:")[0], not) {
			t.Errorf("it says %q:\n%s", not, p)
		}
	}
}

// A span that waits for a flight must be told apart from one that works.
func TestWaiting(t *testing.T) {
	s := new(scene)
	a := s.add("", "plaque", "a", 0, 10_000)
	s.add(a, "plaque", "works", 0, 10_000)
	s.add(a, "plaque", "waits", 0, 10_000, "cache.result", "joined")
	s.add(a, "plaque", "lock.wait", 0, 10_000)
	p := picture(t, s.spans, Options{})
	for name, want := range map[string]string{"works": "▄▄▄▄", "waits": "▖▖▖▖", "lock.wait": "▖▖▖▖"} {
		if got := line(t, p, name); !strings.Contains(got, want) {
			t.Errorf("%s: no %s in %q", name, want, got)
		}
	}
	if !strings.Contains(p, "\n▖▖▖ waits for a flight or a lock\n") {
		t.Errorf("the dashes are not explained:\n%s", p)
	}
}

func TestOnly(t *testing.T) {
	p := picture(t, coalesced().spans, Options{Only: []string{"burst", "flight", "GET /feeds/videos.xml"}})
	var names []string
	for l := range strings.Lines(p) {
		names = append(names, strings.TrimRight(l[:26], " ")) // one column before the bars
	}
	// The feed's span hangs at the flight: the HTTP GET between them is not drawn.
	want := []string{"span", "burst", "  flight", "    GET /feeds/videos.xml", "not drawn: 10 GET /{$}, 10"}
	if !slices.Equal(names, want) {
		t.Errorf("the lines are %q, want %q", names, want)
	}
	if !strings.HasSuffix(p, "not drawn: 10 GET /{$}, 10 cache.get, 1 HTTP GET, 1 http.connect, 1 http.dns, 3 others\n") {
		t.Errorf("wrong count of what is not drawn:\n%s", p)
	}
}

// Spans that come together because their parents are not drawn are still drawn
// in the order in which they start.
func TestOnlyKeepsTheOrder(t *testing.T) {
	for _, parent := range []string{"", "root"} {
		s := new(scene)
		if parent != "" {
			parent = s.add("", "plaque", "root", 0, 1_000)
		}
		first := s.add(parent, "plaque", "hidden", 0, 1_000)
		second := s.add(parent, "plaque", "hidden", 10, 1_000)
		s.add(first, "plaque", "c", 300, 400)
		s.add(second, "plaque", "b", 200, 400)
		s.add(first, "plaque", "a", 100, 400)
		p := picture(t, s.spans, Options{Only: []string{"root", "a", "b", "c"}})
		a, b, c := strings.Index(p, "a   "), strings.Index(p, "b   "), strings.Index(p, "c   ")
		if !(0 < a && a < b && b < c) {
			t.Errorf("not in the order a, b, c:\n%s", p)
		}
	}
}

func TestMax(t *testing.T) {
	s := doomed()
	p := picture(t, s.spans, Options{Only: loadNames, Max: 3})
	if !strings.Contains(p, "\n… and 24 spans more, 9 of them ✗: 9 GET /{$}, 9 cache.get, 2 GET /feeds/videos.xml, 4 others\n") {
		t.Errorf("the rest is not told:\n%s", p)
	}
	// What is cut off tells nothing: its parent has to.
	if !strings.Contains(p, "╰ panic: no frame of video doom can be decoded") {
		t.Errorf("the message is lost with the span that is cut off:\n%s", p)
	}
	// 60 is the bound where none is given.
	many := new(scene)
	for range 61 {
		many.add("", "plaque", "accept", 0, 1)
	}
	if p := picture(t, many.spans, Options{}); !strings.HasSuffix(p, "\n… and 1 span more: 1 accept\n") {
		t.Errorf("got:\n%s", p)
	}
}

func TestNothingToDraw(t *testing.T) {
	if got := picture(t, nil, Options{}); got != "no spans\n" {
		t.Errorf("got %q", got)
	}
	s := new(scene)
	s.add("", "plaque", "accept", 0, 1)
	if got := picture(t, s.spans, Options{Only: []string{"flight"}}); got != "nothing to draw\nnot drawn: 1 accept\n" {
		t.Errorf("got %q", got)
	}
}

func TestTooNarrow(t *testing.T) {
	for _, o := range []Options{{Width: MinWidth - 1}, {Width: -1}, {Max: -1}} {
		var b bytes.Buffer
		if err := Waterfall(&b, stampede().spans, o); err == nil || b.Len() > 0 {
			t.Errorf("%+v: error %v and %d bytes, want an error and none", o, err, b.Len())
		}
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestWriteError(t *testing.T) {
	if err := Waterfall(broken{}, stampede().spans, Options{}); err != io.ErrClosedPipe {
		t.Errorf("got %v, want the writer's error", err)
	}
}

func TestDurations(t *testing.T) {
	tests := []struct {
		d           time.Duration
		long, short string // in a picture of a second, and in one of less than a millisecond
	}{
		{0, "0", "0"},
		{1, "1.00 ns", "1.00 ns"},
		{999, "999 ns", "999 ns"},
		{1_234, "0.001 ms", "1.23 µs"},
		{9_940, "0.010 ms", "9.94 µs"},
		{9_996, "0.010 ms", "10.0 µs"},
		{82_000, "0.082 ms", "82.0 µs"},
		{99_600, "0.10 ms", "99.6 µs"},
		{182_000, "0.18 ms", "182 µs"},
		{999_600, "1.00 ms", "1.00 ms"},
		{12_345_678, "12.3 ms", "12.3 ms"},
		{301_499_999, "301 ms", "301 ms"},
		{999_600_000, "1.00 s", "1.00 s"},
		{2_050_000_000, "2.05 s", "2.05 s"},
		{99_900 * time.Millisecond, "99.9 s", "99.9 s"},
		{100 * time.Second, "1.67 min", "1.67 min"},
		{3 * time.Hour, "3.00 h", "3.00 h"},
	}
	for _, tt := range tests {
		long := (&canvas{span: time.Second}).duration(tt.d)
		short := (&canvas{span: 500 * time.Microsecond}).duration(tt.d)
		if long != tt.long || short != tt.short {
			t.Errorf("%d ns: %q and %q, want %q and %q", int64(tt.d), long, short, tt.long, tt.short)
		}
	}
}

// If a row leaves a thing out because another row says it, that other row must
// not leave it out in turn.
func TestSomebodyTells(t *testing.T) {
	tests := map[string]func(s *scene, a, b, c string){
		"a chain of links":       func(s *scene, a, b, c string) { s.link(a, b); s.link(b, c) },
		"a circle of links":      func(s *scene, a, b, c string) { s.link(a, b); s.link(b, c); s.link(c, a) },
		"a link to itself":       func(s *scene, a, b, c string) { s.link(a, a); s.link(b, a); s.link(c, a) },
		"a link to the parent":   func(s *scene, a, b, c string) { s.find(b).Parent = a; s.link(b, a); s.link(c, a) },
		"links up and across":    func(s *scene, a, b, c string) { s.find(b).Parent = a; s.link(b, c); s.link(c, a) },
		"links to and fro below": func(s *scene, a, b, c string) { s.find(c).Parent = a; s.link(b, a); s.link(c, b) },
	}
	for name, change := range tests {
		s := new(scene)
		root := s.add("", "plaque", "root", 0, 10_000)
		var ids []string
		for i := range 3 {
			ids = append(ids, s.add(root, "plaque", string(rune('x'+i)), float64(i)*1_000, 9_000))
			s.fail(ids[i], "doom")
		}
		change(s, ids[0], ids[1], ids[2])
		p := picture(t, s.spans, Options{})
		if n := strings.Count(p, "doom"); n != 1 {
			t.Errorf("%s: the message stands there %d times, want once:\n%s", name, n, p)
		}
	}
}

// A message that does not fit is written out once, however many spans say it.
func TestLongMessages(t *testing.T) {
	s := new(scene)
	for i := range 3 {
		at := float64(i) * 1_000
		s.fail(s.add("", "plaque", "load", at, at+900), "the feed said nothing for ages")
	}
	// At 40 columns there is no room to repeat even its start, at 60 there is.
	for columns, repeated := range map[int]int{40: 0, 60: 2} {
		p := picture(t, s.spans, Options{Width: columns})
		if n := strings.Count(p, "\n      ╰ the feed said nothing for ages\n"); n != 1 || strings.Count(p, "╰") != 1 {
			t.Errorf("%d columns: the message stands %d times below its bar, want once:\n%s", columns, n, p)
		}
		if n := strings.Count(p, "✗"); n != 3 {
			t.Errorf("%d columns: %d marks for 3 errors:\n%s", columns, n, p)
		}
		if n := strings.Count(p, "…"); n != repeated {
			t.Errorf("%d columns: the start of the message stands %d times, want %d:\n%s", columns, n, repeated, p)
		}
	}
	p := picture(t, s.spans, Options{Width: 120})
	if n := strings.Count(p, "ms  ✗ the feed said nothing for ages\n"); n != 3 || strings.Contains(p, "╰") {
		t.Errorf("the message stands %d times beside its bar, want 3 times:\n%s", n, p)
	}
}

func TestAxis(t *testing.T) {
	for _, tt := range []struct {
		total time.Duration
		width int
		want  string
	}{
		{0, 60, "0"},
		{7, 60, "0 1 2 3 4 5 7.00 ns"},
		{2500 * time.Nanosecond, 60, "0 0.5 1 1.5 2 2.50 µs"},
		{304800 * time.Microsecond, 60, "0 50 100 150 200 305 ms"},
		{2050 * time.Millisecond, 60, "0 0.5 1 1.5 2.05 s"},
		{5 * time.Minute, 60, "0 1 2 3 5.00 min"},
		{36 * time.Hour, 60, "0 5 10 15 20 25 36.0 h"},
		{1_000_000 * time.Hour, 76, "0 100000 300000 500000 700000 1000000 h"},
		{math.MaxInt64, 74, "0 500000 1000000 1500000 2562048 h"},
		{304800 * time.Microsecond, MinWidth, "0 100 200 305 ms"},
	} {
		p := picture(t, []otlp.Span{{Name: "span", Start: noon, End: noon.Add(tt.total)}}, Options{Width: tt.width})
		head, _, _ := strings.Cut(p, "\n")
		got := strings.Join(strings.Fields(strings.TrimPrefix(head, "span")), " ")
		if got != tt.want {
			t.Errorf("%v in %d columns: %s, want %s\n%s", tt.total, tt.width, got, tt.want, p)
		}
	}
}

func TestLetters(t *testing.T) {
	for n, want := range map[int]string{0: "a", 25: "z", 26: "aa", 51: "az", 52: "ba", 701: "zz", 702: "aaa"} {
		if got := letters(n); got != want {
			t.Errorf("letters(%d) = %q, want %q", n, got, want)
		}
	}
}

// random makes spans that no honest sender would send, next to ordinary ones.
func random(r *rand.Rand) []otlp.Span {
	names := []string{"GET /{$}", "cache.get", "flight", "lock.wait", "", "名前のとても長いスパン", "e\u0301te\u0301", strings.Repeat("long ", 30), "\x1b[1mbold\n", "\u009b31m", "✅⚡❌"}
	pick := func(from []string) string { return from[r.IntN(len(from))] }
	id := func() string { return fmt.Sprintf("%016x", 1+r.IntN(40)) }
	spans := make([]otlp.Span, r.IntN(90))
	for i := range spans {
		s := &spans[i]
		s.TraceID = fmt.Sprintf("%032x", 1+r.IntN(3))
		s.ID = id()
		if r.IntN(4) > 0 {
			s.Parent = id()
		}
		s.Service = pick([]string{"plaque", "feed", "load", "", "a service with a long name", "\u009b2J⚡"})
		s.Name = pick(names)
		s.Status = pick([]string{"unset", "unset", "ok", "error"})
		s.Message = pick(append(names, "panic: doom"))
		if r.IntN(20) > 0 {
			s.Start = noon.Add(time.Duration(r.Int64N(1 << r.IntN(50))))
		}
		if r.IntN(20) > 0 {
			s.End = s.Start.Add(time.Duration(r.Int64N(1<<r.IntN(50)) - 1000))
		}
		s.Attrs = map[string]string{}
		for _, key := range []string{"cache.key", "cache.result", "http.response.status_code", "http.conn.reused"} {
			if r.IntN(3) == 0 {
				s.Attrs[key] = pick(append(names, "joined", "false", "true"))
			}
		}
		for range r.IntN(4) {
			s.Links = append(s.Links, otlp.Link{TraceID: fmt.Sprintf("%032x", 1+r.IntN(3)), ID: id()})
		}
		if r.IntN(5) == 0 {
			s.Events = []otlp.Event{{Name: "exception", Attrs: map[string]string{"exception.message": pick(names)}}}
		}
	}
	return spans
}

// columnsIn counts the columns of a line that holds no wide characters but the
// ones that random uses.
func columnsIn(line string) int {
	n := 0
	for _, c := range line {
		switch {
		case c == '\u0301':
		case strings.ContainsRune("名前のとても長いスパン✅⚡❌", c):
			n += 2
		default:
			n++
		}
	}
	return n
}

// check holds a picture against what must be true of every picture.
func check(t *testing.T, spans []otlp.Span, o Options) {
	t.Helper()
	o.Color = false
	p := picture(t, spans, o)
	bars := 0
	for l := range strings.Lines(p) {
		l = strings.TrimSuffix(l, "\n")
		if n := columnsIn(l); n > o.Width {
			t.Errorf("a line has %d columns, more than %d:\n%s", n, o.Width, l)
		}
		if strings.TrimRight(l, " ") != l {
			t.Errorf("blanks at the end of %q", l)
		}
		if i := strings.IndexFunc(l, unicode.IsControl); i >= 0 {
			t.Errorf("a control character in %q", l)
		}
		if strings.ContainsAny(l, "▄▖▗│├") && !strings.HasPrefix(l, "▖▖▖ waits") {
			bars++
		}
	}
	want := 0
	for _, s := range spans {
		if len(o.Only) == 0 || slices.Contains(o.Only, s.Name) {
			want++
		}
	}
	if want = min(want, o.Max); bars != want {
		t.Errorf("%d bars for %d spans to draw:\n%s", bars, want, p)
	}
	o.Color = true
	if colored := escape.ReplaceAllString(picture(t, spans, o), ""); colored != p {
		t.Errorf("with colours the text is another one:\n%s\nwant:\n%s", colored, p)
	}
}

func TestRandomForests(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 1))
		spans := random(r)
		o := Options{Width: MinWidth + r.IntN(100), Max: 1 + r.IntN(100)}
		if r.IntN(2) == 0 {
			o.Only = []string{"flight", "cache.get", "名前のとても長いスパン"}
		}
		check(t, spans, o)
		if t.Failed() {
			t.Fatalf("seed %d, %+v", seed, o)
		}
	}
}

func FuzzWaterfall(f *testing.F) {
	f.Add(uint64(1), 100, 60)
	f.Fuzz(func(t *testing.T, seed uint64, width, most int) {
		check(t, random(rand.New(rand.NewPCG(seed, 2))), Options{
			Width: max(MinWidth, min(width, 1000)), Max: max(1, min(most, 1000)),
		})
	})
}

// What a bar's columns say of its start and end is true to half a column.
func TestBarsAreExact(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 3))
		s := new(scene)
		total := float64(int(1) << (4 + r.IntN(30)))
		root := s.add("", "plaque", "root", 0, total)
		for range 12 {
			start := r.Float64() * total
			s.add(root, "plaque", "child", start, start+r.Float64()*(total-start))
		}
		p := picture(t, s.spans, Options{Width: 60 + r.IntN(80)})
		lines := strings.Split(p, "\n")
		head := []rune(lines[0])
		left := slices.Index(head, '0')
		columns := len(head) - left
		var rows []otlp.Span
		for _, n := range otlp.Forest(s.spans)[0].Children {
			rows = append(rows, n.Span)
		}
		for i, span := range rows {
			area := []rune(lines[2+i])[left : left+columns]
			drawn := func(c rune) bool { return strings.ContainsRune("▄▖▗", c) }
			first := slices.IndexFunc(area, drawn)
			last := len(area) - 1
			for last > 0 && !drawn(area[last]) {
				last--
			}
			from, to := 2*first, 2*last+2
			if area[first] == '▗' {
				from++
			}
			if area[last] == '▖' {
				to--
			}
			micros := func(at time.Time) float64 { return float64(at.Sub(noon)) / 1000 }
			halves := 2 * float64(columns) / total
			wantFrom, wantTo := micros(span.Start)*halves, micros(span.End)*halves
			if math.Abs(float64(from)-wantFrom) > 0.51 && from != 2*columns-1 {
				t.Fatalf("seed %d: the bar starts %d half columns in, the span %.2f\n%s", seed, from, wantFrom, p)
			}
			if math.Abs(float64(to)-wantTo) > 0.51 && to != from+1 {
				t.Fatalf("seed %d: the bar ends %d half columns in, the span %.2f\n%s", seed, to, wantTo, p)
			}
		}
	}
}

func TestDeepAndWide(t *testing.T) {
	// A chain of spans as long as a receiver holds, drawn and not drawn.
	s := new(scene)
	id := ""
	for range 10_000 {
		id = s.add(id, "plaque", "link", 0, 1_000)
	}
	for i := range s.spans {
		s.spans[i].TraceID = s.spans[0].TraceID
		s.spans[i].Status = "error"
	}
	check(t, s.spans, Options{Width: 100, Max: 60})
	for i := range s.spans {
		if i%2 == 0 {
			s.spans[i].Name = "hidden"
		}
	}
	check(t, s.spans, Options{Width: 100, Max: 60, Only: []string{"link"}})
}

func TestForestLosesNothing(t *testing.T) {
	for seed := range uint64(100) {
		spans := random(rand.New(rand.NewPCG(seed, 1)))
		seen := 0
		var walk func([]*otlp.Node)
		walk = func(nodes []*otlp.Node) {
			for i, n := range nodes {
				seen++
				if i > 0 && otlp.Compare(nodes[i-1].Span, n.Span) > 0 {
					t.Fatalf("seed %d: not ordered by start", seed)
				}
				walk(n.Children)
			}
		}
		walk(otlp.Forest(spans))
		if seen != len(spans) {
			t.Fatalf("seed %d: %d of %d spans are in the forest", seed, seen, len(spans))
		}
	}
}
