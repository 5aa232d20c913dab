package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"plaque/scripts/internal/check"
	"plaque/steps/kit/terminal"
)

// errLacks says that a server has not all properties: exit 1, all is said.
var errLacks = errors.New("not every property held")

// checkCommand judges a server: a step, an exercise, one that runs, or one that
// it starts.
func checkCommand(ctx context.Context, e *env, args []string) error {
	var o check.Options
	if i := slices.Index(args, "--"); i >= 0 {
		args, o.Command = args[:i], args[i+1:]
		if len(o.Command) == 0 {
			return errUsage{errors.New("behind -- stands the command that starts your server, such as `check -- python3 server.py`")}
		}
	}
	fs := e.flags("check")
	fs.StringVar(&o.Addr, "addr", "", "judge the server that listens at `HOST:PORT`")
	fs.StringVar(&o.Feed, "feed", check.FeedAddr, "with --addr: `HOST:PORT` where the checker's feed listens")
	fs.StringVar(&o.Spans, "spans", check.SpansAddr, "with --addr: `HOST:PORT` where the checker takes spans, OTLP over HTTP")
	exercise := fs.String("exercise", "", "judge your attempt at the exercise of `STEP`")
	watch := fs.Bool("watch", false, "with --exercise: judge it again on each save, until it is solved")
	only := fs.String("only", "", "judge these properties alone: `NAMES`, with commas between them")
	asJSON := fs.Bool("json", false, "print one JSON document instead of text")
	names, err := e.parse(fs, args)
	if err != nil {
		return err
	}
	s := check.Subject{Name: terminal.Shell(o.Command...) + o.Addr, Steps: e.lessons}
	ways := slices.DeleteFunc(append(names, s.Name, *exercise), func(way string) bool { return way == "" })
	if len(ways) != 1 || o.Command != nil && o.Addr != "" {
		return errUsage{errors.New("check judges one server: name a step (`check 05`), an address (`check --addr 127.0.0.1:3779`), an exercise (`check --exercise 05`), or a command (`check -- python3 server.py`)")}
	}
	if *watch {
		if err := oneOf(fs, "watch", "json", "only"); err != nil {
			return err
		}
		return e.watch(ctx, *exercise)
	}
	if *only != "" {
		o.Only = strings.Split(*only, ",")
		if err := check.Known(o.Only); err != nil {
			return errUsage{fmt.Errorf("--only: %w", err)}
		}
	}
	if _, _, err := net.SplitHostPort(o.Addr); o.Addr != "" && err != nil {
		return errUsage{fmt.Errorf("--addr %q is not an address: write it like 127.0.0.1:3779", o.Addr)}
	}
	if s.Name == "" {
		bins, err := e.build(ctx, &s, &o, ways[0], *exercise != "")
		if err != nil {
			return err
		}
		defer bins.Close()
	}
	verdicts, notes, err := check.Tell(ctx, e.printerUnless(*asJSON), s, o)
	if *asJSON { // also where it could not be judged, or not to the end: then it says so
		if err := check.WriteJSON(e.stdout, s, verdicts, notes, err); err != nil {
			return err
		}
	}
	if _, hasNot, _ := check.Count(verdicts); err == nil && hasNot > 0 {
		err = errLacks
	} else if err != nil && ctx.Err() == nil {
		err = errUsage{fmt.Errorf("it cannot be judged: %w", err)}
	}
	return err
}
