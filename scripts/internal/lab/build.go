// Package lab runs a step's experiments: it builds the step and hey, starts a
// fresh server for each experiment, feeds it, loads it, collects its spans, and
// judges what came out against the step's lesson.
//
// Nothing in it depends on luck. The feed holds its answers behind gates until
// the callers are where the experiment wants them; where that does not show
// from outside, the lab looks into the server's goroutine profile.
package lab

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
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

// Build compiles the program in folder pkg (a path from dir, such as ".") or
// the package with that import path, as seen from dir, into bin. overlay is a
// file for go build's -overlay, or "".
func Build(ctx context.Context, dir, pkg, bin, overlay string) error {
	args := []string{"build", "-trimpath", "-o", bin}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, pkg)...)
	cmd.Dir = dir
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("go build in %s: %w\n%s", dir, err, strings.TrimSpace(out.String()))
	}
	return nil
}

// BuildHey compiles hey, at the version that scripts/go.mod names.
func BuildHey(ctx context.Context, root, binDir string) (string, error) {
	bin := Exe(filepath.Join(binDir, "hey"))
	return bin, Build(ctx, filepath.Join(root, "scripts"), "github.com/rakyll/hey", bin, "")
}

// Exe is the name of a program's file on this system.
func Exe(path string) string {
	if runtime.GOOS == "windows" {
		return path + ".exe"
	}
	return path
}
