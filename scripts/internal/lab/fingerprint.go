package lab

import (
	"context"

	"plaque/scripts/internal/lesson"
	"plaque/steps/kit/origin"
	"plaque/steps/kit/youtube"
)

// probe is something done to a fresh server, and how one sees in the result
// which properties of the fingerprint it has.
type probe struct {
	acts []lesson.Act
	has  map[string]func(acts []*Act) bool // by lesson.Property.Name
	feed bool                              // the probe is about the feed
}

func probes() []probe {
	type has = map[string]func(acts []*Act) bool
	one := &lesson.Get{}
	five := &lesson.Hey{Requests: 5, Concurrency: 5, Timeout: 5}
	// Five callers are inside before the feed answers.
	held := func(answers ...string) *origin.Script { return &origin.Script{Next: answers, Gate: true} }
	return []probe{
		{acts: []lesson.Act{{Silent: 1}, {Get: one}}, has: has{
			"silent-client": func(a []*Act) bool { return a[1].Answers["200"] == 1 }}},
		{acts: []lesson.Act{{Get: &lesson.Get{Times: 2}}}, has: has{
			"keep-alive": func(a []*Act) bool { return a[0].Answers["200"] == 2 }}},
		{feed: true, acts: []lesson.Act{{Get: one}, {Get: one}}, has: has{
			"remembers": func(a []*Act) bool { return a[0].Loads == 1 && a[1].Loads == 0 }}},
		{feed: true, acts: []lesson.Act{{Feed: held(), Callers: 5, Hey: five}}, has: has{
			"one-load": func(a []*Act) bool { return a[0].Loads == 1 }}},
		{feed: true, acts: []lesson.Act{{OtherKey: true}}, has: has{
			"other-key": func(a []*Act) bool { return a[0].otherKey == "at once" }}},
		{feed: true, acts: []lesson.Act{{Feed: held("doom"), Callers: 5, Hey: five}, {Feed: &origin.Script{}, Get: one}}, has: has{
			"heals": func(a []*Act) bool { return a[0].Answers["timeout"] == 0 && a[1].Answers["200"] == 1 },
			// Without coalescing only one of the five has the doomed load.
			"clean-500": func(a []*Act) bool {
				return a[0].Answers["500"] >= 1 && a[0].Answers["200"]+a[0].Answers["500"] == 5
			}}},
		{feed: true, acts: []lesson.Act{{
			Feed: &origin.Script{Next: []string{"hang", "hang", "hang", "hang", "hang"}},
			Hey:  &lesson.Hey{Requests: 5, Concurrency: 5, Timeout: 20}}}, has: has{
			"bounded": func(a []*Act) bool {
				return a[0].Answers["504"] == 5 && a[0].to.Sub(a[0].from) <= 2*youtube.Timeout
			}}},
		{feed: true, acts: []lesson.Act{{FirstLeaves: 4}}, has: has{
			"first-leaves": func(a []*Act) bool { return a[0].Answers["200"] == 4 }}},
	}
}

// Fingerprint measures which of the properties a step has: yes, no or n/a by
// lesson.Property.Name. A step that reads no feed has n/a for the feed's.
func (l *Lab) Fingerprint(ctx context.Context, bin string, step *lesson.Lesson) (map[string]string, error) {
	row := map[string]string{}
	for _, p := range probes() {
		var acts []*Act
		if !p.feed || ReadsFeed(step) {
			r, err := l.Run(ctx, bin, step, lesson.Experiment{Name: "fingerprint", Acts: p.acts})
			if err != nil {
				return nil, err
			}
			acts = r.Acts
		}
		for property, has := range p.has {
			switch {
			case acts == nil:
				row[property] = "n/a"
			case has(acts):
				row[property] = "yes"
			default:
				row[property] = "no"
			}
		}
	}
	return row, nil
}
