package main

import (
	"context"
	"errors"
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
	url := debugFlag(fs)
	said := guessFlag(fs, "how many callers wait for a load of somebody else")
	s, _, err := e.lookInside(ctx, fs, url, args)
	if err != nil {
		return err
	}
	if *said >= 0 {
		waiters := 0
		for _, f := range s.Flights {
			waiters += f.Waiters
		}
		return e.judge(*said, waiters, "caller", "waiting for a load of somebody else")
	}
	look.Stacks(e.stdout, s)
	return nil
}

// debugFlag is the flag for where the debug pages are.
func debugFlag(fs *flag.FlagSet) *string {
	return fs.String("url", "", "the `URL` of the debug pages; without it, at the second port behind ADDR")
}

// lookInside parses, asks the debug pages at url how their step is, and returns its
// lesson, or nil for one that is not ours. A step that args name must be the one.
// An empty url becomes that of the step at ADDR.
func (e *env) lookInside(ctx context.Context, fs *flag.FlagSet, url *string, args []string) (*debug.State, *lesson.Lesson, error) {
	names, err := e.parse(fs, args)
	if err != nil {
		return nil, nil, err
	}
	if len(names) > 1 {
		return nil, nil, errUsage{fmt.Errorf("%s takes one step, or none for whichever runs", fs.Name())}
	}
	var want *lesson.Lesson
	if len(names) == 1 {
		if want, err = e.step(names[0]); err != nil {
			return nil, nil, err
		}
	}
	if *url == "" {
		if *url, err = process.DebugURL(os.Getenv("ADDR")); err != nil {
			return nil, nil, errUsage{err}
		}
	}
	s, err := debug.Client{Base: *url}.State(ctx)
	if err != nil {
		return nil, nil, errors.Join(context.Cause(ctx), err)
	}
	if want != nil && want.Step != s.Step {
		return nil, nil, notThere(s.Step, want)
	}
	is, _ := lesson.Find(e.lessons, s.Step) // nil for somebody's own server with our kit
	return s, is, nil
}

// notThere says that another step runs than the one that was asked for.
func notThere(runs string, want *lesson.Lesson) error {
	return fmt.Errorf("it is %s that runs there, not %s: name the one that runs, or start `go run ./scripts run %s`", runs, want.Step, want.Number())
}
