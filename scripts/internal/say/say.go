// Package say is how we speak in a terminal: colours, width, wrapping, plurals.
package say

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// Printer writes for people.
type Printer struct {
	Out   io.Writer
	Color bool // ANSI colours
	Width int  // columns
}

// New colours what goes to a terminal, unless NO_COLOR is set.
func New(w io.Writer) *Printer {
	p := &Printer{Out: w, Width: 100}
	if f, ok := w.(*os.File); ok && os.Getenv("NO_COLOR") == "" {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			p.Color = true
		}
	}
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n >= 80 {
		p.Width = min(n, 120)
	}
	return p
}

func (p *Printer) Line(s string)               { fmt.Fprintln(p.Out, s) }
func (p *Printer) Linef(f string, args ...any) { fmt.Fprintf(p.Out, f+"\n", args...) }
func (p *Printer) Bold(s string) string        { return p.paint("1", s) }
func (p *Printer) Dim(s string) string         { return p.paint("2", s) }
func (p *Printer) Good(s string) string        { return p.paint("32", s) }
func (p *Printer) Bad(s string) string         { return p.paint("31", s) }

func (p *Printer) paint(code, s string) string {
	if !p.Color {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// Wrap writes text in lines of the printer's width, the first behind lead, the
// others under it.
func (p *Printer) Wrap(lead, text string) {
	indent := strings.Repeat(" ", len([]rune(lead)))
	line := lead
	for _, word := range strings.Fields(text) {
		if len([]rune(line))+1+len([]rune(word)) > p.Width && strings.TrimSpace(line) != "" {
			p.Line(strings.TrimRight(line, " "))
			line = indent
		}
		if line != lead && line != indent {
			line += " "
		}
		line += word
	}
	p.Line(line)
}

// Plural is "1 load" or "2 loads".
func Plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
