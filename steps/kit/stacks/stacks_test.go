package stacks_test

import (
	"bytes"
	"context"
	"os"
	"reflect"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"plaque/steps/kit/stacks"
)

func TestParse(t *testing.T) {
	b, err := os.ReadFile("testdata/07-doomed.txt")
	if err != nil {
		t.Fatal(err)
	}
	// A checkout on Windows may have other line ends.
	for _, dump := range []string{string(b), strings.ReplaceAll(string(b), "\n", "\r\n"), "panic: doom\n\n" + string(b) + "exit status 2\n"} {
		all := stacks.Parse(dump)
		if len(all) != 6 {
			t.Fatalf("%d goroutines, want 6: %+v", len(all), all)
		}
		for i, want := range []struct {
			id, minutes, frames        int
			state, creator, at, call   string
			trace                      string
			aside, waits, leaked, inIt bool
		}{
			{31, 0, 2, "running", "net/http.(*Server).Serve", "net/http.(*conn).serve", "runtime/pprof.writeGoroutineStacks", "", true, false, false, false},
			{1, 4, 3, "select", "", "plaque/steps/kit/web.ServeOn", "", "", false, true, false, false},
			{5, 4, 2, "syscall", "os/signal.Notify.func1.1", "os/signal.loop", "os/signal.signal_recv", "", true, true, false, false},
			{41, 3, 3, "chan receive", "net/http.(*Server).Serve", "plaque/steps/07-inflight/cache.(*Cache[...]).Get", "", "b40ecf557922ecad34990d22b2c628cb", false, true, false, true},
			{42, 0, 2, "chan receive", "net/http.(*Server).Serve", "plaque/steps/07-inflight/cache.(*Cache[...]).Get", "", "0f511dc2c5136a2a14f9224e932527ca", false, true, true, true},
			{50, 0, 5, "IO wait", "net/http.(*Transport).dialConn", "net/http.(*persistConn).readLoop", "net.(*netFD).Read", "", false, true, false, false},
		} {
			g := all[i]
			inIt := g.In(func(f string) bool { return strings.HasSuffix(f, ".Get") })
			if g.ID != want.id || g.Minutes != want.minutes || len(g.Frames) != want.frames || g.State != want.state || g.Creator != want.creator ||
				g.At().Func != want.at || g.Call() != want.call || g.Trace() != want.trace || g.Aside() != want.aside || g.Waits() != want.waits || g.Leaked != want.leaked || inIt != want.inIt {
				t.Errorf("goroutine %d: %+v, at %q, in %q, trace %q, aside %v; want %+v", i, g, g.At().Func, g.Call(), g.Trace(), g.Aside(), want)
			}
		}
		if got := all[4].Labels["other"]; got != `a"}, b` {
			t.Errorf("the label is %q", got)
		}
		if got, want := all[3].Frames[1], (stacks.Frame{Func: "main.run.func1", File: "plaque/steps/07-inflight/main.go", Line: 36}); got != want {
			t.Errorf("the second frame is %+v, want %+v", got, want)
		}
	}
}

func TestGroups(t *testing.T) {
	b, err := os.ReadFile("testdata/07-doomed.txt")
	if err != nil {
		t.Fatal(err)
	}
	got := stacks.Groups(stacks.Parse(string(b))[1:])
	want := []stacks.Group{
		{Count: 2, State: "chan receive", Func: "plaque/steps/07-inflight/cache.(*Cache[...]).Get", File: "cache/cache.go", Line: 74, Own: true, Minutes: 3, Leaked: 1,
			Traces: []string{"0f511dc2c5136a2a14f9224e932527ca", "b40ecf557922ecad34990d22b2c628cb"}},
		{Count: 1, State: "select", Func: "plaque/steps/kit/web.ServeOn", File: "kit/web/web.go", Line: 77, Own: true, Minutes: 4},
		{Count: 1, State: "IO wait", Func: "net/http.(*persistConn).readLoop", File: "http/transport.go", Line: 2227, Call: "net.(*netFD).Read"},
		{Count: 1, State: "syscall", Func: "os/signal.loop", File: "signal/signal_unix.go", Line: 23, Call: "os/signal.signal_recv", Minutes: 4},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
	if got := stacks.Groups(nil); len(got) != 0 {
		t.Errorf("of nothing: %+v", got)
	}
}

// A group with many traces names some and counts the others.
func TestManyTraces(t *testing.T) {
	var all []stacks.Goroutine
	for i := range 50 {
		id := strings.Repeat(string(rune('a'+i%25)), 32)
		all = append(all, stacks.Goroutine{State: "select", Labels: map[string]string{stacks.TraceLabel: id}, Frames: []stacks.Frame{{Func: "main.x"}}})
	}
	got := stacks.Groups(all)
	if len(got) != 1 || got[0].Count != 50 || len(got[0].Traces) != stacks.MaxTraces || got[0].More != 5 {
		t.Errorf("got %+v; want 50 in one group, with 20 of 25 traces", got)
	}
}

func TestShort(t *testing.T) {
	for file, want := range map[string]string{
		"plaque/steps/07-inflight/cache/cache.go":                     "cache/cache.go",
		"plaque/steps/01-blocking-tcp/server.go":                      "server.go",
		"plaque/steps/kit/web/web.go":                                 "kit/web/web.go",
		"plaque/steps/kit@v0.0.0/web/web.go":                          "kit/web/web.go",
		"/home/somebody/plaque/steps/07-inflight/cache/cache.go":      "cache/cache.go",
		`C:\Users\somebody\plaque\steps\kit\web\web.go`:               "kit/web/web.go",
		"/usr/local/go/src/net/http/server.go":                        "http/server.go",
		"net/http/server.go":                                          "http/server.go",
		"/home/somebody/go/pkg/mod/golang.org/x/sync@v0.24.0/sf/s.go": "sf/s.go",
		"_testmain.go": "_testmain.go",
		"":             "",
	} {
		if got := stacks.Short(file); got != want {
			t.Errorf("%q is %q, want %q", file, got, want)
		}
	}
}

// What this Go prints is what Parse reads: states, labels, who started it.
func TestThisGo(t *testing.T) {
	t.Setenv("GODEBUG", "tracebacklabels=1")
	block := make(chan int)
	defer close(block)
	pprof.Do(t.Context(), pprof.Labels(stacks.TraceLabel, "4bf9"), func(context.Context) {
		go inner(block)
	})
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		var dump bytes.Buffer
		_ = pprof.Lookup("goroutine").WriteTo(&dump, 2)
		found := 0
		all := stacks.Parse(dump.String())
		for _, g := range all {
			if g.State == "chan receive" && g.Trace() == "4bf9" && g.At().Func == "plaque/steps/kit/stacks_test.inner[...]" &&
				strings.HasPrefix(g.Creator, "plaque/steps/kit/stacks_test.TestThisGo") && stacks.Short(g.At().File) == "kit/stacks/stacks_test.go" {
				found++
			}
		}
		if found == 1 && len(all) == strings.Count(dump.String(), "\ngoroutine ")+1 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("found %d times among %d goroutines:\n%s", found, len(all), &dump)
		}
	}
}

func inner[T any](c chan T) { <-c }
