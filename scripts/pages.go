package main

import (
	"context"

	"plaque/scripts/internal/report"
)

// pages writes what stands between markers in the READMEs.
func pages(ctx context.Context, e *env, args []string) error {
	fs := e.flags("pages")
	check := fs.Bool("check", false, "change nothing; fail if a page is out of date")
	steps, err := e.parseSteps(fs, args)
	if err != nil {
		return err
	}
	w := &report.Writer{Root: e.root, Lessons: e.lessons, Check: *check, Log: e.stderr}
	return w.Write(ctx, steps)
}
