package otlp

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

func jsonSpans(names ...string) string {
	var spans []string
	for i, name := range names {
		spans = append(spans, fmt.Sprintf(`{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b1%02x","name":"%s"}`, i+1, name))
	}
	return `{"resourceSpans":[{"scopeSpans":[{"spans":[` + strings.Join(spans, ",") + `]}]}]}`
}

// A name that is not UTF-8 is mended, and costs nobody a span: neither here nor in
// the collector behind, which would refuse it.
func TestForeignText(t *testing.T) {
	const valid = "abc\x01" // as long as what takes its place, so that the lengths around it stay right
	inSpan := func(foreign string) []byte {
		bad := &tracepb.Span{
			TraceId: bytes.Repeat([]byte{1}, 16), SpanId: bytes.Repeat([]byte{2}, 8), Name: valid,
			Attributes: []*commonpb.KeyValue{{Key: valid, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: valid}}}},
			Events:     []*tracepb.Span_Event{{Name: valid}},
			Status:     &tracepb.Status{Message: valid},
		}
		good := &tracepb.Span{TraceId: bytes.Repeat([]byte{1}, 16), SpanId: bytes.Repeat([]byte{3}, 8), Name: "good"}
		return bytes.ReplaceAll(encode(t, bad, good), []byte(valid), []byte(foreign))
	}
	for _, c := range []struct {
		name, format string
		body         []byte
		want         string // of the bad one
	}{
		{"half an emoji as JavaScript's slice leaves it", typeJSON, []byte(jsonSpans(`watch \ud83d`, "good")), "watch \ufffd"},
		{"the other half", typeJSON, []byte(jsonSpans(`\ude00 watch`, "good")), "\ufffd watch"},
		{"two first halves", typeJSON, []byte(jsonSpans(`\uD83D\ud83d`, "good")), "\ufffd\ufffd"},
		{"a whole one", typeJSON, []byte(jsonSpans(`\ud83d\ude00\u00e9`, "good")), "😀é"},
		{"no escape, but the text of one", typeJSON, []byte(jsonSpans(`\\ud83d\"`, "good")), `\ud83d"`},
		{"a byte that is not UTF-8", typeJSON, []byte(jsonSpans("x\xff", "good")), "x\ufffd"},
		{"a byte that is not UTF-8, in protobuf", typeProtobuf, inSpan("x\xffyz"), "x\ufffdyz"},
		{"half an emoji, in protobuf", typeProtobuf, inSpan("x\xed\xa0\xbd"), "x\ufffd"},
	} {
		t.Run(c.name, func(t *testing.T) {
			next := start(t, Config{}, patient)
			r := start(t, Config{Forward: next.URL()}, patient)
			if status, answer := send(t, r.URL()+tracesPath, c.body, "Content-Type", c.format); status != http.StatusOK {
				t.Fatalf("%d %s", status, answer)
			}
			r.Close()
			forwarded(t, r, 2, 0, "")
			for _, spans := range [][]Span{r.Spans(), next.Spans()} {
				if len(spans) != 2 || spans[0].Name != c.want || spans[1].Name != "good" {
					t.Fatalf("got %+v", spans)
				}
				bad := spans[0]
				if c.format == typeProtobuf && (bad.Attrs[c.want] != c.want || bad.Events[0].Name != c.want || bad.Message != c.want) {
					t.Errorf("got %+v", bad)
				}
			}
		})
	}
}

// A coding's name has no case.
func TestEncodings(t *testing.T) {
	r := start(t, Config{}, patient)
	for encoding, body := range map[string][]byte{
		"identity": message(t, 1), "Identity": message(t, 1), "gzip": zip(t, message(t, 1)), "GZIP": zip(t, message(t, 1)), " gzip ": zip(t, message(t, 1)),
	} {
		if status, answer := send(t, r.URL()+tracesPath, body, "Content-Type", typeProtobuf, "Content-Encoding", encoding); status != http.StatusOK {
			t.Errorf("%q: %d %s", encoding, status, answer)
		}
	}
	if n := len(r.Spans()); n != 5 {
		t.Errorf("%d spans, want 5", n)
	}
}

