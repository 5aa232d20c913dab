package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strings"

	"plaque/scripts/internal/say"
)

// help lists the steps and the commands with their flags.
func (e *env) help(ctx context.Context) error {
	p := e.printer()
	p.Line("plaque: a workshop on request coalescing and tracing")
	p.Line("")
	p.Line("The steps:")
	p.Line("")
	for _, l := range e.lessons {
		p.Wrap(fmt.Sprintf("  %-18s %3d min  ", l.Step, l.Minutes), l.Title)
	}
	p.Line("")
	p.Wrap("", "The commands, each as `go run ./scripts COMMAND`; `help COMMAND` tells more:")
	p.Line("")
	for _, c := range commands() {
		p.Wrap("  "+p.Bold(c.name)+" ", e.synopsis(ctx, c))
		p.Wrap("      ", c.says)
	}
	p.Line("")
	p.Wrap("", "A STEP is a number such as 5 or 05, or a name. Start with `go run ./scripts tour`.")
	if e.broken != nil {
		p.Line("")
		p.Wrap("", "Left out, because they cannot be read: "+e.broken.Error())
	}
	return nil
}

// synopsis is what a command takes, in a line: its flags and then its arguments.
func (e *env) synopsis(ctx context.Context, c command) string {
	var parts []string
	e.flagsOf(ctx, c).VisitAll(func(f *flag.Flag) { parts = append(parts, "["+spelled(f)+"]") })
	return strings.Join(append(parts, c.args), " ")
}

// flagsOf are a command's flags. It defines them, finds -h and does nothing more.
func (e *env) flagsOf(ctx context.Context, c command) *flag.FlagSet {
	asked := *e
	asked.stdout, asked.stderr = io.Discard, io.Discard
	_ = c.run(ctx, &asked, []string{"-h"})
	return asked.parsed
}

// spelled is a flag as it is typed: -n N, --json.
func spelled(f *flag.Flag) string {
	dashes := "--"
	if len(f.Name) == 1 {
		dashes = "-"
	}
	value, _ := flag.UnquoteUsage(f)
	if value == "int" {
		value = "N"
	}
	return strings.TrimSpace(dashes + f.Name + " " + strings.ToUpper(value))
}

// usage writes how a command is used.
func usage(p *say.Printer, fs *flag.FlagSet, c command) {
	p.Linef("go run ./scripts %s", strings.TrimSpace(c.name+" "+c.args))
	p.Line("")
	p.Wrap("", strings.ToUpper(c.says[:1])+c.says[1:]+".")
	if c.more != nil {
		p.Line("")
		c.more(p)
	}
	first := true
	fs.VisitAll(func(f *flag.Flag) {
		if first {
			p.Line("")
		}
		first = false
		_, says := flag.UnquoteUsage(f)
		switch f.DefValue {
		case "", "0", "0s", "false":
		default:
			says += " (default " + f.DefValue + ")"
		}
		p.Wrap(fmt.Sprintf("  %-17s ", spelled(f)), says)
	})
}
