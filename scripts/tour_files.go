package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"plaque/scripts/internal/lesson"
	"plaque/scripts/internal/page"
	"plaque/scripts/internal/saved"
	"plaque/scripts/internal/say"
	"plaque/scripts/internal/tour"
)

// tourFiles are what a tour leaves beside its text.
type tourFiles struct {
	report []*page.File
	traces saved.Folder // "" for none
}

// write writes the files. ended is why the tour has ended early, or nil: what it has
// seen until then is true.
func (f tourFiles) write(ctx context.Context, e *env, t *tour.Tour, when time.Time, ended error) error {
	err := ended
	if f.report != nil {
		err = errors.Join(err, e.report(ctx, f.report, t, when, ended))
	}
	if f.traces == "" {
		return err
	}
	n := 0
	for _, v := range t.Visits {
		for _, r := range v.Results {
			more, failed := f.traces.Save(v.Lesson.Step, r)
			n, err = n+more, errors.Join(err, failed)
		}
	}
	fmt.Fprintf(e.stderr, "%s in %s: choose Upload on Jaeger's search page\n\n", say.Plural(n, "trace"), f.traces)
	return err
}

// openReport makes sure that a page can be written to the folder, and slides of
// these steps if they are wanted.
func openReport(dir string, slides bool, steps []*lesson.Lesson) ([]*page.File, error) {
	switch {
	case dir == "" && slides:
		return nil, errUsage{errors.New("--slides writes them beside the report: name its folder, such as `go run ./scripts tour --report out --slides`")}
	case dir == "":
		return nil, errUsage{errors.New("--report takes a folder, such as `go run ./scripts tour --report out`")}
	}
	if slides && !slices.ContainsFunc(steps, asks) {
		return nil, errNoQuestions
	}
	f, err := page.Open(dir)
	if err != nil {
		return nil, errUsage{err}
	}
	if !slides {
		return []*page.File{f}, nil
	}
	s, err := page.OpenSlides(dir)
	if err != nil {
		return nil, errUsage{err}
	}
	return []*page.File{f, s}, nil
}
