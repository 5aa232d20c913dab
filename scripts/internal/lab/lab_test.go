package lab

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"plaque/scripts/internal/build"
	"plaque/scripts/internal/lesson"
	"plaque/scripts/internal/otlp"
	"plaque/scripts/internal/server"
	"plaque/steps/kit/need"
)

// root is the workshop's folder.
var root string

func lessons(t *testing.T) []*lesson.Lesson {
	t.Helper()
	all, err := lesson.All(root)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func find(t *testing.T, name string) *lesson.Lesson {
	t.Helper()
	l, err := lesson.Find(lessons(t), name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// binaries are hey and the steps as they are, built once for all tests.
var binaries *build.Bins

var heyBinary = sync.OnceValues(func() (string, error) { return binaries.Hey(context.Background()) })

func TestMain(m *testing.M) {
	var err error
	if root, err = build.Root("."); err == nil {
		binaries, err = build.Open(root)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	// Most of an experiment waits. A test builds what it runs before it calls
	// Parallel: the go command then works while nothing is judged.
	need.Parallel(8)
	code := m.Run()
	binaries.Close()
	os.Exit(code)
}

// newLab is a lab with the real hey.
func newLab(t *testing.T, forward string) *Lab {
	t.Helper()
	hey, err := heyBinary()
	if err != nil {
		t.Fatal(err)
	}
	l, err := New(t.Context(), hey, forward)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// named is a step's experiment with that name.
func named(t *testing.T, step *lesson.Lesson, name string) lesson.Experiment {
	t.Helper()
	i := slices.IndexFunc(step.Experiments, func(e lesson.Experiment) bool { return e.Name == name })
	if i < 0 {
		t.Fatalf("no experiment %q", name)
	}
	return step.Experiments[i]
}

// changed is a step whose file has another text.
func changed(t *testing.T, l *lesson.Lesson, path string, text string) string {
	t.Helper()
	other := filepath.Join(t.TempDir(), filepath.Base(path))
	if err := os.WriteFile(other, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return compiled(t, l, map[string]string{path: other})
}

// compiled is a step, with some of its files replaced. The test is not parallel
// yet.
func compiled(t *testing.T, l *lesson.Lesson, replace map[string]string) string {
	t.Helper()
	if _, err := heyBinary(); err != nil {
		t.Fatal(err)
	}
	if replace == nil {
		bin, err := binaries.Step(t.Context(), l)
		if err != nil {
			t.Fatal(err)
		}
		return bin
	}
	bin := build.Exe(filepath.Join(t.TempDir(), l.Step))
	overlay := filepath.Join(t.TempDir(), "overlay.json")
	if err := build.WriteOverlay(overlay, replace); err != nil {
		t.Fatal(err)
	}
	if err := build.Build(t.Context(), l.Dir, ".", bin, overlay); err != nil {
		t.Fatal(err)
	}
	return bin
}

func run(t *testing.T, l *Lab, bin string, step *lesson.Lesson, e lesson.Experiment) *Result {
	t.Helper()
	r, err := l.Run(t.Context(), bin, step, e)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// comesTrue runs an experiment whose claims must come true: on a machine that is too
// busy for a second they may not, so what is false at three times is false.
func comesTrue(t *testing.T, l *Lab, bin string, step *lesson.Lesson, e lesson.Experiment) *Result {
	t.Helper()
	for tries := 3; ; tries-- {
		r := run(t, l, bin, step, e)
		f := failures(r)
		if f == nil {
			return r
		}
		if tries == 1 {
			t.Errorf("%s: claims that did not come true: %q", e.Name, f)
			return r
		}
		t.Logf("%s: it is run again: %q", e.Name, f)
	}
}

// failures are the checks of a result that did not hold.
func failures(r *Result) []string {
	var all []string
	for _, a := range r.Acts {
		for _, c := range a.Checks {
			if !c.Held {
				all = append(all, fmt.Sprintf("%s: claimed %s, seen %s", c.What, c.Want, c.Got))
			}
		}
	}
	return all
}

// A burst is one trace: its root is the load's own span, and everything that
// three services did hangs below it.
func TestOneTracePerBurst(t *testing.T) {
	step := find(t, "05")
	bin := compiled(t, step, nil)
	t.Parallel()
	r := run(t, newLab(t, ""), bin, step, step.Experiments[0])
	if f := failures(r); f != nil {
		t.Errorf("claims that did not come true: %q", f)
	}
	spans := r.Acts[0].Spans
	forest := otlp.Forest(spans)
	if len(forest) != 1 || forest[0].Name != "burst" || forest[0].Service != "load" || forest[0].Orphan {
		t.Fatalf("%d trees, the first with the root %q; want one below burst", len(forest), forest[0].Name)
	}
	for name, want := range map[string]string{"requests": "10", "concurrency": "1", "step": step.Step} {
		if got := forest[0].Attrs[name]; got != want {
			t.Errorf("burst: %s is %q, want %q", name, got, want)
		}
	}
	services := map[string]bool{}
	for _, s := range spans {
		services[s.Service] = true
		if s.Service == "plaque" && s.Version != step.Step {
			t.Errorf("%s has the version %q, want the step", s.Name, s.Version)
		}
	}
	if want := map[string]bool{"load": true, "plaque": true, "feed": true}; !maps.Equal(services, want) {
		t.Errorf("services: %v, want %v", services, want)
	}
	if n := otlp.Count(spans, "GET /feeds/videos.xml"); n != 1 {
		t.Errorf("%d spans of the feed, want 1", n)
	}
}

// long leaves out, with -short, what takes long and would see nothing new: the gate
// has run it in the workspace before it tests each module by itself.
func long(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("with -short")
	}
}

// No toy passes: the cache of a neighbour, under this step's unchanged lesson,
// makes at least one claim false.
func TestNeighboursCacheFails(t *testing.T) {
	long(t)
	need.Gate(t, "it builds 05 to 09 each with the cache of a neighbour")
	if os.Getenv("GOWORK") == "off" {
		t.Fatal("a neighbour may need a module that a step does not, and the workspace has them all: unset GOWORK")
	}
	all := lessons(t)
	type pair struct {
		here, there *lesson.Lesson
		bin         string
	}
	var pairs []pair
	swap := func(here, there *lesson.Lesson) {
		files, err := filepath.Glob(filepath.Join(there.Dir, "cache", "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		overlay := map[string]string{}
		for _, file := range files {
			if !strings.HasSuffix(file, "_test.go") {
				overlay[filepath.Join(here.Dir, "cache", filepath.Base(file))] = file
			}
		}
		pairs = append(pairs, pair{here, there, compiled(t, here, overlay)})
	}
	for i := 1; i < len(all); i++ {
		// Step 10's cache is more than one file, and without options what 09's is:
		// see TestEachOptionMatters.
		if all[i-1].Code == all[i].Code && all[i].Code == "cache/cache.go" && all[i].Number() != "10" {
			swap(all[i-1], all[i])
			swap(all[i], all[i-1])
		}
	}
	if len(pairs) < 8 {
		t.Errorf("%d pairs of neighbours, want at least the 8 of 05 to 09", len(pairs))
	}
	t.Parallel()
	for _, p := range pairs {
		t.Run(p.here.Step+" with the cache of "+p.there.Step, func(t *testing.T) {
			t.Parallel()
			lab := newLab(t, "")
			for _, e := range p.here.Experiments {
				if f := failures(run(t, lab, p.bin, p.here, e)); f != nil {
					t.Logf("%s: %s", e.Name, f[0])
					return
				}
			}
			t.Error("every claim came true")
		})
	}
}

var fleets = flag.Int("fleets", 0, "how often TestFleets takes all experiments of step 11")

// All of step 11's experiments come true, however often: go test -run TestFleets
// -fleets 10, and with -fleets-busy while all cores are busy.
func TestFleets(t *testing.T) {
	if *fleets == 0 {
		t.Skip("the tour takes them once: -fleets N takes them N times")
	}
	step := find(t, "11")
	l, bin := newLab(t, ""), compiled(t, step, nil)
	if *busy {
		working, stop := context.WithCancel(t.Context())
		defer stop()
		for range runtime.NumCPU() {
			go func() {
				for working.Err() == nil {
				}
			}()
		}
	}
	for i := range *fleets {
		for _, e := range step.Experiments {
			r := run(t, l, bin, step, e)
			for _, f := range failures(r) {
				t.Errorf("%s, time %d: %s", e.Name, i+1, f)
			}
			for _, a := range r.Acts {
				for _, n := range a.Notes {
					t.Logf("%s, time %d: %s", e.Name, i+1, n)
				}
			}
		}
	}
}

var busy = flag.Bool("fleets-busy", false, "keep all cores busy meanwhile")

// The experiments of step 11 see what is wrong: each of these makes the one named
// come out false.
func TestFleetsCanFail(t *testing.T) {
	long(t)
	need.Gate(t, "it builds 11 with three faults")
	step := find(t, "11")
	path := filepath.Join(step.Dir, "fleet", "fleet.go")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct{ experiment, old, new, bin string }{
		{"a panic", "\t\treturn dest.SetBytes(", "\t\tif a := f.here(ctx, key); a.Error != nil {\n\t\t\treturn a.Error\n\t\t}\n\t\treturn dest.SetBytes(", ""},
		{"the first caller hangs up", "f.ask(context.WithoutCancel(ctx), key)", "f.ask(ctx, key)", ""},
		{"one trace", "span.AddLink(trace.Link{SpanContext: flight})", "_ = flight", ""},
	}
	for i, c := range cases {
		if strings.Count(string(text), c.old) != 1 {
			t.Fatalf("%s has changed: mend this test", path)
		}
		cases[i].bin = changed(t, step, path, strings.Replace(string(text), c.old, c.new, 1))
	}
	t.Parallel()
	for _, c := range cases {
		t.Run(c.experiment, func(t *testing.T) {
			t.Parallel()
			e := named(t, step, c.experiment)
			e.Acts = e.Acts[:1]
			f := failures(run(t, newLab(t, ""), c.bin, step, e))
			if f == nil {
				t.Error("every claim came true")
			} else {
				t.Log(f[0])
			}
		})
	}
}

var outage = flag.Duration("outage", 9*time.Second, "how long TestLongOutage loads step 10")

// hey loads step 10 while its feed is down half of the time. No answer is slower
// than a load may take, and none is a failure.
func TestLongOutage(t *testing.T) {
	long(t)
	step := find(t, "10")
	bin := compiled(t, step, nil)
	t.Parallel()
	e := step.Experiments[len(step.Experiments)-1]
	act := &e.Acts[0] // of this test's own lessons
	if act.Feed == nil || act.Feed.Outage == 0 || act.Expect.All != "200" || act.Expect.Slowest != 3 {
		t.Fatal("the last experiment of step 10 is another one now")
	}
	hey := act.Do.(lesson.Hey)
	hey.For = int(outage.Seconds())
	act.Do = hey
	// A try fails at once or hangs for 3 s, and each failure doubles the pause.
	act.Expect.LoadsWithin = &lesson.Bounds{Min: hey.For / 8, Max: hey.For + 3}
	r := comesTrue(t, newLab(t, ""), bin, step, e)
	t.Logf("%v: %s, %d loads, %d failed", *outage, Answers(r.Acts[0].Answers), r.Acts[0].Loads, r.Acts[0].errors(flightSpan))
}

// Each option of step 10 is there for one of its experiments, which does not come
// true without it.
func TestEachOptionMatters(t *testing.T) {
	long(t)
	need.Gate(t, "it builds 10 without each of its options")
	step := find(t, "10")
	path := filepath.Join(step.Dir, "main.go")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := regexp.MustCompile(`(?m)^\t\tcache\.With(\w+)\(.*\n`).FindAllSubmatchIndex(text, -1)
	if len(lines) != len(needs) {
		t.Errorf("main.go has %d options, want %d", len(lines), len(needs))
	}
	bins := map[string]string{} // without each option
	for _, at := range lines {
		bins[string(text[at[2]:at[3]])] = changed(t, step, path, string(text[:at[0]])+string(text[at[1]:]))
	}
	t.Parallel()
	for option, bin := range bins {
		t.Run(option, func(t *testing.T) {
			t.Parallel()
			e := named(t, step, needs[option])
			// On a busy machine what came together may be late, and expire at different
			// moments without jitter, too.
			for range 3 {
				if f := failures(run(t, newLab(t, ""), bin, step, e)); f != nil {
					t.Log(f[0])
					return
				}
			}
			t.Error("every claim came true, three times")
		})
	}
}

// needs names the experiment of step 10 that needs an option.
var needs = map[string]string{
	"StaleWhileRevalidate": "the old value while the new one loads",
	"StaleIfError":         "the old value when the load fails",
	"Backoff":              "a failure is remembered",
	"Jitter":               "what came together does not expire together",
	"MaxKeys":              "a stranger asks for 1,200 channels",
	"MaxLoads":             "a crowd that asks for 150 channels at once",
}

// Slow clients tell a server that takes one at a time from one that takes all:
// each of the two servers makes the other's claims false.
func TestSlowClients(t *testing.T) {
	one, all := find(t, "01"), find(t, "02")
	bins := map[*lesson.Lesson]string{one: compiled(t, one, nil), all: compiled(t, all, nil)}
	t.Parallel()
	for _, c := range []struct {
		server *lesson.Lesson
		claims *lesson.Lesson
		false_ []string
	}{
		{one, one, nil},
		{all, all, nil},
		{one, all, []string{
			"handle_connection: claimed all at one moment, seen not all at one moment",
			"the quick caller is answered: claimed at once, seen after the slow ones",
		}},
		{all, one, []string{
			"handle_connection: claimed one after the other, seen some overlap",
			"the quick caller is answered: claimed after the slow ones, seen at once",
		}},
	} {
		t.Run(c.server.Step+" under the claims of "+c.claims.Step, func(t *testing.T) {
			t.Parallel()
			r := run(t, newLab(t, ""), bins[c.server], c.server, named(t, c.claims, "slow clients"))
			if got := failures(r); !slices.Equal(got, c.false_) {
				t.Errorf("false are %q, want %q", got, c.false_)
			}
			if n := len(otlp.Named(r.Acts[0].Spans, "ask slowly")); n != 3 {
				t.Errorf("%d spans of slow callers, want 3", n)
			}
		})
	}
}

// The lab can do what the lessons say.
func TestEveryActIsDone(t *testing.T) {
	for _, l := range lessons(t) {
		for _, e := range l.Experiments {
			for i, a := range e.Acts {
				if doers[reflect.TypeOf(a.Do)] == nil {
					t.Errorf("%s, %s, act %d: nothing does %T", l.Step, e.Name, i+1, a.Do)
				}
			}
		}
	}
}

// A server that dies, or was never one, is told of; nothing hangs.
func TestNoServer(t *testing.T) {
	hey, err := heyBinary()
	if err != nil {
		t.Fatal(err)
	}
	_, err = server.StartServer(t.Context(), server.Launch{Command: []string{hey}, Collector: "http://127.0.0.1:1"}) // hey prints its usage and ends
	if err == nil || !strings.Contains(err.Error(), "ended before it listened") || !strings.Contains(err.Error(), "Usage") {
		t.Errorf("the error is %v; want it to say that the server ended, and its last words", err)
	}
}

// Stopping the lab's context stops an experiment and its server.
func TestCancelledExperiment(t *testing.T) {
	step := find(t, "05")
	bin := compiled(t, step, nil)
	t.Parallel()
	l := newLab(t, "")
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	long := lesson.Experiment{Name: "long", Acts: []lesson.Act{{Do: lesson.Wait(time.Hour)}}}
	began := time.Now()
	if _, err := l.Run(ctx, bin, step, long); err == nil {
		t.Error("no error")
	}
	if d := time.Since(began); d > 30*time.Second {
		t.Errorf("it took %v", d)
	}
}

// hey's client sends a GET again, in silence, when a connection that has been used
// ends without an answer. So hey counts what came in the end, and the server knows
// better; 03's page says when hey does see a panic.
func TestHeyHidesAPanic(t *testing.T) {
	hey, err := heyBinary()
	if err != nil {
		t.Fatal(err)
	}
	t.Parallel()
	for _, c := range []struct {
		name     string
		panics   int64 // which request
		args     []string
		answers  string
		requests int64
	}{
		{"on a used connection", 7, nil, "10×200", 11},
		{"on a connection's first request", 1, nil, "9×200, 1×lost", 10},
		{"without kept connections", 7, []string{"-disable-keepalive"}, "9×200, 1×lost", 10},
		{"what may not be done twice", 7, []string{"-m", "POST"}, "9×200, 1×lost", 10},
	} {
		var requests atomic.Int64
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			if requests.Add(1) == c.panics {
				panic("doom")
			}
		}))
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		server.Start()
		out, err := exec.CommandContext(t.Context(), hey, append(append([]string{"-n", "10", "-c", "1", "-t", "5"}, c.args...), server.URL)...).CombinedOutput()
		server.Close()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		answers, err := parseHey(tidy(string(out)))
		if got := Answers(answers); err != nil || got != c.answers || requests.Load() != c.requests {
			t.Errorf("%s: hey has %s and the server %d requests, want %s and %d (%v)\n%s", c.name, got, requests.Load(), c.answers, c.requests, err, out)
		}
	}
}

func TestParseHey(t *testing.T) {
	const head = "\nSummary:\n  Total:\t0.1 secs\n\nResponse time histogram:\n%s\n\nLatency distribution:\n  10%% in 0.0010 secs\n\n" +
		"Status code distribution:\n%s\n\n%s\n"
	for _, c := range []struct {
		name, codes, errors, want string
	}{
		{"all well", "  [200]\t10 responses", "", "10×200"},
		{"two statuses", "  [200]\t5 responses\n  [500]\t5 responses", "", "5×200, 5×500"},
		{"nothing but timeouts", "", "Error distribution:\n  [10]\tGet \"http://127.0.0.1:1\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)", "10×timeout"},
		{"lost and served", "  [200]\t5 responses", "Error distribution:\n  [5]\tGet \"http://127.0.0.1:1\": EOF", "5×200, 5×lost"},
		{"three kinds of lost", "", "Error distribution:\n  [1]\tGet \"x\": read tcp: connection reset by peer\n  [2]\tGet \"x\": http: server closed idle connection\n  [3]\tread tcp: wsarecv: An existing connection was forcibly closed by the remote host.", "6×lost"},
		{"nobody there", "", "Error distribution:\n  [10]\tGet \"x\": dial tcp 127.0.0.1:1: connect: connection refused", "10×refused"},
		{"refused, on Windows", "", "Error distribution:\n  [1]\tGet \"x\": dial tcp: connectex: No connection could be made because the target machine actively refused it.", "1×refused"},
		{"something new", "", "Error distribution:\n  [1]\tGet \"x\": the moon is full", "1×error"},
	} {
		t.Run(c.name, func(t *testing.T) {
			answers, err := parseHey(tidy(fmt.Sprintf(head, "", c.codes, c.errors)))
			if got := Answers(answers); err != nil || got != c.want {
				t.Errorf("%s, %v; want %s", got, err, c.want)
			}
		})
	}
	if _, err := parseHey("flag provided but not defined"); err == nil {
		t.Error("a text that is no report gave no error")
	}
}

func TestHistogram(t *testing.T) {
	bars := "  0.001 [1]\t|■\n  0.002 [9]\t|■■■■■■■■■"
	report := tidy("Summary:\n\nResponse time histogram:\n" + bars + "\n\n\nLatency distribution:\n  10%% in 0.0010 secs\n")
	if got := Histogram(report); got != bars {
		t.Errorf("the histogram is %q, want %q", got, bars)
	}
	if got := Histogram(tidy("Response time histogram:\n\n\nLatency distribution:\n\n")); got != "" {
		t.Errorf("the histogram of no answers is %q", got)
	}
	if strings.Contains(report, "%%") {
		t.Error("tidy left hey's double percent signs")
	}
}

func TestInCacheFindsParkedCallers(t *testing.T) {
	for _, c := range []struct {
		stack string
		want  int
	}{
		{"goroutine 9 [chan receive]:\nplaque/steps/07-inflight/cache.(*Cache[...]).Get(0x1)\n\t/x.go:1", 1},
		{"goroutine 9 [sync.Mutex.Lock, 2 minutes]:\nsync.(*Mutex).Lock()\n\t/sync.go:1\nplaque/steps/06-mutex-cache/cache.(*Cache[...]).Get(0x1)\n\t/x.go:1 +0x5", 1},
		{"goroutine 9 [select]:\nplaque/steps/09-panic-safe/cache.(*Cache[...]).get(0x1)\n\t/x.go:1", 1},
		{"goroutine 9 [running]:\nplaque/steps/07-inflight/cache.(*Cache[...]).Get(0x1)\n\t/x.go:1 +0x5", 0},
		{"goroutine 9 [runnable]:\nplaque/steps/07-inflight/cache.(*Cache[...]).Get(0x1)\n\t/x.go:1 +0x5", 0},
		{"goroutine 9 [select]:\nplaque/steps/09-panic-safe/cache.(*Cache[...]).fly(0x1)\n\t/x.go:1\ncreated by plaque/steps/09-panic-safe/cache.(*Cache[...]).board in goroutine 8\n\t/x.go:2", 0},
	} {
		if got := parkedIn(c.stack, cacheWay); got != c.want {
			t.Errorf("parked in the cache: %d, want %d, for\n%s", got, c.want, c.stack)
		}
	}
}

func TestTogether(t *testing.T) {
	at := func(from, to int) otlp.Span {
		return otlp.Span{Start: time.Unix(int64(from), 0), End: time.Unix(int64(to), 0)}
	}
	for _, c := range []struct {
		spans []otlp.Span
		want  bool
	}{
		{nil, false},
		{[]otlp.Span{at(0, 2), at(1, 3)}, true},
		{[]otlp.Span{at(0, 1), at(1, 3)}, false},
		{[]otlp.Span{at(0, 5), at(1, 2), at(3, 4)}, false},
	} {
		if got := together(c.spans); got != c.want {
			t.Errorf("together(%v) = %v", c.spans, got)
		}
	}
}

func TestRootIsFound(t *testing.T) {
	if got, err := build.Root(filepath.Join(root, "steps", "kit")); got != root || err != nil {
		t.Errorf("from steps/kit: %q, %v", got, err)
	}
	if _, err := build.Root(t.TempDir()); err == nil || !strings.Contains(err.Error(), "go.work") {
		t.Errorf("outside: %v, want an error that says where to go", err)
	}
}
