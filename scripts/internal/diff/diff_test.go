package diff

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"plaque/scripts/internal/lesson"
)

// A hunk begins at the lines that its head names, in both files.
func TestUnified(t *testing.T) {
	lessons, err := lesson.All(filepath.Join("..", "..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	hunks := 0
	for i := 1; i < len(lessons); i++ {
		if lessons[i-1].Code != lessons[i].Code {
			continue
		}
		var files [2]string
		var lines [2][]string
		for j, l := range lessons[i-1 : i+1] {
			files[j] = filepath.Join(l.Dir, filepath.FromSlash(l.Code))
			b, err := os.ReadFile(files[j])
			if err != nil {
				t.Fatal(err)
			}
			lines[j] = strings.Split(string(b), "\n")
		}
		text, err := unified("a", "b", files[0], files[1])
		if err != nil {
			t.Fatal(err)
		}
		var at [2]int // the next line in each file, from 1
		for line := range strings.Lines(text) {
			line = strings.TrimSuffix(line, "\n")
			var n, m int
			if k, _ := fmt.Sscanf(line, "@@ -%d,%d +%d", &at[0], &n, &at[1]); k == 3 {
				hunks++
				continue
			} else if k, _ := fmt.Sscanf(line, "@@ -%d +%d", &n, &m); k > 0 || strings.HasPrefix(line, "---") || strings.HasPrefix(line, "+++") {
				continue
			}
			for j, marks := range []string{" -", " +"} {
				if !strings.Contains(marks, line[:1]) {
					continue
				}
				if lines[j][at[j]-1] != line[1:] {
					t.Fatalf("%s: the diff has %q at line %d, where there is %q", lessons[i].Step, line, at[j], lines[j][at[j]-1])
				}
				at[j]++
			}
		}
	}
	if hunks < 10 {
		t.Errorf("only %d hunks looked at", hunks)
	}
}
