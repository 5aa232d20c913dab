package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"plaque/scripts/internal/doctor"
	"plaque/scripts/internal/say"
)

// errSick says that something failed: exit 1, all is said.
var errSick = errors.New("not everything is as it should be: see each ✗")

// doctorCommand prints what the doctor finds.
func doctorCommand(ctx context.Context, e *env, args []string) error {
	fs := e.flags("doctor")
	asJSON := fs.Bool("json", false, "print one JSON document instead of text")
	if err := e.parseFlags(fs, args); err != nil {
		return err
	}
	began := time.Now()
	found := doctor.Examine(ctx, e.root)
	if ctx.Err() != nil {
		return ctx.Err() // what was found then is what Ctrl-C did
	}
	sick := slices.IndexFunc(found, func(f doctor.Finding) bool { return f.State == doctor.Failure })
	if *asJSON {
		enc := json.NewEncoder(e.stdout)
		enc.SetIndent("", "  ")
		err := enc.Encode(struct {
			OK       bool             `json:"ok"`
			Seconds  float64          `json:"seconds"`
			Findings []doctor.Finding `json:"findings"`
		}{sick < 0, time.Since(began).Seconds(), found})
		if err != nil {
			return err
		}
	} else {
		findings(e.printer(), found, sick)
	}
	if sick >= 0 {
		return errSick
	}
	return nil
}

// findings prints a line for each finding, and below it what to do. The last line
// is whether the workshop can start, or what to do first: sick is the first failure,
// or -1.
func findings(p *say.Printer, found []doctor.Finding, sick int) {
	width := 0
	for _, f := range found {
		width = max(width, len(f.Name))
	}
	for _, f := range found {
		mark := f.State.Mark()
		switch f.State {
		case doctor.OK:
			mark = p.Good(mark)
		case doctor.Failure:
			mark = p.Bad(mark)
		}
		p.Wrap(fmt.Sprintf("%s %-*s  ", mark, width, f.Name), f.Found)
		if f.Advice != "" {
			p.Wrap(strings.Repeat(" ", width+4), f.Advice)
		}
	}
	p.Line("")
	if sick >= 0 {
		p.Wrap("not ready; first, "+found[sick].Name+": ", found[sick].Advice)
	} else {
		p.Line("ready")
	}
}
