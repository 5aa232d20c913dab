package trace

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"plaque/steps/kit/terminal"
)

// Options say how a waterfall is drawn. The zero value is fine.
type Options struct {
	Width int      // columns that no line exceeds, at least MinWidth; 0 means 100
	Max   int      // spans drawn at most; 0 means 60
	Color bool     // ANSI colours; everything can be read without them too
	Only  []string // names of the spans to draw; empty means all
	// Notes, if set, has something of the caller's to say about a span, at the
	// right of its line; "" for nothing.
	Notes func(Span) string
}

// narrow is the width below which a picture leaves out what it can do without:
// the services, what links lead out of it, and half of what there is to say about
// connections.
const narrow = 72

// MinWidth is the narrowest waterfall that can be drawn.
const MinWidth = 40

// Waterfall draws the spans as trees, one line for each, with bars on one time
// axis that all traces share. What is not drawn is counted below.
func Waterfall(w io.Writer, spans []Span, o Options) error {
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

// row is a span that is drawn, below its nearest ancestor that is drawn.
type row struct {
	*Node
	depth    int
	children []*row
	hidden   []*Node // children of the span itself that are not drawn
	within   bool    // not cut off by Max

	label   string // names the row where others link to it: "flight a"
	linked  []*row // rows with a link to this one
	targets []*row // rows that this one links to
	beyond  string // where a link leads that has no row
	note    []part // shown at the right
	message string // what went wrong, if no other row tells it
	beneath bool   // the message does not fit into the note
}

// part is a piece of text in one style.
type part struct {
	text  string
	style string
}

type canvas struct {
	Options
	all    []*row // those named in Only, in drawing order
	rows   []*row // those within Max
	hidden map[string]int
	total  int

	begin time.Time
	span  time.Duration // of the axis
	ticks []tick

	services []string          // in the order in which they appear
	painted  []string          // the same without those of brackets
	keys     map[string]string // cache keys to what is shown of them; empty if there is only one
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

func newCanvas(spans []Span, o Options) *canvas {
	p := &canvas{Options: o, hidden: map[string]int{}, total: len(spans)}
	var roots []*row
	p.gather(Forest(spans), &roots)
	slices.SortStableFunc(roots, (*row).compare)
	p.order(roots, 0)
	p.rows = p.all[:min(len(p.all), o.Max)]
	for _, r := range p.rows {
		r.within = true
	}
	p.scale()
	p.link(spans)
	p.legend()
	for _, r := range p.rows {
		r.note = p.notes(r)
		r.message = r.words()
	}
	// Those who waited for a flight say nothing that the flight says already. One
	// of them keeps the message even if the links go round in a circle.
	for _, r := range p.rows {
		if slices.ContainsFunc(r.targets, func(to *row) bool { return to.tells(r) }) {
			r.message = ""
		}
	}
	return p
}

// gather turns nodes into rows. Drawn descendants of a node that is not drawn
// take its place.
func (p *canvas) gather(nodes []*Node, into *[]*row) {
	for _, n := range nodes {
		if !p.wants(n) {
			p.hidden[n.Name]++
			p.gather(n.Children, into)
			continue
		}
		r := &row{Node: n}
		for _, c := range n.Children {
			if !p.wants(c) {
				r.hidden = append(r.hidden, c)
			}
		}
		p.gather(n.Children, &r.children)
		slices.SortStableFunc(r.children, (*row).compare)
		*into = append(*into, r)
	}
}

func (p *canvas) wants(n *Node) bool {
	return len(p.Only) == 0 || slices.Contains(p.Only, n.Name)
}

func (r *row) compare(other *row) int { return compare(r.Span, other.Span) }

func (p *canvas) order(rows []*row, depth int) {
	for _, r := range rows {
		r.depth = depth
		p.all = append(p.all, r)
		p.order(r.children, depth+1)
	}
}

// scale makes the axis span all rows.
func (p *canvas) scale() {
	var end time.Time
	for _, r := range p.rows {
		s, e := r.times()
		if s.IsZero() {
			continue // no time at all: drawn at the start
		}
		if p.begin.IsZero() || s.Before(p.begin) {
			p.begin = s
		}
		if e.After(end) {
			end = e
		}
	}
	p.span = end.Sub(p.begin)
}

// link finds out which rows link to which, and gives those that are linked to a
// letter.
func (p *canvas) link(spans []Span) {
	type key struct{ trace, span string }
	rows := map[key]*row{}
	for _, r := range p.rows {
		if k := (key{r.TraceID, r.ID}); rows[k] == nil {
			rows[k] = r
		}
	}
	here := map[key]bool{}
	for _, s := range spans {
		here[key{s.TraceID, s.ID}] = true
	}
	for _, r := range p.rows {
		for _, l := range r.Links {
			k := key{l.TraceID, l.ID}
			switch to := rows[k]; {
			case to != nil:
				if !slices.Contains(r.targets, to) {
					r.targets = append(r.targets, to)
					to.linked = append(to.linked, r)
				}
			case here[k]:
				r.beyond = "a span not drawn"
			default:
				r.beyond = "a span not received"
			}
		}
	}
	n := 0
	for _, r := range p.rows {
		if len(r.linked) > 0 {
			r.label = letters(n)
			n++
		}
	}
}

// letters counts a, b, ... z, aa, ab, ...
func letters(n int) string {
	var s string
	for n++; n > 0; n = (n - 1) / 26 {
		s = string(rune('a'+(n-1)%26)) + s
	}
	return s
}

// legend collects what the rows have in common: services and cache keys.
func (p *canvas) legend() {
	keys := map[string]bool{}
	for _, r := range p.rows {
		if r.Service != "" && !slices.Contains(p.services, r.Service) {
			p.services = append(p.services, r.Service)
		}
		if !r.brackets() && !slices.Contains(p.painted, r.Service) {
			p.painted = append(p.painted, r.Service)
		}
		if k := r.Attrs["cache.key"]; k != "" {
			keys[k] = true
		}
	}
	if len(keys) < 2 {
		return
	}
	p.keys = map[string]string{}
	short := map[string]bool{}
	for k := range keys {
		p.keys[k] = shorten(plain(k))
		short[p.keys[k]] = true
	}
	if len(short) < len(keys) { // shortened, some of them look the same
		for k := range keys {
			p.keys[k] = plain(k)
		}
	}
}

// shorten keeps the two ends of a long key.
func shorten(key string) string {
	r := []rune(key)
	if len(r) <= 13 {
		return key
	}
	return string(r[:6]) + "…" + string(r[len(r)-6:])
}

// waits reports whether the span spends its time waiting for another one: for a
// flight that it joined, or for a lock.
func (r *row) waits() bool {
	return r.Attrs["cache.result"] == "joined" || strings.HasSuffix(r.Name, ".wait")
}

// brackets reports whether the span is the stopwatch around the picture: the
// root of a trace whose work is all done by others, such as the burst.
func (r *row) brackets() bool {
	return r.depth == 0 && len(r.children) > 0 && !slices.ContainsFunc(r.children, func(c *row) bool {
		return c.Service == r.Service
	})
}

// notes says what there is to say about a row, the most important first.
func (p *canvas) notes(r *row) []part {
	var notes []part
	say := func(style, format string, args ...any) {
		if text := plain(fmt.Sprintf(format, args...)); text != "" {
			notes = append(notes, part{text, style})
		}
	}

	say("", "%s", r.Attrs["http.response.status_code"])
	result := r.Attrs["cache.result"]
	if len(r.targets) > 0 {
		var names []string
		for _, to := range r.targets {
			names = append(names, to.title())
		}
		if len(names) > 3 {
			names = append(names[:2], fmt.Sprintf("%d more", len(names)-2))
		}
		result += " → " + strings.Join(names, ", ")
	}
	say("", "%s", strings.TrimSpace(result))
	if r.beyond != "" && p.Width >= narrow {
		say("", "→ %s", r.beyond)
	}
	if r.DroppedLinks > 0 {
		say("", "%s dropped", count(r.DroppedLinks, "link"))
	}
	if n := len(r.linked); n > 0 {
		verb := "linked"
		if !slices.ContainsFunc(r.linked, func(from *row) bool { return !from.waits() }) {
			verb = "joined"
		}
		say("", "← %d %s", n, verb)
	}
	say("", "%s", p.keys[r.Attrs["cache.key"]])
	connection := r.connection()
	if p.Width < narrow {
		connection = strings.TrimSuffix(strings.TrimSuffix(connection, "s"), " connection")
	}
	say("", "%s", connection)
	switch {
	case r.Orphan:
		say(dim, "parent not received")
	case r.Cut:
		say(dim, "its own ancestor")
	}
	switch {
	case r.Start.IsZero() && r.End.IsZero():
		say(dim, "no times")
	case r.Start.IsZero():
		say(dim, "no start time")
	case r.End.IsZero():
		say(dim, "no end time")
	case r.End.Before(r.Start):
		say(dim, "ends before it starts")
	}
	if p.Notes != nil {
		say("", "%s", p.Notes(r.Span))
	}

	var line []part
	if r.failed() {
		line = append(line, part{"✗", strong})
	}
	for i, n := range notes {
		switch {
		case i > 0:
			line = append(line, part{" · ", dim})
		case len(line) > 0:
			line = append(line, part{" ", ""})
		}
		line = append(line, n)
	}
	return line
}

// withMessage is a row's note with what went wrong at its end.
func (r *row) withMessage() []part {
	line := slices.Clip(r.note)
	switch {
	case r.message == "":
		return line
	case len(line) == 0:
	case len(line) == 1 && r.failed(): // the mark alone
		line = append(line, part{" ", ""})
	default:
		line = append(line, part{" · ", dim})
	}
	return append(line, part{r.message, red})
}

// title is the row's name and the letter by which others refer to it.
func (r *row) title() string {
	if r.label == "" {
		return plain(r.Name)
	}
	return plain(r.Name) + " " + r.label
}

// connection says whether the request went over a connection that was there
// already. otelhttptrace says it on http.getconn, a child of the request; with
// WithoutSubSpans it is an event of the request itself.
func (r *row) connection() string {
	reused, opened := 0, 0
	see := func(attrs map[string]string) {
		switch attrs["http.conn.reused"] {
		case "true":
			reused++
		case "false":
			opened++
		}
	}
	see(r.Attrs)
	for _, e := range r.Events {
		see(e.Attrs)
	}
	for _, c := range r.hidden {
		see(c.Attrs)
	}
	switch {
	case opened > 1:
		return count(opened, "new connection")
	case opened == 1:
		return "new connection"
	case reused > 0:
		return "reused connection"
	}
	return ""
}

// trouble is what went wrong, in the span's own words, and whether anything did:
// it is an error, or has recorded an exception.
func (n *Node) trouble() (message string, wrong bool) {
	wrong = n.failed()
	for _, e := range n.Events {
		if e.Name == "exception" {
			wrong = true
			message = cmp.Or(e.Attrs["exception.message"], e.Attrs["exception.type"], "an exception")
		}
	}
	if n.failed() && n.Message != "" {
		message = n.Message
	}
	return firstLine(message), wrong
}

// words is what the row has to say of its trouble: nothing if a row below it says
// the same.
func (r *row) words() string {
	message, wrong := r.trouble()
	if !wrong || r.below(func(c *row) bool { return c.shares(message) }) {
		return ""
	}
	if !r.failed() {
		message = "recorded " + message
	}
	return plain(message)
}

// shares reports whether the row has this trouble too.
func (r *row) shares(message string) bool {
	own, wrong := r.trouble()
	return wrong && own == message
}

// tells reports whether the row, or one below it, says what is the trouble of
// another one.
func (r *row) tells(other *row) bool {
	message, _ := other.trouble()
	says := func(r *row) bool { return r != other && r.message != "" && r.shares(message) }
	return says(r) || r.below(says)
}

// below reports whether f holds for a drawn row below this one.
func (r *row) below(f func(*row) bool) bool {
	return slices.ContainsFunc(r.children, func(c *row) bool {
		return c.within && (f(c) || c.below(f))
	})
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return strings.TrimSpace(s)
}

// columns are the widths of a line's parts; 0 for one that is left out.
type columns struct{ name, service, bar, took, note int }

const gap = "  " // between two columns

// layout shares out the width: text takes what it needs within bounds, the bars
// get the rest.
func (p *canvas) layout() columns {
	var c columns
	note, all := 0, 0 // without and with the messages
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
	for {
		room := p.Width - c.name - len(gap) - 1 - c.took // for bars and notes
		if c.service > 0 {
			room -= c.service + len(gap)
		}
		c.note, c.bar = 0, room
		if all > 0 {
			room -= len(gap)
			scant, ample := p.Width*23/100, p.Width*2/5 // columns of bar
			c.note = max(min(note, room-scant), min(all, room-ample), 4)
			c.bar = room - c.note
		}
		if c.note >= min(note, 20) || c.service == 0 {
			break
		}
		c.service = 0 // the notes say more than the service's name
	}
	said := map[string]bool{}
	for _, r := range p.rows {
		if r.message == "" {
			continue
		}
		// A long message is written out once. After that its start is enough.
		with := r.withMessage()
		if widthOf(with) <= c.note || said[r.message] && widthOf(r.note)+len(" · ")+8 <= c.note {
			r.note = with
		} else {
			r.beneath = !said[r.message]
			said[r.message] = true
		}
	}
	p.ticks = p.axis(c.bar)
	return c
}

// draw writes the picture.
func (p *canvas) draw(b *strings.Builder) {
	if len(p.rows) == 0 {
		if p.total == 0 {
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
	p.rest(b)
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

// half is where an instant of the axis lies, in halves of a column.
func (p *canvas) half(at time.Duration, space int) int {
	if p.span <= 0 {
		return 0
	}
	share := float64(at) / float64(p.span)
	return int(math.Round(max(0, min(1, share)) * float64(2*space)))
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
	start, end := r.times()
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
	if r.failed() {
		style = red
	}
	return []part{
		{string(cells[:first]), dim},
		{string(cells[first : last+1]), style},
		{string(cells[last+1:]), dim},
	}
}

// tick is a label on the axis.
type tick struct {
	column int
	label  string
	guide  bool // a dotted line runs down from it
}

// axis labels the columns of the bars: 0 at the left, the length of the picture
// with its unit at the right, and between them round times in the same unit,
// where there is room.
func (p *canvas) axis(space int) []tick {
	ticks := []tick{{label: "0"}}
	if p.span <= 0 {
		return ticks
	}
	end := p.duration(p.span)
	room := space - width(end)
	if room < 2 {
		return ticks
	}
	unit := p.unit(p.span)
	step := p.step(unit, space)
	free := 2
	for at := step; at > 0 && at < p.span; at += step { // centuries wrap around to below 0
		label := strconv.FormatFloat(float64(at)/float64(unit.size), 'f', -1, 64)
		column := p.half(at, space) / 2
		if column+width(label) >= room {
			break
		}
		if column < free {
			continue
		}
		ticks = append(ticks, tick{column, label, true})
		free = column + width(label) + 1
	}
	return append(ticks, tick{column: room, label: end})
}

// step is the time between two ticks, round in its unit.
func (p *canvas) step(u unit, space int) time.Duration {
	const apart = 6 // columns, at least
	for power := max(u.size/1000, 1); power < math.MaxInt64/10; power *= 10 {
		for _, n := range []time.Duration{1, 2, 5} {
			if float64(n*power)/float64(p.span)*float64(space) >= apart {
				return n * power
			}
		}
	}
	return 0
}

// unit is a unit of time.
type unit struct {
	name string
	size time.Duration
	from time.Duration // the shortest time written in this unit
}

var units = []unit{
	{"h", time.Hour, 100 * time.Minute},
	{"min", time.Minute, 100 * time.Second},
	{"s", time.Second, time.Second},
	{"ms", time.Millisecond, time.Millisecond},
	{"µs", time.Microsecond, time.Microsecond},
	{"ns", time.Nanosecond, time.Nanosecond},
}

// unit is the one that fits a time in this picture. Beside seconds and
// milliseconds a short time is 0.18 ms and not 180 µs, so that the larger number
// is the longer time.
func (p *canvas) unit(d time.Duration) unit {
	// What counts is what will be written: 999.6 ms is 1.00 s.
	written, _ := strconv.ParseFloat(strconv.FormatFloat(float64(d), 'e', 2, 64), 64)
	for _, u := range units {
		if u.size == time.Millisecond && p.span >= time.Millisecond {
			u.from = time.Microsecond
		}
		if written >= float64(u.from) {
			return u
		}
	}
	return units[len(units)-1]
}

// duration writes a time with two or three significant digits.
func (p *canvas) duration(d time.Duration) string {
	if d == 0 {
		return "0"
	}
	u := p.unit(d)
	x := float64(d) / float64(u.size)
	places := 0
	switch {
	case x < 0.0995:
		places = 3
	case x < 9.995:
		places = 2
	case x < 99.95:
		places = 1
	}
	return strconv.FormatFloat(x, 'f', places, 64) + " " + u.name
}

// rest tells of what is not in the picture.
func (p *canvas) rest(b *strings.Builder) {
	if slices.ContainsFunc(p.rows, (*row).waits) {
		p.text(b, strings.Repeat(string(left), 3)+" waits for a flight or a lock")
	}
	if cut := p.all[len(p.rows):]; len(cut) > 0 {
		names := map[string]int{}
		failed := 0
		for _, r := range cut {
			names[r.Name]++
			if r.failed() {
				failed++
			}
		}
		line := fmt.Sprintf("… and %s more", count(len(cut), "span"))
		if failed > 0 {
			line += fmt.Sprintf(", %d of them ✗", failed)
		}
		p.text(b, line+": "+p.names(names, p.Width-width(line)-2))
	}
	if len(p.hidden) > 0 {
		p.text(b, "not drawn: "+p.names(p.hidden, p.Width-len("not drawn: ")))
	}
}

// names lists what is left out, the most frequent first.
func (p *canvas) names(counts map[string]int, space int) string {
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	list, left := "", 0
	for _, n := range counts {
		left += n
	}
	others := func() string {
		if left == 1 {
			return ", 1 other"
		}
		return fmt.Sprintf(", %d others", left)
	}
	for i, name := range names {
		item := fmt.Sprintf("%d %s", counts[name], plain(name))
		if i > 0 {
			item = ", " + item
		}
		before := others()
		left -= counts[name]
		need := width(list + item)
		if left > 0 {
			need += width(others())
		}
		if need > space && i > 0 {
			return list + before
		}
		list += item
	}
	return list
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
