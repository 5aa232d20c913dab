package exercise

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"plaque/scripts/internal/build"
	"plaque/scripts/internal/check"
	"plaque/scripts/internal/lesson"
	"plaque/scripts/internal/say"
)

func lessons(t *testing.T) []*lesson.Lesson {
	t.Helper()
	root, err := build.Root(".")
	if err != nil {
		t.Fatal(err)
	}
	all, err := lesson.All(root)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// copied is a step whose exercise a test may change.
func copied(t *testing.T, l *lesson.Lesson) *lesson.Lesson {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "steps", l.Step)
	if err := os.CopyFS(dir, os.DirFS(l.Dir)); err != nil {
		t.Fatal(err)
	}
	mine := *l
	mine.Dir = dir
	return &mine
}

func save(t *testing.T, l *lesson.Lesson, text string) {
	t.Helper()
	if err := os.WriteFile(l.ExerciseFile(), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// has are verdicts on these properties.
func has(marks ...string) (all []check.Verdict) {
	for i := 0; i < len(marks); i += 2 {
		all = append(all, check.Verdict{Property: marks[i], Has: marks[i+1], Says: "says " + marks[i], Seen: "seen " + marks[i]})
	}
	return all
}

// A list judges what somebody has changed, and nothing else.
func TestList(t *testing.T) {
	all := lessons(t)
	for _, l := range all {
		if untouched, err := Untouched(l); err != nil || !untouched {
			t.Errorf("%s is as it came: %t, %v", l.Step, untouched, err)
		}
	}
	steps := []*lesson.Lesson{copied(t, all[0]), copied(t, all[1]), copied(t, all[2]), all[3]}
	save(t, steps[0], "package main // solved\n")
	save(t, steps[1], "package main // not yet\n")
	save(t, steps[2], "package\n")
	var b bytes.Buffer
	r := &Room{Lessons: steps, Out: &say.Printer{Out: &b, Width: 60}, Log: io.Discard}
	r.Judge = func(_ context.Context, l *lesson.Lesson, once bool) ([]check.Verdict, error) {
		switch {
		case !once:
			t.Error("a list judges each property more than once")
		case l == steps[0]:
			return has("not-found", "yes"), nil
		case l == steps[1]:
			return has("not-found", "yes", "silent-client", "no", "silent-ends", "n/a"), nil
		case l == steps[2]:
			return nil, errors.New("it does not build")
		}
		t.Errorf("%s is judged, and nobody has touched it", l.Step)
		return nil, nil
	}
	if err := r.List(t.Context(), steps); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"✓ 01-blocking-tcp solved", "✗ 02-goroutines lacks silent-client, silent-ends", "✗ 03-net-http it cannot be judged: it does not build",
		"· 04-latest-video untouched", "1 of 4 exercises solved.", "Next: mend steps/02-goroutines/exercise/server.go,", "check --exercise 02 --watch"} {
		if !strings.Contains(strings.Join(strings.Fields(b.String()), " "), want) {
			t.Errorf("it does not say %q:\n%s", want, &b)
		}
	}
}

// Each save is judged; a save during a judging ends that one; what changed is told;
// and what is solved twice over ends the watch.
func TestWatch(t *testing.T) {
	all := lessons(t)
	l := copied(t, all[0])
	var b bytes.Buffer
	r := &Room{Lessons: []*lesson.Lesson{l, all[1]}, Out: &say.Printer{Out: &b, Width: 60}, Log: io.Discard}
	judgings, cut := 0, 0
	r.Judge = func(ctx context.Context, _ *lesson.Lesson, once bool) ([]check.Verdict, error) {
		judgings++
		switch judgings {
		case 1: // saved while it is judged
			save(t, l, "package main // half\n")
			<-ctx.Done()
			cut++
			return nil, ctx.Err()
		case 2:
			time.AfterFunc(10*time.Millisecond, func() { save(t, l, "package main // wrong\n") })
			return nil, errors.New("it does not build")
		case 3:
			time.AfterFunc(10*time.Millisecond, func() { save(t, l, "package main // right\n") })
			return has("a", "yes", "b", "no"), nil
		case 4:
			if !once {
				t.Error("the first look at a save is not the quick one")
			}
		case 5:
			if once {
				t.Error("what seems solved is not judged in full")
			}
		}
		return has("a", "yes", "b", "yes"), nil
	}
	if err := r.Watch(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	if judgings != 5 || cut != 1 {
		t.Errorf("%d judgings, %d of them cut short; want 5 and 1", judgings, cut)
	}
	for _, want := range []string{"It cannot be judged: it does not build", "✗ b: says b", "✓ still a:", "✓ now b:", "✓ That is the exercise solved.", "Next: step 02, Goroutines:"} {
		if !strings.Contains(strings.Join(strings.Fields(b.String()), " "), want) {
			t.Errorf("it does not say %q:\n%s", want, &b)
		}
	}
}

// Ctrl-C ends the watch, whether it judges or waits.
func TestWatchEnds(t *testing.T) {
	l := copied(t, lessons(t)[0])
	stopped := errors.New("stopped")
	for name, judge := range map[string]func(context.Context) ([]check.Verdict, error){
		"it judges": func(ctx context.Context) ([]check.Verdict, error) { <-ctx.Done(); return nil, ctx.Err() },
		"it waits":  func(context.Context) ([]check.Verdict, error) { return has("a", "no"), nil },
	} {
		ctx, stop := context.WithCancelCause(t.Context())
		r := &Room{Out: &say.Printer{Out: io.Discard, Width: 60}, Log: io.Discard}
		r.Judge = func(ctx context.Context, _ *lesson.Lesson, _ bool) ([]check.Verdict, error) {
			time.AfterFunc(20*time.Millisecond, func() { stop(stopped) })
			return judge(ctx)
		}
		if err := r.Watch(ctx, l); err != stopped {
			t.Errorf("%s: %v", name, err)
		}
	}
	l.Dir = filepath.Join(t.TempDir(), "gone")
	r := &Room{Out: &say.Printer{Out: io.Discard, Width: 60}, Log: io.Discard}
	if err := r.Watch(t.Context(), l); err == nil || !strings.Contains(err.Error(), "cannot be watched") {
		t.Errorf("a folder that is not there: %v", err)
	}
}
