package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"plaque/scripts/internal/diff"
	"plaque/scripts/internal/lab"
	"plaque/scripts/internal/lesson"
	"plaque/scripts/internal/page"
	"plaque/scripts/internal/report"
	"plaque/scripts/internal/say"
	"plaque/steps/kit/ports"
	"plaque/steps/kit/terminal"
)

// ask runs a command of ours and returns what it printed.
func ask(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, errs bytes.Buffer
	err = run(t.Context(), args, &out, &errs)
	return out.String(), errs.String(), err
}

// The help names each flag, within the terminal's width.
func TestHelp(t *testing.T) {
	for _, columns := range []string{"60", "80", "120"} {
		t.Setenv("COLUMNS", columns)
		for _, args := range [][]string{nil, {"help"}, {"--help"}} {
			out, _, err := ask(t, args...)
			if err != nil {
				t.Errorf("%q: %v", args, err)
			}
			flat := strings.Join(strings.Fields(out), " ")
			says(t, "help", flat, "01-blocking-tcp", "09-panic-safe", "tour [--ask] [--jaeger] [--json] [--report FOLDER] [--slides] [--traces FOLDER] [STEP...]", "Start with `go run ./scripts tour`",
				"-n N", "-c N", "-t N", "-z N", "-q N", "--only NAMES", "--build", "--fleet", "--every TIME", "--outage TIME")
			fits(t, columns, out)
		}
	}
}

// A feed whose count cannot be read is set all the same.
func TestFeedThatCannotBeRead(t *testing.T) {
	var set atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			set.Add(1)
			return
		}
		_, _ = w.Write(bytes.Repeat([]byte("\x1b[2J "), 1<<20))
	}))
	defer server.Close()
	out, _, err := ask(t, "feed", "--url", server.URL, "500")
	if err != nil || set.Load() != 1 || !strings.Contains(out, "the count starts anew; the old one cannot be read: ") || strings.Contains(out, "\x1b") {
		t.Errorf("it was set %d times; %v\n%.400s", set.Load(), err, out)
	}
}

// An error may have another program's words in it: its lines stay, and move no cursor.
func TestTold(t *testing.T) {
	var b bytes.Buffer
	tell(&b, errors.New("it ended\n\t\x1b[2Jits log\u009b7m\a"))
	if want := "it ended\n\t·[2Jits log·7m·\n"; b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
}

// fits fails where a line of out is longer than so many columns.
func fits(t *testing.T, columns, out string) {
	t.Helper()
	most, _ := strconv.Atoi(columns)
	for line := range strings.Lines(out) {
		if n := terminal.Width(strings.TrimSuffix(line, "\n")); n > most {
			t.Errorf("%d columns, and there are %d: %s", n, most, line)
		}
	}
}

// Each command has a usage, with its arguments and its flags, and does nothing
// else when it is asked for that: not even where its settings are broken.
func TestUsage(t *testing.T) {
	t.Setenv("COLUMNS", "60")
	t.Setenv("ADDR", "nowhere")
	for _, c := range commands() {
		for _, args := range [][]string{{"help", c.name}, {c.name, "-h"}, {c.name, "--help"}} {
			out, errs, err := ask(t, args...)
			if !errors.Is(err, flag.ErrHelp) || errs != "" {
				t.Errorf("%q: %v, %s", args, err, errs)
			}
			if !strings.HasPrefix(out, "go run ./scripts "+strings.TrimSpace(c.name+" "+c.args)+"\n") {
				t.Errorf("%q does not begin with how it is used:\n%s", args, out)
			}
			fits(t, "60", out)
			e := &env{stdout: io.Discard, stderr: io.Discard}
			e.flagsOf(t.Context(), c).VisitAll(func(f *flag.Flag) {
				if !strings.Contains(out, "\n  "+spelled(f)+" ") {
					t.Errorf("%q does not say %s:\n%s", args, spelled(f), out)
				}
			})
		}
	}
	if out, _, _ := ask(t, "help", "feed"); !strings.Contains(out, "doom ") || !strings.Contains(out, "drip ") {
		t.Errorf("the feed's usage does not list its answers:\n%s", out)
	}
}

