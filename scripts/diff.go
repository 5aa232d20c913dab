package main

import (
	"context"
	"fmt"
	"strings"

	"plaque/scripts/internal/build"
	"plaque/scripts/internal/diff"
	"plaque/scripts/internal/lab"
	"plaque/scripts/internal/lesson"
	"plaque/scripts/internal/report"
	"plaque/scripts/internal/say"
)

// diffCommand shows what changed since the step before: in the code, in the fingerprint,
// and in a picture of each, from runs.
func diffCommand(ctx context.Context, e *env, args []string) error {
	fs := e.flags("diff")
	code := fs.Bool("code", false, "show the code alone, and run nothing")
	s, err := e.parseStep(fs, args)
	if err != nil {
		return err
	}
	before, err := e.before(s)
	if err != nil {
		return err
	}
	if before == nil {
		return errUsage{fmt.Errorf("%s is the first step: there is nothing before it", s.Step)}
	}
	text, err := diff.Steps(before, s)
	if err != nil {
		return err
	}
	p := e.printer()
	if *code {
		_, err = fmt.Fprint(e.stdout, text)
		return err
	}
	added, removed := report.Size(text)
	p.Linef("%s\n\n%s", p.Bold(fmt.Sprintf("The code: %d lines more, %d lines less than in %s", added, removed, before.Step)), text)
	rows := report.Rows(before, s)
	if rows == "" {
		rows = "- none\n"
	}
	p.Linef("%s\n", p.Bold("The properties that changed"))
	for row := range strings.Lines(rows) {
		p.Wrap("- ", strings.TrimPrefix(row, "- "))
	}
	p.Line("")

	bins, err := build.OpenBuilt(ctx, e.root, []*lesson.Lesson{before, s}, e.stderr)
	if err != nil {
		return err
	}
	defer bins.Close()
	l, err := lab.New(ctx, bins.HeyPath(), "")
	if err != nil {
		return err
	}
	defer l.Close()
	left, err := report.Shown(ctx, l, bins, before, s, false)
	if err != nil {
		return err
	}
	right, err := report.Shown(ctx, l, bins, s, before, false)
	if err != nil {
		return err
	}
	pictures := report.Bursts(before, s, left, right, say.Columns(e.stdout, report.SideBySide))
	p.Linef("%s\n\n%s", p.Bold("The two side by side"), pictures)
	return report.FirstLie(left, right)
}
