package lab

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"plaque/scripts/internal/lesson"
	"plaque/scripts/internal/otlp"
	"plaque/steps/kit/names"
)

const (
	feedSpan   = "GET " + "/feeds/videos.xml" // the feed's own span of a load
	clientSpan = "HTTP GET"                   // the step's span of the same load
	cacheSpan  = names.CacheGet
	flightSpan = names.Flight
	fleetSpan  = "fleet.get"
)

// Claims are the checks that will judge an act of a step. They have seen nothing yet.
func Claims(step *lesson.Lesson, act lesson.Act) []Check {
	a := &Outcome{Act: act}
	a.judge(step)
	return a.Checks
}

// judge compares what came out of an act with what its lesson claims.
func (a *Outcome) judge(step *lesson.Lesson) {
	a.judgeAnswers(a.Act.Expect)
	a.judgeLoads(a.Act.Expect)
	a.judgeSpans(a.Act.Expect)
	a.judgeScene(a.Act.Expect)
	if step.ReadsFeed() && a.TraceID != "" {
		a.judgeAgreement(step)
	}
}

func (a *Outcome) judgeAnswers(e lesson.Expect) {
	if e.Answers != nil {
		a.check("answers", Answers(e.Answers), Answers(a.Answers))
	}
	if e.All != "" {
		n := 0
		for _, count := range a.Answers {
			n += count
		}
		a.held("answers", "all "+e.All, Answers(a.Answers), n > 0 && a.Answers[e.All] == n)
	}
	if e.Slowest > 0 {
		slowest, known := a.slowest.Seconds(), true
		if _, ofFleet := a.Act.Do.(lesson.Fleet); !ofFleet {
			var err error
			slowest, err = Slowest(a.Hey)
			known = err == nil
		}
		a.held("the slowest answer", fmt.Sprintf("at most %d s", e.Slowest), fmt.Sprintf("%.1f s", slowest), known && slowest <= float64(e.Slowest))
	}
	a.count("answers that say when to come again", e.RetryAfter, a.retryAfter)
}

func (a *Outcome) judgeLoads(e lesson.Expect) {
	a.within("loads", e.LoadsWithin, a.Loads)
	a.count("loads", e.Loads, a.Loads)
	a.count("peers that loaded", e.LoadedBy, a.loadedBy)
	a.count("new connections to the feed", e.Connections, a.connections)
}

func (a *Outcome) judgeSpans(e lesson.Expect) {
	for _, name := range slices.Sorted(maps.Keys(e.Spans)) {
		a.count("spans "+name, new(e.Spans[name]), otlp.Count(a.Spans, name))
	}
	for _, name := range slices.Sorted(maps.Keys(e.Errors)) {
		a.count("errors "+name, new(e.Errors[name]), a.errors(name))
	}
	if e.Results != nil {
		got := map[string]int{}
		for _, s := range otlp.Named(a.Spans, cacheSpan) {
			got[s.Attrs[names.CacheResult]]++
		}
		a.check(cacheSpan, Answers(e.Results), Answers(got))
	}
	a.count("links to the flight", e.Links, a.links())
	if e.Way != nil {
		a.check("the way from the feed up to the caller", strings.Join(e.Way, ", "), strings.Join(a.way(), ", "))
	}
	if e.Serial != "" {
		a.held(e.Serial, "one after the other", "some overlap", otlp.Serial(otlp.Named(a.Spans, e.Serial)))
	}
	if e.Together != "" {
		a.held(e.Together, "all at one moment", "not all at one moment", together(otlp.Named(a.Spans, e.Together)))
	}
}

// judgeScene is about what one kind of act alone can see.
func (a *Outcome) judgeScene(e lesson.Expect) {
	if e.OtherKey != "" {
		a.check("B, while A loads, is answered", e.OtherKey, a.otherKey)
	}
	screen := strings.Join(strings.Fields(a.Screen), " ") // how wide a column is depends on the others' words
	for _, words := range e.Screen {
		a.held("the screen says", words, "no such words", strings.Contains(screen, words))
	}
	if e.Quick != "" {
		a.check("the quick caller is answered", e.Quick, a.quick)
	}
	if e.Closed != nil {
		says := map[bool]string{true: "the server", false: "nobody"}
		a.check("the connection is closed by", says[*e.Closed], says[a.closed])
	}
	a.within("goroutines", e.Goroutines, a.goroutines)
	a.within("threads", e.Threads, a.threads)
}

