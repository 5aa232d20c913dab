package main

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"plaque/scripts/internal/diff"
	"plaque/scripts/internal/lesson"
	"plaque/scripts/internal/page"
	"plaque/scripts/internal/tour"
)

// report writes the files of the steps that have been visited, and says where they
// stand. ended is why the tour has ended early, or nil. Where no step has been
// visited there is nothing to tell, and older files stay.
func (e *env) report(ctx context.Context, files []*page.File, t *tour.Tour, when time.Time, ended error) error {
	if len(t.Visits) == 0 {
		return nil
	}
	p := page.Tour{
		Took: t.Took, When: when, On: fmt.Sprintf("%s, %s/%s", runtime.Version(), runtime.GOOS, runtime.GOARCH),
		Private: page.PrivateWords(e.root, t.Bins.Dir()), Notes: tour.Notes,
	}
	if t.Jaeger != nil {
		p.Jaeger = t.Jaeger.TraceURL
	}
	switch {
	case ended != nil && ctx.Err() != nil:
		p.Ended = "Somebody stopped it."
	case ended != nil:
		p.Ended = ended.Error()
	}
	for _, r := range t.Visits {
		s := page.Step{Lesson: r.Lesson, Before: lesson.Before(e.lessons, r.Lesson), Results: r.Results}
		if s.Before != nil {
			var err error
			if s.Diff, err = diff.Steps(s.Before, s.Lesson); err != nil {
				return err
			}
		}
		p.Steps = append(p.Steps, s)
	}
	for _, f := range files {
		if err := f.Write(p); err != nil {
			return fmt.Errorf("the report could not be written: %w", err)
		}
		fmt.Fprintf(e.stderr, "the report: %s\n", f.Path())
	}
	fmt.Fprintln(e.stderr)
	return nil
}
