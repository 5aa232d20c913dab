package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"plaque/scripts/internal/trace"
)

// Tick is what times are rounded to in a picture for a page.
const Tick = 500 * time.Millisecond

// Still makes of an act's spans what every run of the act has in common, so that
// a page's picture, though drawn from real spans, comes out the same again:
// times are rounded to Tick from the first span on, and siblings that started
// together stand in the order of what they did, not of who was first.
func Still(spans []trace.Span) []trace.Span {
	if len(spans) == 0 {
		return nil
	}
	zero := spans[0].Start
	for _, s := range spans {
		if s.Start.Before(zero) {
			zero = s.Start
		}
	}
	s := still{zero: zero}
	roots := s.order(trace.Forest(spans))
	s.number(roots)
	for i := range s.spans {
		for j, l := range s.spans[i].Links {
			s.spans[i].Links[j].TraceID, s.spans[i].Links[j].ID = s.spans[i].TraceID, s.ids[l.ID]
		}
	}
	return s.spans
}

type still struct {
	zero  time.Time
	ids   map[string]string // new span ids by old ones
	spans []trace.Span
}

// node is a span with its times rounded and its subtree written out.
type node struct {
	trace.Span
	children  []*node
	signature string
}

func (s *still) order(from []*trace.Node) []*node {
	var nodes []*node
	for _, f := range from {
		n := &node{Span: f.Span, children: s.order(f.Children)}
		n.Start, n.End = s.round(f.Start), s.round(f.End)
		var below []string
		for _, c := range n.children {
			below = append(below, c.signature)
		}
		n.signature = fmt.Sprint(n.Start.UnixNano(), n.End.UnixNano(), n.Name, n.Status, n.Attrs["cache.result"],
			n.Attrs["http.response.status_code"], len(n.Links), strings.Join(below, "|"))
		nodes = append(nodes, n)
	}
	slices.SortStableFunc(nodes, func(a, b *node) int {
		// Of those that start together, whoever does most stands first: the
		// leader before its waiters, a miss before a hit.
		return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(b.size(), a.size()), cmp.Compare(a.signature, b.signature))
	})
	return nodes
}

func (n *node) size() int {
	size := 1
	for _, c := range n.children {
		size += c.size()
	}
	return size
}

func (s *still) round(t time.Time) time.Time {
	return time.Unix(0, 0).UTC().Add(t.Sub(s.zero).Round(Tick))
}

// number gives the spans new ids in their order, which also orders those that
// start together.
func (s *still) number(nodes []*node) {
	if s.ids == nil {
		s.ids = map[string]string{}
	}
	for _, n := range nodes {
		id := fmt.Sprintf("%016x", len(s.spans)+1)
		s.ids[n.ID] = id
		n.Span.ID, n.Span.Parent, n.Span.TraceID = id, s.ids[n.Span.Parent], strings.Repeat("0", 31)+"1"
		n.Span.Links = slices.Clone(n.Span.Links)
		s.spans = append(s.spans, n.Span)
		s.number(n.children)
	}
}
