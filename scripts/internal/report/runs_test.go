package report

import (
	"fmt"
	"strings"
	"testing"

	"plaque/scripts/internal/lab"
	"plaque/scripts/internal/lesson"
	"plaque/scripts/internal/otlp"
)

func act(does string, seen ...string) *lab.Outcome {
	a := &lab.Outcome{Act: lesson.Act{Says: does}}
	for _, s := range seen {
		what, want, _ := strings.Cut(s, ": ")
		a.Checks = append(a.Checks, lab.Check{What: what, Want: want})
	}
	return a
}

func ranTwo() []*lab.Result {
	burst, look := act("10 requests", "loads: 1"), act("look inside")
	burst.Act.Picture = []string{"bar"}
	burst.Spans = []otlp.Span{{TraceID: "t", ID: "a", Name: "bar"}}
	look.Screen = "07, process 12: waits 3.1 s\n"
	return []*lab.Result{
		{Experiment: lesson.Experiment{Name: "one flight", Says: "Four join."}, Acts: []*lab.Outcome{burst}},
		{Experiment: lesson.Experiment{Name: "a doomed load", Says: "It panics."}, Acts: []*lab.Outcome{act("a burst", "answers: 1×lost", "loads: 1"), look}},
	}
}

func TestRuns(t *testing.T) {
	page := func(names ...string) string {
		var b strings.Builder
		for _, n := range names {
			b.WriteString(begin + n + close + "\n" + end + "\n")
		}
		return b.String()
	}
	blocks, err := Runs(page("claim", "run one flight", "screen a doomed load", "experiments"), &lesson.Lesson{}, ranTwo())
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"run one flight":       fmt.Sprintf("Four join.\n\n```text\n10 requests\n  span  0\n  bar   %-89s0\n  loads: 1\n```\n", "▖"),
		"screen a doomed load": "```text\n07, process 12: waits 3.1 s\n```\n",
		"experiments": "<details><summary>One more experiment</summary>\n\n- **A doomed load.** It panics.\n" +
			"  - a burst → answers: 1×lost · loads: 1\n  - look inside\n\n</details>\n",
	} {
		if blocks[name] != want {
			t.Errorf("%s:\n%s\nwant:\n%s", name, blocks[name], want)
		}
	}
	if len(blocks) != 3 {
		t.Errorf("%d blocks, want 3: %v", len(blocks), blocks)
	}
	blocks, err = Runs(page("run one flight", "table a doomed load"), &lesson.Lesson{}, ranTwo())
	want := "<details><summary>A doomed load, in 2 acts</summary>\n\nIt panics.\n\n| what is done | what comes out |\n|---|---|\n" +
		"| a burst | answers: 1×lost · loads: 1 |\n| look inside |  |\n\n</details>\n"
	if err != nil || blocks["table a doomed load"] != want {
		t.Errorf("%v, %s\nwant:\n%s", err, blocks["table a doomed load"], want)
	}
	for _, c := range []struct{ page, want string }{
		{page("table two flights", "experiments"), `has no experiment "two flights"`},
		{page("run one flight"), `does not show the experiment "a doomed load"`},
		{page("run two flights", "experiments"), `has no experiment "two flights"`},
		{page("screen one flight", "experiments"), "nobody looks inside"},
		{page("run one flight", "run a doomed load", "experiments"), "stands on the page already"},
	} {
		if _, err := Runs(c.page, &lesson.Lesson{}, ranTwo()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.page, err, c.want)
		}
	}
}

// What was printed at another moment is as true; what says something else is not.
func TestScreenStays(t *testing.T) {
	old := "<!-- generated: screen x -->\n```text\n07, process 12: waits 3.1 s\n```\n<!-- end -->\n"
	for text, stays := range map[string]bool{
		"```text\n07, process 4711: waits 12 s\n```": true,
		"```text\n07, process 4711: runs 12 s\n```":  false,
	} {
		got, err := Fill(old, map[string]string{"screen x": text})
		if err != nil {
			t.Fatal(err)
		}
		if (got == old) != stays {
			t.Errorf("%q gives %q", text, got)
		}
	}
}

// A histogram of another moment stays, unless other numbers of callers were fast.
func TestHistogramStays(t *testing.T) {
	hey := func(rows ...int) string {
		var b strings.Builder
		b.WriteString("Summary:\n\nResponse time histogram:\n")
		for i, n := range rows {
			fmt.Fprintf(&b, "  0.%03d [%d]\t|%s\n", i+rows[0], n, strings.Repeat("■", n))
		}
		return b.String() + "\nLatency distribution:\n\nStatus code distribution:\n  [200]\t10 responses\n"
	}
	page := begin + "histogram x" + close + "\n" + end + "\n"
	fill := func(page, printed string) string {
		load := act("load")
		load.Hey = printed
		blocks, err := Runs(page+begin+"experiments"+close+"\n", &lesson.Lesson{}, []*lab.Result{{Acts: []*lab.Outcome{act("wait"), load}, Experiment: lesson.Experiment{Name: "x", Says: "It is."}}})
		if err != nil {
			t.Fatal(err)
		}
		page, err = Fill(page, map[string]string{"histogram x": blocks["histogram x"]})
		if err != nil {
			t.Fatal(err)
		}
		return page
	}
	was := fill(page, hey(1, 4, 0, 0, 0, 0, 3, 2))
	if !strings.Contains(was, "[4]\t|■■■■\n") || !strings.Contains(was, "10 responses") || strings.Contains(was, "Latency") {
		t.Errorf("the page shows\n%s", was)
	}
	for printed, same := range map[string]bool{
		hey(2, 2, 1, 0, 0, 1, 0, 4): true,
		hey(1, 5, 0, 0, 0, 0, 2, 2): false,
		hey(5, 3, 1, 1):             false,
	} {
		if got := fill(was, printed); (got == was) != same {
			t.Errorf("%s\ngives\n%s", printed, got)
		}
	}
}

// A room stands above those that it imports.
func TestRooms(t *testing.T) {
	text, err := Rooms("../../..")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ = strings.Cut(text, "```text\n")
	text, jobs, _ := strings.Cut(text, "```")
	above := map[string]bool{}
	rooms := 0
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		rooms++
		above[words[0]] = true
		for _, other := range words[1:] {
			if above[other] {
				t.Errorf("%s imports %s, which stands above it", words[0], other)
			}
		}
		if !strings.Contains(jobs, "- `"+words[0]+"`: ") {
			t.Errorf("nothing is said of %s", words[0])
		}
	}
	if rooms < 15 || !above["lab"] || !above["say"] {
		t.Errorf("%d rooms: %s", rooms, text)
	}
}

// How many goroutines libraries have differs from run to run; a page leaves them out.
func TestOurs(t *testing.T) {
	const screen = "05, process 1, go1: 3 goroutines\n\nin our own code:\n\n    1  IO wait  main.handle  server.go:62\n                in net.(*netFD).Read\n    1  select   telemetry.(*delivery).ExportSpans  kit/telemetry/delivery.go:69\n                in http.(*persistConn).roundTrip\n" +
		"\nin libraries:\n\n    1  select   http.(*persistConn).writeLoop  http/transport.go:2652\n\nIO wait: waits\nselect: waits for whichever\n"
	const want = "05, process 1, go1: 3 goroutines\n\nin our own code:\n\n    1  IO wait  main.handle  server.go:62\n    …\n\nIO wait: waits\n"
	if got := ours(screen); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}
