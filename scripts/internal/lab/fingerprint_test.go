package lab

import (
	"testing"

	"plaque/scripts/internal/lesson"
)

// The table on the front page: every step has what its row says, and has not yet
// what the row says that it has not.
func TestFingerprints(t *testing.T) {
	l := newLab(t, "")
	for _, step := range lessons(t) {
		t.Run(step.Step, func(t *testing.T) {
			row, err := l.Fingerprint(t.Context(), build(t, step, nil), step)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range lesson.Properties {
				if got, want := row[p.Name], step.Fingerprint[p.Name]; got != want {
					t.Errorf("%s: measured %q, the lesson says %q", p.Says, got, want)
				}
			}
		})
	}
}
