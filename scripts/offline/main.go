// Command offline makes a machine ready that has no network, from the file that
// `go run ./scripts prepare --bundle` has written on another one:
//
//	go run ./scripts/offline plaque.zip
//
// The runner cannot be compiled before its modules are there. So this command imports
// the standard library alone, takes the modules out of the bundle, and runs
// `prepare --from` with them.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"

	"plaque/scripts/internal/bundle"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if len(os.Args) != 2 || os.Args[1] == "-h" || os.Args[1] == "--help" {
		fmt.Fprintln(os.Stderr, "go run ./scripts/offline FILE\n\nMake this machine ready without a network. `go run ./scripts prepare --bundle FILE` writes the FILE\nwhere there is one.")
		os.Exit(2)
	}
	err := run(ctx, os.Args[1])
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "stopped")
		os.Exit(130)
	case errors.As(err, &exit): // it has said why
		os.Exit(exit.ExitCode())
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, from string) (err error) {
	if from, err = filepath.Abs(from); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "plaque-offline-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	fmt.Fprintln(os.Stderr, "taking the modules from", from)
	if err := bundle.Unpack(ctx, from, dir); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "compiling the commands; that takes minutes")
	prepare := exec.CommandContext(ctx, "go", "run", "./scripts", "prepare", "--from", from)
	prepare.Cancel = func() error { return nil } // Ctrl-C has reached it, too
	prepare.Env = append(os.Environ(), "GOPROXY="+bundle.Proxy(dir), "GOSUMDB=off")
	prepare.Stdin, prepare.Stdout, prepare.Stderr = os.Stdin, os.Stdout, os.Stderr
	return prepare.Run()
}
