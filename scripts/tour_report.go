package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"plaque/scripts/internal/diff"
	"plaque/scripts/internal/lesson"
	"plaque/scripts/internal/page"
	"plaque/scripts/internal/saved"
	"plaque/scripts/internal/say"
	"plaque/scripts/internal/tour"
)

// openReport makes sure that a page can be written to the folder, and slides of
// these steps if they are wanted.
func openReport(dir string, slides bool, steps []*lesson.Lesson) ([]*page.File, error) {
	if dir == "" {
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

// report writes the files of the steps that have been visited, and says where they
// stand. ended is why the tour has ended early, or nil. Where no step has been
// visited there is nothing to tell, and older files stay.
func (e *env) report(ctx context.Context, files []*page.File, t *tour.Tour, when time.Time, ended error) error {
	if len(t.Visits) == 0 {
		return nil
	}
	p := page.Tour{
		Took: t.Took, When: when, On: fmt.Sprintf("%s, %s/%s", runtime.Version(), runtime.GOOS, runtime.GOARCH),
		Private: e.private(t.Bins.Dir()), Notes: tour.Notes,
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

// saveTraces writes the traces of the steps that have been visited.
func (e *env) saveTraces(to *saved.Folder, t *tour.Tour) error {
	n := 0
	for _, v := range t.Visits {
		for _, r := range v.Results {
			more, err := to.Save(v.Lesson.Step, r)
			if n += more; err != nil {
				return err
			}
		}
	}
	fmt.Fprintf(e.stderr, "%s in %s: choose Upload on Jaeger's search page\n\n", say.Plural(n, "trace"), to.Dir())
	return nil
}

// private are the words of this machine that the page must not tell.
func (e *env) private(bins string) []string {
	words := []string{e.root, bins, os.TempDir()}
	if home, err := os.UserHomeDir(); err == nil {
		words = append(words, home)
	}
	if name, err := os.Hostname(); err == nil {
		words = append(words, name)
	}
	if u, err := user.Current(); err == nil {
		words = append(words, u.Username, u.HomeDir)
	}
	// As the system writes them and as URLs and stacks do.
	for _, w := range words[:len(words):len(words)] {
		words = append(words, filepath.ToSlash(w))
	}
	return words
}
