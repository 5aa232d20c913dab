package main

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/aymanbagabas/go-udiff"

	"plaque/scripts/internal/lesson"
)

// stepDiff compares what a reader reads of two steps: main.go and the file that
// is the lesson. Where the lesson stands in another file than before, it is
// shown as new.
func stepDiff(before, after *lesson.Lesson) (string, error) {
	var b strings.Builder
	for _, name := range []string{after.Code, "main.go"} {
		if name == "main.go" && after.Code == "main.go" {
			continue
		}
		was, err := os.ReadFile(filepath.Join(before.Dir, filepath.FromSlash(name)))
		if err != nil && !os.IsNotExist(err) {
			return "", err
		}
		is, err := os.ReadFile(filepath.Join(after.Dir, filepath.FromSlash(name)))
		if err != nil {
			return "", err
		}
		b.WriteString(udiff.Unified(path.Join(before.Step, name), path.Join(after.Step, name), string(was), string(is)))
	}
	if b.Len() == 0 {
		return "", fmt.Errorf("%s and %s do not differ", before.Step, after.Step)
	}
	return b.String(), nil
}

// solutionDiff is what a reader changes in a step's exercise.
func solutionDiff(l *lesson.Lesson) (string, error) {
	was, err := os.ReadFile(l.ExerciseFile())
	if err != nil {
		return "", err
	}
	is, err := os.ReadFile(l.SolutionFile())
	if err != nil {
		return "", err
	}
	// On Windows git may have written other ends of lines.
	unix := func(b []byte) string { return strings.ReplaceAll(string(b), "\r\n", "\n") }
	diff := udiff.Unified("exercise/"+l.Exercise.Code, "exercise/testdata/solution/"+l.Exercise.Code, unix(was), unix(is))
	if diff == "" {
		return "", fmt.Errorf("the exercise of %s and its solution do not differ", l.Step)
	}
	return diff, nil
}
