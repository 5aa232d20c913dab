package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"plaque/scripts/internal/build"
	"plaque/scripts/internal/doctor"
	"plaque/scripts/internal/lab"
	"plaque/scripts/internal/lesson"
	"plaque/scripts/internal/report"
	"plaque/scripts/internal/tour"
	"plaque/scripts/internal/waterfall"
	"plaque/steps/kit/origin"
)

// pages writes what stands between markers in the READMEs: tables from
// lesson.yaml, diffs, and what a run of each step's experiments shows.
func pages(ctx context.Context, e *env, args []string) error {
	fs := e.flags("pages")
	check := fs.Bool("check", false, "change nothing; fail if a page is out of date")
	names, err := parse(fs, args)
	if err != nil {
		return err
	}
	steps, err := e.steps(names)
	if err != nil {
		return err
	}
	// A page also shows the step before.
	building := slices.Clone(steps)
	for _, s := range steps {
		if before := lesson.Before(e.lessons, s); before != nil && !slices.Contains(building, before) {
			building = append(building, before)
		}
	}
	bins, err := build.OpenBuilt(ctx, e.root, building, e.stderr)
	if err != nil {
		return err
	}
	defer bins.Close()
	l, err := lab.New(ctx, bins.HeyPath(), "")
	if err != nil {
		return err
	}
	defer l.Close()

	var failed []error
	pictures := map[string]string{} // the first of each step
	results := map[*lesson.Lesson][]*lab.Result{}
	// stillOf is the act that stands for a step beside its neighbour, as every run
	// draws it. It has run already if the step's own page has been written.
	stillOf := func(s, neighbour *lesson.Lesson) (*lab.Act, error) {
		x, i := lesson.Shown(s, neighbour)
		for _, r := range results[s] {
			if r.Experiment.Name == x.Name {
				return stillAct(r.Acts[i]), nil
			}
		}
		a, err := shown(ctx, l, bins, s, neighbour, true)
		if err != nil {
			return nil, err
		}
		if err := firstLie(a); err != nil {
			return nil, fmt.Errorf("%s: %w; so there is no page", s.Step, err)
		}
		return stillAct(a), nil
	}
	for _, s := range steps {
		fmt.Fprintln(e.stderr, s.Step)
		seen, picture, ran, err := e.seen(ctx, l, bins.StepPath(s), s)
		if err != nil {
			return err
		}
		results[s] = ran
		pictures[s.Number()] = picture
		before := lesson.Before(e.lessons, s)
		changed, two := "", ""
		if before != nil {
			if changed, err = stepDiff(before, s); err != nil {
				return err
			}
			left, err := stillOf(before, s)
			if err != nil {
				return err
			}
			right, err := stillOf(s, before)
			if err != nil {
				return err
			}
			if two, err = bursts(before, s, left, right, sideBySide); err != nil {
				return err
			}
		}
		solution, err := solutionDiff(s)
		if err != nil {
			return err
		}
		blocks := map[string]string{
			"claim":    report.Claim(e.lessons, s),
			"seen":     seen,
			"changed":  report.Changed(before, s, two, changed),
			"breaks":   report.Breaks(s),
			"exercise": report.Exercise(s, solution),
		}
		if s.Number() == "09" {
			if blocks["error-path"], err = errorPathBlock(ctx, bins.StepPath(s)); err != nil {
				return err
			}
		}
		failed = append(failed, report.Update(filepath.Join(s.Dir, "README.md"), blocks, *check))
	}
	if len(steps) == len(e.lessons) {
		failed = append(failed, report.Update(filepath.Join(e.root, "README.md"), map[string]string{
			"stampede":     "```text\n" + pictures["05"] + "```",
			"coalesced":    "```text\n" + pictures["09"] + "```",
			"map":          report.Map(e.lessons),
			"fixes":        report.Fixes(e.lessons),
			"fingerprints": report.Fingerprints(e.lessons),
			"no-traces":    doctor.NoTraces(),
		}, *check))
	}
	return errors.Join(failed...)
}

// slowly is how long the feed takes in the runs that pages show: long beside
// everything that differs from run to run.
const slowly = report.Tick

// seen runs a step's experiments, and writes what they show as a page has it.
// It also returns the first picture, and what came out.
func (e *env) seen(ctx context.Context, l *lab.Lab, bin string, s *lesson.Lesson) (text, first string, ran []*lab.Result, err error) {
	var b strings.Builder
	for _, x := range s.Experiments {
		if lab.ReadsFeed(s) {
			x = inSlowMotion(x)
		}
		r, err := l.Run(ctx, bin, s, x)
		if err != nil {
			return "", "", nil, err
		}
		if err := firstLie(r.Acts...); err != nil {
			return "", "", nil, fmt.Errorf("%s, %s, %w; so there is no page", s.Step, x.Name, err)
		}
		ran = append(ran, r)
		fmt.Fprintf(&b, "**%s%s.** %s\n\n```text\n", strings.ToUpper(x.Name[:1]), x.Name[1:], strings.Join(strings.Fields(x.Says), " "))
		for i, a := range r.Acts {
			if i > 0 {
				b.WriteByte('\n')
			}
			fmt.Fprintln(&b, a.Act.Does())
			// What 01 to 03 do takes no time that survives the rounding, but for
			// the callers who are slow.
			if len(a.Act.Picture) > 0 && (lab.ReadsFeed(s) || a.Act.Slow > 0) {
				picture, err := still(a)
				if err != nil {
					return "", "", nil, err
				}
				if first == "" {
					first = picture
				}
				for line := range strings.Lines(picture) {
					b.WriteString("  " + line)
				}
			}
			for _, c := range a.Checks {
				fmt.Fprintf(&b, "  %s: %s\n", c.What, c.Want)
			}
		}
		b.WriteString("```\n\n")
	}
	return b.String(), first, ran, nil
}

// stillAct is an act with spans that every run has in common.
func stillAct(a *lab.Act) *lab.Act {
	still := *a
	still.Spans = report.Still(drawn(a))
	return &still
}

// still is an act's picture as every run draws it.
func still(a *lab.Act) (string, error) {
	var picture bytes.Buffer
	err := waterfall.Waterfall(&picture, stillAct(a).Spans, waterfall.Options{Width: 96, Only: a.Act.Picture, Notes: tour.Notes})
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for line := range strings.Lines(picture.String()) {
		// How many helper spans there are is no claim.
		if !strings.Contains(line, "not drawn:") {
			b.WriteString(strings.TrimRight(line, " \n") + "\n")
		}
	}
	return b.String(), nil
}

// inSlowMotion is an experiment whose pictures have time to show.
func inSlowMotion(x lesson.Experiment) lesson.Experiment {
	acts := make([]lesson.Act, len(x.Acts))
	for i, a := range x.Acts {
		if len(a.Picture) > 0 {
			var script origin.Script
			if a.Feed != nil {
				script = *a.Feed
			}
			answers := script.Next
			script.Delay = origin.Duration(slowly)
			script.Next = nil
			for _, answer := range answers {
				if answer == "doom" {
					answer += ":" + time.Duration(slowly).String()
				}
				script.Next = append(script.Next, answer)
			}
			a.Feed = &script
		}
		acts[i] = a
	}
	x.Acts = acts
	return x
}
