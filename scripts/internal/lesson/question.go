package lesson

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Question asks for a prediction of what will come out of an act. One of the act's
// checks decides, by what it saw, so the right answer stands nowhere.
type Question struct {
	Asks  string `yaml:"asks"`
	Check string `yaml:"check"` // the check that decides, in the words that the tour prints
	// Of picks one count of a check that counts several things: 200 of the answers.
	Of string `yaml:"of"`
	// Choices are what can come out, in the check's words. Without them the answer
	// is a number.
	Choices []string `yaml:"choices"`
}

// Value is the answer to the question, given what its check saw or claims.
func (q Question) Value(seen string) string {
	if q.Of == "" {
		return seen
	}
	for part := range strings.SplitSeq(seen, ", ") {
		if n, what, ok := strings.Cut(part, "×"); ok && what == q.Of {
			return n
		}
	}
	return "0"
}

// check finds what nobody could answer.
func (q Question) check() error {
	sorted := slices.Sorted(slices.Values(q.Choices))
	switch {
	case strings.TrimSpace(q.Asks) == "" || q.Check == "":
		return errors.New("a question needs asks and check")
	case q.Choices == nil:
		return nil
	case q.Of != "":
		return fmt.Errorf("%q: of is a count, so there are no choices", q.Asks)
	case len(sorted) < 2 || len(sorted) > 6 || len(slices.Compact(sorted)) < len(q.Choices):
		return fmt.Errorf("%q: there must be two to six choices, all different", q.Asks)
	}
	return nil
}

// Questions are those of an experiment, which are asked before it runs.
func (e Experiment) Questions() (all []Question) {
	for _, a := range e.Acts {
		all = append(all, a.Ask...)
	}
	return all
}

// Questions are those of all experiments.
func (l *Lesson) Questions() (all []Question) {
	for _, e := range l.Experiments {
		all = append(all, e.Questions()...)
	}
	return all
}
