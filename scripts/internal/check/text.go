package check

import (
	"io"
	"strings"

	"plaque/scripts/internal/say"
)

// Write writes a verdict for people.
func Write(out *say.Printer, v Verdict) {
	switch v.Has {
	case "n/a":
		out.Wrap("· ", v.Property+": not judged, because "+v.Seen)
	case "yes":
		marked(out, "✓", out.Good, v)
		out.Wrap("    ", v.Done+": "+v.Seen)
	default:
		marked(out, "✗", out.Bad, v)
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

// marked writes a property behind its mark. The text is wrapped first, because a
// colour takes bytes and no columns.
func marked(out *say.Printer, mark string, paint func(string) string, v Verdict) {
	var text strings.Builder
	plain := say.Printer{Out: &text, Width: out.Width}
	plain.Wrap(mark+" ", v.Property+": "+v.Says)
	_, _ = io.WriteString(out.Out, strings.Replace(text.String(), mark, paint(mark), 1))
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
