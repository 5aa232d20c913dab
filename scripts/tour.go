package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"plaque/scripts/internal/build"
	"plaque/scripts/internal/jaeger"
	"plaque/scripts/internal/page"
	"plaque/scripts/internal/predict"
	"plaque/scripts/internal/saved"
	"plaque/scripts/internal/say"
	"plaque/scripts/internal/tour"
)

// tourCommand is the workshop's main job.
func tourCommand(ctx context.Context, e *env, args []string) error {
	fs := e.flags("tour")
	asJSON := fs.Bool("json", false, "print one JSON document instead of text")
	withJaeger := fs.Bool("jaeger", false, "start Jaeger first, and keep it until Ctrl-C")
	askFirst := fs.Bool("ask", false, "ask for a prediction before each main experiment, and run those alone")
	dir := fs.String("report", "", "write one page of what was seen into this `folder`, as index.html")
	withSlides := fs.Bool("slides", false, "with --report, also write slides.html: each question of these steps, and then its picture")
	into := fs.String("traces", "", "write the trace of each act into this `folder`, for Jaeger's search page to upload")
	names, err := e.parse(fs, args)
	if err != nil {
		return err
	}
	steps, err := e.steps(names)
	if err != nil {
		return err
	}
	var report []*page.File
	switch {
	case given(fs)["report"]:
		if report, err = openReport(*dir, *withSlides, steps); err != nil {
			return err
		}
	case *withSlides:
		return errUsage{errors.New("--slides writes them beside the report: name its folder, such as `go run ./scripts tour --report out --slides`")}
	}
	var traces *saved.Folder
	if given(fs)["traces"] {
		if traces, err = saved.Open(*into); err != nil {
			return errUsage{err}
		}
	}
	t := &tour.Tour{Steps: steps, Out: e.printerUnless(*asJSON), Log: e.stderr}
	var asker *predict.Asker
	if *askFirst {
		if *asJSON {
			t.Out = say.New(e.stderr) // the questions are for a person
		}
		if asker, err = e.asker(t); err != nil {
			return err
		}
	}
	began := time.Now()

	// Jaeger is nice to have: the tour receives the spans itself.
	if *withJaeger {
		t.Jaeger, err = jaeger.Start(ctx, jaeger.Options{Root: e.root, Out: e.stderr})
		if err != nil {
			return err
		}
		defer t.Jaeger.Stop()
	} else if t.Jaeger, err = jaeger.Find(ctx); err != nil {
		t.Jaeger = nil
	}
	if t.Bins, err = build.Open(e.root); err != nil {
		return err
	}
	defer t.Bins.Close()
	err = t.Run(ctx)
	var predictions any
	if asker != nil {
		asker.Summary(t.Out) // also where the tour ends early, of what was asked until then
		predictions = asker.Predictions
	}
	if report != nil {
		// Also where the tour ends early: what it has seen until then is true.
		err = errors.Join(err, e.report(ctx, report, t, began, err))
	}
	if traces != nil {
		err = errors.Join(err, e.saveTraces(traces, t))
	}
	if err != nil {
		return err
	}
	if *asJSON {
		if err := t.JSON(e.stdout, predictions); err != nil {
			return err
		}
	}
	if *withJaeger {
		fmt.Fprintf(e.stderr, "\nJaeger stays up with these traces until Ctrl-C: %s\n", t.Jaeger.UI)
		if err := t.Jaeger.Wait(ctx); err != nil {
			return err
		}
	}
	if t.Failed() > 0 {
		return errClaim
	}
	return nil
}
