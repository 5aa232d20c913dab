package page

import (
	"bytes"
	"encoding/xml"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"plaque/scripts/internal/lab"
	"plaque/scripts/internal/lesson"
	"plaque/scripts/internal/otlp"
	"plaque/scripts/internal/waterfall"
)

var update = flag.Bool("update", false, "write testdata/page.html anew")

const (
	hostile = `</title></svg><script>alert("x")</script><img src=//evil.example/x>&amp;` + "\x1b[31m\x00"
	message = `panic: on lovelace the video <b>doom</b> & "its" load, said at such length that no line of a picture on a phone has room for it, not one`
)

// example is a tour of two steps in which everything happens that a page can
// show. There are five loads, a flight that four join, an error, a claim that
// does not hold, markup in a text, and a secret.
func example() Tour {
	start := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	span := func(id, parent, name string, from, to int, attrs map[string]string) otlp.Span {
		return otlp.Span{TraceID: "t", ID: id, Parent: parent, Service: "plaque", Name: name, Kind: "server", Status: "unset", Start: at(from), End: at(to), Attrs: attrs}
	}
	client := func(s otlp.Span) otlp.Span { s.Kind = "client"; return s }
	burst := span("b", "", "burst", 0, 1000, map[string]string{"requests": "10", "concurrency": "5"})
	burst.Service = "load"
	many, one := []otlp.Span{burst}, []otlp.Span{burst}
	for i := range 5 {
		id := fmt.Sprint(i)
		status := map[string]string{"http.response.status_code": "200"}
		many = append(many, span("g"+id, "b", "GET /{$}", 10+i, 900, status), span("c"+id, "g"+id, "cache.get", 11+i, 899, map[string]string{"cache.result": "miss"}),
			client(span("h"+id, "c"+id, "HTTP GET", 12+i, 898, status)), span("x"+id, "b", "GET /{$}", 950+i, 950+i, status))
		get := span("c"+id, "g"+id, "cache.get", 11+i, 899, map[string]string{"cache.result": "joined"})
		if i == 0 {
			get.Attrs["cache.result"] = "miss"
		} else {
			get.Links = []otlp.Link{{TraceID: "t", ID: "f"}}
		}
		one = append(one, span("g"+id, "b", "GET /{$}", 10+i, 900, status), get)
	}
	flight := span("f", "c0", "flight", 12, 880, nil)
	one = append(one, flight, client(span("h", "f", "HTTP GET", 13, 879, nil)), span("z", "b", hostile, 950, 960, nil), span("y", "b", "GET /{$}", 970, 980, map[string]string{"http.response.status_code": "on lovelace"}), span("u", "b", "not drawn", 1, 2, nil))

	doomed := append([]otlp.Span(nil), one...)
	for i := range doomed {
		if doomed[i].Name == "flight" {
			doomed[i].Status = "error"
			doomed[i].Events = []otlp.Event{{Name: "exception", Attrs: map[string]string{"exception.message": message + "\ngoroutine 7"}}}
		}
	}
	hey := func(lines string) string { return "Response time histogram:\n" + lines + "\n\nLatency distribution:\n" }
	act := func(does string, spans []otlp.Span, loads int, h string, checks ...lab.Check) *lab.Outcome {
		drawn := []string{"burst", "GET /{$}", "cache.get", "flight", "HTTP GET", hostile}
		return &lab.Outcome{Act: lesson.Act{Says: does, Picture: drawn}, TraceID: "t", Hey: h,
			Answers: map[string]int{"200": 10}, Loads: loads, Spans: spans, Checks: checks}
	}
	five := &lesson.Lesson{Step: "05-naive-cache", Title: "A naive cache", Claim: "Five callers make\n  five loads.", Fixes: "it remembers", Breaks: "all load",
		Fingerprint: map[string]string{"remembers": "yes", "one-load": "no"}}
	nine := &lesson.Lesson{Step: "09-panic-safe", Title: "Panic-safe coalescing", Claim: "One load, whatever happens.", Fixes: "everything", Breaks: "nothing much",
		Fingerprint: map[string]string{"remembers": "yes", "one-load": "yes", "clean-500": "yes"}}
	held := lab.Check{What: "loads", Want: "5", Got: "5", Held: true}
	lost := act("the burst in which it happens", doomed, 2, "", lab.Check{What: "answers", Want: "5×500, 5×200", Got: "none <i>of them</i> on lovelace", Held: false})
	lost.Notes = []string{"the log of /home/ada/plaque on lovelace: main.main() /home/ada/plaque/steps/09-panic-safe/main.go:17 +0x1d; preloaded"}
	lost.TraceID = "elsewhere"
	result := func(name, says string, act *lab.Outcome) *lab.Result {
		return &lab.Result{Experiment: lesson.Experiment{Name: name, Says: says}, Acts: []*lab.Outcome{act}}
	}
	return Tour{
		When: start, Took: 92 * time.Second, On: "go1.26.8, linux/amd64", Private: []string{"/home/ada", "lovelace", "ada", "load"},
		Notes: func(s otlp.Span) string {
			if s.Name == "burst" {
				return s.Attrs["requests"] + " requests, " + s.Attrs["concurrency"] + " at a time"
			}
			return ""
		},
		Jaeger: func(id string) string {
			if id == "elsewhere" {
				return "https://evil.example/trace/t"
			}
			return "http://127.0.0.1:16686/trace/" + id
		},
		Steps: []Step{
			{Lesson: five, Results: []*lab.Result{result("the stampede", "All of them load.",
				act("five at a time", many, 5, hey("  0.012 [9]\t|■■■■■\n  0.050 [0]\t|\n  1.000 [1]\t|■"), held))}},
			{Lesson: nine, Before: five, Diff: "--- 05-naive-cache/cache/cache.go\n+++ 09-panic-safe/cache/cache.go\n@@ -1,3 +1,3 @@\n package cache\n-\tload(</code>)\n+\tflight(" + strings.Repeat("long", 60) + ")\n",
				Results: []*lab.Result{
					result("one flight", "Four join.", act("five at a time", one, 1, hey("  not [hey's] any more <script> on lovelace"), held)),
					result("a doomed load", "The panic ends in the flight.", lost),
				}},
		},
	}
}

