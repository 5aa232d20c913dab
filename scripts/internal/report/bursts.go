package report

import (
	"bytes"
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
func Bursts(before, s *lesson.Lesson, left, right *lab.Outcome, width int) (string, error) {
	if width >= SideBySide {
		column := (SideBySide - len(Gap)) / 2
		l, err := drawBurst(before, left, waterfall.Options{Width: column})
		if err != nil {
			return "", err
		}
		r, err := drawBurst(s, right, waterfall.Options{Width: column})
		if err != nil {
			return "", err
		}
		if !strings.Contains(l+r, "…") {
			return Beside(l, r, column), nil
		}
	}
	o := waterfall.Options{Width: min(width, 100), Notes: tour.Notes}
	l, err := drawBurst(before, left, o)
	if err != nil {
		return "", err
	}
	r, err := drawBurst(s, right, o)
	return l + "\n" + r, err
}

// drawBurst is an act's picture below its step's name and what came out.
func drawBurst(s *lesson.Lesson, a *lab.Outcome, o waterfall.Options) (string, error) {
	var b bytes.Buffer
	fmt.Fprintln(&b, s.Step)
	fmt.Fprint(&b, lab.Answers(a.Answers))
	if s.ReadsFeed() {
		fmt.Fprintf(&b, ", %s", say.Plural(a.Loads, "load"))
	}
	b.WriteString("\n\n")
	o.Only = a.Act.Picture
	var picture bytes.Buffer
	if err := waterfall.Waterfall(&picture, drawn(a), o); err != nil {
		return "", err
	}
	for line := range strings.Lines(picture.String()) {
		// How many helper spans there are says nothing beside a neighbour.
		if !strings.HasPrefix(line, "not drawn:") {
			b.WriteString(line)
		}
	}
	return b.String(), nil
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
