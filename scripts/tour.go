package main

import (
	"context"
	"fmt"
	"time"

	"plaque/scripts/internal/build"
	"plaque/scripts/internal/jaeger"
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
	steps, err := e.parseSteps(fs, args)
	if err != nil {
		return err
	}
	var files tourFiles
	if given(fs)["report"] || *withSlides {
		if files.report, err = openReport(*dir, *withSlides, steps); err != nil {
			return err
		}
	}
	if given(fs)["traces"] {
		if files.traces, err = saved.Open(*into); err != nil {
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
	if *withJaeger {
		if t.Jaeger, err = jaeger.Start(ctx, jaeger.Options{Root: e.root, Out: e.stderr}); err != nil {
			return err
		}
		defer t.Jaeger.Stop()
	} else if running, err := jaeger.Find(ctx); err == nil { // nice to have: the tour takes the spans itself
		t.Jaeger = running
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
	if err = files.write(ctx, e, t, began, err); err != nil {
		return err
	}
	if *asJSON {
		err = t.JSON(e.stdout, predictions)
	}
	if err == nil && *withJaeger {
		fmt.Fprintf(e.stderr, "\nJaeger stays up with these traces until Ctrl-C: %s\n", t.Jaeger.UI)
		err = t.Jaeger.Wait(ctx)
	}
	if err == nil && t.Failed() > 0 {
		err = errClaim
	}
	return err
}
