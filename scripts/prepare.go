package main

import (
	"context"

	"plaque/scripts/internal/prepare"
)

// prepareCommand makes a machine ready for a room without a network.
func prepareCommand(ctx context.Context, e *env, args []string) error {
	o := prepare.Options{Root: e.root, Lessons: e.lessons, Log: e.stderr}
	fs := e.flags("prepare")
	fs.StringVar(&o.Bundle, "bundle", "", "write all that was fetched to this `file`, for machines without a network")
	fs.StringVar(&o.From, "from", "", "take it from this `file`, and ask no network")
	if err := e.parseFlags(fs, args); err != nil {
		return err
	}
	if err := oneOf(fs, "bundle", "from"); err != nil {
		return err
	}
	if e.broken != nil {
		return e.broken
	}
	o.Out = e.printer()
	return prepare.Run(ctx, o)
}