// judgeAgreement compares the two counts of loads, the feed's and the spans'.
func (a *Outcome) judgeAgreement(step *lesson.Lesson) {
	names := []string{clientSpan, feedSpan}
	if step.Flies() {
		names = append(names, flightSpan)
	}
	if fleet, _ := a.Act.Do.(lesson.Fleet); fleet.Kill { // a peer that is killed sends no spans
		names = []string{feedSpan}
	}
	var got []string
	agree := true
	for _, name := range names {
		n := otlp.Count(a.Spans, name)
		agree = agree && n == a.Loads
		got = append(got, fmt.Sprintf("%d %s", n, name))
	}
	want := fmt.Sprintf("%d of each", a.Loads)
	if a.Act.Expect.LoadsWithin != nil { // chance has a part in it, and a page shows what every run shows
		want = "as many of each"
	}
	a.Checks = append(a.Checks, Check{"spans agree with the feed's count", want, strings.Join(got, ", "), agree})
}

func (a *Outcome) check(what, want, got string) {
	a.Checks = append(a.Checks, Check{what, want, got, want == got})
}

// count judges nothing if want is nil.
func (a *Outcome) count(what string, want *int, got int) {
	if want != nil {
		a.check(what, strconv.Itoa(*want), strconv.Itoa(got))
	}
}

// within judges nothing if b is nil.
func (a *Outcome) within(what string, b *lesson.Bounds, got int) {
	if b != nil {
		a.Checks = append(a.Checks, Check{what, b.String(), strconv.Itoa(got), b.Holds(got)})
	}
}

func (a *Outcome) held(what, want, otherwise string, held bool) {
	got := want
	if !held {
		got = otherwise
	}
	a.Checks = append(a.Checks, Check{what, want, got, held})
}

// errors counts the spans with that name that are errors.
func (a *Outcome) errors(name string) int {
	n := 0
	for _, s := range otlp.Named(a.Spans, name) {
		if s.Failed() {
			n++
		}
	}
	return n
}

// links counts the waiters that link to a flight of the same act.
func (a *Outcome) links() int {
	flights := map[string]bool{}
	for _, s := range otlp.Named(a.Spans, flightSpan) {
		flights[s.ID] = true
	}
	n := 0
	for _, s := range append(otlp.Named(a.Spans, cacheSpan), otlp.Named(a.Spans, fleetSpan)...) {
		for _, l := range s.Links {
			if flights[l.ID] {
				n++
			}
		}
	}
	return n
}

// way are the names of the spans above the feed's, if it has exactly one, from
// there up.
func (a *Outcome) way() (names []string) {
	feed := otlp.Named(a.Spans, feedSpan)
	if len(feed) != 1 {
		return nil
	}
	byID := map[string]otlp.Span{}
	for _, s := range a.Spans {
		byID[s.ID] = s
	}
	for at, ok := byID[feed[0].Parent]; ok && len(names) < 20; at, ok = byID[at.Parent] {
		names = append(names, at.Name)
	}
	return names
}

// together reports whether there is a moment at which all spans are open.
func together(spans []otlp.Span) bool {
	if len(spans) == 0 {
		return false
	}
	last := slices.MaxFunc(spans, func(a, b otlp.Span) int { return a.Start.Compare(b.Start) })
	first := slices.MinFunc(spans, func(a, b otlp.Span) int { return a.End.Compare(b.End) })
	return last.Start.Before(first.End)
}

// Answers writes counts like "5×200, 5×lost", statuses first.
func Answers(counts map[string]int) string {
	var parts []string
	for _, what := range slices.Sorted(maps.Keys(counts)) {
		if n := counts[what]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d×%s", n, what))
		}
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}