// What cannot be understood is exit 2, and the message says what can.
func TestBadInput(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"turo"}, "there are tour, run, load"},
		{[]string{"tour", "99"}, "there are 01-blocking-tcp"},
		{[]string{"tour", "05", "five"}, `no step "five"`},
		{[]string{"tour", "--fast"}, "not defined: -fast; `go run ./scripts help tour`"},
		{[]string{"tour", "--report"}, "needs an argument: -report"},
		{[]string{"tour", "--report", ""}, "--report takes a folder"},
		{[]string{"tour", "05", "--report", "main.go"}, "no report can be written to main.go"},
		{[]string{"tour", "--slides", "05"}, "name its folder"},
		{[]string{"tour", "--report", "out", "--slides", "11"}, "no step that you named has questions"},
		{[]string{"run"}, "run takes one step"},
		{[]string{"run", "x"}, `no step "x"`},
		{[]string{"run", "05", "06"}, "run takes one step"},
		{[]string{"run", "-error-path"}, "not defined: -error-path"},
		{[]string{"help", "turo"}, "there are tour, run, load"},
		{[]string{"load"}, "load takes one step"},
		{[]string{"load", "05", "06"}, "load takes one step"},
		{[]string{"load", "05", "-n", "10", "-c", "3"}, "multiple of c"},
		{[]string{"load", "05", "-n", "0"}, "at least 1"},
		{[]string{"load", "05", "--url", "localhost:3779"}, `"localhost:3779" is not the URL of a server`},
		{[]string{"load", "05", "-n", "ten"}, `invalid value "ten" for flag -n`},
		{[]string{"load", "05", "-n", "4", "-z", "3", "-q", "2"}, "-n and -z exclude each other"},
		{[]string{"feed", "gloom"}, "the feed cannot answer"},
		{[]string{"feed", "--hold", "-1"}, "hold"},
		{[]string{"feed", "--guess", "five"}, "a whole number"},
		{[]string{"feed", "--guess", "-1"}, "a whole number"},
		{[]string{"feed", "--guess", "5", "doom"}, "leave out the rest"},
		{[]string{"stacks", "--guess", ""}, "a whole number"},
		{[]string{"stacks", "05", "06"}, "stacks takes one step, or none"},
		{[]string{"stacks", "99"}, "there are 01-blocking-tcp"},
		{[]string{"top", "99"}, "there are 01-blocking-tcp"},
		{[]string{"top", "--every", "soon"}, "a unit, such as 5s"},
		{[]string{"top", "--every", "1ms"}, "less than 100ms"},
		{[]string{"feed", "--delay", "5"}, "a unit, such as 5s"},
		{[]string{"feed", "--outage", "-5s"}, "less than 0s"},
		{[]string{"diff"}, "diff takes one step"},
		{[]string{"diff", "01"}, "first step"},
		{[]string{"check"}, "check judges one server"},
		{[]string{"check", "05", "--addr", "127.0.0.1:3779"}, "check judges one server"},
		{[]string{"check", "--"}, "behind -- stands the command"},
		{[]string{"check", "99"}, "there are 01-blocking-tcp"},
		{[]string{"check", "--exercise", "99"}, "there are 01-blocking-tcp"},
		{[]string{"check", "--addr", "3779"}, "write it like 127.0.0.1:3779"},
		{[]string{"check", "--addr", "127.0.0.1:1"}, "nothing listens on 127.0.0.1:1"},
		{[]string{"check", "--only", "flies", "05"}, "there are silent-client"},
		{[]string{"check", "05", "--watch"}, "goes with an exercise"},
		{[]string{"check", "--exercise", "99", "--watch"}, "there are 01-blocking-tcp"},
		{[]string{"check", "--exercise", "05", "--watch", "--json"}, "not both"},
		{[]string{"exercises", "99"}, "there are 01-blocking-tcp"},
		{[]string{"prepare", "now"}, `takes no "now"`},
		{[]string{"prepare", "--from", "a", "--bundle", "b"}, "not both"},
		{[]string{"tour", "--traces", ""}, "no traces can be written"},
		{[]string{"tour", "--traces", "main.go"}, "no traces can be written to main.go"},
		{[]string{"jaeger", "--from", "heaven"}, "docker, release, source"},
		{[]string{"jaeger", "now"}, `takes no "now"`},
		{[]string{"doctor", "--fast"}, "help doctor"},
		{[]string{"doctor", "now"}, `takes no "now"`},
		{[]string{"bench", "09"}, `bench takes no "09"`},
		{[]string{"bench", "--count", "0"}, "1 to 100"},
		{[]string{"bench", "--server", "--watched"}, "name one of them"},
		{[]string{"bench", "--fleet", "--server"}, "name one of them"},
		{[]string{"bench", "--watched", "--fleet"}, "name one of them"},
		{[]string{"bench", "--fleet", "--only", "Hit"}, "leave out"},
		{[]string{"bench", "--quick", "--count", "3"}, "name one of them"},
		{[]string{"jaeger", "--build", "--from", "docker"}, "leave out --from docker"},
		{[]string{"mutants", "99"}, "there are 01-blocking-tcp"},
		{[]string{"pages", "99"}, "there are 01-blocking-tcp"},
	} {
		_, _, err := ask(t, c.args...)
		var usage errUsage
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v; want a usage error that says %q", c.args, err, c.want)
		}
	}
}

