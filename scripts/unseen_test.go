package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"plaque/scripts/internal/lab"
	"plaque/scripts/internal/lesson"
)

// When a step drops spans, the tour says that they do not agree with the feed's
// count, and what to do, in the words that the front page quotes.
func TestDroppedSpansAreTold(t *testing.T) {
	t.Setenv("OTEL_BSP_MAX_QUEUE_SIZE", "1")
	s, err := lesson.Find(allLessons(t), "04")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	bin := lab.BinPath(dir, s)
	if err := lab.Build(t.Context(), s.Dir, ".", bin, ""); err != nil {
		t.Fatal(err)
	}
	root, err := lab.Root(".")
	if err != nil {
		t.Fatal(err)
	}
	hey, err := lab.BuildHey(t.Context(), root, dir)
	if err != nil {
		t.Fatal(err)
	}
	l, err := lab.New(t.Context(), hey, "")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	e := s.Experiments[0]
	e.Acts = e.Acts[1:] // five at a time, whose spans end together
	r, err := l.Run(t.Context(), bin, s, e)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	newPrinter(&out).act(s, e, r.Acts[0], 0)

	page, err := os.ReadFile(filepath.Join(root, "README.md"))
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
