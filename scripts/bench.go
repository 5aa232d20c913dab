package main

import (
	"context"
	"errors"
	"fmt"

	"plaque/scripts/internal/bench"
	"plaque/steps/kit/terminal"
)

// benchCommand measures a step's cache beside its peers, what it costs to watch
// it, or servers beside each other.
func benchCommand(ctx context.Context, e *env, args []string) error {
	b := &bench.Bench{Root: e.root, Lessons: e.lessons, Out: e.stdout, Log: e.stderr}
	fs := e.flags("bench")
	fs.IntVar(&b.Rounds, "count", 5, "how many rounds; ratios are taken within a round")
	fs.BoolVar(&b.Quick, "quick", false, "one short round: to see that it works")
	fs.StringVar(&b.Only, "only", ".", "which benchmarks of the cache: a `REGEXP`, as for go test -bench")
	page := fs.Bool("page", false, "print the table as a page of the workshop has it, in Markdown")
	server := fs.Bool("server", false, "measure servers, with hey and with wrk where it is installed")
	watched := fs.Bool("watched", false, "measure what it costs to watch the cache: with tracing off, on, and with its debug pages read")
	fleet := fs.Bool("fleet", false, "measure what a hit costs in a fleet, at the owner and elsewhere, beside one machine")
	if err := e.parseFlags(fs, args); err != nil {
		return err
	}
	kind := (*bench.Bench).Caches
	switch {
	case *server:
		kind = (*bench.Bench).Servers
	case *watched:
		kind = (*bench.Bench).Watched
	case *fleet:
		kind = (*bench.Bench).Fleet
	}
	switch {
	case b.Rounds < 1 || b.Rounds > 100:
		return errUsage{fmt.Errorf("--count %d: it can be 1 to 100", b.Rounds)}
	case b.Only != "." && (*server || *watched || *fleet):
		return errUsage{errors.New("--only picks benchmarks of the caches: leave out --server, --watched and --fleet")}
	}
	if err := errors.Join(oneOf(fs, "server", "watched", "fleet"), oneOf(fs, "quick", "count")); err != nil {
		return errUsage{err}
	}
	if b.Quick {
		b.Rounds = 1
	}
	if *page {
		b.Page = terminal.Shell(append([]string{"go", "run", "./scripts", "bench"}, args...)...)
	}
	return b.Run(ctx, kind)
}
