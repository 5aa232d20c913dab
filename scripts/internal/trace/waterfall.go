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
	"unicode"
	"unicode/utf8"
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
	p := newPicture(spans, o)
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
	note    []part
}

// part is a piece of text in one style.
type part struct {
	text  string
	style string
}

type picture struct {
	Options
	all    []*row // those named in Only, in drawing order
	rows   []*row // those within Max
	hidden map[string]int
	total  int

	begin time.Time
	span  time.Duration // of the axis

	services []string
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

func newPicture(spans []Span, o Options) *picture {
	p := &picture{Options: o, hidden: map[string]int{}, total: len(spans)}
	rows := p.gather(Forest(spans))
	p.order(rows, 0)
	p.rows = p.all[:min(len(p.all), o.Max)]
	for _, r := range p.rows {
		r.within = true
	}
	p.scale()
	p.link(spans)
	p.legend()
	for _, r := range p.rows {
		r.note = p.notes(r)
	}
	return p
}

// gather turns nodes into rows. Drawn children of a node that is not drawn take
// its place.
func (p *picture) gather(nodes []*Node) []*row {
	var rows []*row
	mixed := false
	for _, n := range nodes {
		below := p.gather(n.Children)
		if len(p.Only) > 0 && !slices.Contains(p.Only, n.Name) {
			p.hidden[n.Name]++
			rows = append(rows, below...)
			mixed = true
			continue
		}
		r := &row{Node: n, children: below}
		for _, c := range n.Children {
			if len(p.Only) > 0 && !slices.Contains(p.Only, c.Name) {
				r.hidden = append(r.hidden, c)
			}
		}
		rows = append(rows, r)
	}
	if mixed {
		slices.SortStableFunc(rows, func(a, b *row) int { return compare(a.Span, b.Span) })
	}
	return rows
}

func (p *picture) order(rows []*row, depth int) {
	for _, r := range rows {
		r.depth = depth
		p.all = append(p.all, r)
		p.order(r.children, depth+1)
	}
}

// scale makes the axis span all rows.
func (p *picture) scale() {
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
func (p *picture) link(spans []Span) {
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
				r.targets = append(r.targets, to)
				to.linked = append(to.linked, r)
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
func (p *picture) legend() {
	keys := map[string]bool{}
	for _, r := range p.rows {
		if r.Service != "" && !slices.Contains(p.services, r.Service) {
			p.services = append(p.services, r.Service)
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
func (p *picture) notes(r *row) []part {
	var notes []part
	say := func(style, format string, args ...any) {
		if text := plain(fmt.Sprintf(format, args...)); text != "" {
			notes = append(notes, part{text, style})
		}
	}

	say("", "%s", r.Attrs["http.response.status_code"])
	result := r.Attrs["cache.result"]
	if len(r.targets) > 0 {
		names := make([]string, 0, 3)
		for i, to := range r.targets {
			if i == 2 && len(r.targets) > 3 {
				names = append(names, fmt.Sprintf("%d more", len(r.targets)-i))
				break
			}
			names = append(names, to.title())
		}
		say("", "%s → %s", result, strings.Join(names, ", "))
	} else {
		say("", "%s", result)
	}
	if r.beyond != "" {
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
	say("", "%s", r.connection())
	message, exception := r.trouble()
	if (r.failed() || exception) && !r.told(message) {
		if !r.failed() {
			message = "exception: " + message
		}
		say(red, "%s", message)
	}
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
		if len(notes) > 0 {
			line = append(line, part{" ", ""})
		}
	}
	for i, n := range notes {
		if i > 0 {
			line = append(line, part{" · ", dim})
		}
		line = append(line, n)
	}
	return line
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

// trouble is what went wrong, in the span's own words, and whether it has
// recorded an exception.
func (n *Node) trouble() (message string, exception bool) {
	for _, e := range n.Events {
		if e.Name == "exception" {
			exception = true
			message = cmp.Or(e.Attrs["exception.message"], e.Attrs["exception.type"])
		}
	}
	if n.failed() && n.Message != "" {
		message = n.Message
	}
	return firstLine(message), exception
}

// told reports whether a row below this one, or one that it links to, has the
// same trouble: then it is told there.
func (r *row) told(message string) bool {
	same := func(other *row) bool {
		theirs, exception := other.trouble()
		return (other.failed() || exception) && theirs == message
	}
	for _, c := range r.children {
		if c.within && (same(c) || c.told(message)) {
			return true
		}
	}
	return slices.ContainsFunc(r.targets, same)
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return strings.TrimSpace(s)
}

// columns are the widths of a line's parts.
type columns struct{ name, service, bar, took, note int }

const gap = 2 // blanks between columns

// layout shares out the width. The bars get what the text does not need, and
// never less than two fifths while there is text that can be cut.
func (p *picture) layout() columns {
	var want columns
	for _, r := range p.rows {
		want.name = max(want.name, min(2*r.depth, p.Width)+width(r.title()))
		want.took = max(want.took, width(p.duration(r.Duration())))
		want.note = max(want.note, widthOf(r.note))
		if len(p.services) > 1 {
			want.service = max(want.service, width(plain(r.Service)))
		}
	}
	want.name = max(want.name, width("span"))
	if want.service > 0 {
		want.service = max(want.service, width("service"))
	}
	got := columns{
		name:    min(want.name, p.Width*3/10),
		service: min(want.service, 12),
		took:    want.took,
		note:    min(want.note, p.Width*3/10),
	}
	if p.Width < 70 {
		got.service = 0
	}
	rest := func() int {
		used := got.name + gap + 1 + got.took
		if got.service > 0 {
			used += gap + got.service
		}
		if got.note > 0 {
			used += gap + got.note
		}
		return p.Width - used
	}
	if spare := rest() - p.Width*2/5; spare > 0 {
		more := min(spare, want.note-got.note)
		got.note += more
		got.name += min(spare-more, want.name-got.name)
	}
	if short := p.Width*3/10 - rest(); short > 0 {
		got.note = max(got.note-short, min(got.note, p.Width/6))
	}
	got.bar = rest()
	return got
}

// draw writes the picture.
func (p *picture) draw(b *strings.Builder) {
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

func (p *picture) header(b *strings.Builder, c columns) {
	line := []part{{pad("span", c.name), dim}}
	if c.service > 0 {
		line = append(line, part{strings.Repeat(" ", gap) + pad("service", c.service), dim})
	}
	line = append(line, part{strings.Repeat(" ", gap) + string(p.axis(c.bar)), dim})
	p.emit(b, line)
}

func (p *picture) line(b *strings.Builder, c columns, r *row) {
	line := p.name(r, c.name)
	if c.service > 0 {
		line = append(line, part{strings.Repeat(" ", gap), ""}, part{pad(clip(plain(r.Service), c.service), c.service), p.color(r)})
	}
	line = append(line, part{strings.Repeat(" ", gap), ""})
	line = append(line, p.bar(r, c.bar)...)
	took := p.duration(r.Duration())
	line = append(line, part{" " + strings.Repeat(" ", c.took-width(took)) + took, ""})
	if len(r.note) > 0 {
		line = append(line, part{strings.Repeat(" ", gap), ""})
		line = append(line, clipParts(r.note, c.note)...)
	}
	p.emit(b, line)
}

// name is the row's first column: as far in as the row is deep. Where there is no
// room to go further in, an ellipsis says so.
func (p *picture) name(r *row, space int) []part {
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

func (p *picture) color(r *row) string {
	if r.brackets() {
		return dim
	}
	return palette[max(slices.Index(p.services, r.Service), 0)%len(palette)]
}

// column is where an instant of the axis lies, in eighths of a column.
func (p *picture) eighth(at time.Duration, bar int) int {
	if p.span <= 0 {
		return 0
	}
	share := float64(at) / float64(p.span)
	return int(math.Round(max(0, min(1, share)) * float64(8*bar)))
}

// Blocks that fill a column from the left, by eighths. To the right there are
// only two.
var fromLeft = []rune(" ▏▎▍▌▋▊▉█")

const (
	rightHalf   = '▐'
	rightEighth = '▕'
	full        = '█'
	waiting     = '░'
)

// bar draws the row's span on the axis. However short, it leaves a mark.
func (p *picture) bar(r *row, space int) []part {
	cells := p.grid(space)
	start, end := r.times()
	from, to := 0, 0
	if !start.IsZero() {
		from = min(p.eighth(start.Sub(p.begin), space), 8*space-1)
		to = p.eighth(end.Sub(p.begin), space)
	}
	to = max(to, from+1)
	first, last := from/8, (to-1)/8
	style := p.color(r)
	switch {
	case r.brackets():
		for i := first + 1; i < last; i++ {
			cells[i] = '─'
		}
		cells[first], cells[last] = '├', '┤'
		if first == last {
			cells[first] = '│'
		}
	case r.waits():
		// Shading comes in whole columns only: those that are covered by half.
		first, last = (from+4)/8, (to+3)/8-1
		first = min(first, space-1)
		last = max(first, last)
		for i := first; i <= last; i++ {
			cells[i] = waiting
		}
	default:
		for i := first; i <= last; i++ {
			cells[i] = block(max(from-8*i, 0), min(to-8*i, 8))
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

// block is the character that comes closest to a column filled between two of
// its eighths.
func block(from, to int) rune {
	switch {
	case from == 0:
		return fromLeft[to]
	case to < 8 && from+to < 8: // inside, to the left
		return fromLeft[to-from]
	case from == 1:
		return full
	case from < 6 && to-from > 2:
		return rightHalf
	}
	return rightEighth
}

// grid is an empty line of the picture: blanks, with a dot at each tick.
func (p *picture) grid(space int) []rune {
	cells := []rune(strings.Repeat(" ", space))
	step := p.step(space)
	for at := step; step > 0 && at < p.span; at += step {
		cells[min(p.eighth(at, space)/8, space-1)] = '┊'
	}
	return cells
}

// axis is the line above the bars: 0 at the left, the time of the whole picture
// at the right, round times between them where they fit.
func (p *picture) axis(space int) []rune {
	cells := []rune(strings.Repeat(" ", space))
	put := func(at int, label string) {
		for i, c := range []rune(label) {
			cells[at+i] = c
		}
	}
	put(0, "0")
	if p.span <= 0 {
		return cells
	}
	end := p.duration(p.span)
	right := space - width(end)
	if right < 2 {
		return cells
	}
	put(right, end)
	step := p.step(space)
	for at := step; step > 0 && at < p.span; at += step {
		column := p.eighth(at, space) / 8
		label := p.duration(at)
		if column+width(label) >= right {
			break
		}
		put(column, label)
	}
	return cells
}

// step is the time between two ticks, a round one, with room for their labels.
func (p *picture) step(space int) time.Duration {
	if p.span <= 0 {
		return 0
	}
	for unit := time.Duration(1); unit < math.MaxInt64/100; unit *= 10 {
		for _, n := range []time.Duration{1, 2, 5} {
			if float64(n*unit)/float64(p.span)*float64(space) >= 10 {
				return n * unit
			}
		}
	}
	return 0
}

// duration writes a time in the unit that fits both it and the picture: beside
// seconds and milliseconds a short time is 0.18 ms and not 180 µs, so that the
// longer number is the longer time.
func (p *picture) duration(d time.Duration) string {
	return format(d, p.span >= time.Millisecond)
}

func format(d time.Duration, coarse bool) string {
	if d == 0 {
		return "0"
	}
	units := []struct {
		name string
		size time.Duration
		from time.Duration // the shortest time written in this unit
	}{
		{"h", time.Hour, 100 * time.Minute},
		{"min", time.Minute, 100 * time.Second},
		{"s", time.Second, time.Second},
		{"ms", time.Millisecond, time.Millisecond},
		{"µs", time.Microsecond, time.Microsecond},
		{"ns", time.Nanosecond, time.Nanosecond},
	}
	if coarse {
		units[3].from = 10 * time.Microsecond
	}
	for _, u := range units {
		digits := significant(float64(d) / float64(u.size))
		// 999.6 ms is 1.00 s, and so on: what counts is what would be written.
		if rounded, _ := strconv.ParseFloat(digits, 64); rounded*float64(u.size) >= float64(u.from) {
			return digits + " " + u.name
		}
	}
	return "0"
}

// significant writes a number with three significant digits, but no more than
// two behind the point.
func significant(x float64) string {
	for places := 2; places > 0; places-- {
		s := strconv.FormatFloat(x, 'f', places, 64)
		if len(s) <= len("0.00") {
			return s
		}
	}
	return strconv.FormatFloat(x, 'f', 0, 64)
}

// rest tells of what is not in the picture.
func (p *picture) rest(b *strings.Builder) {
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
	if slices.ContainsFunc(p.rows, func(r *row) bool { return r.waits() && !r.brackets() }) {
		p.text(b, string(waiting)+" waiting for a flight or a lock")
	}
}

// names lists what is left out, the most frequent first.
func (p *picture) names(counts map[string]int, space int) string {
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	list, left := "", 0
	for _, n := range counts {
		left += n
	}
	for i, name := range names {
		item := fmt.Sprintf("%d %s", counts[name], plain(name))
		if i > 0 {
			item = ", " + item
		}
		others := fmt.Sprintf(", %d others", left-counts[name])
		if i == len(names)-1 {
			others = ""
		}
		if width(list+item+others) > space {
			if i == 0 {
				return clip(item, space)
			}
			return list + fmt.Sprintf(", %d others", left)
		}
		list += item
		left -= counts[name]
	}
	return list
}

// text writes a line below the picture.
func (p *picture) text(b *strings.Builder, line string) {
	p.emit(b, []part{{clip(line, p.Width), dim}})
}

// emit writes one line, without blanks at its end.
func (p *picture) emit(b *strings.Builder, line []part) {
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
