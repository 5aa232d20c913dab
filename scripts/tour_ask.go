package main

import (
	"errors"
	"os"
	"slices"

	"plaque/scripts/internal/lesson"
	"plaque/scripts/internal/predict"
	"plaque/scripts/internal/tour"
	"plaque/steps/kit/terminal"
)

var errNoQuestions = errUsage{errors.New("no step that you named has questions: name another one, or none for all")}

func asks(l *lesson.Lesson) bool { return l.Questions() != nil }

// asker lets the tour ask for predictions, and leaves out the steps that have no
// question.
func (e *env) asker(t *tour.Tour) (*predict.Asker, error) {
	if !terminal.Asks(os.Stdin) {
		return nil, errUsage{errors.New("tour --ask reads your answers from a terminal, and standard input is none: leave out --ask, or type the command in a terminal")}
	}
	t.Steps = slices.DeleteFunc(slices.Clone(t.Steps), func(l *lesson.Lesson) bool { return !asks(l) })
	if len(t.Steps) == 0 {
		return nil, errNoQuestions
	}
	a := predict.New(os.Stdin)
	a.Guide(t)
	return a, nil
}
