package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// traceMinutes is what 00 claims; the steps say it in their lesson files.
const traceMinutes = 8

// How long a page takes. The rates are stated in steps/README.md.
const (
	wordsAMinute   = 170 // of prose, as read by one who wants to understand
	codeAMinute    = 15  // lines of Go, and of diffs that are not folded
	drawingsMinute = 35  // lines of pictures and of output
	runMinutes     = 1.0 // a block of commands: type, wait, look
	imageMinutes   = 0.5 // a picture of Jaeger, beside the question about it
)

// weight is what a reader meets on a page that nobody has folded away.
type weight struct {
	words, code, drawings, runs, images int
}

func (w weight) minutes() float64 {
	return float64(w.words)/wordsAMinute + float64(w.code)/codeAMinute + float64(w.drawings)/drawingsMinute +
		float64(w.runs)*runMinutes + float64(w.images)*imageMinutes
}

var (
	folded    = regexp.MustCompile(`(?s)<details.*?</details>`)
	fenced    = regexp.MustCompile("(?ms)^[ ]*```(\\w*)\n(.*?)^[ ]*```$")
	commented = regexp.MustCompile(`(?s)<!--.*?-->`)
	pictured  = regexp.MustCompile(`!\[[^\]]*\]\([^)]*\)|<img [^>]*>`)
	summary   = regexp.MustCompile(`(?s)<summary>(.*?)</summary>`)
	link      = regexp.MustCompile(`\]\([^)]*\)`)
	markup    = regexp.MustCompile("[|#>*_`\\[\\]·]|<[^>]*>|:?-{2,}:?")
)

// weigh counts what is not folded. The line of a fold is read.
func weigh(page string) (w weight) {
	page = strings.ReplaceAll(page, "\r\n", "\n")
	page = folded.ReplaceAllStringFunc(page, func(s string) string {
		if m := summary.FindStringSubmatch(s); m != nil {
			return m[1]
		}
		return ""
	})
	page = fenced.ReplaceAllStringFunc(page, func(s string) string {
		m := fenced.FindStringSubmatch(s)
		lines := strings.Count(m[2], "\n")
		switch m[1] {
		case "sh":
			w.runs++
		case "text":
			w.drawings += lines
		default:
			w.code += lines
		}
		return ""
	})
	page = commented.ReplaceAllString(page, "")
	w.images = len(pictured.FindAllString(page, -1))
	page = link.ReplaceAllString(pictured.ReplaceAllString(page, ""), "")
	w.words = len(strings.Fields(markup.ReplaceAllString(page, " ")))
	return w
}

// Each page takes no longer than it claims, and 00 to 09 together two hours. An
// exercise whose minutes its lesson states is part of them.
func TestMinutes(t *testing.T) {
	root := workshop(t)
	core := 0
	one := func(name, path string, claimed int, exercise float64, inCore bool) {
		page, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
			return
		}
		w := weigh(string(page))
		if path == filepath.Join(root, "README.md") {
			w.runs = 0 // the pages behind it say when to run them
		}
		took := w.minutes() + exercise
		t.Logf("%-20s %5d words %4d code %4d drawings %2d runs %2d images  %4.1f min, claimed %d", name, w.words, w.code, w.drawings, w.runs, w.images, took, claimed)
		if math.Round(took) > float64(claimed) {
			t.Errorf("%s takes %.1f minutes and claims %d: fold or cut", name, took, claimed)
		}
		if inCore {
			core += claimed
		}
	}
	one("front page", filepath.Join(root, "README.md"), 3, 0, false)
	one("00", filepath.Join(root, "jaeger", "README.md"), traceMinutes, 0, true)
	for _, l := range allLessons(t) {
		one(l.Step, filepath.Join(l.Dir, "README.md"), l.Minutes, float64(l.Exercise.Minutes), l.Number() < "10")
	}
	if core > 120 {
		t.Errorf("00 to 09 claim %d minutes, and two hours are the promise", core)
	}
}

func TestWeigh(t *testing.T) {
	page := "# One two\n\nThree [four](x.md). <!-- five -->\n\n```go\na\nb\n```\n\n<details><summary>six</summary>\n\nseven\n\n```go\nc\n```\n\n</details>\n\n```sh\nrun\n```\n\n![eight](y.png)\n\n```text\nz\n```\n"
	if got, want := fmt.Sprint(weigh(page)), fmt.Sprint(weight{words: 5, code: 2, drawings: 1, runs: 1, images: 1}); got != want {
		t.Errorf("weighed %s, want %s", got, want)
	}
}
