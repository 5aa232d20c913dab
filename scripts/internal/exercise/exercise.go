// Package exercise follows a reader through the exercises: which are solved, and
// what the next save changes.
package exercise

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"plaque/scripts/internal/build"
	"plaque/scripts/internal/check"
	"plaque/scripts/internal/diff"
	"plaque/scripts/internal/lesson"
	"plaque/scripts/internal/say"
)

// Room is what judging needs.
type Room struct {
	// Judge judges an attempt. An error that is not the context's is that it does not
	// build, or cannot be judged. once measures each property once, for a quick look.
	Judge   func(ctx context.Context, l *lesson.Lesson, once bool) ([]check.Verdict, error)
	Lessons []*lesson.Lesson // all
	Out     *say.Printer
	Log     io.Writer // how far it is
}

// Untouched reports whether an exercise is as it came: the diff to its solution is
// the one that its page shows.
func Untouched(l *lesson.Lesson) (bool, error) {
	now, err := diff.Solution(l)
	if err != nil {
		return false, err
	}
	page, err := os.ReadFile(filepath.Join(l.Dir, "README.md"))
	if err != nil {
		return false, err
	}
	text := strings.ReplaceAll(string(page), "\r\n", "\n")
	return strings.Contains(text, "\n```diff\n"+now+"```\n"), nil
}

// Judge is the checker's judgement of an exercise that bins builds.
func Judge(bins *build.Bins) func(context.Context, *lesson.Lesson, bool) ([]check.Verdict, error) {
	return func(ctx context.Context, l *lesson.Lesson, once bool) ([]check.Verdict, error) {
		bin, err := bins.Exercise(ctx, l)
		if err != nil {
			return nil, err
		}
		return check.Run(ctx, check.Options{Command: []string{bin}, Only: l.Exercise.Properties(), Once: once})
	}
}

// left are the properties that an attempt still lacks, or that could not be judged.
func left(verdicts []check.Verdict) (names []string) {
	for _, v := range verdicts {
		if v.Has != "yes" {
			names = append(names, v.Property)
		}
	}
	return names
}

// List says of each exercise whether it is solved, and what comes next. It judges
// those that somebody has touched, each property once.
func (r *Room) List(ctx context.Context, steps []*lesson.Lesson) error {
	var next *lesson.Lesson
	solved := 0
	for _, l := range steps {
		file := fmt.Sprintf("%-18s ", l.Step)
		untouched, err := Untouched(l)
		if err != nil {
			return err
		}
		var lacks []string
		if !untouched {
			fmt.Fprintf(r.Log, "judging steps/%s/exercise\n", l.Step)
			var verdicts []check.Verdict
			verdicts, err = r.Judge(ctx, l, true)
			lacks = left(verdicts)
		}
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case untouched:
			r.Out.Wrap("· "+file, "untouched")
		case err != nil:
			r.Out.Wrap(r.Out.Bad("✗")+" "+file, "it cannot be judged: "+err.Error())
		case lacks != nil:
			r.Out.Wrap(r.Out.Bad("✗")+" "+file, "lacks "+strings.Join(lacks, ", "))
		default:
			r.Out.Wrap(r.Out.Good("✓")+" "+file, "solved")
			solved++
			continue
		}
		if next == nil {
			next = l
		}
	}
	r.Out.Line("")
	r.Out.Linef("%d of %s solved.", solved, say.Plural(len(steps), "exercise"))
	if next != nil {
		file, err := filepath.Rel(filepath.Dir(filepath.Dir(next.Dir)), next.ExerciseFile())
		if err != nil {
			return err
		}
		r.Out.Wrap("Next: ", fmt.Sprintf("mend %s, and let `go run ./scripts check --exercise %s --watch` judge each save.", filepath.ToSlash(file), next.Number()))
	}
	return nil
}

// tell tells what came out, and what has changed since before, which is nil at
// first. A property is told in full where it is newly lost.
func tell(out *say.Printer, before, now []check.Verdict) {
	for _, v := range now {
		was, changed := "", ""
		if i := slices.IndexFunc(before, func(w check.Verdict) bool { return w.Property == v.Property }); i >= 0 {
			was, changed = before[i].Has, "now "
		}
		if was == v.Has {
			changed = "still "
		}
		switch {
		case v.Has == "yes":
			out.Wrap(out.Good("✓")+" ", changed+v.Property+": "+v.Says)
		case was == v.Has:
			out.Wrap(out.Bad("✗")+" ", changed+v.Property+": "+v.Seen)
		default:
			if changed != "" {
				out.Line(changed + "lost, or not judged:")
			}
			check.Write(out, v)
		}
	}
}
