package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"

	"plaque/scripts/internal/build"
)

// runStep runs a step in the foreground.
func runStep(ctx context.Context, e *env, args []string) error {
	// What begins with the first dash behind the step is the step's.
	own, flags := args, []string(nil)
	if i := slices.IndexFunc(args, func(a string) bool { return strings.HasPrefix(a, "-") }); i > 0 {
		own, flags = args[:i], args[i:]
	}
	s, err := e.parseStep(e.flags("run"), own)
	if err != nil {
		return err
	}
	bins, err := build.Open(e.root)
	if err != nil {
		return err
	}
	defer bins.Close()
	bin, err := bins.Step(ctx, s)
	if err != nil {
		return err
	}
	cmd := exec.Command(bin, flags...)
	cmd.Stdout, cmd.Stderr = e.stdout, e.stderr
	// The step ends when this pipe does: on Ctrl-C, and also if we are killed.
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = stdin.Close() })
	defer stop()
	var exit *exec.ExitError
	if err := cmd.Wait(); errors.As(err, &exit) && ctx.Err() == nil {
		return fmt.Errorf("%s ended: %w", s.Step, err)
	}
	return nil
}
