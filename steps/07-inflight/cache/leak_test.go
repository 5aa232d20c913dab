package cache

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"plaque/steps/kit/stacks"
)

// The leak profile asks the garbage collector whether anybody could still wake a
// goroutine. As long as the cache points at its dead flight, somebody could; once
// the cache is let go, nobody can, and all that wait are leaked.
//
// Where Go has no such profile, the test runs itself with it, on CI alone.
func TestLeakedOnceTheCacheLetsGo(t *testing.T) {
	if pprof.Lookup("goroutineleak") == nil {
		if os.Getenv("CI") == "" {
			t.Skip("it builds parts of Go, which takes a minute: run it with CI=true, or with GOEXPERIMENT=goroutineleakprofile")
		}
		cmd := exec.CommandContext(t.Context(), "go", "test", "-vet=off", "-count=1", "-v", "-run=^TestLeakedOnceTheCacheLetsGo$", ".")
		cmd.Env = append(os.Environ(), "GOEXPERIMENT=goroutineleakprofile")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "the cache is gone: 4 leaked") {
			t.Errorf("with the experiment: %v\n%s", err, out)
		}
		t.Logf("it ran itself with GOEXPERIMENT=goroutineleakprofile:\n%s", out)
		return
	}
	inLoad, doom := make(chan struct{}), make(chan struct{})
	c := New(ttl, func(context.Context, string) (string, error) {
		close(inLoad)
		<-doom
		panic("doom")
	})
	over := make(chan struct{})
	go func() {
		defer close(over)
		defer func() { _ = recover() }() // as net/http does
		_, _ = c.Get(context.Background(), "a")
	}()
	<-inLoad
	for range 4 {
		go func() { _, _ = c.Get(context.Background(), "a") }()
	}
	waiters(t, "goroutine", 4)
	close(doom)
	<-over

	leaked := waiters(t, "goroutineleak", 0)
	t.Logf("the cache points at the dead flight: %d leaked", leaked)
	runtime.KeepAlive(c)
	// From here on nothing reaches c but those that wait in it.
	leaked = waiters(t, "goroutineleak", 4)
	t.Logf("the cache is gone: %d leaked", leaked)
}

// waiters looks at a profile until it has so many goroutines that wait in Get: in
// the leak profile those that it calls leaked.
func waiters(t *testing.T, profile string, want int) int {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		var dump strings.Builder
		if err := pprof.Lookup(profile).WriteTo(&dump, 2); err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, g := range stacks.Parse(dump.String()) {
			if g.State == "chan receive" && (g.Leaked || profile != "goroutineleak") && strings.HasSuffix(g.At().Func, "/cache.(*Cache[...]).Get") {
				n++
			}
		}
		if n == want {
			return n
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %d wait in Get, want %d:\n%s", profile, n, want, dump.String())
		}
	}
}
