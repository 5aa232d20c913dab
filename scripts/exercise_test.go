package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"plaque/scripts/internal/build"
	"plaque/scripts/internal/diff"
	"plaque/scripts/internal/report"
)

// Every exercise is a program as it stands, and with its solution, at which
// nothing else looks: it is in testdata. What they do wrong and right is the
// checker's to say.
func TestExercisesCompile(t *testing.T) {
	lessons := allLessons(t)
	for _, l := range lessons {
		if _, err := diff.Solution(l); err != nil {
			t.Error(err)
		}
		for name, replace := range map[string]map[string]string{
			"exercise": {},
			"solution": {l.ExerciseFile(): l.SolutionFile()},
		} {
			t.Run(l.Number()+" "+name, func(t *testing.T) {
				overlay := filepath.Join(t.TempDir(), "overlay.json")
				if err := build.WriteOverlay(overlay, replace); err != nil {
					t.Fatal(err)
				}
				// It fails on what does not compile, too, and is quicker.
				vet := exec.CommandContext(t.Context(), "go", "vet", "-overlay", overlay, "./exercise")
				vet.Dir = l.Dir
				if out, err := vet.CombinedOutput(); err != nil {
					t.Errorf("go vet: %v\n%s", err, out)
				}
			})
		}
	}
}

// The pages show the exercises as they are: `pages` says so, too, but only after
// a run of all experiments.
func TestExercisesOnPages(t *testing.T) {
	lessons := allLessons(t)
	for _, l := range lessons {
		diff, err := diff.Solution(l)
		if err != nil {
			t.Fatal(err)
		}
		page, err := os.ReadFile(filepath.Join(l.Dir, "README.md"))
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(page), "\r\n", "\n")
		want := "<!-- generated: exercise -->\n" + strings.Trim(report.Exercise(l, diff), "\n") + "\n<!-- end -->"
		if !strings.Contains(text, want) {
			t.Errorf("%s: its exercise is out of date: run `go run ./scripts pages %s`", l.Step, l.Number())
		}
	}
}
