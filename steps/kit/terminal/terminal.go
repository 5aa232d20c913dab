// Package terminal is what a program of the workshop knows of the terminal that
// it writes to, and how text is made to fit one.
package terminal

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/clipperhouse/displaywidth"
)

// Columns is how wide the terminal behind w is, in characters; 0 when w is no
// terminal but a file, a pipe or a buffer. A terminal that does not know its
// width has 80.
func Columns(w io.Writer) int {
	n, _ := Size(w)
	return n
}

// Size is Columns, and how many lines the terminal has: 24 where it does not know.
func Size(w io.Writer) (columns, lines int) {
	f, ok := w.(*os.File)
	if !ok {
		return 0, 0
	}
	columns, lines, ok = size(f)
	if !ok {
		return 0, 0
	}
	if columns < 1 {
		columns = 80
	}
	if lines < 1 {
		lines = 24
	}
	return columns, lines
}

// Asks reports whether somebody can type at f: it is a terminal's keyboard.
func Asks(f *os.File) bool { return keyboard(f) }

// Colors reports whether w is a terminal that may be sent colours: NO_COLOR is
// not set, and the terminal understands escape codes.
func Colors(w io.Writer) bool {
	return os.Getenv("NO_COLOR") == "" && Escapes(w)
}

// Escapes reports whether w is a terminal that understands escape codes. A console
// of Windows is asked to, and one that is too old refuses.
func Escapes(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && os.Getenv("TERM") != "dumb" && Columns(f) > 0 && escapes(f)
}

// Plain makes text from elsewhere safe to print: one line, no control
// characters, so that nobody's attribute moves the cursor.
func Plain(s string) string {
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

// PlainLines is Plain for each line of text, with its tabs.
func PlainLines(s string) string {
	return lineOrCell.ReplaceAllStringFunc(s, Plain)
}

var lineOrCell = regexp.MustCompile(`[^\n\t]+`)

// JSON makes a JSON document safe to print: encoding/json leaves some control
// characters as they are, and a terminal takes U+009B for the beginning of a command.
// The document means the same afterwards.
func JSON(doc []byte) []byte {
	return controls.ReplaceAllFunc(doc, func(c []byte) []byte {
		r, _ := utf8.DecodeRune(c)
		return fmt.Appendf(nil, `\u%04x`, r)
	})
}

var controls = regexp.MustCompile(`[\x7f-\x{9f}]`)

// Width is the number of columns that printable text takes: a letter with its
// marks, or a picture of several code points, counts as the one thing that it is.
func Width(s string) int { return displaywidth.String(s) }

// Clip shortens text to so many columns; the last of them is then an ellipsis.
func Clip(s string, space int) string {
	if Width(s) <= space {
		return s
	}
	if space < 1 {
		return ""
	}
	return strings.TrimRight(displaywidth.TruncateString(s, space-1, ""), " ") + "…"
}

// Wrap breaks text between words into lines of so many columns. A longer word is
// broken too.
func Wrap(s string, space int) []string {
	space = max(space, 2) // room for a wide character
	var lines []string
	line, used := "", 0
	next := func() {
		if line != "" {
			lines = append(lines, line)
		}
		line, used = "", 0
	}
	for _, word := range strings.Fields(s) {
		if used > 0 && used+1+Width(word) > space {
			next()
		}
		if used > 0 {
			line, used = line+" ", used+1
		}
		for g := displaywidth.StringGraphemes(word); g.Next(); {
			if used+g.Width() > space {
				next()
			}
			line, used = line+g.Value(), used+g.Width()
		}
	}
	next()
	return lines
}
