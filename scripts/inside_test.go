package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace/noop"

	"plaque/scripts/internal/otlp"
	"plaque/scripts/internal/server"
	"plaque/steps/kit/debug"
	"plaque/steps/kit/need"
	"plaque/steps/kit/origin"
	"plaque/steps/kit/ports"
	"plaque/steps/kit/web/webtest"
)

// startStep builds a step and starts it with a feed that the test has. Nobody is
// there to take its spans, which takes nothing from the pages.
func startStep(t *testing.T, name string) (*server.Server, *origin.Feed) {
	t.Helper()
	return startStepFor(t, name, "http://127.0.0.1:1")
}

// startStepFor is startStep with a collector of spans.
func startStepFor(t *testing.T, name, collector string) (*server.Server, *origin.Feed) {
	t.Helper()
	bin := buildStep(t, name)
	feed := origin.New(noop.NewTracerProvider())
	base, err := feed.Serve(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, err := server.StartServer(t.Context(), server.Launch{Command: []string{bin}, Collector: collector, Feed: base + origin.Path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop() })
	return server, feed
}

// request asks as the caller of a trace. It is an error where it is lost, given up,
// or not answered with 200.
func request(ctx context.Context, url, traceID string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("traceparent", "00-"+traceID+"-b7ad6b7169203331-01")
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return err
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("it answered %s", res.Status)
	}
	return nil
}

// until asks for the state until it is as it must be.
func until(t *testing.T, server *server.Server, what string, ok func(*debug.State) bool) *debug.State {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		s, err := server.Inside().State(t.Context())
		if err == nil && ok(s) {
			return s
		}
		if time.Now().After(end) {
			t.Fatalf("not %s within 30 s: %+v, %v\n%s", what, s, err, server.Log())
		}
	}
}

// doom lets five callers ask 07 at once, and the load of the first panic. It
// returns the trace of that one and of the others, which wait forever.
func doom(t *testing.T, server *server.Server, feed *origin.Feed) (leader string, waiters []string) {
	t.Helper()
	if err := feed.Set(origin.Script{Next: []string{origin.Doom}}); err != nil {
		t.Fatal(err)
	}
	ctx, leave := context.WithCancel(t.Context())
	var all sync.WaitGroup
	t.Cleanup(all.Wait)
	t.Cleanup(leave)
	lost := make(chan string, 5)
	for i := range 5 {
		id := fmt.Sprintf("%032x", i+1)
		waiters = append(waiters, id)
		all.Go(func() {
			if err := request(ctx, server.URL, id); ctx.Err() == nil && err != nil {
				lost <- id
			}
		})
	}
	select {
	case leader = <-lost:
	case <-time.After(30 * time.Second):
		t.Fatalf("nobody lost the connection\n%s", server.Log())
	}
	return leader, slices.DeleteFunc(waiters, func(id string) bool { return id == leader })
}

const defaultKey = "UCs4fQRyl1TJvoeOdekW6lYA"

// Nothing of this is in Jaeger, because no span of those who wait ends: the state,
// the pages and top show it. TestWhatIsUnseenIn07 has the running spans and stacks.
func TestHungFlightIsSeen(t *testing.T) {
	t.Parallel()
	server, feed := startStep(t, "07")
	leader, waiters := doom(t, server, feed)
	s := until(t, server, "a dead flight with four waiters", func(s *debug.State) bool {
		return len(s.Flights) == 1 && s.Flights[0].Ended && s.Flights[0].Waiters == 4 && s.Flights[0].Linked == 4 && s.Flights[0].EndedMS > 0
	})
	f := s.Flights[0]
	// A doomed answer comes 500 ms late.
	if f.Key != defaultKey || f.TraceID != leader || f.Linked != 4 || f.AgeMS < 500 || f.AgeMS > 60_000 || f.Error != "the load did not return" {
		t.Errorf("the flight is %+v; want %s led by %s", f, defaultKey, leader)
	}
	if fmt.Sprint(f.WaiterTraces) != fmt.Sprint(waiters) {
		t.Errorf("the waiters' traces are %q, want %q", f.WaiterTraces, waiters)
	}
	if c := s.Counters; c.Misses != 1 || c.Joined != 4 || c.Loads != 1 || c.Hits != 0 || c.Unknown != 0 {
		t.Errorf("counters %+v", c)
	}
	if s.Step != "07-inflight" || s.PID == 0 || s.PID == os.Getpid() {
		t.Errorf("step %q, process %d", s.Step, s.PID)
	}

	page := webtest.Get(t, server.Debug+"/debug/flights")
	says(t, "the page of flights", page, defaultKey, "4 waiters", leader, "the load did not return", "s ago")
	for _, path := range []string{"tracez?zspanname=cache.get&ztype=0", "goroutines"} {
		says(t, path, webtest.Get(t, server.Debug+"/debug/"+path), waiters...)
	}

	out, _, err := ask(t, "top", "--url", server.Debug, "--every", "100ms")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`(?m)^UCs4fQRyl1TJvoeOdekW6lYA +[0-9]+\.\d s +4  ` + leader + `$`, `ended \d+\.\d s ago: the load did not return`,
		`(?m)^per second +0\.0 +0\.0 +0\.0 +0\.0 +0\.0$`, `(?m)^since start +0 +1 +4 +1 +0$`, `(?m)^ +4 +chan receive +cache\.\(\*Cache\)\.Get`} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("top has no line %s:\n%s", want, out)
		}
	}
	if strings.Contains(out, "\x1b") {
		t.Errorf("top steers a pipe: %q", out)
	}
	if _, _, err := ask(t, "stacks", "05", "--url", server.Debug); err == nil || !strings.Contains(err.Error(), "it is 07-inflight that runs there, not 05-naive-cache") {
		t.Errorf("stacks 05: %v", err)
	}
}

