package check

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"plaque/steps/kit/ports"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"plaque/scripts/internal/build"
	"plaque/scripts/internal/lesson"
	"plaque/scripts/internal/mutant"
	"plaque/scripts/internal/property"
	"plaque/scripts/internal/say"
	"plaque/scripts/internal/server"
	"plaque/steps/kit/need"
)

var update = flag.Bool("update", false, "write the golden transcripts anew")

func TestMain(m *testing.M) {
	if len(os.Args) == 2 {
		if fault, ok := strings.CutPrefix(os.Args[1], faultPrefix); ok {
			fmt.Fprintln(os.Stderr, serveFaulty(fault))
			os.Exit(1)
		}
	}
	// A check waits much and computes little; in CI other stages run beside it.
	need.Parallel(map[bool]int{false: 10, true: 5}[need.CI()])
	code := m.Run()
	if bins != nil {
		bins.Close()
	}
	os.Exit(code)
}

// bins are the steps, for all tests. A test builds what it judges before it calls
// t.Parallel: so all is built before anything is judged, and no bound of a verdict
// passes while the compiler has both cores.
var bins *build.Bins

// built builds a step as it is.
func built(t *testing.T, l *lesson.Lesson) string {
	t.Helper()
	bin, err := opened(t).Step(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

func opened(t *testing.T) *build.Bins {
	t.Helper()
	if bins == nil {
		root, err := build.Root(".")
		if err != nil {
			t.Fatal(err)
		}
		if bins, err = build.Open(root); err != nil {
			t.Fatal(err)
		}
	}
	return bins
}

func lessons(t *testing.T) []*lesson.Lesson {
	t.Helper()
	root, err := build.Root(".")
	if err != nil {
		t.Fatal(err)
	}
	all, err := lesson.All(root)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// long leaves out, with -short, what takes long and would see nothing new: the gate
// has run it in the workspace before it tests each module by itself.
func long(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("with -short")
	}
}

// sampled are the steps that are judged where the gate does not run: all of them take
// a minute and more of two cores.
func sampled(t *testing.T, all []*lesson.Lesson) []*lesson.Lesson {
	t.Helper()
	t.Run("the other steps", func(t *testing.T) {
		need.Gate(t, "judging the other steps takes more than a minute of two cores")
	})
	if need.CI() {
		return all
	}
	return slices.DeleteFunc(all, func(l *lesson.Lesson) bool { return !slices.Contains([]string{"02", "05", "09"}, l.Number()) })
}

// judged is a check's verdicts, which must come without an error. Where the
// machine was too busy to tell, it is asked again for just that.
func judged(t *testing.T, o Options) []Verdict {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	verdicts, err := Run(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		var again []string
		for _, v := range verdicts {
			if v.Has == "n/a" && strings.HasPrefix(v.Seen, tooBusy) {
				again = append(again, v.Property)
			}
		}
		if again == nil {
			break
		}
		t.Logf("too busy to tell %q: again", again)
		o.Only = again
		told, err := Run(ctx, o)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range told {
			i := slices.IndexFunc(verdicts, func(w Verdict) bool { return w.Property == v.Property })
			verdicts[i] = v
		}
	}
	return verdicts
}

// lacks are the names of the properties that a server has not.
func lacks(verdicts []Verdict) []string {
	names := []string{}
	for _, v := range verdicts {
		if v.Has == "no" {
			names = append(names, v.Property)
		}
	}
	return names
}

// transcript is what a person reads.
func transcript(verdicts []Verdict) string {
	var b bytes.Buffer
	for _, v := range verdicts {
		Write(&say.Printer{Out: &b, Width: 100}, v)
	}
	return b.String()
}

// golden compares a transcript with the one that is kept.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the transcript is not %s:\n%s", path, got)
	}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	addr, err := ports.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// changed builds a step with other text in one place of a file, as mutants have it.
func changed(t *testing.T, l *lesson.Lesson, file, old, text string) string {
	t.Helper()
	path, all, err := mutant.Mutant{Folder: l.Dir, File: file, Old: old, New: text}.Mutated()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(text, "propagation.") {
		all = strings.Replace(all, "import (\n", "import (\n\t\"go.opentelemetry.io/otel/propagation\"\n", 1)
	}
	return overlaid(t, l, ".", path, all)
}

// overlaid builds a step's package with another text in one file.
func overlaid(t *testing.T, l *lesson.Lesson, pkg, path, text string) string {
	t.Helper()
	dir := t.TempDir()
	to, overlay := filepath.Join(dir, "changed.go"), filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(to, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := build.WriteOverlay(overlay, map[string]string{path: to}); err != nil {
		t.Fatal(err)
	}
	bin := build.Exe(filepath.Join(dir, l.Step))
	if err := build.Build(t.Context(), l.Dir, pkg, bin, overlay); err != nil {
		t.Fatal(err)
	}
	return bin
}

// The table on the front page: every step has what its row says, and has not
// yet what the row says that it has not.
func TestFingerprints(t *testing.T) {
	all, paths := sampled(t, lessons(t)), map[string]string{}
	for _, l := range all {
		paths[l.Step] = built(t, l)
	}
	t.Parallel()
	for _, l := range all {
		t.Run(l.Step, func(t *testing.T) {
			t.Parallel()
			verdicts := judged(t, Options{Command: []string{paths[l.Step]}})
			for i, p := range property.All {
				if v := verdicts[i]; v.Property != p.Name || v.Has != l.Fingerprint[p.Name] {
					t.Errorf("%s: measured %q, the lesson says %q; seen: %s", p.Name, v.Has, l.Fingerprint[p.Name], v.Seen)
				}
			}
			// 08's load ends with its first caller. Who gives up a moment later can still be told.
			for i, v := range verdicts {
				if v.Property == "serves-old" && strings.HasSuffix(v.Seen, "×no answer") {
					verdicts[i].Seen = "5×no answer"
				}
			}
			golden(t, l.Step, transcript(verdicts))
		})
	}
}

// onlyTen are properties that no step before 10 has.
var onlyTen = []string{"serves-old", "stale-if-error", "failure-spared", "sheds-load"}

// A server that is wrong in one way lacks what it should lack, and on CI, where
// all is judged, nothing else. One that is right lacks nothing.
func TestFaults(t *testing.T) {
	long(t)
	t.Parallel()
	t.Run("and nothing else, and the other faults", func(t *testing.T) {
		need.Gate(t, "all properties of each faulty server take some minutes of two cores")
	})
	judge := func(t *testing.T, fault string, only, want []string) {
		t.Parallel()
		o := Options{Command: faultyServer(fault)}
		whole := need.CI() || fault == "dies of a doomed load"
		if !whole {
			o.Only = only
		}
		verdicts := judged(t, o)
		got := lacks(verdicts)
		want = slices.Sorted(slices.Values(want))
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("it lacks %q, want %q\n%s", got, want, transcript(verdicts))
		}
		if !whole {
			return
		}
		if _, _, notJudged := Count(verdicts); notJudged != 6 { // it sends no spans, and is one machine
			t.Errorf("%d properties were not judged, want the 5 about spans and the one about machines", notJudged)
		}
		if fault == "dies of a doomed load" {
			// A caller that comes a moment after the end is refused. How far serves-old
			// gets by then is chance.
			for i, v := range verdicts {
				verdicts[i].Seen = strings.Replace(v.Seen, "5×refused", "5×lost", 1)
			}
			verdicts = slices.DeleteFunc(verdicts, func(v Verdict) bool { return v.Property == "serves-old" })
			golden(t, "dies", transcript(verdicts))
		}
	}
	for _, fault := range sampledFaults() {
		t.Run(fault, func(t *testing.T) { judge(t, fault, faults[fault], faults[fault]) })
	}
	for way, only := range rights {
		t.Run(way, func(t *testing.T) { judge(t, way, only, nil) })
	}
}

// sampledFaults are the faults that are judged where the gate does not run: for each
// property one that loses it, and the one with a transcript.
func sampledFaults() (picked []string) {
	lost := map[string]bool{}
	byWeight := slices.SortedFunc(maps.Keys(faults), func(a, b string) int {
		return cmp.Or(len(faults[a])-len(faults[b]), cmp.Compare(a, b))
	})
	for _, fault := range byWeight {
		loses := func(name string) bool { return !lost[name] }
		if need.CI() || fault == "dies of a doomed load" || slices.ContainsFunc(faults[fault], loses) {
			picked = append(picked, fault)
		}
		for _, name := range faults[fault] {
			lost[name] = true
		}
	}
	return picked
}

// Every property is lost by some server: none is a row that cannot fail.
func TestEveryPropertyIsLost(t *testing.T) {
	lost := slices.Concat(slices.Collect(maps.Values(faults))...)
	for _, f := range spanFaults {
		lost = append(lost, f.lacks...)
	}
	for _, f := range fleetFaults {
		lost = append(lost, f.lacks...)
	}
	for _, p := range property.All {
		if !slices.Contains(lost, p.Name) {
			t.Errorf("no faulty server lacks %s", p.Name)
		}
	}
}

// spanFaults are changes to step 09 after which its spans tell less.
var spanFaults = []struct {
	name, file, old, new string
	lacks                []string
}{
	{"requests start traces apart from their callers", "../kit/web/web.go", `return otelhttp.NewHandler(observe(mux), "server", opts...)`,
		`return otelhttp.NewHandler(observe(mux), "server", append(opts, otelhttp.WithPublicEndpointFn(func(*http.Request) bool { return true }))...)`,
		[]string{"trace-requests", "trace-loads", "trace-joined", "trace-errors", "let-go"}},
	{"a load does not tell the feed its trace", "../kit/youtube/youtube.go", "otelhttp.NewTransport(transport,", "otelhttp.NewTransport(transport, otelhttp.WithPropagators(propagation.NewCompositeTextMapPropagator()),",
		[]string{"trace-loads", "trace-joined", "trace-errors"}},
	{"waiters leave no link", "cache/cache.go", "span.AddLink(trace.Link{SpanContext: f.span.SpanContext()})", "",
		[]string{"trace-joined"}},
	{"the link leads to the waiter's own span", "cache/cache.go", "span.AddLink(trace.Link{SpanContext: f.span.SpanContext()})", "span.AddLink(trace.Link{SpanContext: span.SpanContext()})",
		[]string{"trace-joined"}},
	{"a waiter waits for the flight alone", "cache/cache.go", "case <-ctx.Done():", "case <-context.WithoutCancel(ctx).Done():",
		[]string{"let-go"}},
}

func TestSpanFaults(t *testing.T) {
	long(t)
	need.Gate(t, "it links five servers and judges them: half a minute of a core")
	l, err := lesson.Find(lessons(t), "09")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range property.All {
		if p.Needs&property.Spans != 0 {
			names = append(names, p.Name)
		}
	}
	paths := map[string]string{}
	for _, f := range spanFaults {
		paths[f.name] = changed(t, l, f.file, f.old, f.new)
	}
	t.Parallel()
	for _, f := range spanFaults {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			verdicts := judged(t, Options{Command: []string{paths[f.name]}, Only: names})
			if got := lacks(verdicts); !slices.Equal(got, f.lacks) {
				t.Errorf("it lacks %q, want %q\n%s", got, f.lacks, transcript(verdicts))
			}
		})
	}
}

