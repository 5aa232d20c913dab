package waterfall

import (
	"cmp"
	"fmt"
	"maps"
	"plaque/scripts/internal/otlp"
	"plaque/scripts/internal/say"
	"plaque/steps/kit/names"
	"slices"
	"strings"
	"time"
)

// row is a span that is drawn, below its nearest ancestor that is drawn.
type row struct {
	*otlp.Node
	depth    int
	children []*row
	within   bool // not cut off by Max

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

// canvas is what is to be drawn, whatever draws it: the rows in their order, what
// they say, and the axis.
type canvas struct {
	Options
	all    []*row // those named in Only, in drawing order
	rows   []*row // those within Max
	hidden map[string]int

	begin time.Time
	span  time.Duration // of the axis
	ticks []tick

	services map[string]bool
	painted  []string          // services in the order in which they appear, without those of brackets
	keys     map[string]string // cache keys to what is shown of them; empty if there is only one
}

func newCanvas(spans []otlp.Span, o Options) *canvas {
	p := &canvas{Options: o, hidden: map[string]int{}}
	p.order(p.gather(otlp.Forest(spans)), 0)
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
func (p *canvas) gather(nodes []*otlp.Node) (rows []*row) {
	for _, n := range nodes {
		below := p.gather(n.Children)
		if p.wants(n) {
			rows = append(rows, &row{Node: n, children: below})
		} else {
			p.hidden[n.Name]++
			rows = append(rows, below...)
		}
	}
	slices.SortStableFunc(rows, func(a, b *row) int { return otlp.Compare(a.Span, b.Span) })
	return rows
}

func (p *canvas) wants(n *otlp.Node) bool {
	return len(p.Only) == 0 || slices.Contains(p.Only, n.Name)
}

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
		s, e := r.Times()
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
func (p *canvas) link(spans []otlp.Span) {
	type key struct{ trace, span string }
	rows := map[key]*row{}
	for _, r := range p.rows {
		if k := (key{r.TraceID, r.ID}); rows[k] == nil {
			rows[k] = r
		}
	}
	names := map[key]string{}
	for _, s := range spans {
		names[key{s.TraceID, s.ID}] = s.Name
	}
	for _, r := range p.rows {
		for _, l := range r.Links {
			k := key{l.TraceID, l.ID}
			name, received := names[k]
			switch to := rows[k]; {
			case to != nil:
				if !slices.Contains(r.targets, to) {
					r.targets = append(r.targets, to)
					to.linked = append(to.linked, r)
				}
			case received: // and not drawn
				r.beyond = plain(name)
			default:
				r.beyond = "not received"
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
	keys, short := map[string]bool{}, map[string]bool{}
	p.services = map[string]bool{}
	for _, r := range p.rows {
		if r.Service != "" {
			p.services[r.Service] = true
		}
		if !r.brackets() && !slices.Contains(p.painted, r.Service) {
			p.painted = append(p.painted, r.Service)
		}
		if k := r.Attrs[names.CacheKey]; k != "" {
			keys[k], short[shorten(plain(k))] = true, true
		}
	}
	if len(keys) < 2 {
		return
	}
	p.keys = map[string]string{}
	for k := range keys {
		p.keys[k] = plain(k)
		if len(short) == len(keys) { // shortened, none of them look the same
			p.keys[k] = shorten(p.keys[k])
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
	return r.Attrs[names.CacheResult] == names.Joined || strings.HasSuffix(r.Name, ".wait")
}

// brackets reports whether the span is the stopwatch around the picture: the
// root of a trace whose work is all done by others, such as the burst.
func (r *row) brackets() bool {
	return r.depth == 0 && len(r.children) > 0 && !slices.ContainsFunc(r.children, func(c *row) bool {
		return c.Service == r.Service
	})
}

// notes is what there is to say about a row, the most important first.
func (p *canvas) notes(r *row) []part {
	said := []string{r.Attrs["http.response.status_code"], r.result()}
	if r.Attrs["cache.stale"] == "true" {
		said = append(said, "old value")
	}
	if r.beyond != "" && p.Width >= narrow {
		said = append(said, "→ "+r.beyond)
	}
	if r.DroppedLinks > 0 {
		said = append(said, say.Plural(r.DroppedLinks, "link")+" dropped")
	}
	said = append(said, r.followers(), p.keys[r.Attrs[names.CacheKey]])
	connection := p.connection(r)
	if p.Width < narrow {
		connection = strings.TrimSuffix(strings.TrimSuffix(connection, "s"), " connection")
	}
	said = append(said, connection)

	var line []part
	if r.Failed() {
		line = append(line, part{"✗", strong})
	}
	add := func(style string, texts ...string) {
		for _, text := range texts {
			if text = plain(text); text != "" {
				line = r.then(line, part{text, style})
			}
		}
	}
	add("", said...)
	add(dim, r.faults()...)
	if p.Notes != nil {
		add("", p.Notes(r.Span))
	}
	return line
}

// then puts a part behind what a note says already, which begins with a mark
// where the row has failed.
func (r *row) then(line []part, next part) []part {
	switch {
	case len(line) == 1 && r.Failed():
		line = append(line, part{" ", ""})
	case len(line) > 0:
		line = append(line, part{" · ", dim})
	}
	return append(line, next)
}

// result is what the cache said, and the rows that this one links to.
func (r *row) result() string {
	result := r.Attrs[names.CacheResult]
	if len(r.targets) == 0 {
		return strings.TrimSpace(result)
	}
	var titles []string
	for _, to := range r.targets {
		titles = append(titles, to.title())
	}
	if len(titles) > 3 {
		titles = append(titles[:2], fmt.Sprintf("%d more", len(titles)-2))
	}
	return strings.TrimSpace(result + " → " + strings.Join(titles, ", "))
}

// followers is how many rows link to this one, and whether all of them waited for
// it.
func (r *row) followers() string {
	if len(r.linked) == 0 {
		return ""
	}
	verb := "linked"
	if !slices.ContainsFunc(r.linked, func(from *row) bool { return !from.waits() }) {
		verb = "joined"
	}
	return fmt.Sprintf("← %d %s", len(r.linked), verb)
}

// faults are what is odd about the span itself: its parent, its times.
func (r *row) faults() []string {
	var faults []string
	switch {
	case r.Orphan:
		faults = append(faults, "parent not received")
	case r.Cut:
		faults = append(faults, "its own ancestor")
	}
	switch {
	case r.Start.IsZero() && r.End.IsZero():
		faults = append(faults, "no times")
	case r.Start.IsZero():
		faults = append(faults, "no start time")
	case r.End.IsZero():
		faults = append(faults, "no end time")
	case r.End.Before(r.Start):
		faults = append(faults, "ends before it starts")
	}
	return faults
}

// withMessage is a row's note with what went wrong at its end.
func (r *row) withMessage() []part {
	if r.message == "" {
		return r.note
	}
	return r.then(slices.Clip(r.note), part{r.message, red})
}

// title is the row's name and the letter by which others refer to it.
func (r *row) title() string {
	return strings.TrimSuffix(plain(r.Name)+" "+r.label, " ")
}

// connection says whether the request went over a connection that was there
// already. otelhttptrace says it on http.getconn, a child of the request; with
// WithoutSubSpans it is an event of the request itself.
func (p *canvas) connection(r *row) string {
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
	for _, c := range r.Children {
		if !p.wants(c) {
			see(c.Attrs)
		}
	}
	switch {
	case opened > 1:
		return say.Plural(opened, "new connection")
	case opened == 1:
		return "new connection"
	case reused > 0:
		return "reused connection"
	}
	return ""
}

// trouble is what went wrong, in the span's own words, and whether anything did:
// it is an error, or has recorded an exception.
func trouble(n *otlp.Node) (message string, wrong bool) {
	wrong = n.Failed()
	for _, e := range n.Events {
		if e.Name == "exception" {
			wrong = true
			message = cmp.Or(e.Attrs["exception.message"], e.Attrs["exception.type"], "an exception")
		}
	}
	if n.Failed() && n.Message != "" {
		message = n.Message
	}
	return firstLine(message), wrong
}

// words is what the row has to say of its trouble: nothing if a row below it says
// the same.
func (r *row) words() string {
	message, wrong := trouble(r.Node)
	if !wrong || r.below(func(c *row) bool { return c.shares(message) }) {
		return ""
	}
	if !r.Failed() {
		message = "recorded " + message
	}
	return plain(message)
}

// shares reports whether the row has this trouble too.
func (r *row) shares(message string) bool {
	own, wrong := trouble(r.Node)
	return wrong && own == message
}

// tells reports whether the row, or one below it, says what is the trouble of
// another one.
func (r *row) tells(other *row) bool {
	message, _ := trouble(other.Node)
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

// rest tells of what is not in the picture, in lines.
func (p *canvas) rest() []string {
	var lines []string
	if cut := p.all[len(p.rows):]; len(cut) > 0 {
		names := map[string]int{}
		failed := 0
		for _, r := range cut {
			names[r.Name]++
			if r.Failed() {
				failed++
			}
		}
		line := fmt.Sprintf("… and %s more", say.Plural(len(cut), "span"))
		if failed > 0 {
			line += fmt.Sprintf(", %d of them ✗", failed)
		}
		lines = append(lines, line+": "+p.names(names, p.Width-width(line)-2))
	}
	if len(p.hidden) > 0 {
		lines = append(lines, "not drawn: "+p.names(p.hidden, p.Width-len("not drawn: ")))
	}
	return lines
}

// names lists what is left out, the most frequent first.
func (p *canvas) names(counts map[string]int, space int) string {
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	list, others, left := "", "", 0
	for _, n := range counts {
		left += n
	}
	for i, name := range names {
		item := fmt.Sprintf("%d %s", counts[name], plain(name))
		if i > 0 {
			item = ", " + item
		}
		before := others
		if left -= counts[name]; left > 0 {
			others = ", " + say.Plural(left, "other")
		} else {
			others = ""
		}
		if i > 0 && width(list+item+others) > space {
			return list + before
		}
		list += item
	}
	return list
}