// How the other steps show: 05's loads that nobody can join, 06's queue, 08's
// waiters without links, 09's flight and its goroutines.
func TestFlightsOfEachStep(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		step string
		want func(*debug.State) bool
	}{
		{"05", func(s *debug.State) bool {
			return len(s.Flights) == 5 && !s.Flights[0].Shared && s.Counters.Misses == 5 && s.Counters.Loads == 5
		}},
		{"06", func(s *debug.State) bool {
			return len(s.Flights) == 1 && !s.Flights[0].Shared && s.Flights[0].Waiters == 0 && len(s.Queues) == 1 && s.Queues[0].Callers == 4 && s.Queues[0].Key == defaultKey
		}},
		{"08", func(s *debug.State) bool {
			return len(s.Flights) == 1 && s.Flights[0].Shared && s.Flights[0].Waiters == 4 && s.Flights[0].Linked == 0
		}},
		{"09", func(s *debug.State) bool {
			if len(s.Flights) != 1 {
				return false
			}
			// The flight's goroutine has inherited the leader's label.
			leads := 0
			for _, g := range s.Goroutines.Groups {
				for _, id := range g.Traces {
					if strings.Contains(g.Func, "youtube.(*Client)") && id == s.Flights[0].TraceID {
						leads++
					}
				}
			}
			return s.Flights[0].Shared && s.Flights[0].Waiters == 4 && s.Flights[0].Linked == 4 && leads == 1
		}},
	} {
		t.Run(c.step, func(t *testing.T) {
			t.Parallel()
			server, feed := startStep(t, c.step)
			if err := feed.Set(origin.Script{Next: []string{"hang", "hang", "hang", "hang", "hang"}}); err != nil {
				t.Fatal(err)
			}
			ctx, leave := context.WithCancel(t.Context())
			var all sync.WaitGroup
			for i := range 5 {
				all.Go(func() { _ = request(ctx, server.URL, fmt.Sprintf("%032x", i+1)) })
			}
			s := until(t, server, "as "+c.step+" is", c.want)
			if s.Flights[0].Key != defaultKey || s.Flights[0].Ended {
				t.Errorf("%+v", s.Flights[0])
			}
			out, _, err := ask(t, "top", "--url", server.Debug, "--every", "100ms")
			if err != nil || !strings.Contains(out, "goroutines") || !strings.Contains(out, "since start") {
				t.Errorf("top: %v\n%s", err, out)
			}
			leave()
			all.Wait()
		})
	}
}

// A step without a cache says so.
func TestTopWithoutCache(t *testing.T) {
	t.Parallel()
	server, _ := startStep(t, "01")
	out, _, err := ask(t, "top", "--url", server.Debug, "--every", "100ms")
	if err != nil || !strings.Contains(out, "no cache in this step") || strings.Contains(out, "since start") || !strings.Contains(out, "main.serve") {
		t.Errorf("%v\n%s", err, out)
	}
}

