package lesson

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"plaque/scripts/internal/property"
)

// FuzzRead: whatever a lesson's file holds, it is refused with an error, or can be
// asked all that the commands ask of it.
func FuzzRead(f *testing.F) {
	paths, err := filepath.Glob(filepath.Join("..", "..", "..", "steps", "*", File))
	if err != nil || len(paths) == 0 {
		f.Fatalf("no lessons: %v", err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("title: x\nexperiments: [{name: a, acts: [{}]}]\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Add([]byte("- 1\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		l := &Lesson{Step: "05-naive-cache", Dir: filepath.Join("..", "..", "..", "steps", "05-naive-cache")}
		if err := l.read(bytes.NewReader(text)); err != nil {
			if err.Error() == "" {
				t.Error("it is refused without a reason")
			}
			return
		}
		for _, p := range property.All {
			switch l.Fingerprint[p.Name] {
			case "yes", "no", "n/a":
			default:
				t.Errorf("%s: %q was taken", p.Name, l.Fingerprint[p.Name])
			}
		}
		l.ReadsFeed()
		l.Flies()
		l.Stampedes()
		l.Coalesces()
		l.Exercise.Properties()
		_, _ = Find([]*Lesson{l}, "05")
		if x, act := Shown(l, l); act >= 0 && act >= len(x.Acts) {
			t.Errorf("act %d of %d is shown", act, len(x.Acts))
		}
	})
}
