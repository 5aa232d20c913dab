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
	head := fmt.Sprintf("%s · up %s · %s · %s", clean(s.Step), span(s.At.Sub(s.Began)), say.Plural(s.Goroutines.Total, "goroutine"), say.Plural(s.RunningSpans, "running span"))
	if v.Keys != "" {
		head += " · " + v.Keys
	}
	out := []string{head, ""}
	if !v.Silent.IsZero() {
		out[1] = fmt.Sprintf("NO ANSWER since %s, for %s. This is what it said last.", v.Silent.Format("15:04:05"), span(v.At.Sub(v.Silent)))
		out = append(out, clean(v.Why.Error()), "")
	}
	air, queues := v.flights()
	groups := v.groups()
	counts := v.counters()
	// What has a fixed size is there always; the two lists share the rest.
	room := len(air) + len(queues) + len(groups)
	if lines > 0 {
		room = max(2, lines-len(out)-len(counts)-4)
	}
	if !v.HasCache {
		out = append(out, "no cache in this step: flights and hits begin with 05", "")
		room += len(counts) + 1
	} else {
		air = append(air, queues...)
		out = append(out, title(s.Flights))
		out = append(out, short(air, max(room/2, room-len(groups)))...)
		out = append(out, "")
		out = append(out, counts...)
		out = append(out, "")
		room -= min(len(air), max(room/2, room-len(groups)))
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
	what := "loads" // that nobody can join
	if len(flights) == 0 || slices.ContainsFunc(flights, func(f watch.Flight) bool { return f.Shared }) {
		what = "flights"
	}
	if len(flights) == 0 {
		return "no " + what + " in the air"
	}
	return fmt.Sprintf("%-24s  %10s  %7s  %s", fmt.Sprintf("%s in the air: %d", what, len(flights)), "age", "waiters", "trace of the leader")
}

// flights are the lines of the loads in the air, and of callers who wait for a
// lock.
func (v *View) flights() (air, queues []string) {
	for _, f := range v.Last.Flights {
		key, waiters := cmp.Or(clean(f.Key), "(no key)"), fmt.Sprint(f.Waiters)
		if !f.Shared { // nobody can join it
			waiters = "-"
		}
		air = append(air, fmt.Sprintf("%-24s  %10s  %7s  %s", cut(key, 24), span(ms(f.AgeMS)), waiters, clean(f.TraceID)))
		if f.Ended {
			air = append(air, fmt.Sprintf("  ended %s ago: %s; nobody wakes those who wait", span(ms(f.EndedMS)), cmp.Or(clean(f.Error), "no error")))
		}
	}
	for _, q := range v.Last.Queues {
		queues = append(queues, fmt.Sprintf("%-24s  %10s  %7d  wait for the cache's lock", cut(clean(q.Key), 24), span(ms(q.AgeMS)), q.Callers))
	}
	return air, queues
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
		width      int
		now, was   int64
		ifThereAre bool
	}{
		{"hits", 8, c.Hits, before.Hits, false},
		{"stale", 8, c.Stale, before.Stale, true},
		{"misses", 8, c.Misses, before.Misses, false},
		{"joined", 8, c.Joined, before.Joined, false},
		{"failed", 8, c.Failed, before.Failed, true},
		{"busy", 8, c.Busy, before.Busy, true},
		{"loads", 8, c.Loads, before.Loads, false},
		{"no result", 11, c.Unknown, before.Unknown, false},
	} {
		if column.ifThereAre && column.now == 0 {
			continue
		}
		rate := ""
		if seconds > 0 {
			rate = fmt.Sprintf("%.1f", max(0, float64(column.now-column.was)/seconds))
		}
		names += fmt.Sprintf("%*s", column.width, column.name)
		rates += fmt.Sprintf("%*s", column.width, rate)
		counts += fmt.Sprintf("%*d", column.width, column.now)
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
	before := map[key]int{}
	var all []stacks.Group
	all = append(all, v.Last.Goroutines.Groups...)
	if v.Before != nil {
		now := map[key]bool{}
		for _, g := range all {
			now[of(g)] = true
		}
		for _, g := range v.Before.Goroutines.Groups {
			before[of(g)] = g.Count
			if !now[of(g)] {
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
		out = append(out, fmt.Sprintf("%5d %6s  %-20s  %s %s:%d", g.Count, change, cut(clean(g.State), 20),
			clean(debug.ShortFunc(g.Func)), clean(path.Base(g.File)), g.Line))
	}
	return out
}

// short is at most n of the lines, the last of which says how many are missing.
func short(lines []string, n int) []string {
	if len(lines) <= n {
		return lines
	}
	n = max(n, 1)
	return append(lines[:n-1:n-1], fmt.Sprintf("  and %s", say.Plural(len(lines)-n+1, "more line")))
}

// cut takes off what does not fit; 0 columns are as many as there are.
func cut(s string, columns int) string {
	if columns <= 0 {
		return s
	}
	return terminal.Clip(s, columns)
}