// Nothing that a step serves has a folder of the machine that built it, but the two
// records of the runtime, of which its page says so.
func TestPagesHaveNoPaths(t *testing.T) {
	t.Parallel()
	server, feed := startStep(t, "07")
	doom(t, server, feed)
	root := workshop(t)
	goEnv, err := exec.CommandContext(t.Context(), "go", "env", "-json", "GOROOT", "GOMODCACHE", "GOCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	paths := map[string]string{}
	if err := json.Unmarshal(goEnv, &paths); err != nil || len(paths) != 3 {
		t.Fatalf("%v, %v", paths, err)
	}
	paths["the workshop"] = root
	text := 0
	for _, path := range []string{"/", "/debug/flights", "/debug/spans", "/debug/goroutines", "/debug/leaks", "/debug/state", "/debug/tracez?zspanname=cache.get&ztype=0",
		"/debug/pprof/", "/debug/pprof/cmdline", "/debug/pprof/goroutine?debug=1", "/debug/pprof/goroutine?debug=2", "/debug/pprof/heap?debug=1",
		"/debug/pprof/heap", "/debug/pprof/goroutine", "/debug/pprof/profile?seconds=1", "/debug/pprof/allocs?debug=1", "/debug/pprof/threadcreate?debug=1", "/debug/pprof/mutex?debug=1", "/debug/pprof/block?debug=1"} {
		body := webtest.Get(t, server.Debug+path)
		if zipped, err := gzip.NewReader(strings.NewReader(body)); err == nil { // a profile
			b, err := io.ReadAll(zipped)
			if err != nil {
				t.Errorf("%s: %v", path, err)
			}
			body = string(b)
		}
		for name, p := range paths {
			if strings.Contains(body, p) || strings.Contains(body, filepath.ToSlash(p)) {
				t.Errorf("%s has %s, %s", path, name, p)
			}
		}
		if strings.Contains(body, os.TempDir()+string(filepath.Separator)) {
			t.Errorf("%s says where the binary is", path)
		}
		text += strings.Count(body, "cache/cache.go:")
	}
	if text < 3 {
		t.Errorf("file names show %d times: what was looked at is not what has them", text)
	}
}

// The walk of 07's page, "What you cannot see": what each place shows of a request
// that never ends.
func TestWhatIsUnseenIn07(t *testing.T) {
	hasLeaks := !strings.HasPrefix(runtime.Version(), "go1.26") // which has the profile only then
	if need.CI() && !hasLeaks {
		hasLeaks = true
		t.Setenv("GOEXPERIMENT", "goroutineleakprofile") // no other test runs beside it, then
	} else {
		t.Parallel()
	}
	spans, err := otlp.Listen(otlp.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = spans.Close() })
	server, feed := startStepFor(t, "07", spans.URL())
	leader, waiters := doom(t, server, feed)
	until(t, server, "stuck", func(s *debug.State) bool {
		return len(s.Flights) == 1 && s.Flights[0].Ended && s.Flights[0].Waiters == 4
	})

	page := webtest.Get(t, server.Debug+"/debug/spans")
	says(t, "the running spans", page, "8 spans started and did not end yet", waiters[0], waiters[1], waiters[2], waiters[3])
	if n := strings.Count(page, "cache.result=joined → span "); n != 4 || strings.Contains(page, leader) {
		t.Errorf("%d of the running spans say joined, want 4, and none of the leader's:\n%s", n, page)
	}
	out, _, err := ask(t, "stacks", "07", "--url", server.Debug)
	if err != nil || !regexp.MustCompile(`(?m)^ +4  chan receive +cache\.\(\*Cache\)\.Get  cache/cache\.go:\d+$`).MatchString(out) {
		t.Errorf("stacks: %v\n%s", err, out)
	}
	for _, id := range waiters {
		says(t, "stacks", out, "for trace "+id)
	}
	for _, other := range []string{"debug.(*Pages)", "loop", leader} {
		if strings.Contains(out, other) {
			t.Errorf("stacks shows %s:\n%s", other, out)
		}
	}
	// Go finds leaked goroutines by what can still be reached, and 07's cache
	// reaches its dead flight: the page says 0, and why. How it goes on is
	// TestLeakedOnceTheCacheLetsGo in the step.
	t.Run("leaks", func(t *testing.T) {
		if !hasLeaks {
			need.Gate(t, "it builds Go once more, with the leak profile")
		}
		page := webtest.Get(t, server.Debug+"/debug/leaks")
		if !strings.Contains(page, "0 places in the code") || !strings.Contains(page, "07’s cache points at its dead flight") {
			t.Errorf("got\n%s", page)
		}
	})

	// What Jaeger would have, also after the stop, which flushes.
	if err := server.Stop(); err != nil {
		t.Error(err)
	}
	var got []string
	for _, s := range spans.Take() {
		if s.TraceID != leader {
			t.Errorf("trace %s, which is a waiter's, has a span %s", s.TraceID, s.Name)
		}
		if !strings.HasPrefix(s.Name, "http.") { // parts of HTTP GET
			got = append(got, s.Name+" "+s.Status)
		}
	}
	slices.Sort(got)
	if want := "[GET /{$} error HTTP GET unset cache.get unset flight error]"; fmt.Sprint(got) != want {
		t.Errorf("the spans are %v, want %s", got, want)
	}
}

