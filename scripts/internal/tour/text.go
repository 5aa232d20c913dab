package tour

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"plaque/scripts/internal/lab"
	"plaque/scripts/internal/lesson"
	"plaque/scripts/internal/otlp"
	"plaque/scripts/internal/say"
	"plaque/scripts/internal/waterfall"
	"plaque/steps/kit/names"
	"plaque/steps/kit/terminal"
)

func head(p *say.Printer, s *lesson.Lesson) {
	title := s.Number() + "  " + s.Title
	p.Line(p.Bold(title) + "  " + p.Dim(strings.Repeat("─", max(0, p.Width-terminal.Width(title)-2))))
	p.Wrap("    ", s.Claim)
}

func experiment(p *say.Printer, e lesson.Experiment) {
	p.Line("")
	p.Wrap("  "+e.Name+": ", e.Says)
}

// Act writes what was done, what came out and whether it was claimed.
func Act(p *say.Printer, s *lesson.Lesson, e lesson.Experiment, a *lab.Outcome) {
	p.Line("")
	p.Line("    " + p.Bold(a.Act.Does()))
	for _, line := range a.Act.ByHand(s, e) {
		p.Line("    " + p.Dim("$ "+line))
	}
	if len(a.Act.Picture) > 0 {
		var b bytes.Buffer
		o := waterfall.Options{Width: p.Width - 4, Color: p.Color, Only: a.Act.Picture, Notes: Notes}
		if err := waterfall.Waterfall(&b, a.Spans, o); err != nil {
			p.Line("    " + err.Error())
		}
		p.Line("")
		indented(p, b.String())
		if h := lab.Histogram(a.Hey); h != "" {
			p.Line("")
			p.Line("    hey's histogram, in seconds; timings are not judged")
			indented(p, h)
		}
		p.Line("")
	}
	if a.Screen != "" {
		p.Line("")
		indented(p, a.Screen)
		p.Line("")
	}
	for _, n := range a.Notes {
		p.Wrap("    note: ", n)
	}
	for _, c := range a.Checks {
		if c.Held {
			p.Wrap("    "+p.Good("✓")+" ", c.What+": "+c.Got)
		} else {
			p.Wrap("    "+p.Bad("✗")+" ", fmt.Sprintf("%s: claimed %s, seen %s", c.What, c.Want, c.Got))
		}
	}
}

func indented(p *say.Printer, text string) {
	for line := range strings.Lines(text) {
		p.Line("    " + strings.TrimSuffix(line, "\n"))
	}
}

// verdict closes a step's story.
func (v *Visit) verdict(p *say.Printer) {
	p.Line("")
	all, held := v.Claims()
	if held == all {
		p.Linef("  %s %s: all %d claims came true (%s)", p.Good("✓"), v.Lesson.Step, all, v.Took.Round(100*time.Millisecond))
	} else {
		p.Linef("  %s %s: %d of %d claims did not come true", p.Bad("✗"), v.Lesson.Step, all-held, all)
	}
	p.Line("")
}

// Notes says what a burst was.
func Notes(s otlp.Span) string {
	if s.Name != names.Burst {
		return ""
	}
	return fmt.Sprintf("%s requests, %s at a time", s.Attrs["requests"], s.Attrs["concurrency"])
}

// summary is the table of all steps, and where to look next.
func (t *Tour) summary(p *say.Printer) {
	p.Line(p.Bold("what each step fixes, and what it leaves"))
	p.Line("")
	for _, r := range t.Visits {
		all, held := r.Claims()
		mark := p.Good("✓")
		if held < all {
			mark = p.Bad("✗")
		}
		answers, loads := "-", "-"
		if b := r.Burst(); b != nil {
			answers = lab.Answers(b.Answers)
			if r.Lesson.ReadsFeed() {
				loads = strconv.Itoa(b.Loads)
			}
		}
		p.Wrap(fmt.Sprintf("%s %-18s %2d/%-2d claims  ", mark, r.Lesson.Step, held, all), fmt.Sprintf("burst: %-10s loads: %s", answers, loads))
		p.Wrap("    fixes:  ", r.Lesson.Fixes)
		p.Wrap("    leaves: ", r.Lesson.Breaks)
	}
	p.Line("")
	p.Linef("%s in %s.", say.Plural(len(t.Visits), "step"), t.Took.Round(time.Second))
	if n := t.Failed(); n > 0 {
		p.Linef("%s did not come true.", say.Plural(n, "claim"))
	}
	p.Line("")
	t.compare(p)
}

// compare says where to look next.
func (t *Tour) compare(p *say.Printer) {
	if t.Jaeger == nil {
		p.Wrap("", "Look next: start Jaeger with `go run ./scripts jaeger` in a second terminal, and take the tour again: every picture above becomes a trace that you can click through.")
		return
	}
	var pairs []string
	for i := 1; i < len(t.Visits); i++ {
		a, b := t.Visits[i-1], t.Visits[i]
		if a.Burst() != nil && b.Burst() != nil {
			pairs = append(pairs, fmt.Sprintf("  %s and %s: %s", a.Lesson.Number(), b.Lesson.Number(), t.Jaeger.CompareURL(a.Burst().TraceID, b.Burst().TraceID)))
		}
	}
	if pairs == nil {
		p.Line("Look next: " + t.Jaeger.UI)
		return
	}
	p.Line("Look next, in Jaeger: two neighbours' bursts, span by span")
	for _, pair := range pairs {
		p.Line(pair)
	}
}
