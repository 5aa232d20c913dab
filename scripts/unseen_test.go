package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"plaque/scripts/internal/report"
	"plaque/scripts/internal/say"
	"plaque/scripts/internal/tour"
	"plaque/steps/kit/see"
)

// When a step drops spans, the tour reports that they do not agree with the
// feed's count, and what to do. The page on traces quotes those words.
func TestDroppedSpansAreTold(t *testing.T) {
	t.Setenv("OTEL_BSP_MAX_QUEUE_SIZE", "1")
	s := findLesson(t, allLessons(t), "04")
	l := newLab(t)
	e := s.Experiments[0]
	e.Acts = e.Acts[1:] // five at a time, whose spans end together
	r, err := l.Run(t.Context(), buildStep(t, "04"), s, e)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	tour.Act(&say.Printer{Out: &out, Width: 1000}, s, e, r.Acts[0])

	page, err := os.ReadFile(filepath.Join(workshop(t), "jaeger", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	quoted := regexp.MustCompile(`(?m)^ *(✗ (?:spans agree|the step's spans).*)$`).FindAllStringSubmatch(string(page), -1)
	if len(quoted) != 2 {
		t.Errorf("the page quotes %q, want two lines", quoted)
	}
	for _, q := range quoted {
		line := strings.ReplaceAll(regexp.QuoteMeta(q[1]), "…", `\d+`)
		if !regexp.MustCompile(`(?m)^ *` + line + `$`).MatchString(out.String()) {
			t.Errorf("the page has\n%s\nand the tour says\n%s", q[1], out.String())
		}
	}
	if r.True() {
		t.Error("all came true, though spans were lost")
	}
}

// The doomed burst of 09 under -error-path: everybody's error, the waiters' too,
// names the spans down to the panic, and where each stands in the source. Without
// the flag it names nothing.
func TestErrorPath(t *testing.T) {
	t.Parallel()
	s := findLesson(t, allLessons(t), "09")
	bin := buildStep(t, "09")
	// at is where some code stands in a file below steps, which must have it once.
	at := func(file, short, code string) string {
		b, err := os.ReadFile(filepath.Join(s.Dir, "..", filepath.FromSlash(file)))
		if err != nil {
			t.Fatal(err)
		}
		before, after, found := strings.Cut(string(b), code)
		if !found || strings.Contains(after, code) {
			t.Fatalf("%s has %q not once", file, code)
		}
		return fmt.Sprintf("%s:%d", short, strings.Count(before, "\n")+1)
	}
	cache := "09-panic-safe/cache/cache.go"
	want := []see.Station{
		{Span: "GET /{$}", At: at("kit/web/web.go", "kit/web/web.go", "next.ServeHTTP(w, r)\n\t})\n\tslog.")},
		{Span: "cache.get", At: at(cache, "cache/cache.go", `tracer.Start(ctx, "cache.get"`)},
		{Span: "flight", At: at(cache, "cache/cache.go", `tracer.Start(ctx, "flight")`)},
		{Panic: "youtube.Doomed", At: at("kit/youtube/youtube.go", "kit/youtube/youtube.go", `panic("doom`)},
	}
	told := func(args ...string) (all []map[string]any, paths [][]see.Station) {
		answers, err := report.DoomedAnswers(t.Context(), append([]string{bin}, args...)...)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range answers {
			body, ok := strings.CutPrefix(a, "500 ")
			var fields map[string]any
			var way struct{ Path []see.Station }
			if !ok || json.Unmarshal([]byte(body), &fields) != nil || json.Unmarshal([]byte(body), &way) != nil {
				t.Fatalf("somebody was told %s", a)
			}
			all, paths = append(all, fields), append(paths, way.Path)
		}
		return all, paths
	}
	all, paths := told("-error-path")
	for i, fields := range all {
		if len(fields) != 3 || !slices.Equal(paths[i], want) {
			t.Errorf("caller %d was told %v, want the path %v", i, fields, want)
		}
	}
	all, _ = told()
	for i, fields := range all {
		if len(fields) != 2 || fields["error"] == nil || fields["trace_id"] == nil {
			t.Errorf("without the flag, caller %d was told %v, want an error and a trace id", i, fields)
		}
	}
}
