package lab

import (
	"strings"
	"testing"
)

// FuzzHey: whatever hey prints, there is a count for each kind of answer, or an
// error.
func FuzzHey(f *testing.F) {
	f.Add("Summary:\n  Slowest:\t0.0500 secs\n\nResponse time histogram:\n  0.050 [1]\t|■■\n\n\nStatus code distribution:\n  [200]\t5 responses\n  [502]\t1 responses\n")
	f.Add("Status code distribution:\n\nError distribution:\n  [5]\tGet \"http://127.0.0.1:1/\": EOF\n")
	f.Add("  Slowest:\tNaN secs\n10%% in NaN secs\nStatus code distribution:\n")
	f.Add("Status code distribution:\n  [200]\t99999999999999999999 responses\n")
	f.Fuzz(func(t *testing.T, report string) {
		text := tidy(report)
		if strings.Contains(text, "\n\n\n") {
			t.Errorf("it is not tidy: %q", text)
		}
		answers, err := parseHey(text)
		if err != nil && answers != nil || err == nil && answers == nil {
			t.Errorf("%v, %v", answers, err)
		}
		for what, n := range answers {
			if what == "" || n < 0 {
				t.Errorf("%d times %q", n, what)
			}
		}
		if seconds, err := Slowest(text); err == nil && !(seconds >= 0) {
			t.Errorf("the slowest took %v s", seconds)
		}
		if h := Histogram(text); h != "" && !strings.Contains(text, h) {
			t.Errorf("the histogram is not in the report: %q", h)
		}
	})
}
