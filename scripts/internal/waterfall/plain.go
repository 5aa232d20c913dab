package waterfall

import (
	"strings"

	"plaque/steps/kit/terminal"
)

// What the console's trees do to text, too.
var (
	plain = terminal.Plain
	width = terminal.Width
	clip  = terminal.Clip
)

func widthOf(line []part) int {
	n := 0
	for _, part := range line {
		n += width(part.text)
	}
	return n
}

// clipParts shortens a line of parts to so many columns.
func clipParts(line []part, space int) []part {
	if widthOf(line) <= space {
		return line
	}
	var kept []part
	for _, p := range line {
		w := width(p.text)
		if w >= space { // what follows would need a column too
			return append(kept, part{clip(p.text+"…", space), p.style})
		}
		kept = append(kept, p)
		space -= w
	}
	return kept
}

func pad(s string, space int) string {
	return s + strings.Repeat(" ", max(space-width(s), 0))
}
