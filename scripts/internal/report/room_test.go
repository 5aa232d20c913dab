package report

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"plaque/scripts/internal/build"
	"plaque/scripts/internal/lesson"
)

// The minutes of each run sheet add up to its length. Each row begins where the
// one before ends, and a lesson that takes longer is an error.
func TestRunSheets(t *testing.T) {
	root, err := build.Root(".")
	if err != nil {
		t.Fatal(err)
	}
	all, err := lesson.All(root)
	if err != nil {
		t.Fatal(err)
	}
	text, err := RunSheets(all)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for part := range strings.SplitSeq(text, "### ") {
		head, rows, _ := strings.Cut(part, " minutes\n")
		length, err := strconv.Atoi(head)
		if err != nil {
			continue
		}
		found++
		at, steps := 0, 0
		for line := range strings.Lines(rows) {
			cells := strings.Split(line, "|")
			if len(cells) < 5 || !strings.Contains(cells[1], ":") || strings.Contains(cells[1], "-") {
				continue
			}
			if want := fmt.Sprintf("%d:%02d", at/60, at%60); strings.TrimSpace(cells[1]) != want {
				t.Errorf("%d minutes: a row begins at %s, and the one before ends at %s", length, cells[1], want)
			}
			minutes, err := strconv.Atoi(strings.TrimSpace(cells[2]))
			if err != nil || minutes < 1 {
				t.Errorf("%d minutes: %q minutes", length, cells[2])
			}
			at += minutes
			if strings.Contains(cells[3], "tour --ask") {
				steps++
			}
		}
		if at != length || steps < 4 {
			t.Errorf("the sheet of %d minutes has %d, and %d steps", length, at, steps)
		}
	}
	if found != len(sheets) {
		t.Errorf("%d sheets, want %d:\n%s", found, len(sheets), text)
	}
	for _, l := range all {
		for length := range l.Room.Minutes {
			if length != 45 && length != 90 && length != 180 {
				t.Errorf("%s has minutes for a sheet of %d, which is not written", l.Step, length)
			}
		}
	}
	long := *all[4]
	long.Room.Minutes = map[int]int{45: 45}
	if _, err := RunSheets([]*lesson.Lesson{&long}); err == nil || !strings.Contains(err.Error(), "45 minutes") {
		t.Errorf("a lesson that takes all the time: %v", err)
	}
}
