package look

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"plaque/scripts/internal/say"
	"plaque/steps/kit/debug"
	"plaque/steps/kit/stacks"
	"plaque/steps/kit/terminal"
	"plaque/steps/kit/watch"
)

// View is one picture of the live view.
type View struct {
	Last   *debug.State // the newest look
	Before *debug.State // the one before it; nil at first
	// HasCache is false for a step that has no cache: then there is nothing to
	// say of flights.
	HasCache bool
	Keys     string // what the reader can do, such as "Ctrl-C ends"; "" says nothing
	// Silent is when the step answered last, when it does not answer any more;
	// else zero. Why is what went wrong, and At is now.
	Silent, At time.Time
	Why        error
}

// Frame draws v in so many columns and lines, no line longer and not one more.
// lines 0 means as many as there are.
func (v *View) Frame(columns, lines int) string {
	s := v.Last
	head := fmt.Sprintf("%s · up %s · %s · %s", s.Step, span(s.At.Sub(s.Began)), say.Plural(s.Goroutines.Total, "goroutine"), say.Plural(s.RunningSpans, "running span"))
	if v.Keys != "" {
		head += " · " + v.Keys
	}
	out := []string{head, ""}
	if !v.Silent.IsZero() {
		out[1] = fmt.Sprintf("NO ANSWER since %s, for %s. This is what it said last.", v.Silent.Format("15:04:05"), span(v.At.Sub(v.Silent)))
		out = append(out, terminal.Plain(v.Why.Error()), "")
	}
	loads, counts, groups := v.loads(), v.counters(), v.groups()
	// What has a fixed size is there always; the two lists share the rest.
	room := len(loads) + len(groups)
	if lines > 0 {
		room = max(2, lines-len(out)-len(counts)-4)
	}
	if v.HasCache {
		loads = short(loads, max(room/2, room-len(groups)))
		out = slices.Concat(out, []string{title(s.Flights)}, loads, []string{""}, counts, []string{""})
		room -= len(loads)
	} else {
		out = append(out, "no cache in this step: flights and hits begin with 05", "")
		room += len(counts) + 1
	}
	out = append(out, "count change  state                 where")
	out = append(out, short(groups, room)...)
	if lines > 0 {
		out = out[:min(len(out), lines)]
	}
	for i, line := range out {
		out[i] = strings.TrimRight(cut(line, columns), " ")
	}
	return strings.Join(out, "\n") + "\n"
}

func title(flights []watch.Flight) string {
	if len(flights) == 0 {
		return "no flights in the air"
	}
	what := "loads" // that nobody can join
	if slices.ContainsFunc(flights, func(f watch.Flight) bool { return f.Shared }) {
		what = "flights"
	}
	return fmt.Sprintf("%-24s  %10s  %7s  %s", fmt.Sprintf("%s in the air: %d", what, len(flights)), "age", "waiters", "trace of the leader")
}

// loads are the lines of the loads in the air, and of callers who wait for a lock.
func (v *View) loads() (out []string) {
	for _, f := range v.Last.Flights {
		key, waiters := cmp.Or(f.Key, "(no key)"), fmt.Sprint(f.Waiters)
		if !f.Shared { // nobody can join it
			waiters = "-"
		}
		out = append(out, fmt.Sprintf("%-24s  %10s  %7s  %s", cut(key, 24), span(ms(f.AgeMS)), waiters, f.TraceID))
		if f.Ended {
			out = append(out, fmt.Sprintf("  ended %s ago: %s; nobody wakes those who wait", span(ms(f.EndedMS)), cmp.Or(f.Error, "no error")))
		}
	}
	for _, q := range v.Last.Queues {
		out = append(out, fmt.Sprintf("%-24s  %10s  %7d  wait for the cache's lock", cut(q.Key, 24), span(ms(q.AgeMS)), q.Callers))
	}
	return out
}

// counters are the lines of what the cache has answered. Columns that only step
// 10 fills are left out while they are empty.
func (v *View) counters() []string {
	seconds := 0.0
	var before watch.Counters
	if b := v.Before; b != nil && b.PID == v.Last.PID && v.Last.At.After(b.At) {
		before, seconds = b.Counters, v.Last.At.Sub(b.At).Seconds()
	}
	c := v.Last.Counters
	names, rates, counts := "            ", "per second  ", "since start "
	for _, column := range []struct {
		name       string
		now, was   int64
		ifThereAre bool
	}{
		{"hits", c.Hits, before.Hits, false},
		{"stale", c.Stale, before.Stale, true},
		{"misses", c.Misses, before.Misses, false},
		{"joined", c.Joined, before.Joined, false},
		{"failed", c.Failed, before.Failed, true},
		{"busy", c.Busy, before.Busy, true},
		{"loads", c.Loads, before.Loads, false},
		{"no result", c.Unknown, before.Unknown, false},
	} {
		if column.ifThereAre && column.now == 0 {
			continue
		}
		width, rate := max(8, len(column.name)+2), ""
		if seconds > 0 {
			rate = fmt.Sprintf("%.1f", max(0, float64(column.now-column.was)/seconds))
		}
		names += fmt.Sprintf("%*s", width, column.name)
		rates += fmt.Sprintf("%*s", width, rate)
		counts += fmt.Sprintf("%*d", width, column.now)
	}
	return []string{names, rates, counts}
}

// groups are the lines of what goroutines wait for. A group that has gone since
// the last look is there once more, with 0.
func (v *View) groups() []string {
	type key struct {
		state, fn, file, call string
		line                  int
	}
	of := func(g stacks.Group) key { return key{g.State, g.Func, g.File, g.Call, g.Line} }
	all := slices.Clone(v.Last.Goroutines.Groups)
	before := map[key]int{}
	if v.Before != nil {
		for _, g := range v.Before.Goroutines.Groups {
			before[of(g)] = g.Count
			if !slices.ContainsFunc(all, func(is stacks.Group) bool { return of(is) == of(g) }) {
				g.Count = 0
				all = append(all, g)
			}
		}
	}
	var out []string
	for _, g := range all {
		change := ""
		if n := g.Count - before[of(g)]; v.Before != nil && n != 0 {
			change = fmt.Sprintf("%+d", n)
		}
		out = append(out, fmt.Sprintf("%5d %6s  %-20s  %s %s:%d", g.Count, change, cut(g.State, 20),
			debug.ShortFunc(g.Func), path.Base(g.File), g.Line))
	}
	return out
}

// short is at most n of the lines, the last of which says how many are missing.
func short(lines []string, n int) []string {
	if len(lines) <= n {
		return lines
	}
	return append(lines[:n-1:n-1], fmt.Sprintf("  and %s", say.Plural(len(lines)-n+1, "more line")))
}

// cut takes off what does not fit; 0 columns are as many as there are.
func cut(s string, columns int) string {
	if columns <= 0 {
		return s
	}
	return terminal.Clip(s, columns)
}
