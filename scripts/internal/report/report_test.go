package report

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"plaque/scripts/internal/lesson"
	"plaque/scripts/internal/otlp"
	"plaque/scripts/internal/waterfall"
)

const page = "# Page\n\n<!-- generated: a -->\nold\n<!-- end -->\n\ntext\n<!-- generated: b -->\n<!-- end -->\n"

func TestFill(t *testing.T) {
	blocks := map[string]string{"a": "new a\n", "b": "new b"}
	once, err := Fill(page, blocks)
	if err != nil {
		t.Fatal(err)
	}
	want := "# Page\n\n<!-- generated: a -->\nnew a\n<!-- end -->\n\ntext\n<!-- generated: b -->\nnew b\n<!-- end -->\n"
	if once != want {
		t.Errorf("filled:\n%s\nwant:\n%s", once, want)
	}
	if twice, err := Fill(once, blocks); twice != once || err != nil {
		t.Errorf("filled again it is another page (%v)", err)
	}
}

func TestFillBroken(t *testing.T) {
	both := map[string]string{"a": "", "b": ""}
	for _, c := range []struct {
		name, page string
		blocks     map[string]string
		want       string
	}{
		{"a block that nobody fills", page, map[string]string{"a": ""}, `no block "b"`},
		{"a text without a block", page, map[string]string{"a": "", "b": "", "c": ""}, `no block "c"`},
		{"no end", strings.Replace(page, "<!-- end -->", "", 1), both, "has no end"},
		{"no beginning", strings.Replace(page, "<!-- generated: a -->", "", 1), both, "without a beginning"},
		{"not closed", "<!-- generated: a", both, "not closed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := Fill(c.page, c.blocks); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("the error is %v, want %s", err, c.want)
			}
		})
	}
}

func TestUpdate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "README.md")
	if err := os.WriteFile(path, []byte(page), 0o600); err != nil {
		t.Fatal(err)
	}
	blocks := map[string]string{"a": "new a", "b": "new b"}
	if err := Update(path, blocks, true); err == nil || !strings.Contains(err.Error(), "line 4 is\n  old\nand should be\n  new a") {
		t.Errorf("a check of an old page gives %v, want the line that differs", err)
	}
	if b, _ := os.ReadFile(path); string(b) != page {
		t.Error("the check has changed the page")
	}
	if err := Update(path, blocks, false); err != nil {
		t.Fatal(err)
	}
	if err := Update(path, blocks, true); err != nil {
		t.Errorf("a check after the update: %v", err)
	}
}

func TestExercise(t *testing.T) {
	got := Exercise(&lesson.Lesson{Step: "05-five", Exercise: lesson.Exercise{
		Asks:  "Why?\nAnd how?",
		Code:  "cache.go",
		Fails: map[string]string{"bounded": "no end", "one-load": "30 loads"},
		Keeps: []string{"expires", "remembers"},
		Hints: []string{"Look.", "Look\nagain."},
		Why:   "Because.",
	}}, "-old\n+new\n")
	const want = "Why? And how?\n\n" +
		"The file to mend is [exercise/cache.go](exercise/cache.go).\n\n" +
		"<!-- fails: and lacks 2. -->\n```sh\ngo run ./scripts check --exercise 05\n```\n\n" +
		"At first it finds:\n\n" +
		"- ✗ many callers that miss one key at once make one load: 30 loads\n" +
		"- ✗ callers of a load that does not end are all answered within two load timeouts: no end\n\n" +
		"These must stay so:\n\n" +
		"- ✓ the answer is remembered for 5 s\n" +
		"- ✓ an answer older than 5 s is loaded again\n\n" +
		"<details><summary>Hint 1</summary>\n\nLook.\n\n</details>\n\n" +
		"<details><summary>Hint 2</summary>\n\nLook again.\n\n</details>\n\n" +
		"<details><summary>Solution</summary>\n\nBecause.\n\n```diff\n-old\n+new\n```\n\n</details>\n"
	if got != want {
		t.Errorf("the exercise is\n%s\nwant\n%s", got, want)
	}
}

