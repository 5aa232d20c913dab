package check

import (
	"plaque/scripts/internal/say"
)

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
