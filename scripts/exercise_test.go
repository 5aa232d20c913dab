package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"plaque/scripts/internal/build"
	"plaque/scripts/internal/diff"
	"plaque/scripts/internal/report"
	"plaque/steps/kit/need"
)

// Every exercise is a program as it stands, and with its solution, at which
// nothing else looks: it is in testdata. What they do wrong and right is the
// checker's to say.
func TestExercisesCompile(t *testing.T) {
	t.Parallel()
	lessons := allLessons(t)
	packages := []string{"vet"}
	solved := map[string]string{}
	for _, l := range lessons {
		if _, err := diff.Solution(l); err != nil {
			t.Error(err)
		}
		packages = append(packages, "./steps/"+l.Step+"/exercise")
		solved[l.ExerciseFile()] = l.SolutionFile()
	}
	need.Gate(t, "vetting all exercises takes half a minute of two cores")
	for name, replace := range map[string]map[string]string{"exercise": {}, "solution": solved} {
		overlay := filepath.Join(t.TempDir(), "overlay.json")
		if err := build.WriteOverlay(overlay, replace); err != nil {
			t.Fatal(err)
		}
		// It fails on what does not compile, too, and is quicker.
		vet := exec.CommandContext(t.Context(), "go", slices.Insert(slices.Clone(packages), 1, "-overlay", overlay)...)
		vet.Dir = workshop(t)
		if out, err := vet.CombinedOutput(); err != nil {
			t.Errorf("%s: go vet: %v\n%s", name, err, out)
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