// burst is a coalesced burst as one run has it: times differ a little, and who
// was first.
func burst(r *rand.Rand) []otlp.Span {
	const second = time.Second
	began := time.Unix(1000, 0).Add(time.Duration(r.Int64N(int64(time.Hour))))
	jitter := func(d time.Duration) time.Time {
		return began.Add(d + time.Duration(r.Int64N(int64(100*time.Millisecond))))
	}
	id := func() string { return string("0123456789abcdef"[r.IntN(16)]) + time.Duration(r.Int64()).String() }
	root := otlp.Span{TraceID: id(), ID: id(), Service: "load", Name: "burst", Start: began, End: jitter(second)}
	spans := []otlp.Span{root}
	add := func(parent otlp.Span, name, result string, from, to time.Duration) otlp.Span {
		s := otlp.Span{TraceID: root.TraceID, ID: id(), Parent: parent.ID, Service: "plaque", Name: name,
			Start: jitter(from), End: jitter(to), Attrs: map[string]string{"cache.result": result}}
		spans = append(spans, s)
		return s
	}
	flight := add(add(root, "cache.get", "miss", 0, second), "flight", "", 0, second)
	for range 4 {
		add(root, "cache.get", "joined", 0, second)
		spans[len(spans)-1].Links = []otlp.Link{{TraceID: root.TraceID, ID: flight.ID}}
	}
	for range 5 {
		add(root, "cache.get", "hit", second, second)
	}
	r.Shuffle(len(spans), func(i, j int) { spans[i], spans[j] = spans[j], spans[i] })
	return spans
}

// Every run of an act gives the same picture.
func TestStill(t *testing.T) {
	var want string
	for seed := range uint64(200) {
		var b bytes.Buffer
		if err := waterfall.Waterfall(&b, Still(burst(rand.New(rand.NewPCG(seed, 1)))), waterfall.Options{}); err != nil {
			t.Fatal(err)
		}
		if want == "" {
			want = b.String()
			for _, line := range []string{"miss", "← 4 joined", "joined → flight a", "1.00 s"} {
				if !strings.Contains(want, line) {
					t.Errorf("the picture does not say %q:\n%s", line, want)
				}
			}
		}
		if b.String() != want {
			t.Fatalf("run %d gives another picture:\n%s\nthe first was:\n%s", seed, b.String(), want)
		}
	}
}

// Of callers that begin together and do as much, the slowest stands first: a
// quick one stands below the slow ones, as it came.
func TestStillPutsTheQuickLast(t *testing.T) {
	began := time.Unix(1000, 0)
	for _, order := range [][]string{{"slow", "quick"}, {"quick", "slow"}} {
		var spans []otlp.Span
		for i, name := range order {
			end := began.Add(time.Second)
			if name == "quick" {
				end = began
			}
			spans = append(spans, otlp.Span{TraceID: "t", ID: string(rune('a' + i)), Name: "ask " + name, Start: began, End: end})
		}
		if got := Still(spans); got[0].Name != "ask slow" || got[1].Name != "ask quick" {
			t.Errorf("from %v the order is %q, %q", order, got[0].Name, got[1].Name)
		}
	}
}

// A page shows what has replaced a few lines, and leaves long deletions out.
func TestWithoutDeletions(t *testing.T) {
	deleted := func(n int) string { return strings.Repeat("-old\n", n) }
	head := "--- a/x.go\n+++ b/x.go\n@@ -1,9 +1,2 @@\n"
	for name, c := range map[string]struct{ diff, want string }{
		"few":    {head + deleted(mostDeleted) + "+new\n same\n", head + deleted(mostDeleted) + "+new\n same\n"},
		"many":   {head + deleted(mostDeleted+1) + "+new\n same\n", head + fmt.Sprintf("-… %d lines\n+new\n same\n", mostDeleted+1)},
		"at end": {head + "+new\n" + deleted(20), head + "+new\n-… 20 lines\n"},
	} {
		if got := withoutDeletions(c.diff); got != c.want {
			t.Errorf("%s:\n%s\nwant:\n%s", name, got, c.want)
		}
	}
	was, is := &lesson.Lesson{Step: "01-one"}, &lesson.Lesson{Step: "02-two"}
	if got := Changed(was, is, head+deleted(20)); !strings.Contains(got, "0 lines more, 20 lines less than in 01-one") || !strings.Contains(got, "`go run ./scripts diff --code 02`") {
		t.Errorf("a page with a long deletion counts it and says where it stands:\n%s", got)
	}
}
