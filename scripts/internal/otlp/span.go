package otlp

import (
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
)

// Span is one finished span as it came over OTLP. Spans are handed out as
// copies that share their maps and slices: read those, never write to them.
type Span struct {
	TraceID, ID, Parent string // lower-case hex; Parent is "" for a root
	Service, Version    string // service.name and service.version of the resource
	Name                string
	Kind                string // internal, server, client, producer or consumer
	Start, End          time.Time
	Attrs               map[string]string // numbers, booleans and arrays are written out
	Events              []Event
	Links               []Link
	DroppedLinks        int    // links that the sender's limit threw away
	Status              string // unset, ok or error
	Message             string // what the status says
}

// Event is something that happened during a span, such as an exception.
type Event struct {
	Name  string
	Time  time.Time
	Attrs map[string]string
}

// Link points from one span to another that is not its parent.
type Link struct {
	TraceID, ID string // lower-case hex
	Attrs       map[string]string
}

// Duration is the time from start to end, and 0 if one of them is missing or
// they are the wrong way round.
func (s Span) Duration() time.Duration {
	start, end := s.Times()
	return end.Sub(start)
}

// Times is the span's start and end, mended: a start or an end that is missing
// is set to the other one, and no span ends before it starts.
func (s Span) Times() (start, end time.Time) {
	switch {
	case s.Start.IsZero():
		return s.End, s.End
	case s.End.Before(s.Start):
		return s.Start, s.Start
	}
	return s.Start, s.End
}

// Failed reports whether the span says that it is an error.
func (s Span) Failed() bool { return s.Status == "error" }

// Compare orders spans by start. Ids break ties, so that the order does not
// depend on which of two spans was delivered first.
func Compare(a, b Span) int {
	as, _ := a.Times()
	bs, _ := b.Times()
	return cmp.Or(as.Compare(bs), cmp.Compare(a.TraceID, b.TraceID), cmp.Compare(a.ID, b.ID))
}

// Named returns the spans with this name, in the order given.
func Named(spans []Span, name string) []Span {
	var found []Span
	for _, s := range spans {
		if s.Name == name {
			found = append(found, s)
		}
	}
	return found
}

// Count says how many spans have this name.
func Count(spans []Span, name string) int { return len(Named(spans, name)) }

// Serial reports whether no two of the spans overlap in time. Spans that only
// touch, one ending in the instant in which the other starts, do not overlap.
func Serial(spans []Span) bool {
	sorted := slices.Clone(spans)
	slices.SortFunc(sorted, func(a, b Span) int {
		as, ae := a.Times()
		bs, be := b.Times()
		return cmp.Or(as.Compare(bs), ae.Compare(be))
	})
	for i := 1; i < len(sorted); i++ {
		_, end := sorted[i-1].Times() // nothing before it ends later, or we would not be here
		if start, _ := sorted[i].Times(); start.Before(end) {
			return false
		}
	}
	return true
}

// Node is a span in its tree.
type Node struct {
	Span
	Children []*Node // ordered by start
	// Orphan: the span names a parent that is not among the spans. It may still
	// be running, have been lost, or belong to somebody who sends no spans here.
	Orphan bool
	// Cut: the span's parents lead back to the span itself, which no honest
	// sender does. The circle was opened here.
	Cut bool
}

// Forest builds the trees, one for each span without a parent among the spans,
// ordered by start. Every span is in it exactly once, whatever its ids say:
// where two spans share an id, both are kept and the first one has the children.
func Forest(spans []Span) []*Node {
	type key struct{ trace, span string }
	sorted := slices.Clone(spans)
	slices.SortStableFunc(sorted, Compare)
	nodes := make([]*Node, len(sorted))
	byID := make(map[key]*Node, len(sorted))
	for i, s := range sorted {
		nodes[i] = &Node{Span: s}
		if k := (key{s.TraceID, s.ID}); byID[k] == nil {
			byID[k] = nodes[i]
		}
	}
	parent := func(n *Node) *Node {
		if n.Parent == "" || n.Cut {
			return nil
		}
		return byID[key{n.TraceID, n.Parent}]
	}

	// A walk up from each span: one that comes back to where it has been in the
	// same walk has found a circle. Nodes known to lead to a root end it early.
	const walking, safe = 1, 2
	state := make(map[*Node]int, len(nodes))
	for _, n := range nodes {
		var path []*Node
		for at := n; at != nil && state[at] != safe; at = parent(at) {
			if state[at] == walking {
				at.Cut = true
				break
			}
			state[at] = walking
			path = append(path, at)
		}
		for _, seen := range path {
			state[seen] = safe
		}
	}

	var roots []*Node
	for _, n := range nodes {
		if p := parent(n); p != nil {
			p.Children = append(p.Children, n)
			continue
		}
		n.Orphan = n.Parent != "" && !n.Cut
		roots = append(roots, n)
	}
	return roots
}

// decode turns an OTLP message into spans. Spans without usable ids are taken
// out of the message and counted; why tells of the first of them.
func decode(data *collectorpb.ExportTraceServiceRequest) (spans []Span, rejected int, why string) {
	for _, rs := range data.GetResourceSpans() {
		resource := attributes(rs.GetResource().GetAttributes())
		for _, ss := range rs.GetScopeSpans() {
			if ss == nil {
				continue
			}
			ss.Spans = slices.DeleteFunc(ss.Spans, func(p *tracepb.Span) bool {
				fault := ""
				if !valid(p.GetTraceId(), 16) {
					fault = "trace id"
				} else if !valid(p.GetSpanId(), 8) {
					fault = "span id"
				}
				if fault == "" {
					return false
				}
				rejected++
				if why == "" {
					why = fmt.Sprintf("span %q has no usable %s: 32 hex digits for the trace, 16 for the span, not all zero", p.GetName(), fault)
				}
				return true
			})
			for _, p := range ss.GetSpans() {
				spans = append(spans, span(p, resource))
			}
		}
	}
	return spans, rejected, why
}

