package main

import (
	"io"
	"testing"

	"plaque/scripts/internal/report"
)

// The pages that tell of all steps are what the lessons and the code say.
// `go run ./scripts pages` writes them again.
func TestOverview(t *testing.T) {
	root := workshop(t)
	w := &report.Writer{Root: root, Lessons: allLessons(t), Check: true, Log: io.Discard}
	if err := w.Overview(); err != nil {
		t.Error(err)
	}
}
