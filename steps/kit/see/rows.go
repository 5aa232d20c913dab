package see

import (
	"cmp"
	"slices"
	"time"
)

// rows are the rows of one trace in one process. Finding a place takes time that
// grows with the logarithm of the spans that are there: a burst is one trace, and
// may have a hundred thousand of them.
type rows struct {
	rows []*row
	// free is a tree of minima over the ends of the rows: free[1] is its root, the
	// children of i are 2i and 2i+1, and the leaf of row i is free[len(free)/2+i].
	// It has a power of two of leaves; a leaf without a row is zero.
	free []time.Time
}

// row is a thread.
type row struct {
	tid   int
	taken []span // the outermost ones, by their starts: no two of them overlap
}

// span is a time that is taken.
type span struct{ start, end time.Time }

// gaps bounds the rows in whose gaps a place is looked for.
const gaps = 32

// take takes a place in the first row where all is over by then; else in a gap of
// one of the first rows; else in a new row. Spans come when they have ended, so
// one may have begun before others that are there.
func (r *rows) take(s span) (row int, added bool) {
	row, found := r.over(s.start)
	for i := 0; !found && i < min(gaps, len(r.rows)); i++ {
		row, found = i, r.rows[i].fits(s)
	}
	if !found {
		row = len(r.rows)
		r.add()
	}
	taken := &r.rows[row].taken
	*taken = slices.Insert(*taken, r.rows[row].place(s), s)
	r.set(row, r.rows[row].over())
	return row, !found
}

// over is the first row whose last span ends at the start or before.
func (r *rows) over(start time.Time) (int, bool) {
	if len(r.rows) == 0 || r.free[1].After(start) {
		return 0, false
	}
	i := 1
	for i < len(r.free)/2 {
		if i *= 2; r.free[i].After(start) {
			i++
		}
	}
	i -= len(r.free) / 2
	// A leaf without a row is over at any time, and stands behind those with one.
	return i, i < len(r.rows)
}

// add makes a row at the end.
func (r *rows) add() {
	r.rows = append(r.rows, new(row))
	if len(r.rows) <= len(r.free)/2 {
		return
	}
	r.free = make([]time.Time, 2*max(1, len(r.free)))
	for i, each := range r.rows {
		r.set(i, each.over())
	}
}

func (r *rows) set(row int, over time.Time) {
	i := len(r.free)/2 + row
	r.free[i] = over
	for i /= 2; i >= 1; i /= 2 {
		r.free[i] = r.free[2*i]
		if other := r.free[2*i+1]; other.Before(r.free[i]) {
			r.free[i] = other
		}
	}
}

// over is when the last span of the row ends.
func (r *row) over() time.Time {
	if len(r.taken) == 0 {
		return time.Time{}
	}
	return r.taken[len(r.taken)-1].end
}

// place is where s belongs.
func (r *row) place(s span) int {
	i, _ := slices.BinarySearchFunc(r.taken, s, func(a, b span) int { return cmp.Or(a.start.Compare(b.start), a.end.Compare(b.end)) })
	return i
}

// fits reports whether nothing in the row overlaps. Spans that touch do not.
func (r *row) fits(s span) bool {
	i := r.place(s)
	if i < len(r.taken) && r.taken[i].start.Before(s.end) {
		return false
	}
	return i == 0 || !r.taken[i-1].end.After(s.start)
}
