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
	"plaque/scripts/internal/lesson"
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

// WriteOverlay writes a file for Build's overlay: other files in place of those
// named, so that a program can be changed without touching its folder.
func WriteOverlay(path string, replace map[string]string) error {
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o644)
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

// TempDir makes a folder for binaries, and returns how to remove it.
func TempDir() (string, func(), error) {
	dir, err := os.MkdirTemp("", "plaque-")
	if err != nil {
		return "", nil, err
	}
	return dir, func() { _ = os.RemoveAll(dir) }, nil
}

// BinPath is where a step's binary stands in a folder of binaries.
func BinPath(dir string, step *lesson.Lesson) string { return Exe(filepath.Join(dir, step.Step)) }