// A server is judged by its spans however late it sends them, and whatever its clock
// says. If the checker refuses its spans, it says which, and why.
func TestSpansThatComeInTheirWay(t *testing.T) {
	t.Parallel()
	for fault, want := range map[string]struct{ property, has, seen string }{
		"none": {"trace-requests", "n/a", "it sends no spans"},
		"sends its spans after 5 s, not when it is told to end": {"trace-requests", "yes", "3 of 3 requests have a span"},
		"sends its spans to the base URL":                       {"trace-requests", "n/a", "nothing at /: this collector takes traces only"},
		"sends spans that are no OTLP":                          {"trace-requests", "n/a", "not an OTLP trace request in JSON"},
		"its clock is 3 s slow":                                 {"let-go", "yes", ""},
		"its clock is 3 s fast":                                 {"let-go", "yes", ""},
		"stays when callers leave, and its clock is 3 s slow":   {"let-go", "no", ""},
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			v := judged(t, Options{Command: faultyServer(fault), Only: []string{want.property}})[0]
			if v.Has != want.has || !strings.Contains(v.Seen, want.seen) {
				t.Errorf("%s, %q; want %s, %q", v.Has, v.Seen, want.has, want.seen)
			}
		})
	}
}

// fleetFaults are flags of step 11 after which its machines share less. Whether it
// lacks "remembers" then is chance: three keys at three machines in turn can come
// to the same one each time.
var fleetFaults = []struct{ flag, lacks []string }{
	{[]string{"-alone"}, []string{"one-load", "failure-spared", "trace-joined", "fleet-one-load"}},
	{[]string{"-ttl=1ns"}, []string{"fleet-one-load"}}, // they share a load in the air, and nothing afterwards
}

