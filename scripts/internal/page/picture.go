package page

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"plaque/scripts/internal/say"
	"plaque/scripts/internal/waterfall"
)

// picture is a waterfall with its places in the SVG: up and down in pixels, to
// the right in per cent of the width. So bars grow with the screen, while text
// stays as large as it is on the rest of the page.
type picture struct {
	ID          string
	Title, Desc string
	Height      int
	Ticks       []tickView
	Rows        []rowView
	Links       []link
	Troubles    []trouble // what went wrong, in full
	Rest        []string
}

type tickView struct{ X, Anchor, Label string }

type rowView struct {
	waterfall.Row
	Class        string
	Indent, Text int // of its line of text
	Y, Tall, Mid int // of its bar
	X, Width     string
	End          string // where its bar ends
	Right        string // where its time ends
	Note         string
}

// link is the lane from those who wait to the row that they wait for.
type link struct {
	X, End   string
	From, To int // pixels
	At       int // the row waited for
	Stubs    []stub
}

type stub struct {
	X string
	Y int
}

type trouble struct {
	Who, Message string
	Times        int
}

const (
	axisTall = 22 // pixels above the first row
	indent   = 8  // for each step down
	lanes    = 94 // per cent of the width for the bars, where there are links beside them
	// textColumns are what a line of text can have beside its time on the
	// narrowest phone; what is longer is cut, and said in full below the picture.
	textColumns = 36
)

// layout is where a row's text and bar stand, in pixels below its top.
type layout struct {
	pitch int // from row to row
	text  int // its baseline
	bar   int
}

var (
	below  = layout{pitch: 30, text: 12, bar: 17} // the bar below its text: a phone has no room for both
	beside = layout{pitch: 18, text: 13, bar: 6}  // the bar at the right of its text
)

func draw(id, does string, at layout, p waterfall.Picture, hide func(string) string) picture {
	v := picture{ID: id, Title: "Waterfall: " + does, Height: axisTall + at.pitch*len(p.Rows), Rest: p.Rest}
	share := 100.0
	if slices.ContainsFunc(p.Rows, func(r waterfall.Row) bool { return len(r.Targets) > 0 }) {
		share = lanes
	}
	for i, t := range p.Ticks {
		anchor := "middle"
		switch i {
		case 0:
			anchor = "start"
		case len(p.Ticks) - 1:
			anchor = "end"
		}
		v.Ticks = append(v.Ticks, tickView{percent(t.At * share), anchor, t.Label})
	}
	loads, waits, failed := 0, 0, 0
	for i, r := range p.Rows {
		y := axisTall + at.pitch*i
		row := rowView{Row: r, Indent: indent * min(r.Depth, 8), Text: y + at.text, Y: y + at.bar, Tall: 7, Class: class(r), Right: percent(share)}
		if r.Flight() {
			row.Y, row.Tall = row.Y-1, 10
		}
		row.Mid = row.Y + row.Tall/2
		note := hide(r.Note)
		if r.Failed { // a word too, so that neither colour nor a sign is all there is
			note = strings.TrimSuffix("✗ error · "+strings.TrimLeft(note, "✗ "), " · ")
		}
		name := r.Name
		if r.Label != "" {
			name += " " + r.Label
		}
		room := textColumns - row.Indent/6
		row.Name = cut(r.Name, room-len(name)+len(r.Name))
		row.Note = cut(note, room-len([]rune(name))-2)
		// However short, a span leaves a mark.
		from, to := r.From, max(r.To, r.From+0.006)
		if to > 1 {
			from, to = min(from, 1-0.006), 1
		}
		row.X, row.End = percent(from*share), percent(to*share)
		row.Width = percent((to - from) * share)
		v.Rows = append(v.Rows, row)
		if r.Load {
			loads++
		}
		if r.Waits {
			waits++
		}
		if r.Failed {
			failed++
		}
		if r.Message != "" {
			v.blame(name, hide(r.Message))
		}
	}
	v.Links = links(v.Rows, share)
	v.Desc = say.Plural(len(p.Rows), "span")
	if n := len(p.Ticks); n > 1 {
		v.Desc += " in " + p.Ticks[n-1].Label
	}
	v.Desc += fmt.Sprintf(": %s, %s, %s.", say.Plural(loads, "load"), say.Plural(waits, "waiter"), say.Plural(failed, "error"))
	for _, l := range v.Links {
		r := v.Rows[l.At]
		v.Desc += fmt.Sprintf(" %s: linked from %s.", strings.TrimSpace(r.Name+" "+r.Label), say.Plural(len(l.Stubs), "row"))
	}
	return v
}

