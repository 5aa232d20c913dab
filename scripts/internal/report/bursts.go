package report

import (
	"context"
	"fmt"
	"plaque/scripts/internal/build"
	"plaque/scripts/internal/lab"
	"plaque/scripts/internal/lesson"
	"plaque/scripts/internal/otlp"
	"plaque/scripts/internal/say"
	"plaque/scripts/internal/tour"
	"plaque/scripts/internal/waterfall"
	"slices"
	"strings"
)

// SideBySide is the narrowest text with two pictures next to each other.
const SideBySide = 120

// Shown runs the act whose picture stands for step s beside that of its
// neighbour, and what comes before it in its experiment.
func Shown(ctx context.Context, l *lab.Lab, bins *build.Bins, s, neighbour *lesson.Lesson, slow bool) (*lab.Outcome, error) {
	x, i := lesson.Shown(s, neighbour)
	last := i + 1
	for last < len(x.Acts) && isWait(x.Acts[last]) { // in which loads end that nobody waits for
		last++
	}
	x.Acts = x.Acts[:last]
	if slow && s.ReadsFeed() {
		x = inSlowMotion(x)
	}
	r, err := l.Run(ctx, bins.StepPath(s), s, x)
	if err != nil {
		return nil, err
	}
	return r.Acts[i], nil
}

// FirstLie is an error about a claim that did not come true, if there is one.
func FirstLie(acts ...*lab.Outcome) error {
	for _, a := range acts {
		for _, c := range a.Checks {
			if !c.Held {
				return fmt.Errorf("%s: %s: claimed %s, seen %s", a.Act.Does(), c.What, c.Want, c.Got)
			}
		}
	}
	return nil
}

// Bursts draws the acts of two steps next to each other. It draws one under the
// other where the text must be narrower than SideBySide columns, or where a
// picture had to be cut.
func Bursts(before, s *lesson.Lesson, left, right *lab.Outcome, width int) string {
	both := func(o waterfall.Options) (string, string) {
		return drawBurst(before, left, o), drawBurst(s, right, o)
	}
	if width >= SideBySide {
		column := (SideBySide - len(gap)) / 2
		if l, r := both(waterfall.Options{Width: column}); !strings.Contains(l+r, "…") {
			return beside(l, r, column)
		}
	}
	l, r := both(waterfall.Options{Width: min(width, 100), Notes: tour.Notes})
	return l + "\n" + r
}

const gap = "  " // between two columns

// beside puts two texts next to each other. The left one is padded to that many
// columns, which it must not exceed; the shorter one ends first. Every character
// of what we draw takes one column.
func beside(left, right string, columns int) string {
	var b strings.Builder
	l, r := strings.Split(strings.TrimSuffix(left, "\n"), "\n"), strings.Split(strings.TrimSuffix(right, "\n"), "\n")
	for i := range max(len(l), len(r)) {
		var at, its string
		if i < len(l) {
			at = l[i]
		}
		if i < len(r) {
			its = r[i]
		}
		line := fmt.Sprintf("%-*s%s%s", columns, at, gap, its)
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}

// drawBurst is an act's picture below its step's name and what came out.
func drawBurst(s *lesson.Lesson, a *lab.Outcome, o waterfall.Options) string {
	head := s.Step + "\n" + lab.Answers(a.Answers)
	if s.ReadsFeed() {
		head += ", " + say.Plural(a.Loads, "load")
	}
	o.Only = a.Act.Picture
	return head + "\n\n" + draw(drawn(a), o)
}

// draw draws spans, without how many others there are: that is no claim, and says
// nothing beside a neighbour.
func draw(spans []otlp.Span, o waterfall.Options) string {
	var picture, b strings.Builder
	if err := waterfall.Waterfall(&picture, spans, o); err != nil {
		panic(err) // no text of ours is too narrow for one
	}
	for line := range strings.Lines(picture.String()) {
		if !strings.HasPrefix(line, "not drawn:") {
			b.WriteString(strings.TrimRight(line, " \n") + "\n")
		}
	}
	return b.String()
}

// drawn are an act's spans without the links that lead out of its picture.
func drawn(a *lab.Outcome) []otlp.Span {
	names := map[string]string{}
	for _, s := range a.Spans {
		names[s.ID] = s.Name
	}
	spans := slices.Clone(a.Spans)
	for i := range spans {
		spans[i].Links = slices.DeleteFunc(slices.Clone(spans[i].Links), func(l otlp.Link) bool {
			name, here := names[l.ID]
			return here && !slices.Contains(a.Act.Picture, name)
		})
	}
	return spans
}

func isWait(a lesson.Act) bool { _, wait := a.Do.(lesson.Wait); return wait }
