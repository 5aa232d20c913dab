// Package diff compares the code of two steps, and an exercise with its solution.
package diff

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/aymanbagabas/go-udiff"

	"plaque/scripts/internal/lesson"
)

// Steps compares what a reader reads of two steps: main.go and the file that
// is the lesson. Where the lesson stands in another file than before, it is
// shown as new.
func Steps(before, after *lesson.Lesson) (string, error) {
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
		text, err := unified(path.Join(before.Step, name), path.Join(after.Step, name), was, is)
		if err != nil {
			return "", err
		}
		b.WriteString(text)
	}
	if b.Len() == 0 {
		return "", fmt.Errorf("%s and %s do not differ", before.Step, after.Step)
	}
	return b.String(), nil
}

// Solution is what a reader changes in a step's exercise.
func Solution(l *lesson.Lesson) (string, error) {
	was, err := os.ReadFile(l.ExerciseFile())
	if err != nil {
		return "", err
	}
	is, err := os.ReadFile(l.SolutionFile())
	if err != nil {
		return "", err
	}
	diff, err := unified("exercise/"+l.Exercise.Code, "exercise/testdata/solution/"+l.Exercise.Code, was, is)
	if err != nil {
		return "", err
	}
	if diff == "" {
		return "", fmt.Errorf("the exercise of %s and its solution do not differ", l.Step)
	}
	return diff, nil
}

// unified is the difference of two files as `diff -u` writes it; "" if there is
// none.
func unified(oldName, newName string, was, is []byte) (string, error) {
	// On Windows git may have written other ends of lines.
	unix := func(b []byte) string { return strings.ReplaceAll(string(b), "\r\n", "\n") }
	u, err := udiff.ToUnifiedDiff(oldName, newName, unix(was), shortest(unix(was), unix(is)), udiff.DefaultContextLines)
	if err != nil {
		return "", err
	}
	// The library (v0.4.1) forgets the lines between two changes of one hunk when
	// it counts where the next hunk begins in the new file.
	longer := 0
	for _, h := range u.Hunks {
		h.ToLine = h.FromLine + longer
		for _, l := range h.Lines {
			switch l.Kind {
			case udiff.Insert:
				longer++
			case udiff.Delete:
				longer--
			}
		}
	}
	return u.String(), nil
}

// shortest is the smallest set of edits that makes is of was, line by line. The
// library's own is up to a tenth longer where much has changed.
func shortest(was, is string) (edits []udiff.Edit) {
	a, b := slices.Collect(strings.Lines(was)), slices.Collect(strings.Lines(is))
	// common[i][j] is how many lines a[i:] and b[j:] have in common, in order.
	common := make([][]int, len(a)+1)
	for i := range common {
		common[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if common[i][j] = max(common[i+1][j], common[i][j+1]); a[i] == b[j] {
				common[i][j] = 1 + common[i+1][j+1]
			}
		}
	}
	at := 0 // in was
	for i, j := 0, 0; i < len(a) || j < len(b); {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			at += len(a[i])
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && common[i+1][j] >= common[i][j+1]:
			edits = append(edits, udiff.Edit{Start: at, End: at + len(a[i])})
			at += len(a[i])
			i++
		default:
			edits = append(edits, udiff.Edit{Start: at, End: at, New: b[j]})
			j++
		}
	}
	return edits
}
