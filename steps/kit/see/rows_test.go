package see

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// No two spans of a row overlap, whatever comes in whatever order, and a row is
// taken before a new one is made.
func TestRows(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		var all rows
		placed := map[int][]span{}
		begin := time.Unix(0, 0)
		for range 200 {
			start := begin.Add(time.Duration(random.IntN(300)))
			s := span{start, start.Add(time.Duration(random.IntN(30)))}
			// What a look at each row finds.
			first := -1
			for i := range all.rows {
				if !slices.ContainsFunc(placed[i], func(other span) bool { return overlap(s, other) }) {
					first = i
					break
				}
			}
			i, added := all.take(s)
			for _, other := range placed[i] {
				if overlap(s, other) {
					t.Fatalf("seed %d: row %d has %v and %v", seed, i, other, s)
				}
			}
			if added != (i == len(all.rows)-1 && len(placed[i]) == 0) || added && i != len(placed) {
				t.Fatalf("seed %d: row %d of %d, added: %v", seed, i, len(all.rows), added)
			}
			// A span without a length may stand where others meet; there the look
			// above and ours may differ.
			if added && first >= 0 && first < gaps && s.end.After(s.start) && !touches(placed[first], s) {
				t.Fatalf("seed %d: a new row for %v, which fits row %d", seed, s, first)
			}
			placed[i] = append(placed[i], s)
		}
	}
}

func overlap(a, b span) bool { return a.start.Before(b.end) && b.start.Before(a.end) }

// touches reports whether a span of no length stands at the start of s.
func touches(row []span, s span) bool {
	return slices.ContainsFunc(row, func(other span) bool {
		return other.start.Equal(other.end) && other.start.Equal(s.start)
	})
}

// Requests that come one after the other share the first row.
func TestRowsInOrder(t *testing.T) {
	var all rows
	for i := range 1000 {
		start := time.Unix(int64(i), 0)
		if row, _ := all.take(span{start, start.Add(time.Second)}); row != 0 {
			t.Fatalf("request %d is in row %d", i, row)
		}
	}
}

// A trace of many spans is drawn in time that grows with their number, not with its
// square: 200,000 spans side by side, then as many more behind them. The square
// takes minutes.
func TestRowsAreQuick(t *testing.T) {
	var all rows
	const n = 200_000
	begin := time.Now()
	for round := range 2 {
		for i := range n {
			start := time.Unix(int64(1000*round), int64(i))
			if row, added := all.take(span{start, start.Add(time.Second)}); row != i || added != (round == 0) {
				t.Fatalf("round %d: span %d is in row %d, added: %v", round, i, row, added)
			}
			if i%1000 == 0 && time.Since(begin) > 30*time.Second {
				t.Fatalf("%d spans took %v", round*n+i, time.Since(begin))
			}
		}
	}
}
