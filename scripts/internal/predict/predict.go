// Package predict takes predictions before experiments, and tells which came true.
package predict

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"

	"plaque/scripts/internal/lab"
	"plaque/scripts/internal/lesson"
	"plaque/scripts/internal/say"
	"plaque/scripts/internal/tour"
)

// skip is what a person types that has no answer.
const skip = "skip"

// longest is how many bytes an answer may have.
const longest = 1024

// Prediction is an answer, and what was measured.
type Prediction struct {
	Step      string `json:"step"`
	Asks      string `json:"asks"`
	Predicted string `json:"predicted"` // "" where it was skipped
	Measured  string `json:"measured"`
	True      bool   `json:"true"`
}

// Asker asks the questions of lessons. Its methods are called one at a time.
type Asker struct {
	Predictions []Prediction // of the experiments that have run

	lines   chan string // closed behind the last
	answers []string    // to the questions of the experiment that runs
}

// New makes an asker that reads answers from in, a line each.
func New(in io.Reader) *Asker {
	a := &Asker{lines: make(chan string)}
	go func() { // until in ends, or we do: a terminal's read cannot be stopped
		defer close(a.lines)
		for lines := bufio.NewReaderSize(in, longest); ; {
			line, more, err := lines.ReadLine()
			if err != nil {
				return
			}
			text := string(line)
			for more && err == nil { // too long to be an answer, whatever it is
				_, more, err = lines.ReadLine()
			}
			a.lines <- text
		}
	}()
	return a
}

// Guide lets t ask before each experiment that has questions, and run those alone.
func (a *Asker) Guide(t *tour.Tour) { t.Before, t.After = a.before, a.after }

// before asks the experiment's questions.
func (a *Asker) before(ctx context.Context, p *say.Printer, _ *lesson.Lesson, e lesson.Experiment) (bool, error) {
	a.answers = nil
	for _, q := range e.Questions() {
		answer, err := a.ask(ctx, p, q)
		if err != nil {
			return false, err
		}
		a.answers = append(a.answers, answer)
	}
	return a.answers != nil, nil
}

// ask asks until there is an answer that can be judged; "" is none.
func (a *Asker) ask(ctx context.Context, p *say.Printer, q lesson.Question) (string, error) {
	p.Line("")
	p.Wrap("  ? ", q.Asks)
	kind := "a number"
	if q.Choices != nil {
		var letters []string
		for i, c := range q.Choices {
			letters = append(letters, letter(i))
			p.Wrap("    "+letter(i)+"  ", c)
		}
		kind = strings.Join(letters, ", ")
	}
	for {
		fmt.Fprintf(p.Out, "    your answer (%s, or %s): ", kind, skip)
		select {
		case <-ctx.Done():
			p.Line("")
			return "", context.Cause(ctx)
		case line, ok := <-a.lines:
			if !ok {
				p.Line("")
				return "", errors.New("the answers ended before the questions did: type `" + skip + "` where you have no answer")
			}
			if answer, ok := understood(q, line); ok {
				return answer, nil
			}
			p.Linef("    That is not %s, or %s.", kind, skip)
		}
	}
}

func letter(i int) string { return string(rune('a' + i)) }

// understood is the answer in the words of what is measured.
func understood(q lesson.Question, line string) (answer string, ok bool) {
	line = strings.ToLower(strings.TrimSpace(line))
	if line == skip {
		return "", true
	}
	if q.Choices != nil {
		for i, c := range q.Choices {
			if line == letter(i) || line == strings.ToLower(c) {
				return c, true
			}
		}
		return "", false
	}
	n, err := strconv.ParseUint(line, 10, 31)
	return strconv.FormatUint(n, 10), err == nil
}

// after tells what was measured beside what was predicted.
func (a *Asker) after(p *say.Printer, l *lesson.Lesson, r *lab.Result) {
	p.Line("")
	answers := a.answers
	for _, act := range r.Acts {
		for _, q := range act.Act.Ask {
			is := Prediction{Step: l.Step, Asks: strings.Join(strings.Fields(q.Asks), " "), Predicted: answers[0]}
			answers = answers[1:]
			is.Measured, _ = act.Measured(q)
			is.True = is.Predicted == is.Measured
			a.Predictions = append(a.Predictions, is)
			switch {
			case is.True:
				p.Wrap("  "+p.Good("✓")+" ", fmt.Sprintf("You predicted %s: %s", is.Measured, is.Asks))
			case is.Predicted == "":
				p.Wrap("  · ", fmt.Sprintf("Measured %s: %s", is.Measured, is.Asks))
			default:
				p.Wrap("  "+p.Bad("✗")+" ", fmt.Sprintf("You predicted %s, measured %s: %s", is.Predicted, is.Measured, is.Asks))
			}
		}
	}
}

// Summary tells how many predictions came true, and which pages to read again.
func (a *Asker) Summary(p *say.Printer) {
	if len(a.Predictions) == 0 {
		return
	}
	held, skipped := 0, 0
	var again []string
	for _, is := range a.Predictions {
		switch {
		case is.True:
			held++
		case is.Predicted == "":
			skipped++
		default:
			again = append(again, path.Join("steps", is.Step, "README.md"))
		}
	}
	p.Line("")
	text := fmt.Sprintf("%d of %s came true.", held, say.Plural(len(a.Predictions)-skipped, "prediction"))
	if skipped > 0 {
		text += fmt.Sprintf(" You skipped %s.", say.Plural(skipped, "question"))
	}
	p.Wrap("", text)
	if again != nil {
		p.Wrap("Read again: ", strings.Join(slices.Compact(again), ", "))
	}
}
