package check

import (
	"fmt"
	"io"
	"strings"
)

// Style is how verdicts are written.
type Style struct {
	Width int // columns; 0 means 100
	// Good and Bad paint a mark; nil leaves it as it is.
	Good, Bad func(string) string
}

// Write writes a verdict for people.
func (s Style) Write(w io.Writer, v Verdict) {
	paint := func(f func(string) string, mark string) string {
		if f == nil {
			return mark
		}
		return f(mark)
	}
	switch v.Has {
	case "n/a":
		s.wrap(w, "· ", v.Property+": not judged, because "+v.Seen)
	case "yes":
		s.wrap(w, paint(s.Good, "✓")+" ", v.Property+": "+v.Says)
		s.wrap(w, "    ", v.Done+": "+v.Seen)
	default:
		s.wrap(w, paint(s.Bad, "✗")+" ", v.Property+": "+v.Says)
		s.wrap(w, "    done:     ", v.Done)
		s.wrap(w, "    expected: ", v.Expected)
		s.wrap(w, "    seen:     ", v.Seen)
		s.wrap(w, "    likely:   ", v.Likely)
		fmt.Fprintln(w, "    by hand:")
		for _, line := range v.ByHand {
			fmt.Fprintln(w, "      "+line)
		}
		if v.Shows != "" {
			fmt.Fprintf(w, "      where a server has it, the last line prints what matches %s\n", v.Shows)
		}
	}
}

// wrap writes text in lines of the width, the first behind lead, the others
// under it.
func (s Style) wrap(w io.Writer, lead, text string) {
	width := s.Width
	if width == 0 {
		width = 100
	}
	indent := strings.Repeat(" ", len([]rune(lead)))
	if strings.HasPrefix(lead, "\x1b") || !strings.HasPrefix(lead, " ") {
		indent = "  "
	}
	line, columns := lead, len([]rune(indent))
	for i, word := range strings.Fields(text) {
		n := len([]rune(word))
		if i > 0 && columns+1+n > width {
			fmt.Fprintln(w, line)
			line, columns = indent, len([]rune(indent))
		} else if i > 0 {
			line, columns = line+" ", columns+1
		}
		line, columns = line+word, columns+n
	}
	fmt.Fprintln(w, line)
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
