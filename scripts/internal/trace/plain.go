package trace

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// plain makes text from elsewhere safe to print: one line, no control
// characters, so that nobody's attribute moves the cursor.
func plain(s string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case unicode.IsSpace(c):
			return ' '
		case c == utf8.RuneError || !unicode.IsPrint(c):
			return '·'
		}
		return c
	}, s)
}

// width is the number of columns that printable text takes.
func width(s string) int {
	n := 0
	for _, c := range s {
		n += columnsOf(c)
	}
	return n
}

// columnsOf is 0 for marks that sit on the letter before them and 2 for the
// wide characters of East Asia and for pictures.
func columnsOf(c rune) int {
	switch {
	case c < 0x300:
		return 1
	case unicode.In(c, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	case c >= 0x1100 && c <= 0x115f, c >= 0x2e80 && c <= 0xa4cf, c >= 0xac00 && c <= 0xd7a3,
		c >= 0xf900 && c <= 0xfaff, c >= 0xfe30 && c <= 0xfe6f, c >= 0xff00 && c <= 0xff60,
		c >= 0xffe0 && c <= 0xffe6, c >= 0x1f300 && c <= 0x1faff, c >= 0x20000 && c <= 0x3fffd:
		return 2
	}
	return 1
}

// clip shortens text to so many columns.
func clip(s string, space int) string {
	if width(s) <= space {
		return s
	}
	if space < 1 {
		return ""
	}
	used := 0
	for i, c := range s {
		if used += columnsOf(c); used > space-1 {
			return strings.TrimRight(s[:i], " ") + "…"
		}
	}
	return s
}

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
