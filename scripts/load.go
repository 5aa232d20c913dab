package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"plaque/scripts/internal/build"
	"plaque/scripts/internal/caller"
	"plaque/scripts/internal/jaeger"
	"plaque/scripts/internal/lab"
	"plaque/scripts/internal/lesson"
	"plaque/steps/kit/debug"
	"plaque/steps/kit/process"
	"plaque/steps/kit/telemetry"
)

// load runs hey against the step that runs, under one root span.
func load(ctx context.Context, e *env, args []string) error {
	fs := e.flags("load")
	var h lesson.Hey
	fs.IntVar(&h.Requests, "n", 10, "how many requests")
	fs.IntVar(&h.Concurrency, "c", 5, "how many at a time")
	fs.IntVar(&h.Timeout, "t", lesson.DefaultTimeout, "how many seconds to wait for an answer")
	fs.IntVar(&h.For, "z", 0, "for how many seconds, in place of -n requests; with -q")
	fs.IntVar(&h.Rate, "q", 0, "how many requests a second each of -c sends; with -z")
	target := fs.String("url", "http://"+cmp.Or(os.Getenv("ADDR"), process.DefaultAddr), "the `URL` to load")
	s, err := e.parseStep(fs, args)
	if err != nil {
		return err
	}
	switch forTime := h.For != 0 || h.Rate != 0; {
	case forTime && given(fs)["n"]:
		return errUsage{errors.New("-n and -z exclude each other: load sends so many requests, or for so long")}
	case forTime && min(h.For, h.Rate, h.Concurrency, h.Timeout) < 1:
		return errUsage{fmt.Errorf("-z %d -q %d -c %d -t %d: -z and -q go together, and all are at least 1", h.For, h.Rate, h.Concurrency, h.Timeout)}
	case !forTime && (min(h.Requests, h.Concurrency, h.Timeout) < 1 || h.Requests%h.Concurrency != 0):
		return errUsage{fmt.Errorf("-n %d -c %d -t %d: hey sends only whole rounds, so n must be a multiple of c, and all at least 1", h.Requests, h.Concurrency, h.Timeout)}
	}
	if err := caller.Listens(ctx, *target); err != nil {
		var dial *net.OpError
		if !errors.As(err, &dial) {
			return errUsage{err}
		}
		return fmt.Errorf("nothing listens on %s: start the step in another terminal with `go run ./scripts run %s`", *target, s.Number())
	}
	if !given(fs)["url"] { // a server without our debug pages may be any
		inside, err := process.DebugURL(os.Getenv("ADDR"))
		if err != nil {
			return errUsage{err}
		}
		if state, err := (debug.Client{Base: inside}).State(ctx); err == nil && state.Step != s.Step {
			return notThere(state.Step, s)
		}
	}
	bins, err := build.Open(e.root)
	if err != nil {
		return err
	}
	defer bins.Close()
	hey, err := bins.Hey(ctx)
	if err != nil {
		return err
	}
	// Standard output has the report.
	tel, err := telemetry.Start(ctx, telemetry.Config{Service: "load", Version: s.Step, Out: e.stderr, JSON: e.stderr})
	if err != nil {
		return err
	}
	trace, err := lab.Load(ctx, tel.Provider(), hey, s.Step, h, *target, e.stdout)
	lost := tel.Stop()
	if err != nil {
		return err
	}
	if j, err := jaeger.Find(ctx); err == nil && lost == nil {
		fmt.Fprintf(e.stdout, "\nthe burst in Jaeger: %s\n", j.TraceURL(trace))
	} else {
		fmt.Fprintf(e.stdout, "\ntrace %s went nowhere: start Jaeger with `go run ./scripts jaeger` and load again\n", trace)
	}
	return nil
}
