package telemetry

import (
	"slices"
	"strings"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// limits are applied to spans on their way out, and not when they are recorded:
// the debug pages count by attributes and links, whatever is exported.
type limits sdktrace.SpanLimits

// recorded are the limits within which a span is recorded: at least the usual
// ones.
func (l limits) recorded() sdktrace.SpanLimits {
	most := func(n, usual int) int {
		if n < 0 {
			return n
		}
		return max(n, usual)
	}
	return sdktrace.SpanLimits{
		AttributeValueLengthLimit:   -1,
		AttributeValueDepthLimit:    l.AttributeValueDepthLimit,
		AttributeCountLimit:         most(l.AttributeCountLimit, sdktrace.DefaultAttributeCountLimit),
		EventCountLimit:             most(l.EventCountLimit, sdktrace.DefaultEventCountLimit),
		LinkCountLimit:              most(l.LinkCountLimit, sdktrace.DefaultLinkCountLimit),
		AttributePerEventCountLimit: most(l.AttributePerEventCountLimit, sdktrace.DefaultAttributePerEventCountLimit),
		AttributePerLinkCountLimit:  most(l.AttributePerLinkCountLimit, sdktrace.DefaultAttributePerLinkCountLimit),
	}
}

// outgoing hands a processor what may leave: within the limits, in UTF-8.
type outgoing struct {
	sdktrace.SpanProcessor
	limits limits
}

func (o outgoing) OnEnd(s sdktrace.ReadOnlySpan) { o.SpanProcessor.OnEnd(o.limits.of(s)) }

// leaving is a span as it is exported.
type leaving struct {
	sdktrace.ReadOnlySpan
	name                                  string
	status                                sdktrace.Status
	scope                                 instrumentation.Scope
	attributes                            []attribute.KeyValue
	events                                []sdktrace.Event
	links                                 []sdktrace.Link
	lostAttributes, lostEvents, lostLinks int
}

func (l *leaving) Name() string                     { return l.name }
func (l *leaving) Status() sdktrace.Status          { return l.status }
func (l *leaving) Attributes() []attribute.KeyValue { return l.attributes }
func (l *leaving) Events() []sdktrace.Event         { return l.events }
func (l *leaving) Links() []sdktrace.Link           { return l.links }
func (l *leaving) DroppedAttributes() int {
	return l.ReadOnlySpan.DroppedAttributes() + l.lostAttributes
}
func (l *leaving) DroppedEvents() int                          { return l.ReadOnlySpan.DroppedEvents() + l.lostEvents }
func (l *leaving) DroppedLinks() int                           { return l.ReadOnlySpan.DroppedLinks() + l.lostLinks }
func (l *leaving) InstrumentationScope() instrumentation.Scope { return l.scope }

// of is s as it may leave. A stranger's request can put any bytes into a span; one
// that is not UTF-8 would cost the whole batch, because protobuf refuses it.
func (l limits) of(s sdktrace.ReadOnlySpan) sdktrace.ReadOnlySpan {
	out := &leaving{ReadOnlySpan: s, name: valid(s.Name()), status: s.Status(), scope: s.InstrumentationScope()}
	out.status.Description = valid(out.status.Description)
	out.scope.Name, out.scope.Version, out.scope.SchemaURL = valid(out.scope.Name), valid(out.scope.Version), valid(out.scope.SchemaURL)
	if kvs, _ := l.keyValues(out.scope.Attributes.ToSlice(), -1); kvs != nil {
		out.scope.Attributes = attribute.NewSet(kvs...)
	}
	out.attributes, out.lostAttributes = l.keyValues(s.Attributes(), l.AttributeCountLimit)
	out.events = newest(s.Events(), l.EventCountLimit)
	out.lostEvents = len(s.Events()) - len(out.events)
	for i := range out.events {
		e := &out.events[i]
		e.Name = valid(e.Name)
		var lost int
		e.Attributes, lost = l.keyValues(e.Attributes, l.AttributePerEventCountLimit)
		e.DroppedAttributeCount += lost
	}
	out.links = newest(s.Links(), l.LinkCountLimit)
	out.lostLinks = len(s.Links()) - len(out.links)
	for i := range out.links {
		link := &out.links[i]
		var lost int
		link.Attributes, lost = l.keyValues(link.Attributes, l.AttributePerLinkCountLimit)
		link.DroppedAttributeCount += lost
	}
	return out
}

// newest is a copy of the last n of all, as the SDK keeps them; n < 0 means all.
func newest[T any](all []T, n int) []T {
	if n >= 0 && len(all) > n {
		all = all[len(all)-n:]
	}
	return slices.Clone(all)
}

// keyValues is a copy of the first n of all, and how many are left out; n < 0 means
// all.
func (l limits) keyValues(all []attribute.KeyValue, n int) (kvs []attribute.KeyValue, lost int) {
	if n >= 0 && len(all) > n {
		lost = len(all) - n
		all = all[:n]
	}
	for _, kv := range all {
		kvs = append(kvs, attribute.KeyValue{Key: attribute.Key(valid(string(kv.Key))), Value: l.value(kv.Value)})
	}
	return kvs, lost
}

func (l limits) value(v attribute.Value) attribute.Value {
	switch v.Type() {
	case attribute.STRING:
		return attribute.StringValue(l.text(v.AsString()))
	case attribute.STRINGSLICE:
		texts := v.AsStringSlice()
		for i := range texts {
			texts[i] = l.text(texts[i])
		}
		return attribute.StringSliceValue(texts)
	case attribute.BYTESLICE:
		b := v.AsByteSlice()
		if n := l.AttributeValueLengthLimit; n >= 0 && len(b) > n {
			return attribute.ByteSliceValue(b[:n])
		}
	case attribute.SLICE:
		values := v.AsSlice()
		for i := range values {
			values[i] = l.value(values[i])
		}
		return attribute.SliceValue(values...)
	case attribute.MAP:
		kvs, _ := l.keyValues(v.AsMap(), -1)
		return attribute.MapValue(kvs...)
	}
	return v
}

// text is s in UTF-8 and at most so many characters long.
func (l limits) text(s string) string {
	s = valid(s)
	n := l.AttributeValueLengthLimit
	if n < 0 || len(s) <= n {
		return s
	}
	for i := range s {
		if n == 0 {
			return s[:i]
		}
		n--
	}
	return s
}

// valid is s with U+FFFD in place of what is not UTF-8.
func valid(s string) string { return strings.ToValidUTF8(s, string(utf8.RuneError)) }

// validResource is r in UTF-8: a variable can have any bytes, too.
func validResource(r *resource.Resource) *resource.Resource {
	kvs, _ := limits{AttributeValueLengthLimit: -1}.keyValues(r.Attributes(), -1)
	return resource.NewWithAttributes(r.SchemaURL(), kvs...)
}
