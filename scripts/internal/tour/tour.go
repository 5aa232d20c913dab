// Package tour runs the experiments of several steps side by side, and tells of
// them one after the other.
package tour

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"plaque/scripts/internal/build"
	"plaque/scripts/internal/jaeger"
	"plaque/scripts/internal/lab"
	"plaque/scripts/internal/lesson"
	"plaque/scripts/internal/say"
)

// AtOnce is how many steps are visited at the same time. An experiment mostly
// waits, for a timeout or for a value to expire.
const AtOnce = 4

// Tour is a tour of some steps. What is exported is set before Run.
type Tour struct {
	Steps  []*lesson.Lesson
	Bins   *build.Bins
	Jaeger *jaeger.Server // gets every span too; nil for none
	Out    *say.Printer   // the story of the steps, in their order
	Log    io.Writer      // how far the build is, until the story begins
	// Before and After are called around each experiment, and write to the story.
	// An experiment that Before does not want does not run, and an error of it ends
	// the tour. Both are nil, or both are set and the steps take turns.
	Before func(context.Context, *say.Printer, *lesson.Lesson, lesson.Experiment) (wanted bool, err error)
	After  func(*say.Printer, *lesson.Lesson, *lab.Result)

	// Visits are those that have come to their end, in the order of Steps, up to
	// the first that has not.
	Visits []*Visit
	Took   time.Duration

	telling atomic.Bool // the story has begun
}

// Visit is what came of a step's experiments.
type Visit struct {
	Lesson  *lesson.Lesson
	Results []*lab.Result
	Took    time.Duration

	lost    int   // spans that Jaeger did not take
	lostWhy error // the last one
}

// acts are those of all experiments that have run.
func (v *Visit) acts() (all []*lab.Outcome) {
	for _, r := range v.Results {
		all = append(all, r.Acts...)
	}
	return all
}

// Burst is the act whose picture stands for the step, if it has run.
func (v *Visit) Burst() *lab.Outcome {
	for _, a := range v.acts() {
		if len(a.Act.Picture) > 0 && a.TraceID != "" {
			return a
		}
	}
	return nil
}

// Claims counts the step's claims, and those that held.
func (v *Visit) Claims() (all, held int) {
	for _, a := range v.acts() {
		for _, c := range a.Checks {
			all++
			if c.Held {
				held++
			}
		}
	}
	return all, held
}

// Failed counts the claims that did not hold.
func (t *Tour) Failed() int {
	n := 0
	for _, v := range t.Visits {
		all, held := v.Claims()
		n += all - held
	}
	return n
}

// Run builds the steps, and runs each as soon as it is built. It tells their
// stories in order, the current one as it happens. Where a step cannot be built
// or run, the tour ends when the turn comes to it. An error of Out ends it at
// once.
func (t *Tour) Run(ctx context.Context) error {
	began := time.Now()
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	turns := newTurns(t.Out.Out, len(t.Steps)+1, end) // the last is the summary's
	job := t.build(ctx)
	var err error

	visits := make([]*Visit, len(t.Steps))
	ended := make([]chan error, len(t.Steps)) // each takes one error or nil
	for i := range ended {
		ended[i] = make(chan error, 1)
	}
	var running sync.WaitGroup
	atOnce := AtOnce
	if t.Before != nil {
		atOnce = 1
	}
	slots := make(chan struct{}, atOnce)
	running.Go(func() {
		for i, s := range t.Steps {
			slots <- struct{}{}
			running.Go(func() {
				defer func() { <-slots }()
				var err error
				visits[i], err = t.visit(ctx, job, s, turns.of(i))
				ended[i] <- err
			})
		}
	})
	if t.Jaeger != nil {
		fmt.Fprint(turns.of(0), "Jaeger listens: every span goes on to it, and each picture has its link.\n\n")
	}
	for i := range t.Steps {
		turns.give(i)
		if err = <-ended[i]; err != nil {
			break
		}
		t.Visits = append(t.Visits, visits[i])
	}
	end(err) // of the steps behind one that failed; their servers end, too
	running.Wait()
	_ = job.Err() // a step has told of it
	t.tellLost()
	t.Took = time.Since(began)
	if err == nil {
		turns.give(len(t.Steps))
		t.summary(t.printer(turns.of(len(t.Steps))))
		err = turns.err()
	}
	return err
}

// printer writes to w as Out would.
func (t *Tour) printer(w io.Writer) *say.Printer {
	p := *t.Out
	p.Out = w
	return &p
}

// build starts to build hey and the steps, and says how far it is.
func (t *Tour) build(ctx context.Context) *build.Job {
	fmt.Fprintf(t.Log, "building hey and %s; the first time takes up to a minute, and each step runs as soon as it is built\n", say.Plural(len(t.Steps), "step"))
	done := 0
	return t.Bins.Start(ctx, t.Steps, func(name string) {
		done++
		if !t.telling.Load() {
			fmt.Fprintf(t.Log, "  %2d/%d %s\n", done, len(t.Steps)+1, name)
		}
	})
}

// visit runs one step's experiments in a lab that it has for itself.
func (t *Tour) visit(ctx context.Context, job *build.Job, s *lesson.Lesson, w io.Writer) (*Visit, error) {
	hey, err := job.Hey()
	if err != nil {
		return nil, err
	}
	bin, err := job.Step(s)
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	began := time.Now()
	forward := ""
	if t.Jaeger != nil {
		forward = t.Jaeger.OTLP
	}
	l, err := lab.New(ctx, hey, forward)
	if err != nil {
		return nil, err
	}
	out := t.printer(w)
	v := &Visit{Lesson: s}
	t.telling.Store(true)
	head(out, s)
	for _, e := range s.Experiments {
		wanted := true
		if t.Before != nil {
			wanted, err = t.Before(ctx, out, s, e)
		}
		var r *lab.Result
		if wanted && err == nil {
			experiment(out, e)
			r, err = l.Run(ctx, bin, s, e)
		}
		if err != nil {
			l.Close()
			return nil, err
		}
		if !wanted {
			continue
		}
		v.Results = append(v.Results, r)
		for _, a := range r.Acts {
			Act(out, s, e, a)
			if t.Jaeger != nil && len(a.Act.Picture) > 0 && a.TraceID != "" {
				out.Line("    in Jaeger: " + t.Jaeger.TraceURL(a.TraceID))
			}
		}
		if t.After != nil {
			t.After(out, s, r)
		}
	}
	l.Close() // passes on the last spans
	_, v.lost, v.lostWhy = l.Forwarded()
	v.Took = time.Since(began)
	v.verdict(out)
	return v, nil
}

// tellLost says how many spans did not reach Jaeger.
func (t *Tour) tellLost() {
	lost, why := 0, error(nil)
	for _, v := range t.Visits {
		if lost += v.lost; v.lost > 0 {
			why = v.lostWhy
		}
	}
	if lost > 0 {
		fmt.Fprintf(t.Log, "%s did not reach Jaeger: %v\n", say.Plural(lost, "span"), why)
	}
}
