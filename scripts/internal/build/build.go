// Package build finds the workshop and compiles what it runs: steps, exercises,
// hey, and programs changed by an overlay.
package build

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// Root finds the workshop's folder: the nearest one, from dir upwards, that
// holds go.work and steps.
func Root(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for at := dir; ; at = filepath.Dir(at) {
		_, work := os.Stat(filepath.Join(at, "go.work"))
		_, steps := os.Stat(filepath.Join(at, "steps"))
		if work == nil && steps == nil {
			return at, nil
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("%s is not inside the workshop: run this in the folder that holds go.work", dir)
		}
	}
}

// patience is how long a go command that is interrupted may take to remove its
// temporary files.
const patience = 20 * time.Second

// Build compiles the program in folder pkg (a path from dir, such as ".") or
// the package with that import path, as seen from dir, into bin. overlay is a
// file for go build's -overlay, or "". The program has no tables for a debugger,
// but stacks and profiles.
func Build(ctx context.Context, dir, pkg, bin, overlay string) error {
	return command{dir: dir, pkg: pkg, bin: bin, overlay: overlay}.run(ctx)
}

// command is a go build.
type command struct {
	dir, pkg, bin, overlay string // as Build has them
	tmp                    string // the folder for temporary files; "" is the system's
}

func (c command) run(ctx context.Context) error {
	// No flag that compiles: the libraries are those that go run and go test have
	// compiled already. With -trimpath Go's own would be compiled a second time.
	// A commit changes no program, and git may not be there.
	args := []string{"build", "-buildvcs=false", "-ldflags=-w", "-o", c.bin}
	if c.overlay != "" {
		args = append(args, "-overlay", c.overlay)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, c.pkg)...)
	cmd.Dir = c.dir
	// A go command that is interrupted waits for the compilers that it has started.
	// One that has only just begun leaves its temporary files then, so we have
	// them in a folder that we remove.
	tmp, err := os.MkdirTemp(c.tmp, "go-")
	if err != nil {
		return whereTo(err)
	}
	defer os.RemoveAll(tmp)
	cmd.Env = append(os.Environ(), "GOTMPDIR="+tmp)
	ownGroup(cmd)
	cmd.Cancel = func() error { return interrupt(cmd) }
	cmd.WaitDelay = patience
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err = cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("go build in %s: %w\n%s", c.dir, err, strings.TrimSpace(out.String()))
	}
	return nil
}

// WriteOverlay writes a file for Build's overlay: other files in place of those
// named, so that a program can be changed without touching its folder.
func WriteOverlay(path string, replace map[string]string) error {
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o644)
}

// Exe is the name of a program's file on this system.
func Exe(path string) string {
	if runtime.GOOS == "windows" {
		return path + ".exe"
	}
	return path
}