// within puts fields, as they are on the wire, into a span.
func within(t *testing.T, fields []byte) []byte {
	t.Helper()
	bytesField := func(n protowire.Number, v []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, n, protowire.BytesType), v)
	}
	span := slices.Concat(bytesField(1, bytes.Repeat([]byte{1}, 16)), bytesField(2, bytes.Repeat([]byte{2}, 8)), fields)
	return bytesField(1, bytesField(2, bytesField(2, span)))
}

func nested(t *testing.T, depth, size int) []byte {
	t.Helper()
	v := &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: strings.Repeat("x", size)}}
	for range depth {
		v = &commonpb.AnyValue{Value: &commonpb.AnyValue_ArrayValue{ArrayValue: &commonpb.ArrayValue{Values: []*commonpb.AnyValue{v}}}}
	}
	fields, err := proto.Marshal(&tracepb.Span{Attributes: []*commonpb.KeyValue{{Key: "k", Value: v}}})
	if err != nil {
		t.Fatal(err)
	}
	return within(t, fields)
}

// A few kilobytes that unpack into millions of events, or into one string within
// thousands of arrays, are refused before they are built.
func TestBombs(t *testing.T) {
	const size = 16<<20 - 200
	l := defaults
	l.read = patient.read // the race detector is slow
	empty := func(field byte) []byte { return zip(t, within(t, bytes.Repeat([]byte{field<<3 | 2, 0}, size/2))) }
	for _, c := range []struct {
		name, format string
		body         []byte
		status       int
		says         string
	}{
		{"events", typeProtobuf, empty(11), 413, "more than 400000 events"},
		{"links", typeProtobuf, empty(13), 413, "more than 400000 events"},
		{"attributes", typeProtobuf, empty(9), 413, "more than 400000 events"},
		{"a string within arrays", typeProtobuf, zip(t, nested(t, 4900, 15<<20)), 400, "more than 100 deep"},
		{"a string within a few arrays", typeProtobuf, zip(t, nested(t, 45, 15<<20)), 200, ""},
		{"objects in JSON", typeJSON, zip(t, []byte(`{"resourceSpans":[`+strings.Repeat(`{},`, 5<<20)+`{}]}`)), 413, "more than 400000 events"},
		{"deep JSON", typeJSON, zip(t, []byte(`{"resourceSpans":`+strings.Repeat(`[`, 9000)+strings.Repeat(`]`, 9000)+`}`)), 400, "in JSON"},
		{"deep JSON in a field that nobody knows", typeJSON, zip(t, []byte(`{"unknown":`+strings.Repeat(`[`, 9000)+strings.Repeat(`]`, 9000)+`}`)), 400, "in JSON"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := start(t, Config{}, l)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			var posts sync.WaitGroup
			for range 4 {
				posts.Go(func() {
					status, answer := send(t, r.URL()+tracesPath, c.body, "Content-Type", c.format, "Content-Encoding", "gzip")
					busy := status == 503 && strings.Contains(answer, "being read already")
					if !busy && (status != c.status || !strings.Contains(answer, c.says)) {
						t.Errorf("%d %.300s, want %d with %q", status, answer, c.status, c.says)
					}
				})
			}
			posts.Wait()
			runtime.ReadMemStats(&after)
			// Reading takes two to three times a body's size; the rest is what is kept.
			if took := (after.TotalAlloc - before.TotalAlloc) >> 20; took > 600 {
				t.Errorf("four requests of %d bytes took %d MiB", len(c.body), took)
			}
			r.Take()
			if n := r.flight.Load(); n != 0 {
				t.Errorf("%d bytes are in flight, and no request is", n)
			}
			mustSend(t, r, message(t, 1)) // and it still works
		})
	}
}

