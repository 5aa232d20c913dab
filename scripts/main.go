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
	"slices"
	"strconv"
	"strings"
	"syscall"

	"plaque/scripts/internal/build"
	"plaque/scripts/internal/lesson"
	"plaque/scripts/internal/say"
)

// command is one thing that the program can do.
type command struct {
	name, args, says string
	run              func(context.Context, *env, []string) error
	more             func(*say.Printer) // behind says in the command's usage; nil for nothing
}

// env is what every command needs.
type env struct {
	stdout, stderr io.Writer
	root           string
	lessons        []*lesson.Lesson // that can be read
	broken         error            // of those that cannot
	parsed         *flag.FlagSet    // of the command, once it has called parse
	printers       []*say.Printer
}

// printer writes to standard output for people. What could not be written fails
// the command in the end.
func (e *env) printer() *say.Printer {
	p := say.New(e.stdout)
	e.printers = append(e.printers, p)
	return p
}

func commands() []command {
	return []command{
		{"tour", "[STEP...]", "run every step's experiments and judge what they show", tourCommand, nil},
		{"run", "STEP [FLAGS OF THE STEP]", "run one step until Ctrl-C", runStep, nil},
		{"load", "STEP", "load the running step with hey, as one trace", load, nil},
		{"feed", "[ANSWER...]", "tell the running step's feed what to serve next", feed, feedAnswers},
		{"top", "[STEP]", "watch the running step: flights, hits, goroutines", top, nil},
		{"stacks", "[STEP]", "show what the running step's goroutines wait for", stacksCommand, nil},
		{"check", "[STEP | -- COMMAND]", "judge a server in any language, property by property", checkCommand, nil},
		{"diff", "STEP", "show what changed since the step before: code, properties, pictures", diffCommand, nil},
		{"doctor", "", "look at this machine, and whether a trace shows up", doctorCommand, nil},
		{"jaeger", "", "start Jaeger", jaegerCommand, nil},
		{"pages", "[STEP...]", "write the generated parts of the READMEs, or check them", pages, nil},
		{"bench", "", "measure the cache to take home beside its peers, servers beside a bare one, what it costs to watch, or a fleet", benchCommand, nil},
		{"mutants", "[STEP...]", "break each line that matters and see a test fail", mutants, nil},
	}
}

// errUsage is an error of the person who typed: exit 2.
type errUsage struct{ err error }

func (e errUsage) Error() string { return e.err.Error() }

// errClaim says that a step did not do what it claims: exit 1, all is said.
var errClaim = errors.New("not every claim came true")

func main() {
	os.Exit(exitCode(run(interruptible(), os.Args[1:], os.Stdout, os.Stderr)))
}

// errStopped is the cause of a context that ended because somebody stopped us.
var errStopped = errors.New("stopped")

// interruptible is a context that ends with Ctrl-C, and with what ends a program
// whose terminal or reader has gone. Stopping takes seconds, because servers and
// files go first: a second Ctrl-C says so, and the third ends the program at once.
func interruptible() context.Context {
	ctx, stop := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	go func() {
		for s := range signals {
			if ends(s) {
				break
			}
		}
		stop(errStopped)
		for s := range signals {
			if s == os.Interrupt {
				fmt.Fprintln(os.Stderr, "stopping what was started; Ctrl-C once more leaves it behind")
				signal.Reset(os.Interrupt)
				return
			}
		}
	}()
	return ctx
}

// ends reports whether a signal ends the program. SIGPIPE also comes for a
// connection whose other side has gone, which is an everyday event here; it ends
// us where nobody reads what we print.
func ends(s os.Signal) bool {
	return s != syscall.SIGPIPE || broken(os.Stdout) || broken(os.Stderr)
}

// exitCode says what is to be said of how a command ended.
func exitCode(err error) int {
	var usage errUsage
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errStopped):
		fmt.Fprintln(os.Stderr, errStopped)
		return 130
	case errors.As(err, &usage):
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// run runs the command that args name.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	e := &env{stdout: stdout, stderr: stderr}
	defer func() {
		for _, p := range e.printers {
			if wrong := p.Err(); wrong != nil && (err == nil || errors.Is(err, flag.ErrHelp)) {
				err = wrong
			}
		}
		if err != nil && ctx.Err() != nil {
			err = errors.Join(context.Cause(ctx), err)
		}
	}()
	here, err := os.Getwd()
	if err != nil {
		return err
	}
	if e.root, err = build.Root(here); err != nil {
		return errUsage{err}
	}
	e.lessons, e.broken = lesson.All(e.root)
	if len(args) == 0 || slices.Contains([]string{"-h", "--help"}, args[0]) {
		args = []string{"help"}
	}
	if args[0] == "help" {
		if args = args[1:]; len(args) == 0 {
			return e.help(ctx)
		}
		args = []string{args[0], "-h"}
	}
	c := known(args[0])
	if c.run == nil {
		var names []string
		for _, c := range commands() {
			names = append(names, c.name)
		}
		return errUsage{fmt.Errorf("there is no command %q; there are %s", args[0], strings.Join(names, ", "))}
	}
	if _, err := os.Stat(os.TempDir()); err != nil {
		return errUsage{fmt.Errorf("no place for temporary files: %w: TMPDIR names it (on Windows TMP); set that to a folder that is there, or unset it", err)}
	}
	return c.run(ctx, e, args[1:])
}

// known is the command of that name, or the zero command.
func known(name string) command {
	for _, c := range commands() {
		if c.name == name {
			return c
		}
	}
	return command{}
}

// steps picks the lessons with these names; none means all.
func (e *env) steps(names []string) ([]*lesson.Lesson, error) {
	if len(names) == 0 {
		return e.lessons, e.broken
	}
	var picked []*lesson.Lesson
	for _, n := range names {
		l, err := lesson.Find(e.lessons, n)
		if err != nil {
			// It may be one of those that cannot be read.
			return nil, errUsage{errors.Join(e.broken, err)}
		}
		picked = append(picked, l)
	}
	return picked, nil
}

// before is the lesson before s, or nil for the first. It is an error where that
// one may be broken.
func (e *env) before(s *lesson.Lesson) (*lesson.Lesson, error) {
	b := lesson.Before(e.lessons, s)
	if e.broken == nil {
		return b, nil
	}
	last := 0
	if b != nil {
		last, _ = strconv.Atoi(b.Number())
	}
	if n, _ := strconv.Atoi(s.Number()); n != last+1 {
		return nil, e.broken
	}
	return b, nil
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
