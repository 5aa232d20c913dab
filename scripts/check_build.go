package main

import (
	"context"
	"fmt"

	"plaque/scripts/internal/build"
	"plaque/scripts/internal/check"
)

// build builds the step of that name, or the reader's attempt at its exercise, as the
// subject that is judged. Close what it returns once it has been.
func (e *env) build(ctx context.Context, s *check.Subject, o *check.Options, name string, exercise bool) (bins *build.Bins, err error) {
	if s.Lesson, err = e.step(name); err != nil {
		return nil, err
	}
	if bins, err = build.Open(e.root); err != nil {
		return nil, err
	}
	s.Name, s.Exercise = s.Lesson.Step, exercise
	how := bins.Step
	if exercise {
		s.Name, how = "steps/"+s.Lesson.Step+"/exercise", bins.Exercise
		if o.Only == nil {
			o.Only = s.Lesson.Exercise.Properties()
		}
	}
	fmt.Fprintf(e.stderr, "building %s\n", s.Name)
	bin, err := how(ctx, s.Lesson)
	if err != nil {
		bins.Close()
		return nil, errUsage{err}
	}
	o.Command = []string{bin}
	return bins, nil
}