// Commands that talk to what does not run say what to start.
func TestNobodyThere(t *testing.T) {
	for _, c := range []struct{ command, want string }{
		{"load 05 --url http://127.0.0.1:1", "go run ./scripts run 05"},
		{"stacks --url http://127.0.0.1:1", "nothing listens on 127.0.0.1:1: start a step"},
		{"top --url http://127.0.0.1:1", "nothing listens on 127.0.0.1:1: start a step"},
		{"feed --url http://127.0.0.1:1 doom", "start a step first"},
		{"feed --url http://127.0.0.1:1 --guess 1", "start a step first"},
	} {
		if _, _, err := ask(t, strings.Fields(c.command)...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want it to say %q", c.command, err, c.want)
		}
	}
}

// The doctor's findings, as text and as a document. What is wrong is said with
// what to do, and is exit 1.
func TestDoctor(t *testing.T) {
	for _, name := range append([]string{"FEED_URL"}, jaegerVariables...) {
		t.Setenv(name, "")
	}
	t.Setenv("ADDR", "127.0.0.1:0")
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "127.0.0.1:4318")
	out, _, err := ask(t, "doctor")
	var usage errUsage
	if !errors.Is(err, errSick) || errors.As(err, &usage) {
		t.Errorf("a setting that a step refuses: %v", err)
	}
	says(t, "the doctor", strings.Join(strings.Fields(out), " "),
		"✓ go ", "✗ settings ", "is not a URL with a scheme: write it like http://127.0.0.1:4318 A step refuses to start with that.", "· span ", "✓ feed ")
	if !regexp.MustCompile(`(?m)^ {6,}A step refuses to start with that\.`).MatchString(out) {
		t.Errorf("the advice does not begin a line below what was found:\n%s", out)
	}
	if _, last, _ := strings.Cut(out, "\n\n"); !strings.HasPrefix(last, "not ready; first, settings: A step refuses to start with that.") {
		t.Errorf("the last line is not what to do first:\n%s", out)
	}

	out, _, err = ask(t, "doctor", "--json")
	if !errors.Is(err, errSick) {
		t.Errorf("--json: %v", err)
	}
	var doc struct {
		OK       bool
		Findings []struct{ Name, State, Found, Advice string }
	}
	if err := json.Unmarshal([]byte(out), &doc); err != nil {
		t.Fatalf("--json: %v\n%s", err, out)
	}
	failures := 0
	for _, f := range doc.Findings {
		if f.State == "failure" && f.Name == "settings" && strings.Contains(f.Advice, "refuses to start") {
			failures++
		}
	}
	if doc.OK || failures != 1 {
		t.Errorf("--json: ok is %v, with %d failures of the settings; want false and 1:\n%s", doc.OK, failures, out)
	}

	// Tracing turned off is a warning, and warnings are exit 0. Jaeger's ports
	// are looked at, so another program there would be a failure: take free ones.
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "") // a step refuses it with tracing off, too
	t.Setenv("OTEL_TRACES_EXPORTER", "none")
	free, err := ports.Free(len(jaegerVariables))
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range jaegerVariables {
		t.Setenv(name, strconv.Itoa(free[i]))
	}
	if out, _, err := ask(t, "doctor"); err != nil || !strings.Contains(out, "! settings ") || !strings.HasSuffix(out, "\n\nready\n") {
		t.Errorf("tracing turned off: %v\n%s", err, out)
	}
}

func TestDiffCode(t *testing.T) {
	out, progress, err := ask(t, "diff", "--code", "06")
	if err != nil {
		t.Fatal(err)
	}
	says(t, "the diff of 06", out, "--- 05-naive-cache/cache/cache.go", "+++ 06-mutex-cache/cache/cache.go", "+\t_, wait := tracer.Start(ctx, \"lock.wait\")")
	if strings.Contains(out, "\n+func run(") {
		t.Error("main.go differs by more than the step's name")
	}
	if progress != "" || strings.Contains(out, "side by side") {
		t.Errorf("--code has done more than compare the code: %s", progress)
	}
}

