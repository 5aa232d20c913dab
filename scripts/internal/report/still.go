package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"plaque/scripts/internal/otlp"
	"plaque/steps/kit/names"
)

// Tick is what times are rounded to in a picture for a page.
const Tick = time.Second

// Still makes of an act's spans what every run of the act has in common. So a
// page's picture comes out the same again, though it is drawn from real spans.
// What starts or ends within half a Tick of the event before it happened at once;
// longer gaps are rounded to whole Ticks. Siblings that started together stand in
// the order of what they did, not of who was first.
func Still(spans []otlp.Span) []otlp.Span {
	var events []time.Time
	for _, s := range spans {
		events = append(events, s.Start, s.End)
	}
	slices.SortFunc(events, time.Time.Compare)
	s := still{at: map[time.Time]time.Time{}, ids: map[string]string{}}
	at := time.Unix(0, 0).UTC()
	for i, e := range events {
		if i > 0 {
			if gap := e.Sub(events[i-1]); gap >= Tick/2 {
				at = at.Add(gap.Round(Tick))
			}
		}
		s.at[e] = at
	}
	s.number(s.order(otlp.Forest(spans)))
	for i := range s.spans {
		for j, l := range s.spans[i].Links {
			s.spans[i].Links[j].TraceID, s.spans[i].Links[j].ID = s.spans[i].TraceID, s.ids[l.ID]
		}
	}
	return s.spans
}

type still struct {
	at    map[time.Time]time.Time // when an event happened, rounded
	ids   map[string]string       // new span ids by old ones
	spans []otlp.Span
}

// node is a span with its times rounded and its subtree written out.
type node struct {
	otlp.Span
	children  []*node
	size      int // spans, itself and below
	signature string
}

func (s *still) order(from []*otlp.Node) []*node {
	var nodes []*node
	for _, f := range from {
		n := &node{Span: f.Span, children: s.order(f.Children), size: 1}
		n.Start, n.End = s.at[f.Start], s.at[f.End]
		n.Message, n.Events = timedOut(n.Message), slices.Clone(n.Events)
		for i, e := range n.Events {
			if message, ok := e.Attrs["exception.message"]; ok {
				n.Events[i].Attrs = maps.Clone(e.Attrs)
				n.Events[i].Attrs["exception.message"] = timedOut(message)
			}
		}
		var below []string
		for _, c := range n.children {
			below = append(below, c.signature)
			n.size += c.size
		}
		n.signature = fmt.Sprint(n.Start.UnixNano(), n.End.UnixNano(), n.Name, n.Status, n.Attrs[names.CacheResult],
			n.Attrs["http.response.status_code"], len(n.Links), strings.Join(below, "|"))
		nodes = append(nodes, n)
	}
	slices.SortStableFunc(nodes, func(a, b *node) int {
		// Of those that start together, the one that does most stands first: the
		// leader before its waiters, a miss before a hit. The slowest stands
		// first, too.
		return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(b.size, a.size), cmp.Compare(b.Duration(), a.Duration()), cmp.Compare(a.signature, b.signature))
	})
	return nodes
}

// timedOut is what a span says of a request that ran out of time. Go's client
// says one of several things, by what it was doing at that moment.
func timedOut(message string) string {
	for _, words := range []string{"context deadline exceeded", "request canceled", "Client.Timeout"} {
		if strings.Contains(message, words) {
			return "timed out"
		}
	}
	return message
}

// number gives the spans new ids in their order, which also orders those that
// start together.
func (s *still) number(nodes []*node) {
	for _, n := range nodes {
		id := fmt.Sprintf("%016x", len(s.spans)+1)
		s.ids[n.ID] = id
		n.Span.ID, n.Span.Parent, n.Span.TraceID = id, s.ids[n.Span.Parent], strings.Repeat("0", 31)+"1"
		n.Span.Links = slices.Clone(n.Span.Links)
		s.spans = append(s.spans, n.Span)
		s.number(n.children)
	}
}
