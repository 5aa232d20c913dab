package look

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"plaque/scripts/internal/say"
	"plaque/steps/kit/debug"
	"plaque/steps/kit/stacks"
)

// meanings are the states that a reader of the workshop meets, in their order.
var meanings = []struct{ state, says string }{
	{"IO wait", "until the network has something; no thread waits with it"},
	{"chan receive", "until somebody sends on a channel, or closes it"},
	{"chan send", "until somebody receives from a channel"},
	{"select", "for whichever of several channels comes first"},
	{"select (no cases)", "forever"},
	{"sync.Mutex.Lock", "until somebody unlocks a mutex"},
	{"sync.RWMutex.RLock", "until nobody holds the lock for writing"},
	{"sync.RWMutex.Lock", "until nobody holds the lock"},
	{"sync.WaitGroup.Wait", "until others are done"},
	{"sleep", "for a time"},
	{"syscall", "for the kernel, and occupies a thread"},
	{"runnable", "for a core; it could run"},
	{"running", "for nothing: it runs"},
}

// Stacks writes what each goroutine of the step waits for.
func Stacks(w io.Writer, s *debug.State) {
	fmt.Fprintf(w, "%s, process %d, %s: %s", s.Step, s.PID, s.Go, say.Plural(s.Goroutines.Total, "goroutine"))
	if n := s.Goroutines.Aside; n > 0 {
		fmt.Fprintf(w, "; %d left out, the runtime's and those of the debug pages", n)
	}
	fmt.Fprintln(w)
	wide := 0
	for _, g := range s.Goroutines.Groups {
		wide = max(wide, len(g.State))
	}
	for i, g := range s.Goroutines.Groups {
		if i == 0 || g.Own != s.Goroutines.Groups[i-1].Own {
			whose := "libraries"
			if g.Own {
				whose = "our own code"
			}
			fmt.Fprintf(w, "\nin %s:\n\n", whose)
		}
		fmt.Fprintf(w, "%5d  %-*s  %s\n", g.Count, wide, g.State,
			fmt.Sprintf("%s  %s:%d", debug.ShortFunc(g.Func), strings.TrimSpace(g.File), g.Line))
		more := func(format string, a ...any) {
			fmt.Fprintf(w, "%*s%s\n", wide+9, "", fmt.Sprintf(format, a...))
		}
		if g.Call != "" {
			more("in %s", debug.ShortFunc(g.Call))
		}
		if g.Minutes > 0 {
			more("for %d min", g.Minutes)
		}
		if g.Leaked > 0 {
			more("%d of them are leaked: nobody can wake them", g.Leaked)
		}
		for i, id := range g.Traces {
			if rest := len(g.Traces) - i + g.More; i == 4 && rest > 1 {
				more("and for %d more traces", rest)
				break
			}
			more("for trace %s", id)
		}
	}
	fmt.Fprintln(w)
	for _, m := range meanings {
		if slices.ContainsFunc(s.Goroutines.Groups, func(g stacks.Group) bool { return g.State == m.state }) {
			fmt.Fprintf(w, "%s: waits %s\n", m.state, m.says)
		}
	}
}
