// Package say is how we speak in a terminal: colours, width, wrapping, plurals.
package say

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"plaque/steps/kit/terminal"
)

// Bounds on what is written for people, in columns.
const (
	Narrowest = 44  // a picture, four columns in
	Widest    = 120 // two pictures next to each other, and the longest line that reads well
	Elsewhere = 100 // in a file or a pipe, which have no width
)

// Printer writes for people. Its zero value writes nowhere; see New.
type Printer struct {
	Out   io.Writer
	Color bool // ANSI colours
	Width int  // columns
}

// New writes to w, in colour where w is a terminal that has colours, and within
// its width. Out keeps the first error of w, and writes nothing after it: see Err.
func New(w io.Writer) *Printer {
	return &Printer{Out: &output{w: w}, Color: terminal.Colors(w), Width: Columns(w, Elsewhere)}
}

// Columns is how wide text for w may be: what COLUMNS says, or as wide as the
// terminal is, or elsewhere if w is none; from Narrowest to Widest.
func Columns(w io.Writer, elsewhere int) int {
	n, err := strconv.Atoi(os.Getenv("COLUMNS"))
	if err != nil || n < 1 {
		if n = terminal.Columns(w); n == 0 {
			n = elsewhere
		}
	}
	return min(max(n, Narrowest), Widest)
}

// output is a writer that keeps its first error. Its methods may be called at once.
type output struct {
	w   io.Writer
	mu  sync.Mutex // protects err, and that lines come whole
	err error
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return 0, o.err
	}
	n, err := o.w.Write(p)
	o.err = err
	return n, err
}

// Err is the first error of what was written to a printer that New made.
func (p *Printer) Err() error {
	o, ok := p.Out.(*output)
	if !ok {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
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
// others under it. Escape codes in lead take no columns. Control characters in text
// are those of terminal.Plain. A word that does not fit is broken.
func (p *Printer) Wrap(lead, text string) {
	indent := terminal.Width(escapes.ReplaceAllString(lead, ""))
	if indent > p.Width/2 { // no room beside it
		p.Line(strings.TrimRight(lead, " "))
		indent = 4
		lead = strings.Repeat(" ", indent)
	}
	lines := terminal.Wrap(terminal.Plain(text), p.Width-indent)
	if len(lines) == 0 {
		p.Line(strings.TrimRight(lead, " "))
	}
	for i, line := range lines {
		if i == 1 {
			lead = strings.Repeat(" ", indent)
		}
		p.Line(lead + line)
	}
}

// escapes are the codes that paint writes.
var escapes = regexp.MustCompile(`\x1b\[\d+m`)

// Plural is "1 load" or "2 loads".
func Plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
