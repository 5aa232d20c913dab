package saved

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"plaque/scripts/internal/jaeger"
	"plaque/scripts/internal/lab"
	"plaque/scripts/internal/lesson"
	"plaque/scripts/internal/otlp"
)

// A saved trace is what Jaeger's own API answers: read as such, it has the spans,
// their parents, links, events and errors. Nothing else is left in the folder.
func TestSave(t *testing.T) {
	id, other := strings.Repeat("1", 32), strings.Repeat("2", 32)
	at := time.UnixMicro(1_700_000_000_000_000)
	spans := []otlp.Span{
		{TraceID: id, ID: "b", Parent: "a", Service: "plaque", Version: "05", Name: "cache.get", Start: at.Add(time.Millisecond), End: at.Add(3 * time.Millisecond),
			Attrs: map[string]string{"cache.result": "joined"}, Links: []otlp.Link{{TraceID: other, ID: "f"}},
			Events: []otlp.Event{{Name: "exception", Time: at, Attrs: map[string]string{"exception.message": "boom"}}}, Status: "error", Message: "boom"},
		{TraceID: id, ID: "a", Service: "load", Name: "burst", Start: at, End: at.Add(4 * time.Millisecond)},
		{TraceID: other, ID: "x", Service: "plaque", Name: "accept", Start: at, End: at},
	}
	dir := filepath.Join(t.TempDir(), "traces")
	f, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	r := &lab.Result{Experiment: lesson.Experiment{Name: "the stampede: 5 × 2"}, Acts: []*lab.Outcome{{}, {TraceID: id, Spans: spans}}}
	if n, err := f.Save("05-naive-cache", r); n != 1 || err != nil {
		t.Fatalf("saved %d, %v", n, err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 || files[0].Name() != "05-naive-cache-the-stampede-5-2-2.json" {
		t.Fatalf("in the folder there is %v, %v", files, err)
	}
	b, err := os.ReadFile(filepath.Join(dir, files[0].Name()))
	if err != nil {
		t.Fatal(err)
	}
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(b) }))
	defer api.Close()
	trace, err := (&jaeger.Server{API: api.URL}).Trace(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if len(trace.Spans) != 2 {
		t.Fatalf("it has %d spans, want the 2 of its trace", len(trace.Spans))
	}
	burst, get := trace.Spans[0], trace.Spans[1]
	if burst.Name != "burst" || burst.Service != "load" || burst.StartTime != at.UnixMicro() || burst.Duration != 4000 || len(burst.References) != 0 {
		t.Errorf("the burst is %+v", burst)
	}
	if get.Service != "plaque" || get.Process["service.version"] != "05" || get.Tags["cache.result"] != "joined" || get.Tags["error"] != true {
		t.Errorf("the cache.get is %+v", get)
	}
	want := []jaeger.Reference{{Type: "CHILD_OF", TraceID: id, SpanID: "a"}, {Type: "FOLLOWS_FROM", TraceID: other, SpanID: "f"}}
	if len(get.References) != 2 || get.References[0] != want[0] || get.References[1] != want[1] {
		t.Errorf("its references are %+v, want %+v", get.References, want)
	}
	if len(get.Logs) != 1 || get.Logs[0].Fields["exception.message"] != "boom" {
		t.Errorf("its events are %+v", get.Logs)
	}
}

func TestNoFolder(t *testing.T) {
	taken := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(taken, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"", taken} {
		if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "no traces can be written") {
			t.Errorf("%q: %v", dir, err)
		}
	}
}