// A feed stands behind its step, wherever that is.
func TestFeedFollowsAddr(t *testing.T) {
	t.Setenv("ADDR", "127.0.0.1:1")
	if _, _, err := ask(t, "feed", "doom"); err == nil || !strings.Contains(err.Error(), "127.0.0.1:2") {
		t.Errorf("feed: %v; want it to ask the port behind ADDR", err)
	}
	t.Setenv("ADDR", "1")
	if _, _, err := ask(t, "feed", "doom"); err == nil || !strings.Contains(err.Error(), "ADDR") {
		t.Errorf("feed: %v; want an error about ADDR", err)
	}
}

// A diff shows the code, the properties and two pictures, within the terminal's
// width.
func TestDiff(t *testing.T) {
	t.Setenv("COLUMNS", "80")
	out, _, err := ask(t, "diff", "02")
	if err != nil {
		t.Fatal(err)
	}
	at := -1
	for _, want := range []string{"The code: ", "+++ 02-goroutines/server.go", "The properties that changed", "- ✓ now: an idle client",
		"The two side by side", "\n01-blocking-tcp", "02-goroutines\n", "handle_connection"} {
		i := strings.Index(out[at+1:], want)
		if i < 0 {
			t.Fatalf("it does not say %q, in this order:\n%s", want, out)
		}
		at += 1 + i
	}
	_, properties, _ := strings.Cut(out, "The properties that changed")
	fits(t, "80", properties)
}

// Two pictures stand beside each other where there is room.
func TestSideBySide(t *testing.T) {
	l := newLab(t)
	lessons := allLessons(t)
	var acts []*lab.Outcome
	for i := range 2 {
		x, n := lesson.Shown(lessons[i], lessons[1-i])
		r, err := l.Run(t.Context(), buildStep(t, lessons[i].Step), lessons[i], x)
		if err != nil {
			t.Fatal(err)
		}
		// Without the server's spans, whose names take too much room for two.
		a := *r.Acts[n]
		a.Act.Picture = []string{"burst", "ask slowly"}
		acts = append(acts, &a)
	}
	for _, c := range []struct {
		columns string
		beside  bool
	}{{"120", true}, {"", true}, {"119", false}, {"80", false}, {"60", false}} {
		t.Setenv("COLUMNS", c.columns)
		pictures := report.Bursts(lessons[0], lessons[1], acts[0], acts[1], say.Columns(io.Discard, report.SideBySide))
		beside := false
		for line := range strings.Lines(pictures) {
			beside = beside || strings.Count(line, "ask slowly") == 2
		}
		if beside != c.beside {
			t.Errorf("COLUMNS=%q: beside each other: %v, want %v:\n%s", c.columns, beside, c.beside, pictures)
		}
		if c.columns != "" {
			fits(t, c.columns, pictures)
		}
	}
}

// A step brings one new idea: its diff stays within its budget.
func TestBudgets(t *testing.T) {
	t.Parallel()
	lessons := allLessons(t)
	for i, s := range lessons[1:] {
		if s.NoDiff {
			continue
		}
		text, err := diff.Steps(lessons[i], s)
		if err != nil {
			t.Fatal(err)
		}
		added, removed := report.Size(text)
		if over := added + removed - s.Budget; over > 0 {
			t.Errorf("%s: %d lines more and %d lines less than in %s are %d over the budget of %d: take something out, or raise the budget in its lesson.yaml",
				s.Step, added, removed, lessons[i].Step, over, s.Budget)
		}
	}
}

