package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"plaque/scripts/internal/lesson"
)

// flags makes the FlagSet of a command.
func (e *env) flags(name string) *flag.FlagSet {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(io.Discard) // parse says it
	return fs
}

// parse reads flags before, between and behind the other arguments, which it
// returns. Where -h is among them it writes the usage, and returns flag.ErrHelp.
//
// Each command defines its flags and calls parse before it does anything else.
func (e *env) parse(fs *flag.FlagSet, args []string) (rest []string, err error) {
	e.parsed = fs
	for {
		switch err := fs.Parse(args); {
		case errors.Is(err, flag.ErrHelp):
			usage(e.printer(), fs, known(fs.Name()))
			return nil, err
		case err != nil:
			return nil, errUsage{fmt.Errorf("%w; `go run ./scripts help %s` lists what it takes", err, fs.Name())}
		}
		if fs.NArg() == 0 {
			return rest, nil
		}
		rest = append(rest, fs.Arg(0))
		args = fs.Args()[1:]
	}
}

// parseFlags is parse for a command that takes nothing but flags.
func (e *env) parseFlags(fs *flag.FlagSet, args []string) error {
	rest, err := e.parse(fs, args)
	if err == nil && len(rest) > 0 {
		err = errUsage{fmt.Errorf("%s takes no %q, only flags: `go run ./scripts help %s` lists them", fs.Name(), rest[0], fs.Name())}
	}
	return err
}

// parseSteps is parse for a command that takes steps, or none for all.
func (e *env) parseSteps(fs *flag.FlagSet, args []string) ([]*lesson.Lesson, error) {
	names, err := e.parse(fs, args)
	if err != nil {
		return nil, err
	}
	return e.steps(names)
}

// parseStep is parse for a command that takes exactly one step.
func (e *env) parseStep(fs *flag.FlagSet, args []string) (*lesson.Lesson, error) {
	names, err := e.parse(fs, args)
	if err != nil {
		return nil, err
	}
	if len(names) != 1 {
		return nil, errUsage{fmt.Errorf("%s takes one step, such as `go run ./scripts %s 05`", fs.Name(), fs.Name())}
	}
	return e.step(names[0])
}

// given reports which flags were typed.
func given(fs *flag.FlagSet) map[string]bool {
	names := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { names[f.Name] = true })
	return names
}

// oneOf is an error where more than one of these flags were typed.
func oneOf(fs *flag.FlagSet, names ...string) error {
	typed := given(fs)
	first := ""
	for _, n := range names {
		switch {
		case typed[n] && first != "":
			return errUsage{fmt.Errorf("%s takes --%s or --%s, not both: name one of them", fs.Name(), first, n)}
		case typed[n]:
			first = n
		}
	}
	return nil
}

// duration is a flag for a time of at least min.
func duration(fs *flag.FlagSet, name string, d *time.Duration, min time.Duration, says string) {
	fs.Func(name, says, func(s string) error {
		v, err := time.ParseDuration(s)
		switch {
		case err != nil:
			return fmt.Errorf("it needs a number and a unit, such as 5s or 200ms")
		case v < min:
			return fmt.Errorf("that is less than %v", min)
		}
		*d = v
		return nil
	})
}
