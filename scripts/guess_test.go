package main

import (
	"strings"
	"testing"

	"plaque/steps/kit/debug"
)

// A number that somebody read off Jaeger is judged by what the feed and the step
// have counted. A wrong one does not give the right one away, and nothing is
// changed by asking.
func TestGuess(t *testing.T) {
	t.Parallel()
	server, feed := startStep(t, "07-inflight")
	base, err := feed.Serve(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	doom(t, server, feed)
	until(t, server, "four waiters", func(s *debug.State) bool { return len(s.Flights) == 1 && s.Flights[0].Waiters == 4 })
	inside := server.Inside().Base
	for range 2 {
		for _, c := range []struct {
			args []string
			want string
			held bool
		}{
			{[]string{"feed", "--url", base, "--guess", "1"}, "✓ 1 load reached the feed", true},
			{[]string{"feed", "--url", base, "--guess", "5"}, "✗ not so: 5 loads reached the feed", false},
			{[]string{"stacks", "--url", inside, "--guess", "4"}, "✓ 4 callers waiting", true},
			{[]string{"stacks", "--url", inside, "--guess", "0"}, "✗ not so: 0 callers waiting", false},
		} {
			out, _, err := ask(t, c.args...)
			said := out
			if err != nil {
				said = err.Error()
			}
			if (err == nil) != c.held || !strings.HasPrefix(strings.Join(strings.Fields(said), " "), c.want) {
				t.Errorf("%q: %q, %v; want %q", c.args, out, err, c.want)
			}
		}
	}
}