// A lesson that claims what is not so fails the tour, which says what was
// claimed and what was seen.
func TestFalseClaimFailsTheTour(t *testing.T) {
	t.Parallel()
	root, all := workshop(t), allLessons(t)
	step := findLesson(t, all, "08")
	changed := 0
	for _, e := range step.Experiments {
		for _, act := range e.Acts {
			if maps.Equal(act.Expect.Answers, map[string]int{"lost": 5, "200": 5}) {
				clear(act.Expect.Answers)
				act.Expect.Answers["200"] = 10
				changed++
			}
		}
	}
	if changed != 1 {
		t.Fatalf("%d acts of 08 lose five callers: mend this test", changed)
	}
	tour := func(args ...string) (out, errs string) {
		var stdout, stderr bytes.Buffer
		e := &env{root: root, lessons: all, stdout: &stdout, stderr: &stderr}
		if err := tourCommand(t.Context(), e, append(args, "08")); !errors.Is(err, errClaim) || exitCode(err) != 1 {
			t.Errorf("the tour %q ends with %v, want a claim that did not come true", args, err)
		}
		return stdout.String(), stderr.String()
	}
	var out, document, errs string
	dir := filepath.Join(t.TempDir(), "out")
	var both sync.WaitGroup
	both.Go(func() { out, _ = tour() })
	both.Go(func() { document, errs = tour("--json", "--report", dir, "--slides") })
	both.Wait()
	says(t, "the tour", out, "✗ answers: claimed 10×200, seen 5×200, 5×lost", "1 claim did not come true")
	read := func(name string) string {
		path := filepath.Join(dir, name)
		says(t, "the tour", errs, "the report: "+path+"\n")
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	says(t, "the slides", read("slides.html"), "How many callers lose their connection?", "<b>5</b> answers: lost", "the step claims 0")
	report := read("index.html")
	says(t, "the report", report, "✗ 1 of ", "claimed <b>10×200</b>, seen <b>5×200, 5×lost</b>", "doomed", "The code, against ")
	for _, word := range page.PrivateWords(root, t.TempDir()) {
		// A word such as "root" is also said of spans.
		if strings.ContainsAny(word, `/\\`) && strings.Contains(report, word) {
			t.Errorf("the report tells of this machine: %q", word)
		}
	}
	var doc struct {
		True  bool
		Steps []struct {
			Step        string
			True        bool
			Experiments []struct{ True bool }
		}
	}
	if err := json.Unmarshal([]byte(document), &doc); err != nil {
		t.Fatalf("--json: %v\n%s", err, document)
	}
	false_ := 0
	for _, x := range doc.Steps[0].Experiments {
		if !x.True {
			false_++
		}
	}
	if doc.True || doc.Steps[0].True || false_ != 1 {
		t.Errorf("--json: the tour true %v, the step true %v, %d experiments false; want one false experiment", doc.True, doc.Steps[0].True, false_)
	}
}

// A lesson that is broken stops what needs it, and nothing else; notes that lie
// among the steps stop nothing.
func TestBrokenLesson(t *testing.T) {
	root := t.TempDir()
	path := filepath.Join(root, "steps", "07-inflight", "lesson.yaml")
	if err := errors.Join(os.CopyFS(filepath.Join(root, "steps"), os.DirFS(filepath.Join(workshop(t), "steps"))),
		os.WriteFile(filepath.Join(root, "go.work"), nil, 0o644),
		os.Mkdir(filepath.Join(root, "steps", "12-my-notes"), 0o755)); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err := errors.Join(err, os.WriteFile(path, append([]byte("minuets: 5\n"), b...), 0o644)); err != nil {
		t.Fatal(err)
	}
	t.Chdir(root)
	for _, c := range []struct {
		args   []string
		broken bool
	}{
		{[]string{"help"}, false},
		{[]string{"help", "tour"}, false},
		{[]string{"diff", "--code", "06"}, false},
		{[]string{"diff", "--code", "07"}, true},
		{[]string{"diff", "--code", "08"}, true},
		{[]string{"tour"}, true},
		{[]string{"pages"}, true},
	} {
		_, _, err := ask(t, c.args...)
		if errors.Is(err, flag.ErrHelp) {
			err = nil
		}
		if (err != nil) != c.broken {
			t.Errorf("%q: %v", c.args, err)
		}
		for _, word := range []string{path, "line 1", "minuets"} {
			if c.broken && (err == nil || !strings.Contains(err.Error(), word)) {
				t.Errorf("%q: %v; want it to name %s", c.args, err, word)
			}
		}
	}
	if out, _, _ := ask(t, "help"); !strings.Contains(out, "minuets") || strings.Contains(out, "my-notes") {
		t.Errorf("the help says:\n%s", out)
	}
}

// A disk that is full is an error, not exit 0.
func TestFullDisk(t *testing.T) {
	for _, args := range [][]string{{"help"}, {"help", "tour"}, {"diff", "--code", "06"}} {
		if err := run(t.Context(), args, full{}, io.Discard); !errors.Is(err, errFull) {
			t.Errorf("%q: %v", args, err)
		}
	}
}

type full struct{}

var errFull = errors.New("no space left")

func (full) Write([]byte) (int, error) { return 0, errFull }

// No place for temporary files: the variable is named before anything is built.
func TestNoTempDir(t *testing.T) {
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "gone"))
	t.Setenv("TMP", os.Getenv("TMPDIR"))
	_, _, err := ask(t, "tour")
	var usage errUsage
	if !errors.As(err, &usage) || !strings.Contains(err.Error(), "TMPDIR") || !strings.Contains(err.Error(), "gone") {
		t.Errorf("%v; want it to name TMPDIR", err)
	}
}
