package check

import (
	"context"
	"encoding/json"
	"io"
	"strings"

	"plaque/scripts/internal/lesson"
	"plaque/scripts/internal/say"
	"plaque/steps/kit/terminal"
)

// Subject is the server that is judged, for people.
type Subject struct {
	Name     string
	Lesson   *lesson.Lesson // whose step or exercise it is; nil: somebody's
	Exercise bool
	// Steps are the workshop's, of which one is most like somebody's server. It is
	// not said where they are nil.
	Steps []*lesson.Lesson
}

// Tell judges a server, and tells of each verdict as it comes and of the whole at
// the end.
func Tell(ctx context.Context, out *say.Printer, s Subject, o Options) (verdicts []Verdict, notes []string, err error) {
	o.Each = func(v Verdict) {
		if v.Has != "n/a" {
			Write(out, v)
		}
	}
	o.Note = func(note string) { notes = append(notes, note) }
	out.Line("judging " + s.Name)
	out.Line("")
	if verdicts, err = Run(ctx, o); err != nil {
		return verdicts, notes, err
	}
	out.Line("")
	has, hasNot, _ := Count(verdicts)
	what := "properties"
	if has == 1 {
		what = "property"
	}
	out.Linef("It has %d %s, and lacks %d.", has, what, hasNot)
	var reasons []string
	names := map[string][]string{}
	for _, v := range verdicts {
		if v.Has == "n/a" {
			if names[v.Seen] == nil {
				reasons = append(reasons, v.Seen)
			}
			names[v.Seen] = append(names[v.Seen], v.Property)
		}
	}
	for _, why := range reasons {
		out.Wrap("Not judged, because "+why+": ", strings.Join(names[why], ", "))
	}
	for _, note := range notes {
		out.Wrap("", note)
	}
	switch {
	case s.Exercise && hasNot == 0:
		out.Line("That is the exercise solved.")
	case s.Lesson != nil && !s.Exercise:
		tellLesson(out, s.Lesson, verdicts)
	case s.Lesson == nil && len(verdicts) == len(properties):
		tellLike(out, s.Steps, verdicts)
	}
	return verdicts, notes, nil
}

// tellLesson says whether a step is as its lesson has it.
func tellLesson(out *say.Printer, l *lesson.Lesson, verdicts []Verdict) {
	agrees := true
	for _, v := range verdicts {
		want := l.Fingerprint[v.Property]
		if v.Has == want {
			continue
		}
		agrees = false
		if v.Has == "n/a" { // the machine was too busy, and the reason is above
			out.Linef("· the lesson says %q of %s, which was not judged", want, v.Property)
		} else {
			out.Linef("%s: the lesson says %q of %s", out.Bad("✗"), want, v.Property)
		}
	}
	if agrees {
		out.Line("That is what its lesson claims, row by row.")
	}
}

// WriteJSON writes one document: failed is why the rest of the verdicts is
// missing, or nil.
func WriteJSON(w io.Writer, s Subject, verdicts []Verdict, notes []string, failed error) error {
	doc := struct {
		Judged     string    `json:"judged"`
		Properties []Verdict `json:"properties"`
		Notes      []string  `json:"notes,omitempty"`
		Error      string    `json:"error,omitempty"`
	}{s.Name, append([]Verdict{}, verdicts...), notes, ""}
	if failed != nil {
		doc.Error = failed.Error()
	}
	b, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return err
	}
	_, err = w.Write(append(terminal.JSON(b), '\n'))
	return err
}

// Write writes a verdict for people.
func Write(out *say.Printer, v Verdict) {
	switch v.Has {
	case "n/a":
		out.Wrap("· ", v.Property+": not judged, because "+v.Seen)
	case "yes":
		out.Wrap(out.Good("✓")+" ", v.Property+": "+v.Says)
		out.Wrap("    ", v.Done+": "+v.Seen)
	default:
		out.Wrap(out.Bad("✗")+" ", v.Property+": "+v.Says)
		out.Wrap("    done:     ", v.Done)
		out.Wrap("    expected: ", v.Expected)
		out.Wrap("    seen:     ", v.Seen)
		out.Wrap("    likely:   ", v.Likely)
		out.Line("    by hand:")
		for _, line := range v.ByHand {
			out.Line("      " + line)
		}
		if v.Shows != "" {
			out.Line("      where a server has it, the last line prints what matches " + v.Shows)
		}
	}
}

// Count says how many of the verdicts are yes, no and n/a.
func Count(verdicts []Verdict) (has, hasNot, notJudged int) {
	for _, v := range verdicts {
		switch v.Has {
		case "yes":
			has++
		case "no":
			hasNot++
		default:
			notJudged++
		}
	}
	return has, hasNot, notJudged
}
