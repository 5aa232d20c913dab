package look_test

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"plaque/scripts/internal/look"
	"plaque/steps/kit/debug"
	"plaque/steps/kit/stacks"
	"plaque/steps/kit/watch"
)

var update = flag.Bool("update", false, "write the golden files")

// golden compares with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != strings.ReplaceAll(string(want), "\r\n", "\n") {
		t.Errorf("%s: got\n%s\nwant\n%s\nIf that is meant: go test ./scripts/internal/look -update", name, got, want)
	}
}

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

const (
	key    = "UCs4fQRyl1TJvoeOdekW6lYA"
	trace1 = "b40ecf557922ecad34990d22b2c628cb"
	trace2 = "0f511dc2c5136a2a14f9224e932527ca"
)

// doomed is 07 after doom: five callers, one of whom led.
func doomed() *debug.State {
	get := "plaque/steps/07-inflight/cache.(*Cache[...]).Get"
	return &debug.State{Step: "07-inflight", PID: 4711, Go: "go1.26.8", Began: noon, At: noon.Add(90 * time.Second),
		Flights: []watch.Flight{{Key: key, TraceID: trace1, Shared: true, AgeMS: 75_300, Ended: true, EndedMS: 74_800,
			Error: "the load did not return", Waiters: 4, Linked: 4, WaiterTraces: []string{trace1}}},
		Counters: watch.Counters{Hits: 3, Misses: 1, Joined: 4, Loads: 1},
		Goroutines: debug.Goroutines{Total: 14, Aside: 5, Groups: []stacks.Group{
			{Count: 4, State: "chan receive", Func: get, File: "cache/cache.go", Line: 74, Own: true, Minutes: 1, Traces: []string{trace2, trace1}},
			{Count: 2, State: "IO wait", Func: "plaque/steps/kit/origin.(*Feed).Serve.func2", File: "kit/origin/origin.go", Line: 180, Own: true, Call: "net.(*netFD).accept"},
			{Count: 1, State: "select", Func: "plaque/steps/kit/web.ServeOn", File: "kit/web/web.go", Line: 77, Own: true},
			{Count: 2, State: "IO wait", Func: "net/http.(*conn).serve", File: "http/server.go", Line: 2103, Call: "net.(*netFD).Read"},
		}}, RunningSpans: 8}
}

func TestStacks(t *testing.T) {
	var b bytes.Buffer
	look.Stacks(&b, doomed())
	golden(t, "stacks.txt", b.String())

	s := doomed()
	s.Goroutines.Groups[0].Traces = []string{"1", "2", "3", "4", "5", "6"}
	s.Goroutines.Groups[0].More = 30
	s.Goroutines.Groups[0].Leaked = 2
	b.Reset()
	look.Stacks(&b, s)
	for _, want := range []string{"for trace 4\n", "and for 32 more traces\n", "2 of them are leaked"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, &b)
		}
	}
	if strings.Contains(b.String(), "for trace 5") {
		t.Errorf("too many traces in\n%s", &b)
	}
}

// before is doomed a second earlier, when one more waited and one less hit.
func before() *debug.State {
	s := doomed()
	s.At = s.At.Add(-2 * time.Second)
	s.Counters = watch.Counters{Joined: 4, Loads: 1}
	s.Goroutines.Groups[0].Count = 5
	s.Goroutines.Groups[3] = stacks.Group{Count: 3, State: "runnable", Func: "net/http.(*conn).serve", File: "http/server.go", Line: 2103}
	return s
}

func TestFrame(t *testing.T) {
	busy := doomed()
	busy.Step = "06-mutex-cache"
	busy.Flights = []watch.Flight{{Key: key, TraceID: trace1, AgeMS: 812}}
	busy.Queues = []watch.Queue{{Key: "UCbehind", Callers: 1000, AgeMS: 700}}
	outage := doomed()
	outage.Step = "10-resilient"
	outage.Flights = nil
	outage.Counters = watch.Counters{Hits: 123_456, Stale: 9876, Misses: 12, Joined: 48, Failed: 7, Busy: 50, Loads: 30}
	for name, v := range map[string]look.View{
		"top-outage.txt":   {Last: outage, Before: before(), HasCache: true},
		"top-first.txt":    {Last: doomed(), HasCache: true},
		"top-doomed.txt":   {Last: doomed(), Before: before(), HasCache: true, Keys: "Ctrl-C ends"},
		"top-silent.txt":   {Last: doomed(), Before: before(), HasCache: true, Keys: "Ctrl-C ends", Silent: noon.Add(90 * time.Second), At: noon.Add(100 * time.Second), Why: errors.New("127.0.0.1:3781 has not answered within 2s")},
		"top-queue.txt":    {Last: busy, HasCache: true},
		"top-no-cache.txt": {Last: &debug.State{Step: "02-goroutines", Began: noon, At: noon.Add(time.Hour), Goroutines: doomed().Goroutines}, HasCache: false},
	} {
		golden(t, name, v.Frame(80, 24))
		if v.Frame(0, 0) == "" || !strings.Contains(v.Frame(0, 0), v.Last.Step) {
			t.Errorf("%s: nothing in a pipe", name)
		}
	}
}

// No frame is wider or longer than the terminal, however little there is of it
// and however much there is to say.
func TestFrameFits(t *testing.T) {
	s := doomed()
	for i := range 50 {
		f := s.Flights[0]
		f.AgeMS -= int64(i)
		s.Flights = append(s.Flights, f)
		g := s.Goroutines.Groups[0]
		g.Line += i
		s.Goroutines.Groups = append(s.Goroutines.Groups, g)
		s.Queues = append(s.Queues, watch.Queue{Key: strings.Repeat("ж", i), Callers: i})
	}
	for _, cache := range []bool{true, false} {
		for columns := 1; columns < 130; columns += 7 {
			for lines := 1; lines < 60; lines++ {
				v := look.View{Last: s, Before: before(), HasCache: cache}
				if lines%2 == 0 {
					v.Silent, v.Why = noon, errors.New(strings.Repeat("no answer ", 30))
				}
				frame := v.Frame(columns, lines)
				if n := strings.Count(frame, "\n"); n > lines {
					t.Errorf("%d lines in %d:\n%s", n, lines, frame)
				}
				for line := range strings.Lines(frame) {
					if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > columns {
						t.Errorf("%d columns in %d: %q", n, columns, line)
					}
				}
				if lines >= 24 && columns >= 80 && (cache && (!strings.Contains(frame, key) || !strings.Contains(frame, "since start")) || !strings.Contains(frame, "cache.(*Cache).Get")) {
					t.Errorf("%d×%d hides flights, counters or goroutines:\n%s", columns, lines, frame)
				}
			}
		}
	}
}
