package exercise

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"

	"plaque/scripts/internal/check"
	"plaque/scripts/internal/lesson"
)

// quiet is how long no file may change before an attempt is judged: an editor
// writes a file in several steps.
const quiet = 200 * time.Millisecond

// Watch judges an exercise now and on each save, until it is solved. A save during
// a judging begins it anew.
func (r *Room) Watch(ctx context.Context, l *lesson.Lesson) error {
	saves, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("files cannot be watched here: %w; leave out --watch", err)
	}
	defer saves.Close()
	// The folder, because editors put a new file in the old one's place.
	dir := filepath.Dir(l.ExerciseFile())
	if err := saves.Add(dir); err != nil {
		return fmt.Errorf("%s cannot be watched: %w; leave out --watch", dir, err)
	}
	var before []check.Verdict
	for {
		fmt.Fprintf(r.Log, "judging steps/%s/exercise\n", l.Step)
		began := time.Now()
		now, saved, err := r.untilSaved(ctx, saves, l)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case saved:
			continue
		case err != nil:
			r.Out.Line("It cannot be judged:")
			r.Out.Line(err.Error())
		default:
			tell(r.Out, before, now)
			before = now
		}
		if err == nil && left(now) == nil {
			r.solved(l)
			return nil
		}
		r.Out.Line("")
		r.Out.Wrap("", fmt.Sprintf("That took %s. Save a file in steps/%s/exercise to judge it again. Ctrl-C ends this.", time.Since(began).Round(time.Second), l.Step))
		r.Out.Line("")
		if err := wait(ctx, saves); err != nil {
			return err
		}
	}
}

// untilSaved judges an attempt; if a file is saved meanwhile, it stops and says so.
// What seems solved is judged once more, each property three times.
func (r *Room) untilSaved(ctx context.Context, saves *fsnotify.Watcher, l *lesson.Lesson) (now []check.Verdict, saved bool, err error) {
	judging, stop := context.WithCancelCause(ctx)
	waited := make(chan error)
	go func() {
		err := wait(judging, saves)
		stop(err)
		waited <- err
	}()
	now, err = r.Judge(judging, l, true)
	if err == nil && left(now) == nil {
		fmt.Fprintln(r.Log, "all ✓; judging each property three times, to be sure")
		now, err = r.Judge(judging, l, false)
	}
	stop(errJudged)
	if why := <-waited; why != errJudged {
		return nil, why == nil, why
	}
	return now, false, err
}

// errJudged is why nobody waits for a save any more.
var errJudged = errors.New("it is judged")

// wait waits until a Go file is saved, and then until none is for a while.
func wait(ctx context.Context, saves *fsnotify.Watcher) error {
	var still <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-still:
			return nil
		case err := <-saves.Errors:
			return errors.Join(errors.New("files cannot be watched any more"), err)
		case e := <-saves.Events:
			if filepath.Ext(e.Name) == ".go" && !e.Op.Has(fsnotify.Chmod) {
				still = time.After(quiet)
			}
		}
	}
}

// solved is the end: what comes next.
func (r *Room) solved(l *lesson.Lesson) {
	r.Out.Line("")
	r.Out.Line(r.Out.Good("✓") + " That is the exercise solved.")
	if next := lesson.After(r.Lessons, l); next != nil {
		r.Out.Wrap("Next: ", fmt.Sprintf("step %s, %s: steps/%s/README.md", next.Number(), next.Title, next.Step))
	}
}
