// Package waterfall draws spans as trees with bars on one time axis: as text, and
// laid out for other drawings.
package waterfall

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"plaque/scripts/internal/otlp"
	"slices"
	"strings"
	"time"
)

// Options say how a waterfall is drawn. The zero value is fine.
type Options struct {
	Width int      // columns that no line exceeds, at least MinWidth; 0 means 100
	Max   int      // spans drawn at most; 0 means 60
	Color bool     // ANSI colours; everything can be read without them too
	Only  []string // names of the spans to draw; empty means all
	// Notes, if set, has something of the caller's to say about a span, at the
	// right of its line; "" for nothing.
	Notes func(otlp.Span) string
}

// narrow is the width below which a picture leaves out what it can do without:
// the services, what links lead out of it, and half of what there is to say about
// connections.
const narrow = 72

// MinWidth is the narrowest waterfall that can be drawn.
const MinWidth = 40

// Waterfall draws the spans as trees, one line for each, with bars on one time
// axis that all traces share. What is not drawn is counted below.
func Waterfall(w io.Writer, spans []otlp.Span, o Options) error {
	o.Width = cmp.Or(o.Width, 100)
	o.Max = cmp.Or(o.Max, 60)
	if o.Width < MinWidth || o.Max < 1 {
		return fmt.Errorf("cannot draw a waterfall %d columns wide with %d spans: it takes %d columns and 1 span", o.Width, o.Max, MinWidth)
	}
	p := newCanvas(spans, o)
	var b strings.Builder
	p.draw(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

// Styles are the arguments of ANSI's "select graphic rendition".
const (
	dim    = "2"
	bold   = "1"
	red    = "31"
	strong = "1;31"
)

// Colours of the services in the order in which they appear; a red service would
// look like an error.
var palette = []string{"36", "33", "32", "35", "34"}

// columns are the widths of a line's parts; 0 for one that is left out.
type columns struct{ name, service, bar, took, note int }

const gap = "  " // between two columns

// layout shares out the width: text takes what it needs within bounds, the bars
// get the rest.
func (p *canvas) layout() columns {
	var c columns
	note, all := 0, 0 // what the notes need without and with the messages
	for _, r := range p.rows {
		c.name = max(c.name, min(2*r.depth, p.Width)+width(r.title()))
		c.took = max(c.took, width(p.duration(r.Duration())))
		note = max(note, widthOf(r.note))
		all = max(all, widthOf(r.withMessage()))
		if len(p.services) > 1 && p.Width >= narrow {
			c.service = max(c.service, width(plain(r.Service)))
		}
	}
	c.name = min(max(c.name, width("span")), p.Width/3)
	if c.service > 0 {
		c.service = min(max(c.service, width("service")), 12)
	}
	c.bar, c.note = p.share(c, note, all)
	if c.service > 0 && c.note < min(note, 20) {
		c.service = 0 // the notes say more than the service's name
		c.bar, c.note = p.share(c, note, all)
	}
	p.placeMessages(c.note)
	p.ticks = p.axis(c.bar)
	return c
}

// share splits what the other columns leave between bars and notes. The notes get
// what they need without the messages, if a scant axis remains, and with them, if
// an ample one does.
func (p *canvas) share(c columns, note, all int) (bars, notes int) {
	room := p.Width - c.name - len(gap) - 1 - c.took
	if c.service > 0 {
		room -= c.service + len(gap)
	}
	if all == 0 {
		return room, 0
	}
	room -= len(gap)
	scant, ample := p.Width*23/100, p.Width*2/5
	notes = max(min(note, room-scant), min(all, room-ample), 4)
	return room - notes, notes
}

// placeMessages puts each row's message at the end of its note, where there is
// room, and else beneath the row. A long message is written out once; after that
// its start is enough.
func (p *canvas) placeMessages(space int) {
	said := map[string]bool{}
	for _, r := range p.rows {
		if r.message == "" {
			continue
		}
		with := r.withMessage()
		fits := widthOf(with) <= space
		startFits := widthOf(r.note)+len(" · ")+8 <= space
		if fits || said[r.message] && startFits {
			r.note = with
			continue
		}
		r.beneath = !said[r.message]
		said[r.message] = true
	}
}

// draw writes the picture.
func (p *canvas) draw(b *strings.Builder) {
	if len(p.rows) == 0 {
		if len(p.hidden) == 0 {
			b.WriteString("no spans\n")
			return
		}
		p.text(b, "nothing to draw")
	} else {
		c := p.layout()
		p.header(b, c)
		for _, r := range p.rows {
			p.line(b, c, r)
		}
	}
	if slices.ContainsFunc(p.rows, (*row).waits) {
		p.text(b, strings.Repeat(string(left), 3)+" waits for a flight or a lock")
	}
	for _, line := range p.rest() {
		p.text(b, line)
	}
}

func (p *canvas) header(b *strings.Builder, c columns) {
	head := pad("span", c.name) + gap
	if c.service > 0 {
		head += pad("service", c.service) + gap
	}
	column := 0
	for _, t := range p.ticks {
		head += strings.Repeat(" ", t.column-column) + t.label
		column = t.column + width(t.label)
	}
	p.emit(b, []part{{head, dim}})
}

func (p *canvas) line(b *strings.Builder, c columns, r *row) {
	line := append(p.name(r, c.name), part{gap, ""})
	left := c.name + len(gap)
	if c.service > 0 {
		line = append(line, part{pad(clip(plain(r.Service), c.service), c.service) + gap, p.color(r)})
		left += c.service + len(gap)
	}
	line = append(line, p.bar(r, c.bar)...)
	took := p.duration(r.Duration())
	line = append(line, part{" " + strings.Repeat(" ", c.took-width(took)) + took + gap, ""})
	line = append(line, clipParts(r.note, c.note)...)
	p.emit(b, line)
	if r.beneath {
		p.emit(b, []part{
			{strings.Repeat(" ", left) + "╰ ", dim},
			{clip(r.message, p.Width-left-2), red},
		})
	}
}

// name is the row's first column: as far in as the row is deep. Where there is no
// room to go further in, an ellipsis says so.
func (p *canvas) name(r *row, space int) []part {
	indent := 2 * r.depth
	deeper := ""
	if most := space / 2; indent > most {
		indent, deeper = most, "…"
	}
	space -= indent
	label := ""
	if r.label != "" {
		label = " " + r.label
	}
	name := clip(deeper+plain(r.Name), space-width(label))
	line := []part{{strings.Repeat(" ", indent), ""}, {name, ""}}
	if label != "" {
		line = append(line, part{label, bold})
	}
	return append(line, part{strings.Repeat(" ", space-width(name)-width(label)), ""})
}

func (p *canvas) color(r *row) string {
	if r.brackets() {
		return dim
	}
	return palette[slices.Index(p.painted, r.Service)%len(palette)]
}

// along is where an instant of the axis lies, from 0 to 1.
func (p *canvas) along(at time.Duration) float64 {
	if p.span <= 0 {
		return 0
	}
	return max(0, min(1, float64(at)/float64(p.span)))
}

// half is the same in halves of a column.
func (p *canvas) half(at time.Duration, space int) int {
	return int(math.Round(p.along(at) * float64(2*space)))
}

// Bars are half a line high, so that the lines stay apart, and exact to half a
// column. A bar with gaps is a span that waits.
const (
	both  = '▄'
	left  = '▖'
	right = '▗'
	guide = '┊'
)

// bar draws the row's span on the axis. However short, it leaves a mark.
func (p *canvas) bar(r *row, space int) []part {
	cells := []rune(strings.Repeat(" ", space))
	for _, t := range p.ticks[1:] {
		if t.guide {
			cells[t.column] = guide
		}
	}
	start, end := r.Times()
	from, to := 0, 1
	if !start.IsZero() {
		from = min(p.half(start.Sub(p.begin), space), 2*space-1)
		to = max(p.half(end.Sub(p.begin), space), from+1)
	}
	first, last := from/2, (to-1)/2
	style := p.color(r)
	brackets, waits := r.brackets(), r.waits()
	for i := first; i <= last; i++ {
		switch {
		case brackets:
			cells[i] = '─'
		case from > 2*i:
			cells[i] = right
		case to < 2*i+2 || waits:
			cells[i] = left
		default:
			cells[i] = both
		}
	}
	if brackets {
		cells[first], cells[last] = '├', '┤'
		if first == last {
			cells[first] = '│'
		}
	}
	if r.Failed() {
		style = red
	}
	return []part{
		{string(cells[:first]), dim},
		{string(cells[first : last+1]), style},
		{string(cells[last+1:]), dim},
	}
}

// text writes a line below the picture.
func (p *canvas) text(b *strings.Builder, line string) {
	p.emit(b, []part{{clip(line, p.Width), dim}})
}

// emit writes one line, without blanks at its end.
func (p *canvas) emit(b *strings.Builder, line []part) {
	for len(line) > 0 {
		last := &line[len(line)-1]
		if last.text = strings.TrimRight(last.text, " "); last.text != "" {
			break
		}
		line = line[:len(line)-1]
	}
	for _, part := range line {
		if p.Color && part.style != "" && strings.TrimSpace(part.text) != "" {
			fmt.Fprintf(b, "\x1b[%sm%s\x1b[0m", part.style, part.text)
		} else {
			b.WriteString(part.text)
		}
	}
	b.WriteByte('\n')
}
