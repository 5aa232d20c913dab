package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"plaque/steps/kit/terminal"
)

// errStopped is the cause of a context that ended because somebody stopped us.
var errStopped = errors.New("stopped")

// interruptible is a context that ends with Ctrl-C, and with what ends a program
// whose terminal or reader has gone. Stopping takes seconds, because servers and
// files go first: a second Ctrl-C says so, and the third ends the program at once.
func interruptible() context.Context {
	ctx, stop := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGPIPE)
	if !signal.Ignored(syscall.SIGHUP) { // under nohup it is
		signal.Notify(signals, syscall.SIGHUP)
	}
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

// tell writes an error for people. A server's log and other programs' words may be
// in it.
func tell(w io.Writer, err error) { fmt.Fprintln(w, terminal.PlainLines(err.Error())) }

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
		tell(os.Stderr, err)
		return 2
	}
	tell(os.Stderr, err)
	return 1
}
