package check

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"plaque/scripts/internal/otlp"
	"plaque/scripts/internal/property"
)

// measured is how one property is measured, and what to tell of it.
type measured struct {
	property.Property
	done, expected string
	likely         string   // the usual cause where a server lacks it
	hand           []string // lines for a shell that show the same, with a step's usual ports
	shows          string   // a regular expression for the last line that they print where a server has it

	// times is how often it is measured; 0 means rounds. One bad time loses it.
	times int
	take  func(context.Context, *subject) seen
}

// properties are all of them, in the order of property.All.
var properties = slices.Concat(connections, keys, coalescing, failures, old, shedding, traces, fleets)

// seen is what came of a measurement.
type seen struct {
	has    string // yes, no, or n/a where it cannot be told
	what   string
	likely string // the usual cause of just this; "" means the property's
	// judge, where it is not nil, is the verdict of a measurement that went as it
	// should: by the spans, once they have come.
	judge func([]otlp.Span) seen
	// sure is a fault in which no bound of time has a part: it is one on a busy
	// machine, too.
	sure bool
	// held is for how long the feed held its answers meanwhile. A server may give a
	// load up that is held for leastTimeout.
	held time.Duration
}

func yes(format string, args ...any) seen { return is(true, format, args...) }
func no(format string, args ...any) seen  { return is(false, format, args...) }

// is is a measurement that holds if what came out is what was expected.
func is(held bool, format string, args ...any) seen {
	has := "no"
	if held {
		has = "yes"
	}
	return seen{has: has, what: fmt.Sprintf(format, args...)}
}

// unclear is a measurement from which the property cannot be told.
func unclear(format string, args ...any) seen {
	return seen{has: "n/a", what: fmt.Sprintf(format, args...)}
}

// because gives a measurement that failed another usual cause than the property's.
func (s seen) because(likely string) seen {
	s.likely = likely
	return s
}

// bySpans leaves the verdict to the spans.
func bySpans(judge func([]otlp.Span) seen) seen { return seen{has: "yes", judge: judge} }

// measure measures a property as often as it must be, up to the first bad time.
func (m measured) measure(ctx context.Context, s *subject) seen {
	var result, untold seen
	var judges []func([]otlp.Span) seen
	times := cmp.Or(m.times, rounds)
	if s.checker.Once {
		times = 1
	}
	for s.round = range times {
		result = onTime(func() seen {
			s.held = 0
			taken := m.take(ctx, s)
			taken.held = s.held
			return taken
		}, stretch, func(d time.Duration) { pause(ctx, d) })
		switch {
		case result.has == "no":
			return result
		case result.has == "n/a":
			untold = result
		case result.judge != nil:
			judges = append(judges, result.judge)
		}
	}
	if untold.has != "" {
		return untold
	}
	if judges == nil {
		return result
	}
	return bySpans(func(spans []otlp.Span) (verdict seen) {
		for _, judge := range judges {
			if verdict = judge(spans); verdict.has != "yes" {
				break
			}
		}
		return verdict
	})
}

// onTime measures again if this machine stood still meanwhile, as a closed laptop
// does, or a virtual machine that waits for its host: a bound that passes then
// proves nothing about the server. It also measures again where something is
// missing and the machine was too busy: the checker waited for its turn, or held a
// load for so long that it may have timed out, or work takes far longer than it
// should. It tries 4 times, later and later.
func onTime(measure func() seen, stretch func() float64, wait func(time.Duration)) (result seen) {
	reason := ""
	for try := range tries {
		wait(time.Duration(try) * calmFor)
		gap := longestGap(func() { result = measure() })
		switch {
		case result.sure:
			return result
		case gap >= stoodStill || gap >= busy && result.has == "no":
			reason = fmt.Sprintf("the checker itself had to wait %v for its turn", gap.Round(10*time.Millisecond))
		case result.has == "no":
			if now := crowded(stretch()); now != "" {
				reason = now
			} else if result.held < heldMost {
				return result
			}
		default:
			return result
		}
	}
	// A server that is slow to take connections has a load held for long on a quiet
	// machine, too.
	if result.has == "no" && reason != "" {
		return unclear("%s: %s; seen: %s", tooBusy, reason, result.what)
	}
	return result
}

const tooBusy = "this machine is too busy to tell"

// crowded reports why nobody is to blame for what is missing on this machine, by
// how much longer work takes than it should; "" where it is quick enough.
func crowded(stretch float64) string {
	if stretch < maxStretch {
		return ""
	}
	return fmt.Sprintf("work takes %.0f times as long as it should", stretch)
}

// stretch is how much longer a little work takes now than it should. A sleeper is
// woken soon on a busy machine, too. So longestGap alone does not show that a
// server gets too little of a core.
func stretch() float64 {
	const pieces = 100 // each so short that most of them run without a break
	best, began, sum := time.Duration(math.MaxInt64), time.Now(), uint64(1)
	for range pieces {
		at := time.Now()
		for range 200_000 {
			sum = sum*6364136223846793005 + 1
		}
		best = min(best, time.Since(at))
	}
	worked.Store(sum) // so that the work is not optimised away
	return float64(time.Since(began)) / float64(pieces*max(best, 1))
}

var worked atomic.Uint64

// longestGap runs a measurement and returns the longest time for which this
// process did not run meanwhile.
func longestGap(measure func()) time.Duration {
	last := time.Now() // here, because the goroutine may begin late
	done, longest := make(chan struct{}), make(chan time.Duration)
	go func() {
		ticker := time.NewTicker(beat)
		defer ticker.Stop()
		gap := time.Duration(0)
		for {
			select {
			case <-ticker.C:
				gap, last = max(gap, time.Since(last)), time.Now()
			case <-done:
				longest <- max(gap, time.Since(last))
				return
			}
		}
	}()
	measure()
	close(done)
	return <-longest
}

const (
	beat       = 20 * time.Millisecond
	stoodStill = 500 * time.Millisecond // no bound holds
	busy       = 250 * time.Millisecond // a server that needs its turn some times misses a bound
	maxStretch = 20                     // with both cores of two taken it is 2; beside other tests some 10
	heldMost   = leastTimeout - 200*time.Millisecond
	tries      = 4
	calmFor    = 500 * time.Millisecond // times the tries so far: what keeps a machine busy may be short
)

const (
	many  = 30 // callers that miss at once
	crowd = 60
	few   = 5

	// leaveFor is how long a caller that will hang up waits, and how long the load
	// is held afterwards: together less than the 2 s that the contract gives a load.
	leaveFor = 700 * time.Millisecond
	// leaveSoon and heldLong are the same where what follows from its leaving may
	// come late.
	leaveSoon, heldLong = 300 * time.Millisecond, 1200 * time.Millisecond

	waveFor = 300 * time.Millisecond // after the first callers of a load come the others

	doomFor = 4 * time.Second // for a doomed burst to end: the feed serves doom 500 ms late
	// comeAgainFor is the longest Retry-After that a caller of ours waits for.
	comeAgainFor = 5 * time.Second
	asksEach     = 12  // so that a round robin of up to so many comes round
	maxLoads     = 100 // at once: the contract's
	manyKeys     = 150
	boundFor     = 2*timeout + time.Second // for callers of a load that hangs; what comes in the last second is too late, and told
)