func text(t *testing.T, tour Tour) string {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, tour); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// written is a page, or slides, in a folder of the test's.
func written(t *testing.T, open func(dir string) (*File, error), tour Tour) string {
	t.Helper()
	f, err := open(filepath.Join(t.TempDir(), "a folder", "that is not there yet"))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Write(tour); err != nil {
		t.Fatal(err)
	}
	return f.Path()
}

// harmless fails if a page says a word of the machine, which ada and lovelace are,
// or what an attacker or a bug would have it say, or asks something of the network.
func harmless(t *testing.T, page string) {
	t.Helper()
	for _, no := range []string{"<script", "<img", "<iframe", "<link", "@import", "url(", "evil.example/trace", "alert(\"", "\x1b", "\x00",
		"ada", "lovelace", "goroutine 7", "ZgotmplZ", "<no value>"} {
		if strings.Contains(page, no) {
			t.Errorf("it says %q", no)
		}
	}
}

// wired fails if an id stands on a page twice, or a link or a picture names one
// that does not.
func wired(t *testing.T, page string) {
	t.Helper()
	ids := map[string]bool{}
	for _, m := range regexp.MustCompile(` id="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if ids[m[1]] {
			t.Errorf("the id %q stands there twice", m[1])
		}
		ids[m[1]] = true
	}
	for _, m := range regexp.MustCompile(`(?:href="#|aria-labelledby=")([^"]*)"`).FindAllStringSubmatch(page, -1) {
		for _, id := range strings.Fields(m[1]) {
			if !ids[id] {
				t.Errorf("there is no %q", id)
			}
		}
	}
}

// The page of a tour is known byte for byte.
func TestPage(t *testing.T) {
	got := text(t, example())
	if again := text(t, example()); again != got {
		t.Error("the same tour gives two pages")
	}
	path := filepath.Join("testdata", "page.html")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if w := strings.ReplaceAll(string(want), "\r\n", "\n"); got != w {
		g, w := strings.Split(got, "\n"), strings.Split(w, "\n")
		for i := range min(len(g), len(w)) {
			if g[i] != w[i] {
				t.Fatalf("line %d is\n%s\nwant\n%s\n(go test ./scripts/internal/page -update writes it anew)", i+1, g[i], w[i])
			}
		}
		t.Fatalf("it has %d lines, want %d", len(g), len(w))
	}
}

// The page says each of these, and as often as stated.
func TestSays(t *testing.T) {
	page := text(t, example())
	for want, times := range map[string]int{
		"<b>5</b> loads":                               2, // above, and in its step
		"✗ 1 of 3 claims did not come true":            1,
		"✗ 1 of 2 claims did not come true":            1,
		"✓ The claim came true":                        1,
		"seen <b>none &lt;i&gt;of them":                1, // at the top
		"<td>none &lt;i&gt;of them":                    1, // and in the table
		"<details open>":                               1, // of the step that failed
		"✗ error":                                      1, // on the flight: not by colour alone
		"not [hey&#39;s] any more &lt;script&gt; on …": 1, // what cannot be read is shown as it came
		"not one</li>":                                 1, // the message to its end, though no row has room
		"joined → flight a":                            4 + 4 + 4,
		`class="link"`:                                 3,
		"<ins>&#43;":                                   1,
		"<del>-":                                       1,
		`href="http://127.0.0.1:16686/trace/t`:         2,
		"24 November 2026":                             1,
		"Five callers make five loads.":                1,
		"of them&lt;/i&gt; on …":                       2,
		"main.main() main.go:17 &#43;0x1d; preloaded":  2,
	} {
		if n := strings.Count(page, want); n != times {
			t.Errorf("the page says %q %d times, want %d", want, n, times)
		}
	}
	harmless(t, page)
}

// The page asks nothing of the network: its links lead into itself or to the
// Jaeger of this machine.
func TestAsksNobody(t *testing.T) {
	page := text(t, example())
	for _, m := range regexp.MustCompile(`(?:href|src|action|data|poster|srcset|xmlns)\s*=\s*"([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if !strings.HasPrefix(m[1], "#") && !strings.HasPrefix(m[1], "http://127.0.0.1:16686/") {
			t.Errorf("it leads to %q", m[1])
		}
	}
}

// Each picture is XML by itself and has words for those who cannot see it. Headings
// go down one level at a time.
func TestStructure(t *testing.T) {
	page := text(t, example())
	svgs := regexp.MustCompile(`(?s)<svg class="(?:waterfall|histogram)" width="100%".*?\n</svg>`).FindAllString(page, -1)
	if len(svgs) != 2+3+1 {
		t.Errorf("%d pictures, want two above, three in the steps, and one histogram", len(svgs))
	}
	for _, svg := range svgs {
		if err := xml.Unmarshal([]byte(svg), new(struct{})); err != nil {
			t.Errorf("%v in\n%s", err, svg)
		}
		if !regexp.MustCompile(`<title id="[^"]+">[^<]+</title>\n<desc id="[^"]+">[^<]+</desc>`).MatchString(svg) {
			t.Errorf("a picture without words:\n%.300s", svg)
		}
	}
	wired(t, page)
	level := 0
	for _, m := range regexp.MustCompile(`<h([1-6])`).FindAllStringSubmatch(page, -1) {
		now := int(m[1][0] - '0')
		if now > level+1 || now == 1 && level > 0 {
			t.Errorf("an h%d behind an h%d", now, level)
		}
		level = now
	}
}

// Any part of a tour makes a page.
func TestParts(t *testing.T) {
	tour := example()
	tour.Steps = tour.Steps[:1]
	page := text(t, tour)
	if !strings.Contains(page, "<h2>The burst</h2>") || strings.Contains(page, `id="top-09`) {
		t.Error("the page of one step compares it with another")
	}
	page = text(t, Tour{Ended: "09-panic-safe: fork/exec /home/ada/x: no such file", Private: []string{"/home/ada"}})
	if !strings.Contains(page, "did not get to its end") || !strings.Contains(page, "fork/exec …/x") {
		t.Error("the page of a tour that ended early does not say so")
	}
	tour = example()
	tour.Steps[0].Results[0].Acts[0].Spans = nil
	tour.Steps[0].Results[0].Acts[0].Hey = ""
	if page = text(t, tour); !strings.Contains(page, "There are no spans to draw") {
		t.Error("no word of a burst without spans")
	}
}

// A further step needs no code here: whatever its experiments claim is on its
// page, also where they draw nothing.
func TestAnotherStep(t *testing.T) {
	tour := example()
	ten := &lesson.Lesson{Step: "10-another", Title: "Another step", Claim: "It does something else.", Fixes: "this", Breaks: "that"}
	act := &lab.Outcome{Act: lesson.Act{Says: "the feed is down"}, Checks: []lab.Check{{What: "old answers", Want: "at least 9", Got: "10", Held: true}}}
	tour.Steps = append(tour.Steps, Step{Lesson: ten, Before: tour.Steps[1].Lesson, Diff: "+\tstale\n",
		Results: []*lab.Result{{Experiment: lesson.Experiment{Name: "an outage", Says: "The old value will do."}, Acts: []*lab.Outcome{act}}}})
	page := text(t, tour)
	_, own, _ := strings.Cut(page, `<section class="step" id="s10-another">`)
	for _, want := range []string{"It does something else.", "✓ The claim came true", "an outage: The old value will do.", "an outage: the feed is down", "old answers", "at least 9", "The code, against 09-panic-safe: +1 −0 lines", "stale"} {
		if !strings.Contains(own, want) {
			t.Errorf("its section does not say %q:\n%s", want, own)
		}
	}
	if !strings.Contains(page, `<a href="#s10-another">`) {
		t.Error("the table of steps does not lead to it")
	}
}

// Amber is for flights: a row is not one because somebody links to it.
func TestLinkedIsNoFlight(t *testing.T) {
	span := func(id, name string) otlp.Span { return otlp.Span{TraceID: "t", ID: id, Name: name} }
	linking := func(s otlp.Span, to string) otlp.Span {
		s.Links = []otlp.Link{{TraceID: "t", ID: to}}
		return s
	}
	spans := []otlp.Span{span("1", "accept"), linking(span("2", "handle_connection"), "1"), span("3", "flight"), linking(span("4", "cache.get"), "3")}
	got := map[string]string{}
	p := draw("p", "", below, waterfall.Lay(spans, waterfall.Options{}), hider(nil))
	for _, r := range p.Rows {
		got[r.Name] = r.Class
	}
	if got["accept"] != "work" || got["flight"] != "flight" || len(p.Links) != 2 {
		t.Errorf("the rows are %v with %d links, want accept to be work, flight a flight, and two links", got, len(p.Links))
	}
}

// A word is taken out where it stands alone, and a path wherever it begins.
func TestHider(t *testing.T) {
	hide := hider([]string{"vm", "/home/ada", "/home/ada/plaque", "", "x", `C:\Users\ada`})
	for in, want := range map[string]string{
		"on vm, in the vmlinux of kvm":                "on …, in the vmlinux of kvm",
		"/home/ada/plaque/steps and /home/ada/go":     "…/steps and …/go",
		`C:\Users\ada\x.exe fails`:                    `…\x.exe fails`,
		"panic at /usr/lib/go/src/runtime/panic.go:7": "panic at panic.go:7",
		`panic at D:\go\src\panic.go:7`:               "panic at panic.go:7",
		"GET /feeds/videos.xml":                       "GET /feeds/videos.xml",
		"vmvm vm":                                     "vmvm …",
	} {
		if got := hide(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

// A folder that cannot be written to is found before anything runs, and what
// stands there stays.
func TestOpen(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, into := range []string{file, filepath.Join(file, "below")} {
		if _, err := Open(into); err == nil || !strings.Contains(err.Error(), "no report can be written to "+into) {
			t.Errorf("%s: %v", into, err)
		}
	}
	site := filepath.Join(dir, name)
	if err := os.WriteFile(site, []byte("<title>my home page</title>"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "no tour has written it") {
		t.Errorf("another's page: %v", err)
	}
	if b, _ := os.ReadFile(site); !strings.Contains(string(b), "my home page") {
		t.Errorf("another's page is now %q", b)
	}
	folder := filepath.Join(dir, "folder")
	if err := os.MkdirAll(filepath.Join(folder, name), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(folder); err == nil {
		t.Error("a folder stands where the page should, and nobody says so")
	}

	// A page that cannot be put in its place leaves nothing beside it.
	late := t.TempDir()
	f, err := Open(late)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(late, name, "in the way"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := f.Write(example()); err == nil {
		t.Error("a folder has come where the page should stand, and nobody says so")
	}
	if left, _ := os.ReadDir(late); len(left) != 1 {
		t.Errorf("a page that could not be written leaves %v", left)
	}

	again := written(t, Open, example())
	f, err = Open(filepath.Dir(again))
	if err != nil {
		t.Fatalf("over an older page: %v", err)
	}
	if err := f.Write(Tour{}); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(filepath.Dir(again))
	if err != nil || len(left) != 1 || left[0].Name() != name {
		t.Errorf("the folder holds %v (%v), want the page alone", left, err)
	}
}
