package report

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"plaque/scripts/internal/build"
	"plaque/scripts/internal/diff"
	"plaque/scripts/internal/doctor"
	"plaque/scripts/internal/lab"
	"plaque/scripts/internal/lesson"
	"plaque/scripts/internal/tour"
	"plaque/steps/kit/origin"
)

// Writer writes the generated parts of the pages.
type Writer struct {
	Root    string
	Lessons []*lesson.Lesson // all
	Check   bool             // change nothing: a page that is out of date is an error
	Log     io.Writer        // how far it is

	bins *build.Bins
	ran  map[*lesson.Lesson]*runs
}

// runs are the experiments of a step, or why they tell nothing.
type runs struct {
	results []*lab.Result
	err     error
}

// Write writes the pages of these steps, from the lesson files and from runs of
// their experiments. The pages that speak of all steps are written where all are
// given.
func (w *Writer) Write(ctx context.Context, steps []*lesson.Lesson) error {
	// A page also shows the step before.
	building := slices.Clone(steps)
	for _, s := range steps {
		if before := lesson.Before(w.Lessons, s); before != nil && !slices.Contains(building, before) {
			building = append(building, before)
		}
	}
	var err error
	if w.bins, err = build.OpenBuilt(ctx, w.Root, building, w.Log); err != nil {
		return err
	}
	defer w.bins.Close()
	w.runAll(ctx, steps)
	var failed []error
	for _, s := range steps {
		if err := w.step(ctx, s); err != nil {
			if ctx.Err() != nil {
				return err
			}
			failed = append(failed, err)
		}
	}
	if len(steps) == len(w.Lessons) {
		failed = append(failed, w.Overview())
	}
	return errors.Join(failed...)
}

// Overview writes the pages that tell of all steps. They are made from the lessons
// and the code alone, without a run.
func (w *Writer) Overview() error {
	rooms, err := Rooms(w.Root)
	if err != nil {
		return err
	}
	sheets, err := RunSheets(w.Lessons)
	if err != nil {
		return err
	}
	var failed []error
	for path, blocks := range map[string]map[string]string{
		"README.md":           {"steps": List(w.Lessons)},
		"steps/README.md":     {"map": Map(w.Lessons), "fixes": Fixes(w.Lessons), "fingerprints": Fingerprints(w.Lessons)},
		"steps/FACILITATE.md": {"run-sheets": sheets, "pictures": Pictures(w.Lessons)},
		"jaeger/README.md":    {"no-traces": doctor.NoTraces()},
		"scripts/README.md":   {"rooms": rooms},
		"scripts/CONTRACT.md": {},
	} {
		failed = append(failed, Update(filepath.Join(w.Root, filepath.FromSlash(path)), blocks, w.Check))
	}
	return errors.Join(failed...)
}

// runAll runs the experiments of the steps, as many steps at once as a tour, each
// in a lab that it has for itself.
func (w *Writer) runAll(ctx context.Context, steps []*lesson.Lesson) {
	w.ran = map[*lesson.Lesson]*runs{}
	var running sync.WaitGroup
	slots := make(chan struct{}, tour.AtOnce)
	for _, s := range steps {
		r := new(runs)
		w.ran[s] = r
		slots <- struct{}{}
		fmt.Fprintln(w.Log, s.Step)
		running.Go(func() {
			defer func() { <-slots }()
			r.results, r.err = w.experiments(ctx, s)
		})
	}
	running.Wait()
}

// step writes a step's page.
func (w *Writer) step(ctx context.Context, s *lesson.Lesson) error {
	path := filepath.Join(s.Dir, "README.md")
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	page := strings.ReplaceAll(string(b), "\r\n", "\n")
	ran := w.ran[s]
	if ran.err != nil {
		return ran.err
	}
	blocks, err := Runs(page, s, ran.results)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	solution, err := diff.Solution(s)
	if err != nil {
		return err
	}
	blocks["claim"] = Claim(w.Lessons, s)
	blocks["exercise"] = Exercise(s, solution)
	asks := blockNames(page)
	before, after := lesson.Before(w.Lessons, s), lesson.After(w.Lessons, s)
	if after != nil {
		blocks["next"] = Next(s, after)
	}
	if before != nil {
		code := ""
		if !s.NoDiff {
			if code, err = diff.Steps(before, s); err != nil {
				return err
			}
		}
		blocks["changed"] = Changed(before, s, code)
		if slices.Contains(asks, "beside") {
			if blocks["beside"], err = w.beside(ctx, before, s); err != nil {
				return err
			}
		}
	}
	if slices.Contains(asks, "error-path") {
		if blocks["error-path"], err = errorPathBlock(ctx, s, w.bins.StepPath(s)); err != nil {
			return err
		}
	}
	return Update(path, blocks, w.Check)
}

// beside is the burst of two steps next to each other, as every run draws it.
func (w *Writer) beside(ctx context.Context, before, s *lesson.Lesson) (string, error) {
	left, err := w.still(ctx, before, s)
	if err != nil {
		return "", err
	}
	right, err := w.still(ctx, s, before)
	if err != nil {
		return "", err
	}
	return fence(Bursts(before, s, left, right, SideBySide)), nil
}

// still is the act that stands for a step beside its neighbour. It has run
// already if the step's own page is written, too.
func (w *Writer) still(ctx context.Context, s, neighbour *lesson.Lesson) (*lab.Outcome, error) {
	if ran := w.ran[s]; ran != nil {
		x, i := lesson.Shown(s, neighbour)
		for _, r := range ran.results {
			if r.Experiment.Name == x.Name {
				return stillAct(r.Acts[i]), nil
			}
		}
	}
	l, err := lab.New(ctx, w.bins.HeyPath(), "")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	a, err := Shown(ctx, l, w.bins, s, neighbour, true)
	if err != nil {
		return nil, err
	}
	if err := FirstLie(a); err != nil {
		return nil, fmt.Errorf("%s: %w; so there is no page", s.Step, err)
	}
	return stillAct(a), nil
}

// experiments runs a step's experiments.
func (w *Writer) experiments(ctx context.Context, s *lesson.Lesson) (all []*lab.Result, err error) {
	l, err := lab.New(ctx, w.bins.HeyPath(), "")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	for _, x := range s.Experiments {
		if s.ReadsFeed() {
			x = inSlowMotion(x)
		}
		r, err := l.Run(ctx, w.bins.StepPath(s), s, x)
		if err != nil {
			return all, err
		}
		if err := FirstLie(r.Acts...); err != nil {
			return all, fmt.Errorf("%s, %s, %w; so there is no page", s.Step, x.Name, err)
		}
		all = append(all, r)
	}
	return all, nil
}

// stillAct is an act with spans that every run has in common.
func stillAct(a *lab.Outcome) *lab.Outcome {
	still := *a
	still.Spans = Still(drawn(a))
	return &still
}

// inSlowMotion is an experiment whose pictures have time to show: the feed takes
// long beside everything that differs from run to run.
func inSlowMotion(x lesson.Experiment) lesson.Experiment {
	x.Acts = slices.Clone(x.Acts)
	for i := range x.Acts {
		a := &x.Acts[i]
		if len(a.Picture) == 0 {
			continue
		}
		var script origin.Script
		if a.Feed != nil {
			script = *a.Feed
		}
		script.Delay = origin.Duration(Tick)
		script.Next = slices.Clone(script.Next)
		for i, answer := range script.Next {
			if answer == origin.Doom {
				script.Next[i] += ":" + Tick.String()
			}
		}
		a.Feed = &script
	}
	return x
}
