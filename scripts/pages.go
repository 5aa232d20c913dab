package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"plaque/scripts/internal/lab"
	"plaque/scripts/internal/lesson"
	"plaque/scripts/internal/report"
	"plaque/scripts/internal/trace"
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
	t := &tourist{env: e, steps: steps}
	if err := t.build(ctx); err != nil {
		return err
	}
	defer t.clean()
	l, err := lab.New(ctx, lab.Exe(filepath.Join(t.bins, "hey")), "")
	if err != nil {
		return err
	}
	defer l.Close()

	var failed []error
	pictures := map[string]string{} // the first of each step
	for _, s := range steps {
		fmt.Fprintln(e.stderr, s.Step)
		seen, picture, err := e.seen(ctx, l, lab.BinPath(t.bins, s), s)
		if err != nil {
			return err
		}
		pictures[s.Number()] = picture
		before := lesson.Before(e.lessons, s)
		changed := ""
		if before != nil {
			if changed, err = stepDiff(before, s); err != nil {
				return err
			}
		}
		solution, err := solutionDiff(s)
		if err != nil {
			return err
		}
		failed = append(failed, report.Update(filepath.Join(s.Dir, "README.md"), map[string]string{
			"claim":    report.Claim(e.lessons, s),
			"seen":     seen,
			"changed":  report.Changed(before, s, changed),
			"breaks":   report.Breaks(s),
			"exercise": report.Exercise(s, solution),
		}, *check))
	}
	if len(steps) == len(e.lessons) {
		failed = append(failed, report.Update(filepath.Join(e.root, "README.md"), map[string]string{
			"stampede":     "```text\n" + pictures["05"] + "```",
			"coalesced":    "```text\n" + pictures["09"] + "```",
			"map":          report.Map(e.lessons),
			"fixes":        report.Fixes(e.lessons),
			"fingerprints": report.Fingerprints(e.lessons),
		}, *check))
	}
	return errors.Join(failed...)
}

// slowly is how long the feed takes in the runs that pages show: long beside
// everything that differs from run to run.
const slowly = report.Tick

// seen runs a step's experiments, and writes what they show as a page has it.
// It also returns the first picture.
func (e *env) seen(ctx context.Context, l *lab.Lab, bin string, s *lesson.Lesson) (text, first string, err error) {
	var b strings.Builder
	for _, x := range s.Experiments {
		if lab.ReadsFeed(s) {
			x = inSlowMotion(x)
		}
		r, err := l.Run(ctx, bin, s, x)
		if err != nil {
			return "", "", err
		}
		for _, a := range r.Acts {
			for _, c := range a.Checks {
				if !c.Held {
					return "", "", fmt.Errorf("%s, %s, %s: claimed %s, seen %s; so there is no page", s.Step, x.Name, c.What, c.Want, c.Got)
				}
			}
		}
		fmt.Fprintf(&b, "**%s%s.** %s\n\n```text\n", strings.ToUpper(x.Name[:1]), x.Name[1:], strings.Join(strings.Fields(x.Says), " "))
		for i, a := range r.Acts {
			if i > 0 {
				b.WriteByte('\n')
			}
			fmt.Fprintln(&b, says(a.Act))
			// What 01 to 03 do takes no time that survives the rounding.
			if len(a.Act.Picture) > 0 && lab.ReadsFeed(s) {
				picture, err := still(a)
				if err != nil {
					return "", "", err
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
	return b.String(), first, nil
}

// still is an act's picture as every run draws it.
func still(a *lab.Act) (string, error) {
	var picture bytes.Buffer
	err := trace.Waterfall(&picture, report.Still(a.Spans), trace.Options{Width: 96, Only: a.Act.Picture, Notes: notes})
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