// A step that takes connections and says nothing holds nobody.
func TestSilentDebugPages(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, command := range []string{"stacks", "top"} {
		began := time.Now()
		_, _, err := ask(t, command, "--url", "http://"+l.Addr().String())
		if err == nil || !strings.Contains(err.Error(), "has not answered within 2s") || time.Since(began) > 20*time.Second {
			t.Errorf("%s: %v after %v", command, err, time.Since(began))
		}
	}
}

// What a reader sees without Jaeger: on standard output spans as JSON and nothing
// else, on standard error trees and the log that LOG_LEVEL asks for, and a file
// for Perfetto. All three have each span, as often as it was made.
func TestViewsWithoutJaeger(t *testing.T) {
	t.Parallel()
	addr, err := ports.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "trace.json")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // a step that should have ended
	defer cancel()
	cmd := exec.CommandContext(ctx, buildStep(t, "07"))
	cmd.Env = append(os.Environ(), "ADDR="+addr, "FEED_URL=", "LOG_LEVEL=warn,youtube=debug", "OTEL_TRACES_EXPORTER=console,json,chrome:"+file)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	leash, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	const traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if err = request(ctx, "http://"+addr, traceID); err == nil || time.Now().After(end) {
			break
		}
	}
	if stopped := errors.Join(err, leash.Close(), cmd.Wait()); stopped != nil {
		t.Fatalf("%v\n%s", stopped, &stderr)
	}

	spans := map[string]int{} // by name
	for line := range strings.Lines(stdout.String()) {
		var s struct {
			Name    string
			TraceID string `json:"trace_id"`
		}
		if err := json.Unmarshal([]byte(line), &s); err != nil || s.TraceID != traceID {
			t.Errorf("on standard output: %v: %s", err, line)
		}
		spans[s.Name]++
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var chrome struct {
		TraceEvents []struct{ Ph, Name string }
	}
	if err := json.Unmarshal(b, &chrome); err != nil {
		t.Fatalf("the file for Perfetto: %v\n%.500s", err, b)
	}
	slices := map[string]int{}
	for _, e := range chrome.TraceEvents {
		if e.Ph == "X" || e.Ph == "B" {
			slices[e.Name]++
		}
	}
	for _, name := range []string{"GET /{$}", "cache.get", "flight", "HTTP GET", "GET /feeds/videos.xml"} {
		// A line of a tree has a time or two in front of the name.
		trees := regexp.MustCompile(`(?m)^ +\S+ +\S+ +`+regexp.QuoteMeta(name)+`( |$)`).FindAllString(stderr.String(), -1)
		if spans[name] != 1 || slices[name] != 1 || len(trees) != 1 {
			t.Errorf("%s: %d times as JSON, %d in the file, %d in a tree; want each once", name, spans[name], slices[name], len(trees))
		}
	}
	if !maps.Equal(spans, slices) {
		t.Errorf("as JSON there are %v, in the file %v", spans, slices)
	}
	debugs := 0
	for line := range strings.Lines(stderr.String()) {
		if !strings.HasPrefix(line, "time=") {
			continue
		}
		if !strings.Contains(line, "target=youtube") || !strings.Contains(line, "level=DEBUG") || !strings.Contains(line, "trace_id="+traceID) {
			t.Errorf("LOG_LEVEL asks for no such line: %s", line)
		}
		debugs++
	}
	if debugs != 2 {
		t.Errorf("%d lines of package youtube, want that the load begins and that it ends", debugs)
	}
	if t.Failed() {
		t.Logf("standard error:\n%s", &stderr)
	}
}
