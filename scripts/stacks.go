package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"plaque/scripts/internal/lesson"
	"plaque/scripts/internal/look"
	"plaque/steps/kit/debug"
	"plaque/steps/kit/process"
)

// stacksCommand says what the goroutines of the step that runs wait for.
func stacksCommand(ctx context.Context, e *env, args []string) error {
	fs := e.flags("stacks")
	s, _, err := e.lookInside(ctx, fs, args)
	if err != nil {
		return err
	}
	look.Stacks(e.stdout, s)
	return nil
}

// lookInside asks the step that runs how it is, and returns its lesson, or nil
// for one that is none of ours. A step that args name must be the one.
func (e *env) lookInside(ctx context.Context, fs *flag.FlagSet, args []string) (*debug.State, *lesson.Lesson, error) {
	url := fs.String("url", "", "where the debug pages are; without it, at the second port behind ADDR")
	names, err := parse(fs, args)
	if err != nil {
		return nil, nil, err
	}
	if len(names) > 1 {
		return nil, nil, errUsage{fmt.Errorf("%s takes one step, or none for whichever runs", fs.Name())}
	}
	var want *lesson.Lesson
	if len(names) == 1 {
		if want, err = e.step(fs.Name(), names); err != nil {
			return nil, nil, err
		}
	}
	if *url == "" {
		if *url, err = process.DebugURL(os.Getenv("ADDR")); err != nil {
			return nil, nil, errUsage{err}
		}
		_ = fs.Set("url", *url) // for who looks again
	}
	s, err := look.State(ctx, *url)
	if err != nil {
		if ctx.Err() != nil {
			return nil, nil, context.Cause(ctx)
		}
		return nil, nil, err
	}
	if want != nil && want.Step != s.Step {
		return nil, nil, fmt.Errorf("it is %s that runs there, not %s", s.Step, want.Step)
	}
	is, err := lesson.Find(e.lessons, s.Step)
	if err != nil { // somebody's own server with our kit
		is = nil
	}
	return s, is, nil
}
