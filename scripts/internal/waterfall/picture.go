package waterfall

import (
	"cmp"
	"plaque/scripts/internal/otlp"
	"plaque/steps/kit/names"
	"slices"
)

// Picture is a waterfall laid out for drawings other than text: the same rows in
// the same order, with the same letters and notes. All its text is safe to print
// and not yet escaped for any format.
type Picture struct {
	Rows  []Row
	Ticks []Tick   // from left to right; the first is 0, the last the whole axis
	Rest  []string // what is not drawn, in lines
}

// Row is one span of a Picture.
type Row struct {
	Name    string
	Label   string // the letter by which others refer to it: "a"; "" for none
	Service string
	Depth   int     // below how many other rows it stands
	From    float64 // where its bar begins and ends, as shares of the axis from 0 to 1
	To      float64
	Took    string // the same in words
	Note    string // what there is to say about it
	Message string // what went wrong, on one line of any length; "" where another row says it
	Failed  bool   // the span is an error
	Waits   bool   // for a flight or a lock
	Around  bool   // it is the stopwatch around the picture, such as the burst
	Load    bool   // it asks another server
	Targets []int  // rows that it links to
}

// Flight reports whether this row is a load that others may join. A row that
// others link to need not be one: in 01 and 02 connections link to their accept.
func (r Row) Flight() bool { return r.Name == names.Flight }

// Tick is a label on the axis.
type Tick struct {
	At    float64 // share of the axis, from 0 to 1
	Label string
}

// axisColumns is how wide the axis is for its labels. On a narrow phone there are
// some seven pixels to such a column, about as wide as a digit of a label.
const axisColumns = 42

// Lay lays the spans out. Options.Width bounds the lines of Rest alone, and Color
// says nothing here.
func Lay(spans []otlp.Span, o Options) Picture {
	o.Width = cmp.Or(o.Width, 100)
	o.Max = cmp.Or(o.Max, 60)
	c := newCanvas(spans, o)
	p := Picture{Rest: c.rest()}
	if len(c.rows) == 0 {
		return p
	}
	for _, t := range c.axis(axisColumns) {
		p.Ticks = append(p.Ticks, Tick{c.along(t.at), t.label})
	}
	for _, r := range c.rows {
		row := Row{
			Name: plain(r.Name), Label: r.label, Service: plain(r.Service), Depth: r.depth,
			Took: c.duration(r.Duration()), Message: r.message,
			Failed: r.Failed(), Waits: r.waits(), Around: r.brackets(), Load: r.Kind == "client",
		}
		if start, end := r.Times(); !start.IsZero() {
			row.From, row.To = c.along(start.Sub(c.begin)), c.along(end.Sub(c.begin))
		}
		for _, n := range r.note {
			row.Note += n.text
		}
		for _, to := range r.targets {
			row.Targets = append(row.Targets, slices.Index(c.rows, to))
		}
		p.Rows = append(p.Rows, row)
	}
	return p
}