func TestFleetFaults(t *testing.T) {
	need.Gate(t, "it links and judges fleets of three servers: half a minute of a core")
	l, err := lesson.Find(lessons(t), "11")
	if err != nil {
		t.Fatal(err)
	}
	only := []string{"one-load", "failure-spared", "trace-joined", "fleet-one-load"}
	asItIs, toOne := built(t, l), changed(t, l, "launch.go", "first := int(b.next.Add(1) % uint64(len(b.peers)))", "first := 0")
	t.Parallel()
	for _, f := range fleetFaults {
		t.Run(f.flag[0], func(t *testing.T) {
			t.Parallel()
			verdicts := judged(t, Options{Command: append([]string{asItIs}, f.flag...), Only: only})
			if got := lacks(verdicts); !slices.Equal(got, f.lacks) {
				t.Errorf("it lacks %q, want %q\n%s", got, f.lacks, transcript(verdicts))
			}
		})
	}
	// Where all callers come to one machine, the others have shown nothing.
	t.Run("one machine gets all", func(t *testing.T) {
		t.Parallel()
		verdicts := judged(t, Options{Command: []string{toOne}, Only: only})
		if v := verdicts[len(verdicts)-1]; v.Property != "fleet-one-load" || v.Has != "n/a" {
			t.Errorf("%s: %s, %s", v.Property, v.Has, v.Seen)
		}
	})
}