// blame notes what went wrong, and how often the same did.
func (p *picture) blame(who, message string) {
	for i := range p.Troubles {
		if t := &p.Troubles[i]; t.Who == who && t.Message == message {
			t.Times++
			return
		}
	}
	p.Troubles = append(p.Troubles, trouble{who, message, 1})
}

// links draws a lane for each row that others link to. Two lanes that would lie
// on each other stand side by side.
func links(rows []rowView, share float64) []link {
	var all []link
	for at, to := range rows {
		l := link{At: at, From: to.Mid, To: to.Mid, End: to.End}
		for _, r := range rows {
			for _, target := range r.Targets {
				if target == at {
					l.Stubs = append(l.Stubs, stub{r.End, r.Mid})
					l.From, l.To = min(l.From, r.Mid), max(l.To, r.Mid)
				}
			}
		}
		if len(l.Stubs) > 0 {
			all = append(all, l)
		}
	}
	slices.SortStableFunc(all, func(a, b link) int { return a.From - b.From })
	var taken []int // down to which pixel each lane is
	lane := make([]int, len(all))
	for i, l := range all {
		lane[i] = slices.IndexFunc(taken, func(to int) bool { return to < l.From })
		if lane[i] < 0 {
			lane[i] = len(taken)
			taken = append(taken, 0)
		}
		taken[lane[i]] = l.To
	}
	apart := (100 - share) / float64(max(len(taken), 3)+1)
	for i := range all {
		all[i].X = percent(share + apart*float64(lane[i]+1))
	}
	return all
}

// class is how a row's bar looks.
func class(r waterfall.Row) string {
	c := "work"
	switch {
	case r.Around:
		c = "around"
	case r.Waits:
		c = "wait"
	case r.Flight():
		c = "flight"
	case r.Load:
		c = "load"
	}
	if r.Failed {
		c += " failed"
	}
	return c
}

func cut(s string, n int) string {
	r := []rune(s)
	if len(r) > n {
		if n < 4 { // too few to say anything
			return ""
		}
		return strings.TrimRight(string(r[:n-1]), " ·") + "…"
	}
	return s
}

// percent is of the picture's width.
func percent(n float64) string { return fmt.Sprintf("%.2f%%", n) }

// histogram is hey's, as bars.
type histogram struct {
	ID     string
	Height int
	Desc   string
	Bars   []bar
}

type bar struct {
	Label string // the longest time that is counted here
	Count int
	Text  int // pixels
	Y     int
	Width string
	End   string
}

const (
	barPitch = 20 // pixels from bar to bar
	barFrom  = 26 // per cent of the width, where bars begin
	barMost  = 62 // per cent of the width, the longest
)

var heyBar = regexp.MustCompile(`^\s*([0-9.]+) \[([0-9]+)\]`)

// newHistogram reads hey's lines; nil if it cannot read one of them. hey writes
// milliseconds, so a quick server has many lines of the same: they are one bar.
func newHistogram(id, text string) *histogram {
	h := &histogram{ID: id}
	most, all := 0, 0
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) == "" {
			continue
		}
		m := heyBar.FindStringSubmatch(line)
		if m == nil {
			return nil
		}
		n, err := strconv.Atoi(m[2])
		if err != nil {
			return nil
		}
		label := m[1] + " s"
		if len(h.Bars) == 0 || h.Bars[len(h.Bars)-1].Label != label {
			h.Bars = append(h.Bars, bar{Label: label})
		}
		last := &h.Bars[len(h.Bars)-1]
		last.Count += n
		most, all = max(most, last.Count), all+n
	}
	for i := range h.Bars {
		b := &h.Bars[i]
		b.Y = barPitch*i + 4
		b.Text = b.Y + 10
		width := barMost * float64(b.Count) / float64(max(most, 1))
		b.Width = percent(width)
		b.End = percent(barFrom + width)
	}
	h.Height = barPitch*len(h.Bars) + 4
	if n := len(h.Bars); n > 0 {
		h.Desc = fmt.Sprintf("%s between %s and %s.", say.Plural(all, "answer"), h.Bars[0].Label, h.Bars[n-1].Label)
	}
	return h
}
