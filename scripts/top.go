package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"plaque/scripts/internal/look"
	"plaque/steps/kit/debug"
	"plaque/steps/kit/terminal"
)

// top shows the step that runs, again and again: on a terminal until Ctrl-C,
// elsewhere once, and also on a terminal without escape codes.
func top(ctx context.Context, e *env, args []string) error {
	fs := e.flags("top")
	url := debugFlag(fs)
	every := time.Second
	duration(fs, "every", &every, 100*time.Millisecond, "the `TIME` between two looks, at least 100ms; without it, 1s")
	first, step, err := e.lookInside(ctx, fs, url, args)
	if err != nil {
		return err
	}
	inside := debug.Client{Base: *url}
	v := &look.View{Last: first, HasCache: step == nil || strings.HasPrefix(step.Code, "cache/")}
	if !terminal.Escapes(e.stdout) {
		picture, err := look.Twice(ctx, inside, first, v.HasCache, every)
		fmt.Fprint(e.stdout, picture)
		return err
	}
	v.Keys = "Ctrl-C ends"
	look.Follow(ctx, e.stdout, v, every,
		func() (int, int) { return terminal.Size(e.stdout) },
		func() (*debug.State, error) { return inside.State(ctx) })
	return nil
}