// What waits for its sender, and what is held, is bounded in all and not for each.
func TestBudgets(t *testing.T) {
	l := patient
	l.flight = 16 << 10
	r := start(t, Config{}, l)
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.URL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: 100000\r\n\r\n%s", tracesPath, typeProtobuf, strings.Repeat("x", 12<<10))
	large := message(t, 400) // with what is being read, beyond the budget
	for deadline := time.Now().Add(10 * time.Second); ; {
		status, answer := send(t, r.URL()+tracesPath, large, "Content-Type", typeProtobuf)
		if status == 503 && strings.Contains(answer, "being read already") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d %s, and 12 kB are being read", status, answer)
		}
		r.Take()
		runtime.Gosched() // until the first request has been seen
	}
	conn.Close()

	l = patient
	l.held = 10_000
	r = start(t, Config{}, l)
	wide := nested(t, 1, 9000)
	mustSend(t, r, wide)
	if status, answer := send(t, r.URL()+tracesPath, wide, "Content-Type", typeProtobuf); status != 503 || !strings.Contains(answer, "1 spans are held already") {
		t.Errorf("%d %s", status, answer)
	}
	r.Take()
	mustSend(t, r, wide)
}

// What was refused, from whom and why, can be asked for.
func TestRefused(t *testing.T) {
	r := start(t, Config{}, patient)
	for range 3 {
		send(t, r.URL()+"/v1/traces/v1/traces", message(t, 1), "User-Agent", "OTel-JS/1", "Content-Type", typeProtobuf)
	}
	send(t, r.URL()+tracesPath, []byte("<html>"), "User-Agent", "evil\u009b31m", "Content-Type", typeJSON)
	send(t, r.URL()+tracesPath, encode(t, &tracepb.Span{Name: "no ids"}), "User-Agent", "OTel-Go/2", "Content-Type", typeProtobuf)
	mustSend(t, r, message(t, 1)) // taken

	// gRPC, which is HTTP/2 from the first byte on.
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	h2 := &http.Client{Transport: &http.Transport{Protocols: &protocols}}
	defer h2.CloseIdleConnections()
	resp, err := h2.Post(r.URL()+"/opentelemetry.proto.collector.trace.v1.TraceService/Export", typeGRPC, bytes.NewReader(make([]byte, 5)))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != typeGRPC || resp.Header.Get("Grpc-Status") != "12" ||
		!strings.Contains(resp.Header.Get("Grpc-Message"), "OTEL_EXPORTER_OTLP_PROTOCOL") {
		t.Errorf("gRPC was answered %+v", resp)
	}
	// https to a plain port.
	if _, err := http.Get(strings.Replace(r.URL(), "http", "https", 1)); err == nil {
		t.Error("TLS was answered")
	}

	var got []string
	for _, no := range r.Refused() {
		got = append(got, no.String())
	}
	for i, want := range []string{
		"3 times, from OTel-JS/1: nothing at /v1/traces/v1/traces: this collector takes traces only, POST /v1/traces",
		"1 time, from evil·31m: the body is not an OTLP trace request in JSON: ",
		`1 time, from OTel-Go/2: spans refused: span "no ids" has no usable trace id`,
		"1 time, from Go-http-client/2.0: this port takes OTLP over HTTP, and gRPC was spoken: set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
		"1 time, from 127.0.0.1: TLS was spoken to a port of plain HTTP: the endpoint begins with http://, not https://",
	} {
		if len(got) <= i || !strings.HasPrefix(got[i], want) {
			t.Fatalf("got:\n%s\nwant number %d: %s", strings.Join(got, "\n"), i, want)
		}
	}
	if len(got) != 5 {
		t.Errorf("got:\n%s", strings.Join(got, "\n"))
	}

	for i := range 40 { // however many kinds there are
		r.note("127.0.0.1:1", fmt.Sprint(i), strings.Repeat("x", 1000))
	}
	list := r.Refused()
	last := list[len(list)-1]
	if len(list) != maxRefusals || last.From != "others" || last.Times != 40-(maxRefusals-1-5) || len(list[7].Why) > 310 {
		t.Errorf("%d kinds, the last: %v", len(list), last)
	}
}
