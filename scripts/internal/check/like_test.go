package check

import (
	"bytes"
	"maps"
	"strings"
	"testing"

	"plaque/scripts/internal/lesson"
	"plaque/scripts/internal/property"
	"plaque/scripts/internal/say"
)

// A server with a step's marks is most like that step. The page that is named is
// of the step that brings what it lacks.
func TestLike(t *testing.T) {
	all := lessons(t)
	for _, l := range all {
		if like, most := mostLike(all, l.Fingerprint); like != l || most != len(property.All) {
			t.Errorf("%s is most like %s, by %d", l.Step, like.Step, most)
		}
	}
	for _, c := range []struct {
		step    string
		changed map[string]string
		says    []string
	}{
		{"05", nil, []string{"most like step 05, A naive cache: they agree on 26 of 26 properties", "lacks is one-load. The page of step 06 explains it: steps/06-mutex-cache/README.md"}},
		{"07", nil, []string{"lacks is heals. The page of step 08 explains it"}},
		{"09", map[string]string{"silent-ends": "no"}, []string{"most like step 09", "on 25 of 26", "lacks is silent-ends. The page of step 03 explains it"}},
		{"08", map[string]string{"trace-requests": "n/a", "trace-loads": "n/a", "trace-joined": "n/a", "trace-errors": "n/a", "let-go": "n/a"}, []string{"most like step 08", "lacks is first-leaves. The page of step 09 explains it"}},
		{"11", nil, []string{"most like step 11"}},
	} {
		l, err := lesson.Find(all, c.step)
		if err != nil {
			t.Fatal(err)
		}
		has := maps.Clone(l.Fingerprint)
		maps.Copy(has, c.changed)
		var verdicts []Verdict
		for _, p := range property.All {
			verdicts = append(verdicts, Verdict{Property: p.Name, Has: has[p.Name]})
		}
		var b bytes.Buffer
		tellLike(&say.Printer{Out: &b, Width: say.Widest}, all, verdicts)
		flat := strings.Join(strings.Fields(b.String()), " ")
		if lacks := c.step != "11"; strings.Contains(flat, "lacks") != lacks {
			t.Errorf("%s lacks something: %t, and it says:\n%s", c.step, lacks, flat)
		}
		for _, want := range c.says {
			if !strings.Contains(flat, want) {
				t.Errorf("%s with %v: it does not say %q:\n%s", c.step, c.changed, want, flat)
			}
		}
	}
}
