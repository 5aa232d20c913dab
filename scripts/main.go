// Command scripts runs the workshop: `go run ./scripts` lists what it can do.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"plaque/scripts/internal/build"
	"plaque/scripts/internal/lesson"
)

// errUsage is an error of the person who typed: exit 2.
type errUsage struct{ err error }

func (e errUsage) Error() string { return e.err.Error() }

// errClaim says that a step did not do what it claims: exit 1, all is said.
var errClaim = errors.New("not every claim came true")

func main() {
	os.Exit(exitCode(run(interruptible(), os.Args[1:], os.Stdout, os.Stderr)))
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
