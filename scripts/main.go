// Command scripts runs the workshop: `go run ./scripts` lists what it can do.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"plaque/scripts/internal/build"
	"plaque/scripts/internal/lesson"
)

// command is one thing that the program can do.
type command struct {
	name, args, says string
	run              func(context.Context, *env, []string) error
}

// env is what every command needs.
type env struct {
	stdout, stderr io.Writer
	root           string
	lessons        []*lesson.Lesson
}

func commands() []command {
	return []command{
		{"tour", "[STEP...] [--json] [--jaeger] [--report DIR]", "run every step's experiments and judge what they show", tourCommand},
		{"run", "STEP [FLAGS OF THE STEP]", "run one step until Ctrl-C", runStep},
		{"load", "STEP [-n 10 -c 5 -t 2]", "load the running step with hey, as one trace", load},
		{"feed", "[--hold N] [--delay D] [ANSWER...]", "tell the running step's feed what to serve next", feed},
		{"top", "[STEP] [--every 1s]", "watch the running step: flights, hits, goroutines", top},
		{"stacks", "[STEP]", "show what the running step's goroutines wait for", stacksCommand},
		{"check", "STEP | --addr ADDR | --exercise STEP | -- COMMAND", "judge a server in any language, property by property", checkCommand},
		{"diff", "[--code] STEP", "show what changed since the step before: code, properties, pictures", diffCommand},
		{"doctor", "[--json]", "look at this machine, and whether a trace shows up", doctorCommand},
		{"jaeger", "[--from docker|release|source]", "start Jaeger", jaegerCommand},
		{"pages", "[--check]", "write the generated parts of the READMEs, or check them", pages},
		{"bench", "[--quick] [--count N] [--server | --watched | --fleet]", "measure the cache to take home beside its peers, servers beside a bare one, what it costs to watch, or a fleet", benchCommand},
		{"mutants", "[STEP...]", "break each line that matters and see a test fail", mutants},
	}
}

// errUsage is an error of the person who typed: exit 2.
type errUsage struct{ err error }

func (e errUsage) Error() string { return e.err.Error() }

// errClaim says that a step did not do what it claims: exit 1, all is said.
var errClaim = errors.New("not every claim came true")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second Ctrl-C ends the program at once.
	context.AfterFunc(ctx, stop)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	var usage errUsage
	switch {
	case err == nil:
		return
	case errors.Is(err, flag.ErrHelp):
		return
	case errors.As(err, &usage):
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "stopped")
		os.Exit(130)
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	e := &env{stdout: stdout, stderr: stderr}
	here, err := os.Getwd()
	if err != nil {
		return err
	}
	if e.root, err = build.Root(here); err != nil {
		return errUsage{err}
	}
	if e.lessons, err = lesson.All(e.root); err != nil {
		return err
	}
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		e.help(stdout)
		return nil
	}
	for _, c := range commands() {
		if c.name == args[0] {
			return c.run(ctx, e, args[1:])
		}
	}
	var names []string
	for _, c := range commands() {
		names = append(names, c.name)
	}
	return errUsage{fmt.Errorf("there is no command %q; there are %s", args[0], strings.Join(names, ", "))}
}

func (e *env) help(w io.Writer) {
	fmt.Fprint(w, "plaque: a workshop on request coalescing and tracing\n\nThe steps:\n\n")
	for _, l := range e.lessons {
		fmt.Fprintf(w, "  %-18s %3d min  %s\n", l.Step, l.Minutes, l.Title)
	}
	fmt.Fprint(w, "\nThe commands, each as `go run ./scripts COMMAND`:\n\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-44s %s\n", c.name+" "+c.args, c.says)
	}
	fmt.Fprint(w, "\nA STEP is a number such as 5 or 05, or a name. Start with `go run ./scripts tour`.\n")
}

// steps picks the lessons with these names; none means all.
func (e *env) steps(names []string) ([]*lesson.Lesson, error) {
	if len(names) == 0 {
		return e.lessons, nil
	}
	var picked []*lesson.Lesson
	for _, n := range names {
		l, err := lesson.Find(e.lessons, n)
		if err != nil {
			return nil, errUsage{err}
		}
		picked = append(picked, l)
	}
	return picked, nil
}

// step picks exactly one lesson.
func (e *env) step(command string, names []string) (*lesson.Lesson, error) {
	if len(names) != 1 {
		return nil, errUsage{fmt.Errorf("%s takes one step, such as `go run ./scripts %s 05`", command, command)}
	}
	picked, err := e.steps(names)
	if err != nil {
		return nil, err
	}
	return picked[0], nil
}

// flags makes a FlagSet whose errors are errUsage.
func (e *env) flags(name string) *flag.FlagSet {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(e.stderr)
	return fs
}

// parse reads flags before, between and behind the other arguments, which it
// returns.
func parse(fs *flag.FlagSet, args []string) ([]string, error) {
	var rest []string
	for {
		if err := fs.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, err
			}
			return nil, errUsage{fmt.Errorf("go run ./scripts %s: that was not understood; see above", fs.Name())}
		}
		if fs.NArg() == 0 {
			return rest, nil
		}
		rest = append(rest, fs.Arg(0))
		args = fs.Args()[1:]
	}
}