// A server in Python's standard library is blamed for what it lacks and nothing
// else.
func TestPython(t *testing.T) {
	t.Parallel()
	need.Program(t, "apt install python3", "python3")
	verdicts := judged(t, Options{Command: []string{"python3", filepath.Join("testdata", "server.py")}})
	if got, want := lacks(verdicts), append([]string{"silent-ends", "bounded"}, onlyTen...); !slices.Equal(got, want) {
		t.Errorf("it lacks %q, want %q", got, want)
	}
	// Its waiters load one after the other. How many of them the checker sees answered
	// depends on the machine.
	for i, v := range verdicts {
		if v.Property == "bounded" && strings.HasSuffix(v.Seen, "×no answer") {
			verdicts[i].Seen = "2×504, 3×no answer"
		}
	}
	golden(t, "python", transcript(verdicts))
}

// The same verdicts come of a server that runs already, one for all properties.
func TestRunningServer(t *testing.T) {
	all := lessons(t)
	l, err := lesson.Find(all, "08")
	if err != nil {
		t.Fatal(err)
	}
	bin := built(t, l)
	t.Parallel()
	addr := freeAddr(t)
	feed, spans := freeAddr(t), freeAddr(t)
	_, port, _ := net.SplitHostPort(feed)
	o := Options{Addr: addr, Feed: feed, Spans: spans,
		Only: []string{"silent-client", "one-load", "heals", "clean-500", "trace-joined", "let-go"}}
	server, err := server.StartServer(t.Context(), server.Launch{Command: []string{bin}, Addr: addr,
		Collector: "http://" + spans, Feed: "http://localhost:" + port + "/feeds/videos.xml"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Stop() }()
	for _, v := range judged(t, o) {
		if want := l.Fingerprint[v.Property]; v.Has != want {
			t.Errorf("%s: measured %q, the lesson says %q; seen: %s", v.Property, v.Has, want, v.Seen)
		}
	}
}

// An exercise fails for the reason that its page gives, and keeps what it should
// keep; its solution passes.
func TestExercises(t *testing.T) {
	all, unsolved, solved := sampled(t, lessons(t)), map[string]string{}, map[string]string{}
	for _, l := range all {
		text, err := os.ReadFile(l.SolutionFile())
		if err != nil {
			t.Fatal(err)
		}
		if unsolved[l.Step], err = opened(t).Exercise(t.Context(), l); err != nil {
			t.Fatal(err)
		}
		solved[l.Step] = overlaid(t, l, "./exercise", l.ExerciseFile(), string(text))
	}
	t.Parallel()
	for _, l := range all {
		only := l.Exercise.Properties()
		t.Run(l.Number(), func(t *testing.T) {
			t.Parallel()
			for _, v := range judged(t, Options{Command: []string{unsolved[l.Step]}, Only: only}) {
				words, fails := l.Exercise.Fails[v.Property]
				if fails && (v.Has != "no" || !strings.Contains(v.Seen, words)) {
					t.Errorf("%s: %s, seen %q; the page says that it fails, with %q", v.Property, v.Has, v.Seen, words)
				}
				if !fails && v.Has != "yes" {
					t.Errorf("%s: %s, seen %q; the page says that it holds from the start", v.Property, v.Has, v.Seen)
				}
			}
		})
		t.Run(l.Number()+" solved", func(t *testing.T) {
			t.Parallel()
			verdicts := judged(t, Options{Command: []string{solved[l.Step]}, Only: only})
			if got := lacks(verdicts); len(got) > 0 || len(verdicts) != len(only) {
				t.Errorf("the solution lacks %q\n%s", got, transcript(verdicts))
			}
		})
	}
}

// What cannot be judged at all is told in a sentence, and the check ends.
func TestCannotBeJudged(t *testing.T) {
	t.Parallel()
	raw := func(speak func(net.Conn)) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					// A server that speaks first may be heard before it was asked.
					_, _ = conn.Read(make([]byte, 4096))
					speak(conn)
				}()
			}
		}()
		return l.Addr().String()
	}
	handler := func(h http.HandlerFunc) string {
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		return s.Listener.Addr().String()
	}
	for name, c := range map[string]struct {
		options Options
		want    []string
	}{
		"nobody there":       {Options{Addr: "127.0.0.1:1"}, []string{"nothing listens on 127.0.0.1:1", "FEED_URL=http://localhost:"}},
		"no such program":    {Options{Command: []string{"no-such-program"}}, []string{"no-such-program", "not found"}},
		"ends at once":       {Options{Command: []string{"go", "nonsense"}}, []string{"ended before it listened at ADDR=127.0.0.1:", "unknown command"}},
		"hangs":              {Options{Addr: raw(func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })}, []string{"takes connections and does not answer", "9s"}},
		"hangs up":           {Options{Addr: raw(func(c net.Conn) { _ = c.Close() })}, []string{"ends them without an answer"}},
		"speaks rubbish":     {Options{Addr: raw(func(c net.Conn) { _, _ = io.WriteString(c, "220 mail.example ESMTP\r\n") })}, []string{"not in HTTP", "mail.example"}},
		"answers 10 GB":      {Options{Addr: handler(func(w http.ResponseWriter, _ *http.Request) { endless(w) })}, []string{"longer than 1 MiB"}},
		"endless header":     {Options{Addr: raw(func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n"); endless(c) })}, []string{"longer than 1 MiB"}},
		"always 404":         {Options{Addr: handler(http.NotFound)}, []string{"with 404, and the contract wants 200"}},
		"another's feed":     {Options{Addr: handler(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"video_id":"x"}`) })}, []string{"has not asked the checker's feed", "FEED_URL=http://localhost:"}},
		"dies when asked":    {Options{Command: faultyServer("dies when it is asked")}, []string{"the process had ended by then (exit status 1)", "it was asked"}},
		"starts, in rubbish": {Options{Command: faultyServer("speaks rubbish")}, []string{"not in HTTP", "mail.example"}},
		"no such property":   {Options{Addr: "127.0.0.1:1", Only: []string{"flies"}}, []string{`no property "flies"`, "silent-client"}},
		"its feed's port":    {Options{Addr: handler(http.NotFound), Feed: raw(func(net.Conn) {})}, []string{"cannot listen on", "--feed"}},
		"the spans' port":    {Options{Addr: handler(http.NotFound), Spans: raw(func(net.Conn) {})}, []string{"--spans"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := c.options
			o.Feed, o.Spans = cmp.Or(o.Feed, "127.0.0.1:0"), cmp.Or(o.Spans, "127.0.0.1:0")
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			verdicts, err := Run(ctx, o)
			if err == nil || ctx.Err() != nil {
				t.Fatalf("it was judged: %v, %v", lacks(verdicts), err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not say %q:\n%v", want, err)
				}
			}
		})
	}
}

// endless writes until nobody reads.
func endless(w io.Writer) {
	line := []byte(strings.Repeat("x", 4000) + ": x\r\n")
	for range 10 << 30 / len(line) {
		if _, err := w.Write(line); err != nil {
			return
		}
	}
}

// A check that is stopped ends, and leaves no process behind.
func TestStopped(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	judged := 0
	o := Options{Command: faultyServer("none"), Each: func(Verdict) {
		judged++
		cancel()
	}}
	if _, err := Run(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("it ends with %v", err)
	}
	if judged != 1 {
		t.Errorf("%d verdicts came, want the one before the stop", judged)
	}
}

// The lines to try by hand show what they say, on a step that has the property
// and on one that lacks it.
func TestByHand(t *testing.T) {
	long(t)
	need.Program(t, "apt install curl", "curl")
	need.Program(t, "apt install netcat-openbsd", "nc")
	need.Program(t, "it comes with every Unix", "sh")
	all, paths := lessons(t), map[string]string{}
	for _, l := range all {
		paths[l.Step] = built(t, l)
	}
	t.Parallel()
	for _, p := range properties {
		if p.shows == "" {
			continue
		}
		for _, has := range []string{"yes", "no"} {
			i := slices.IndexFunc(all, func(l *lesson.Lesson) bool { return l.Fingerprint[p.Name] == has })
			if i < 0 {
				continue
			}
			l := all[i]
			t.Run(p.Name+" "+l.Number(), func(t *testing.T) {
				t.Parallel()
				// curl alone may be too slow on a busy machine.
				last, script := "", ""
				for range 3 {
					last, script = byHand(t, paths[l.Step], p.hand)
					if regexp.MustCompile(p.shows).MatchString(last) == (has == "yes") {
						return
					}
				}
				t.Errorf("%s has it: %s. The last line is %q, and it should match %s only where a server has it\n%s", l.Step, has, last, p.shows, script)
			})
		}
	}
}

// byHand has a shell run these lines against a new server, and returns the last
// line that they print, and the script.
func byHand(t *testing.T, bin string, lines []string) (last, script string) {
	t.Helper()
	addr := freeAddr(t)
	server, err := server.StartServer(t.Context(), server.Launch{Command: []string{bin}, Addr: addr, Collector: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Stop() }()
	host, port, _ := net.SplitHostPort(addr)
	var number int
	_, _ = fmt.Sscan(port, &number)
	script = strings.NewReplacer("127.0.0.1:3779", addr, "127.0.0.1 3779", host+" "+port,
		"127.0.0.1:3780", fmt.Sprintf("%s:%d", host, number+1)).Replace(strings.Join(lines, "\n"))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "sh", "-c", script).Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) { // curl tells of a lost connection so
		t.Fatal(err)
	}
	printed := strings.Split(strings.TrimSpace(string(out)), "\n")
	return printed[len(printed)-1], script
}

func TestWrite(t *testing.T) {
	var b bytes.Buffer
	out := &say.Printer{Out: &b, Width: 40, Color: true}
	Write(out, Verdict{Property: "p", Says: "one two three four five six seven eight", Has: "yes", Done: "that", Seen: "this"})
	want := "\x1b[32m✓\x1b[0m p: one two three four five six seven\n  eight\n    that: this\n"
	if b.String() != want {
		t.Errorf("wrote\n%q, want\n%q", b.String(), want)
	}
}

// Another program's words move no cursor, in text and in JSON.
func TestWriteIsPlain(t *testing.T) {
	const evil = "\x1b[2J\u009b7m\a"
	verdicts := []Verdict{{Property: "p", Has: "yes", Seen: evil}, {Property: "q", Has: "no", Seen: evil}, {Property: "r", Has: "n/a", Seen: evil}}
	got := transcript(verdicts)
	var b bytes.Buffer
	if err := WriteJSON(&b, Subject{Name: evil}, verdicts, []string{evil}, errors.New(evil)); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{got, b.String()} {
		if strings.ContainsAny(text, "\x1b\u009b\a") || !strings.Contains(text, "7m") {
			t.Errorf("%q", text)
		}
	}
}

// What a server must be started with can be copied into a shell.
func TestEnvironment(t *testing.T) {
	c := &checker{Options: Options{Feed: FeedAddr, Spans: SpansAddr}}
	if got, want := c.environment(), "FEED_URL=http://localhost:3782/feeds/videos.xml OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:3783"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	c.Spans = "127.0.0.1:1&2"
	if got, want := c.environment(), " OTEL_EXPORTER_OTLP_ENDPOINT='http://127.0.0.1:1&2'"; !strings.HasSuffix(got, want) {
		t.Errorf("%s, want %s", got, want)
	}
}

// Each row of the table is measured, in the table's order, and can be told of.
func TestEveryPropertyIsMeasured(t *testing.T) {
	var rows []property.Property
	for _, m := range properties {
		rows = append(rows, m.Property)
		if m.done == "" || m.expected == "" || m.likely == "" || len(m.hand) == 0 || m.take == nil {
			t.Errorf("%s is measured in part: %+v", m.Name, m)
		}
	}
	if !slices.Equal(rows, property.All) {
		t.Errorf("measured are\n%v, and the table has\n%v", rows, property.All)
	}
}
