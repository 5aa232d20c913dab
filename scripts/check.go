package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"

	"plaque/scripts/internal/build"
	"plaque/scripts/internal/check"
	"plaque/scripts/internal/lesson"
	"plaque/scripts/internal/say"
)

// errLacks says that a server has not all properties: exit 1, all is said.
var errLacks = errors.New("not every property held")

// checkCommand judges a server: a step, an exercise, one that runs, or one that
// it starts.
func checkCommand(ctx context.Context, e *env, args []string) error {
	var command []string
	if i := slices.Index(args, "--"); i >= 0 {
		args, command = args[:i], args[i+1:]
		if len(command) == 0 {
			return errUsage{errors.New("behind -- stands the command that starts your server, such as `check -- python3 server.py`")}
		}
	}
	fs := e.flags("check")
	addr := fs.String("addr", "", "judge the server that listens at `HOST:PORT`")
	exercise := fs.String("exercise", "", "judge your attempt at the exercise of `STEP`")
	only := fs.String("only", "", "judge these properties alone: `NAMES`, with commas between them")
	feed := fs.String("feed", check.FeedAddr, "with --addr: `HOST:PORT` where the checker's feed listens")
	spans := fs.String("spans", check.SpansAddr, "with --addr: `HOST:PORT` where the checker takes spans, OTLP over HTTP")
	asJSON := fs.Bool("json", false, "print one JSON document instead of text")
	names, err := e.parse(fs, args)
	if err != nil {
		return err
	}
	ways := len(names)
	for _, set := range []bool{command != nil, *addr != "", *exercise != ""} {
		if set {
			ways++
		}
	}
	if ways != 1 {
		return errUsage{errors.New("check judges one server: name a step (`check 05`), where one listens (`check --addr 127.0.0.1:3779`), an exercise (`check --exercise 05`), or the command that starts one (`check -- python3 server.py`)")}
	}
	o := check.Options{Command: command, Addr: *addr, Feed: *feed, Spans: *spans}
	if *only != "" {
		o.Only = strings.Split(*only, ",")
		if err := check.Known(o.Only); err != nil {
			return errUsage{fmt.Errorf("--only: %w", err)}
		}
	}
	if *addr != "" {
		if _, _, err := net.SplitHostPort(*addr); err != nil {
			return errUsage{fmt.Errorf("--addr %q is not an address: write it like 127.0.0.1:3779", *addr)}
		}
	}
	what := strings.Join(command, " ") + *addr
	var l *lesson.Lesson
	if len(names) == 1 || *exercise != "" {
		if l, err = lesson.Find(e.lessons, strings.Join(names, "")+*exercise); err != nil {
			return errUsage{err}
		}
		dir, clean, err := build.TempDir()
		if err != nil {
			return err
		}
		defer clean()
		bin, pkg := build.BinPath(dir, l), "."
		what = l.Step
		if *exercise != "" {
			pkg = "./exercise"
			what = filepath.ToSlash(filepath.Join("steps", l.Step, "exercise"))
			if o.Only == nil {
				o.Only = l.Exercise.Properties()
			}
		}
		fmt.Fprintf(e.stderr, "building %s\n", what)
		if err := build.Build(ctx, l.Dir, pkg, bin, ""); err != nil {
			return errUsage{err}
		}
		o.Command = []string{bin}
	}

	out := e.printer()
	if *asJSON {
		out = &say.Printer{Out: io.Discard, Width: say.Elsewhere}
	}
	o.Each = func(v check.Verdict) {
		if v.Has != "n/a" {
			check.Write(out, v)
		}
	}
	out.Linef("judging %s", what)
	out.Line("")
	var notes []string
	o.Note = func(note string) { notes = append(notes, note) }
	verdicts, err := check.Run(ctx, o)
	if *asJSON {
		// Also where it could not be judged, or not to the end: then it says so.
		if err := writeVerdicts(e.stdout, what, verdicts, notes, err); err != nil {
			return err
		}
	}
	if err != nil {
		if ctx.Err() == nil {
			err = errUsage{fmt.Errorf("it cannot be judged: %w", err)}
		}
		return err
	}
	out.Line("")
	has, hasNot, notJudged := check.Count(verdicts)
	out.Linef("It has %s, and lacks %d.", properties(has), hasNot)
	if notJudged > 0 {
		tellNotJudged(out, verdicts)
	}
	for _, note := range notes {
		out.Wrap("", note)
	}
	switch {
	case l != nil && *exercise != "" && hasNot == 0:
		out.Line("That is the exercise solved.")
	case l != nil && *exercise == "":
		tellLesson(out, l, verdicts)
	}
	if hasNot > 0 {
		return errLacks
	}
	return nil
}

// writeVerdicts writes the one document of --json.
func writeVerdicts(w io.Writer, judged string, verdicts []check.Verdict, notes []string, failed error) error {
	doc := struct {
		Judged     string          `json:"judged"`
		Properties []check.Verdict `json:"properties"`
		Notes      []string        `json:"notes,omitempty"`
		Error      string          `json:"error,omitempty"` // why the rest of the properties is missing
	}{judged, append([]check.Verdict{}, verdicts...), notes, ""}
	if failed != nil {
		doc.Error = failed.Error()
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(doc)
}

// tellNotJudged names the properties that could not be judged, by the reason.
func tellNotJudged(out *say.Printer, verdicts []check.Verdict) {
	var reasons []string
	names := map[string][]string{}
	for _, v := range verdicts {
		if v.Has == "n/a" {
			if names[v.Seen] == nil {
				reasons = append(reasons, v.Seen)
			}
			names[v.Seen] = append(names[v.Seen], v.Property)
		}
	}
	for _, why := range reasons {
		out.Wrap("Not judged, because "+why+": ", strings.Join(names[why], ", "))
	}
}

func properties(n int) string {
	if n == 1 {
		return "1 property"
	}
	return fmt.Sprintf("%d properties", n)
}

// tellLesson says whether a step is as its lesson has it.
func tellLesson(out *say.Printer, l *lesson.Lesson, verdicts []check.Verdict) {
	agrees := true
	for _, v := range verdicts {
		switch want := l.Fingerprint[v.Property]; {
		case v.Has == want:
		case v.Has == "n/a": // the machine was too busy, and the reason is above
			agrees = false
			out.Linef("· the lesson says %q of %s, which was not judged", want, v.Property)
		default:
			agrees = false
			out.Linef("%s: the lesson says %q of %s", out.Bad("✗"), want, v.Property)
		}
	}
	if agrees {
		out.Line("That is what its lesson claims, row by row.")
	}
}
