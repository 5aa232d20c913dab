package predict

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"plaque/scripts/internal/build"
	"plaque/scripts/internal/lab"
	"plaque/scripts/internal/lesson"
	"plaque/scripts/internal/say"
	"plaque/scripts/internal/tour"
)

var root = filepath.Join("..", "..", "..")

func lessons(t *testing.T) []*lesson.Lesson {
	t.Helper()
	all, err := lesson.All(root)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// A check that judges the act decides its question. What the lesson claims is an
// answer that a person can give. 01 to 10 ask twice or more.
func TestQuestions(t *testing.T) {
	for _, l := range lessons(t) {
		if n := len(l.Questions()); n < 2 && l.Number() <= "10" {
			t.Errorf("%s asks %d times, want two or more", l.Step, n)
		}
		for _, e := range l.Experiments {
			for _, a := range e.Acts {
				for _, q := range a.Ask {
					claims := lab.Claims(l, a)
					i := slices.IndexFunc(claims, func(c lab.Check) bool { return c.What == q.Check })
					if i < 0 {
						t.Errorf("%s, %q: no check %q judges the act", l.Step, q.Asks, q.Check)
						continue
					}
					want := q.Value(claims[i].Want)
					if got, ok := understood(q, want); !ok || got != want {
						t.Errorf("%s, %q: the claim %q is no answer that can be given", l.Step, q.Asks, want)
					}
				}
			}
		}
	}
}

// stampede is a step's burst, with another feed and so many at once.
func stampede(t *testing.T, step string, callers int) *lesson.Lesson {
	t.Helper()
	l, err := lesson.Find(lessons(t), step)
	if err != nil {
		t.Fatal(err)
	}
	other := *l
	for _, e := range l.Experiments {
		if a := e.Acts[0]; a.Ask != nil && a.Feed != nil && a.Feed.Hold > 0 {
			feed := *a.Feed
			feed.Hold = callers
			hey := a.Do.(lesson.Hey)
			hey.Concurrency = callers
			a.Feed, a.Do = &feed, hey
			e.Acts = []lesson.Act{a}
			other.Experiments = []lesson.Experiment{e}
			return &other
		}
	}
	t.Fatal("no burst of that step is asked for: mend this test")
	return nil
}

// What is measured decides: with another feed another answer is right.
func TestMeasuredDecides(t *testing.T) {
	bins, err := build.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer bins.Close()
	for callers, held := range map[int]bool{5: true, 2: false} {
		var out bytes.Buffer
		l := stampede(t, "05", callers)
		tour := &tour.Tour{Steps: []*lesson.Lesson{l}, Bins: bins, Out: &say.Printer{Out: &out, Width: 80}, Log: io.Discard}
		a := New(strings.NewReader("5\n"))
		a.Guide(tour)
		if err := tour.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		a.Summary(tour.Out)
		want := Prediction{Step: l.Step, Asks: a.Predictions[0].Asks, Predicted: "5", Measured: fmt.Sprint(callers), True: held}
		if len(a.Predictions) != 1 || a.Predictions[0] != want {
			t.Errorf("%d callers: %+v, want %+v", callers, a.Predictions, want)
		}
		if again := strings.Contains(out.String(), "Read again: steps/05-naive-cache/README.md"); again == held {
			t.Errorf("%d callers: the page is named: %t\n%s", callers, again, &out)
		}
	}
}

// asked is what comes of one experiment, whose acts saw these loads, when somebody
// types that.
func asked(ctx context.Context, typed io.Reader, q lesson.Question, seen string) (*Asker, string, error) {
	var out bytes.Buffer
	p := &say.Printer{Out: &out, Width: 60}
	act := lesson.Act{Ask: []lesson.Question{q}}
	e := lesson.Experiment{Acts: []lesson.Act{act}}
	a := New(typed)
	_, err := a.before(ctx, p, nil, e)
	if err == nil {
		a.after(p, &lesson.Lesson{Step: "05-naive-cache"}, &lab.Result{Experiment: e, Acts: []*lab.Outcome{{Act: act, Checks: []lab.Check{{What: q.Check, Got: seen}}}}})
		a.Summary(p)
	}
	return a, out.String(), err
}

func TestAnswers(t *testing.T) {
	number := lesson.Question{Asks: "How many?", Check: "answers", Of: "lost"}
	choice := lesson.Question{Asks: "When?", Check: "the quick caller is answered", Choices: []string{"at once", "after A"}}
	for _, c := range []struct {
		q           lesson.Question
		typed, seen string
		predicted   string
		says        []string
	}{
		{number, "5\n", "5×200, 5×lost", "5", []string{"You predicted 5:", "1 of 1 prediction came true."}},
		{number, " 05 \n", "5×200, 5×lost", "5", []string{"1 of 1 prediction came true."}},
		{number, "1\n", "5×200, 5×lost", "1", []string{"You predicted 1, measured 5:", "0 of 1", "Read again: steps/05-naive-cache/README.md"}},
		{number, "0\n", "10×200", "0", []string{"1 of 1 prediction came true."}},
		{number, "five\n\n-1\n99999999999999999999\n" + strings.Repeat("9", 1<<16) + "\n5\n", "5×lost", "5", []string{"That is not a number, or skip."}},
		{number, "SKIP\n", "5×lost", "", []string{"Measured 5:", "0 of 0 predictions came true. You skipped 1 question."}},
		{choice, "a\n", "after A", "at once", []string{"a  at once", "You predicted at once, measured after A:"}},
		{choice, "c\nafter a\n", "after A", "after A", []string{"That is not a, b, or skip.", "1 of 1"}},
		{choice, "b\n", "no answer", "after A", []string{"measured no answer"}},
	} {
		a, out, err := asked(t.Context(), strings.NewReader(c.typed), c.q, c.seen)
		if err != nil || len(a.Predictions) != 1 || a.Predictions[0].Predicted != c.predicted {
			t.Errorf("%.40q: %+v, %v; want %q", c.typed, a.Predictions, err, c.predicted)
		}
		for _, want := range c.says {
			if !strings.Contains(strings.Join(strings.Fields(out), " "), strings.Join(strings.Fields(want), " ")) {
				t.Errorf("%.40q: it does not say %q:\n%s", c.typed, want, out)
			}
		}
	}
}

// A prompt ends with its context, and with its input.
func TestPromptEnds(t *testing.T) {
	q := lesson.Question{Asks: "How many?", Check: "loads"}
	stopped := errors.New("stopped")
	ctx, stop := context.WithCancelCause(t.Context())
	stop(stopped)
	silent, _ := io.Pipe()
	if _, _, err := asked(ctx, silent, q, "5"); err != stopped {
		t.Errorf("stopped at the prompt: %v", err)
	}
	if _, _, err := asked(t.Context(), strings.NewReader("five"), q, "5"); err == nil || !strings.Contains(err.Error(), "type `skip`") {
		t.Errorf("no more input: %v; want what to type", err)
	}
}
