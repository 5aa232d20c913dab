package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"time"

	"plaque/scripts/internal/lesson"
	"plaque/scripts/internal/page"
)

// openReport makes sure that a page can be written to the folder.
func openReport(dir string) (*page.File, error) {
	if dir == "" {
		return nil, errUsage{errors.New("--report takes a folder, such as `go run ./scripts tour --report out`")}
	}
	f, err := page.Open(dir)
	if err != nil {
		return nil, errUsage{err}
	}
	return f, nil
}

// report writes the page of the steps that have been visited, and says where it
// stands. ended is why the tour has ended early, or nil. Where no step has been
// visited there is nothing to tell, and an older page stays.
func (t *tourist) report(ctx context.Context, f *page.File, took time.Duration, when time.Time, ended error) error {
	if len(t.results) == 0 {
		return nil
	}
	tour := page.Tour{
		Took: took, When: when, On: fmt.Sprintf("%s, %s/%s", runtime.Version(), runtime.GOOS, runtime.GOARCH),
		Private: t.private(), Notes: notes,
	}
	switch {
	case ended != nil && ctx.Err() != nil:
		tour.Ended = "Somebody stopped it."
	case ended != nil:
		tour.Ended = ended.Error()
	}
	for _, r := range t.results {
		s := page.Step{Lesson: r.step, Before: lesson.Before(t.lessons, r.step)}
		if s.Before != nil {
			var err error
			if s.Diff, err = stepDiff(s.Before, s.Lesson); err != nil {
				return err
			}
		}
		for _, result := range r.results {
			x := page.Experiment{Name: result.Experiment.Name, Says: result.Experiment.Says}
			for _, a := range result.Acts {
				act := page.Act{Act: a, Does: says(a.Act)}
				if t.jaeger != nil && a.TraceID != "" {
					act.Jaeger = t.link(r.step, a)
				}
				x.Acts = append(x.Acts, act)
			}
			s.Experiments = append(s.Experiments, x)
		}
		tour.Steps = append(tour.Steps, s)
	}
	if err := f.Write(tour); err != nil {
		return fmt.Errorf("the report could not be written: %w", err)
	}
	fmt.Fprintf(t.stderr, "the report: %s\n\n", f.Path())
	return nil
}

// private are the words of this machine that the page must not tell.
func (t *tourist) private() []string {
	words := []string{t.root, t.bins, os.TempDir()}
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
