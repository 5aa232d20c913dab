package report

import (
	"strings"
	"unicode/utf8"
)

// Gap stands between two columns.
const Gap = "  "

// Beside puts two texts next to each other. The left one is padded to that many
// columns, which it must not exceed; the shorter one ends first. Every character
// of what we draw takes one column.
func Beside(left, right string, columns int) string {
	var b strings.Builder
	l, r := lines(left), lines(right)
	for i := range max(len(l), len(r)) {
		line := ""
		if i < len(l) {
			line = l[i]
		}
		if i < len(r) {
			line += strings.Repeat(" ", max(0, columns-utf8.RuneCountInString(line))) + Gap + r[i]
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}

func lines(text string) []string { return strings.Split(strings.TrimSuffix(text, "\n"), "\n") }
