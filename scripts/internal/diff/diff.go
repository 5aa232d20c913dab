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
	all := ""
	for _, name := range slices.Compact([]string{after.Code, "main.go"}) {
		file := filepath.FromSlash(name)
		text, err := unified(path.Join(before.Step, name), path.Join(after.Step, name), filepath.Join(before.Dir, file), filepath.Join(after.Dir, file))
		if err != nil {
			return "", err
		}
		all += text
	}
	if all == "" {
		return "", fmt.Errorf("%s and %s do not differ", before.Step, after.Step)
	}
	return all, nil
}

// Solution is what a reader changes in a step's exercise.
func Solution(l *lesson.Lesson) (string, error) {
	text, err := unified("exercise/"+l.Exercise.Code, "exercise/testdata/solution/"+l.Exercise.Code, l.ExerciseFile(), l.SolutionFile())
	if err == nil && text == "" {
		err = fmt.Errorf("the exercise of %s and its solution do not differ", l.Step)
	}
	return text, err
}

// unified is the difference of two files as `diff -u` writes it; "" if there is
// none. All of the new file is new where there is no old one.
func unified(oldName, newName, oldFile, newFile string) (string, error) {
	old, err := os.ReadFile(oldFile)
	if err != nil && !os.IsNotExist(err) {
		return "", err
	}
	now, err := os.ReadFile(newFile)
	if err != nil {
		return "", err
	}
	// On Windows git may have written other ends of lines.
	unix := strings.NewReplacer("\r\n", "\n").Replace
	was, is := unix(string(old)), unix(string(now))
	u, err := udiff.ToUnifiedDiff(oldName, newName, was, shortest(was, is), udiff.DefaultContextLines)
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
