package otlp

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
)

var noon = time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)

// outline writes a forest as text: a line for each span, indented by depth.
func outline(nodes []*Node, indent string) string {
	var b strings.Builder
	for _, n := range nodes {
		b.WriteString(indent + n.Name)
		if n.Orphan {
			b.WriteString(" orphan")
		}
		if n.Cut {
			b.WriteString(" cut")
		}
		b.WriteString("\n" + outline(n.Children, indent+" "))
	}
	return b.String()
}

func TestForest(t *testing.T) {
	// Spans as "trace/id<parent name@start".
	tests := []struct {
		name  string
		spans []string
		want  []string
	}{
		{"none", nil, nil},
		{"children by start, not by arrival",
			[]string{"1/c<a late@9", "1/a< root@0", "1/b<a early@3"},
			[]string{"root", " early", " late"}},
		{"roots by start, across traces",
			[]string{"2/a< second@5", "1/a< first@1", "1/b<a child@7"},
			[]string{"first", " child", "second"}},
		{"same ids in two traces",
			[]string{"1/a< one@0", "2/a< two@1", "2/b<a of two@2", "1/b<a of one@3"},
			[]string{"one", " of one", "two", " of two"}},
		{"parent missing",
			[]string{"1/b<x lost@1", "1/c<b kept@2"},
			[]string{"lost orphan", " kept"}},
		{"parent only in another trace",
			[]string{"1/a< root@0", "2/b<a lost@1"},
			[]string{"root", "lost orphan"}},
		{"its own parent",
			[]string{"1/a<a ouroboros@0", "1/b<a child@1"},
			[]string{"ouroboros cut", " child"}},
		{"a circle of three and what hangs at it",
			[]string{"1/a<c x@0", "1/b<a y@1", "1/c<b z@2", "1/d<b tail@3"},
			[]string{"x cut", " y", "  z", "  tail"}},
		{"a circle reached from outside, first",
			[]string{"1/d<b tail@0", "1/a<b x@1", "1/b<a y@2"},
			[]string{"y cut", " tail", " x"}},
		{"two circles",
			[]string{"1/a<b x@0", "1/b<a y@1", "1/c<d z@2", "1/d<c w@3"},
			[]string{"x cut", " y", "z cut", " w"}},
		{"an id twice: both are kept, the first has the children",
			[]string{"1/a< first@0", "1/a< second@1", "1/b<a child@2"},
			[]string{"first", " child", "second"}},
		{"an id twice, as its own parent",
			[]string{"1/a<a first@0", "1/a<a second@1"},
			[]string{"first cut", " second"}},
		{"all at once: by id",
			[]string{"1/c< c@0", "1/a< a@0", "1/b< b@0"},
			[]string{"a", "b", "c"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var spans []Span
			for _, text := range tt.spans {
				ids, rest, _ := strings.Cut(text, " ")
				name, at, _ := strings.Cut(rest, "@")
				trace, ids, _ := strings.Cut(ids, "/")
				id, parent, _ := strings.Cut(ids, "<")
				start := noon.Add(time.Duration(at[0]-'0') * time.Second)
				spans = append(spans, Span{TraceID: trace, ID: id, Parent: parent, Name: name, Start: start, End: start.Add(time.Second)})
			}
			want := ""
			if tt.want != nil {
				want = strings.Join(tt.want, "\n") + "\n"
			}
			if got := outline(Forest(spans), ""); got != want {
				t.Errorf("got:\n%swant:\n%s", got, want)
			}
			// Arrival decides nothing but between spans that share an id.
			if !strings.Contains(tt.name, "twice") {
				slices.Reverse(spans)
				if got := outline(Forest(spans), ""); got != want {
					t.Errorf("delivered the other way round, got:\n%swant:\n%s", got, want)
				}
			}
		})
	}
}