var (
	kinds = map[tracepb.Span_SpanKind]string{
		tracepb.Span_SPAN_KIND_SERVER: "server", tracepb.Span_SPAN_KIND_CLIENT: "client",
		tracepb.Span_SPAN_KIND_PRODUCER: "producer", tracepb.Span_SPAN_KIND_CONSUMER: "consumer",
	}
	statuses = map[tracepb.Status_StatusCode]string{
		tracepb.Status_STATUS_CODE_OK: "ok", tracepb.Status_STATUS_CODE_ERROR: "error",
	}
)

func span(p *tracepb.Span, resource map[string]string) Span {
	s := Span{
		TraceID:      hex.EncodeToString(p.GetTraceId()),
		ID:           hex.EncodeToString(p.GetSpanId()),
		Service:      resource["service.name"],
		Version:      resource["service.version"],
		Name:         p.GetName(),
		Kind:         cmp.Or(kinds[p.GetKind()], "internal"), // also what the specification says of a kind left out
		Start:        instant(p.GetStartTimeUnixNano()),
		End:          instant(p.GetEndTimeUnixNano()),
		Attrs:        attributes(p.GetAttributes()),
		DroppedLinks: int(p.GetDroppedLinksCount()),
		Status:       cmp.Or(statuses[p.GetStatus().GetCode()], "unset"),
		Message:      p.GetStatus().GetMessage(),
	}
	if id := p.GetParentSpanId(); slices.ContainsFunc(id, notZero) {
		s.Parent = hex.EncodeToString(id)
	}
	for _, e := range p.GetEvents() {
		s.Events = append(s.Events, Event{
			Name:  e.GetName(),
			Time:  instant(e.GetTimeUnixNano()),
			Attrs: attributes(e.GetAttributes()),
		})
	}
	for _, l := range p.GetLinks() {
		s.Links = append(s.Links, Link{
			TraceID: hex.EncodeToString(l.GetTraceId()),
			ID:      hex.EncodeToString(l.GetSpanId()),
			Attrs:   attributes(l.GetAttributes()),
		})
	}
	return s
}

func valid(id []byte, size int) bool {
	return len(id) == size && slices.ContainsFunc(id, notZero)
}

func notZero(b byte) bool { return b != 0 }

// instant keeps 0, which OTLP uses for "not set", apart from 1 January 1970.
func instant(nano uint64) time.Time {
	if nano == 0 {
		return time.Time{}
	}
	return time.Unix(int64(nano/1e9), int64(nano%1e9))
}

func attributes(list []*commonpb.KeyValue) map[string]string {
	if len(list) == 0 {
		return nil
	}
	attrs := make(map[string]string, len(list))
	for _, kv := range list {
		attrs[kv.GetKey()] = text(kv.GetValue())
	}
	return attrs
}

// text writes an attribute's value out, the way one would read it aloud.
func text(v *commonpb.AnyValue) string {
	if s, ok := v.GetValue().(*commonpb.AnyValue_StringValue); ok {
		return s.StringValue
	}
	var b strings.Builder // one for all values within, or each level would copy them
	write(&b, v)
	return b.String()
}

func write(b *strings.Builder, v *commonpb.AnyValue) {
	switch v := v.GetValue().(type) {
	case *commonpb.AnyValue_StringValue:
		b.WriteString(v.StringValue)
	case *commonpb.AnyValue_BoolValue:
		b.WriteString(strconv.FormatBool(v.BoolValue))
	case *commonpb.AnyValue_IntValue:
		b.WriteString(strconv.FormatInt(v.IntValue, 10))
	case *commonpb.AnyValue_DoubleValue:
		b.WriteString(strconv.FormatFloat(v.DoubleValue, 'g', -1, 64))
	case *commonpb.AnyValue_BytesValue:
		b.WriteString(hex.EncodeToString(v.BytesValue))
	case *commonpb.AnyValue_ArrayValue:
		b.WriteByte('[')
		for i, item := range v.ArrayValue.GetValues() {
			if i > 0 {
				b.WriteString(", ")
			}
			write(b, item)
		}
		b.WriteByte(']')
	case *commonpb.AnyValue_KvlistValue:
		b.WriteByte('{')
		for i, kv := range v.KvlistValue.GetValues() {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(kv.GetKey() + ": ")
			write(b, kv.GetValue())
		}
		b.WriteByte('}')
	}
}

// unhex mends the ids of a message that came as JSON. There OTLP writes them in
// hex, but protobuf's JSON has base64 for every bytes field and has decoded
// them so. Hex digits are base64 digits too: encoding once more gives the text
// that was sent.
func unhex(data *collectorpb.ExportTraceServiceRequest) {
	mend := func(id *[]byte) {
		sent, err := hex.DecodeString(base64.StdEncoding.EncodeToString(*id))
		if err != nil {
			sent = nil
		}
		*id = sent
	}
	for _, rs := range data.GetResourceSpans() {
		for _, ss := range rs.GetScopeSpans() {
			for _, p := range ss.GetSpans() {
				mend(&p.TraceId)
				mend(&p.SpanId)
				mend(&p.ParentSpanId)
				for _, l := range p.GetLinks() {
					mend(&l.TraceId)
					mend(&l.SpanId)
				}
			}
		}
	}
}