func TestSerial(t *testing.T) {
	// Spans as pairs of start and end.
	tests := []struct {
		name  string
		times []int
		want  bool
	}{
		{"none", nil, true},
		{"one", []int{0, 5}, true},
		{"one after the other", []int{0, 2, 3, 5, 6, 7}, true},
		{"touching", []int{0, 2, 2, 5}, true},
		{"overlapping by an instant", []int{0, 3, 2, 5}, false},
		{"in another order", []int{6, 7, 0, 2, 3, 5}, true},
		{"one inside a long one, after a short one", []int{0, 9, 1, 2, 4, 5}, false},
		{"the same twice", []int{0, 2, 0, 2}, false},
		{"nothing long, at the start of another", []int{0, 5, 0, 0}, true},
		{"nothing long, at the end of another", []int{0, 5, 5, 5}, true},
		{"nothing long, inside another", []int{0, 5, 3, 3}, false},
	}
	for _, tt := range tests {
		var spans []Span
		for pair := range slices.Chunk(tt.times, 2) {
			spans = append(spans, Span{Start: noon.Add(time.Duration(pair[0])), End: noon.Add(time.Duration(pair[1]))})
		}
		if got := Serial(spans); got != tt.want {
			t.Errorf("%s: Serial is %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestDuration(t *testing.T) {
	at := func(ms time.Duration) time.Time { return noon.Add(ms * time.Millisecond) }
	for want, s := range map[time.Duration]Span{
		0:                    {Start: at(5), End: at(3)}, // it ends before it starts
		3 * time.Millisecond: {Start: at(5), End: at(8)},
	} {
		if got := s.Duration(); got != want {
			t.Errorf("from %v to %v: %v, want %v", s.Start, s.End, got, want)
		}
	}
}

func TestNamed(t *testing.T) {
	spans := []Span{{Name: "flight", ID: "1"}, {Name: "cache.get", ID: "2"}, {Name: "flight", ID: "3"}}
	if got := Named(spans, "flight"); len(got) != 2 || got[0].ID != "1" || got[1].ID != "3" || Count(spans, "flight") != 2 {
		t.Errorf("flights: %v", got)
	}
	if Count(spans, "none") != 0 || Named(spans, "none") != nil {
		t.Error("spans of a name that nobody has")
	}
}

func TestText(t *testing.T) {
	str := func(s string) *commonpb.AnyValue {
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: s}}
	}
	num := &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: math.MinInt64}}
	tests := map[string]*commonpb.AnyValue{
		"":                     nil,
		"hit":                  str("hit"),
		"-9223372036854775808": num,
		"true":                 {Value: &commonpb.AnyValue_BoolValue{BoolValue: true}},
		"0.25":                 {Value: &commonpb.AnyValue_DoubleValue{DoubleValue: 0.25}},
		"NaN":                  {Value: &commonpb.AnyValue_DoubleValue{DoubleValue: math.NaN()}},
		"00ff":                 {Value: &commonpb.AnyValue_BytesValue{BytesValue: []byte{0, 255}}},
		"[]":                   {Value: &commonpb.AnyValue_ArrayValue{}},
		"[a, b]":               {Value: &commonpb.AnyValue_ArrayValue{ArrayValue: &commonpb.ArrayValue{Values: []*commonpb.AnyValue{str("a"), str("b")}}}},
		"{k: v}":               {Value: &commonpb.AnyValue_KvlistValue{KvlistValue: &commonpb.KeyValueList{Values: []*commonpb.KeyValue{{Key: "k", Value: str("v")}}}}},
	}
	for _, want := range slices.Sorted(maps.Keys(tests)) {
		if got := text(tests[want]); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestInstant(t *testing.T) {
	if !instant(0).IsZero() {
		t.Error("0 is not set and must stay so")
	}
	for _, nano := range []uint64{1, 1_800_000_000_123_456_789, math.MaxUint64} {
		at := instant(nano)
		if got := fmt.Sprintf("%d%09d", at.Unix(), at.Nanosecond()); strings.TrimLeft(got, "0") != fmt.Sprint(nano) {
			t.Errorf("%d came out as %s", nano, got)
		}
	}
}
