//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Ctrl-C in the middle of the tour: it ends soon, with exit 130, and leaves no
// process and no file behind. The report is of the step that it finished, whole,
// and says that the tour was stopped.
func TestCtrlC(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "out")
	tour := newTour(t, []string{"02", "06"}, "--report", dir)
	out := tour.start(t)
	finished := false // with 02
	for lines := bufio.NewScanner(out); lines.Scan(); {
		finished = finished || strings.Contains(lines.Text(), "✓ 02-goroutines")
		// 06 has begun beside 02, and takes longer.
		if finished && strings.Contains(lines.Text(), "06  ") {
			break
		}
	}
	began := time.Now()
	if err := tour.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	tour.stopped(t)
	if d := time.Since(began); d > 20*time.Second {
		t.Errorf("it took %v to stop", d)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 1 {
		t.Errorf("in the report's folder there is %q", left)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".report-*")); left != nil {
		t.Errorf("in the report's folder it left %q", left)
	}
	b, err := os.ReadFile(filepath.Join(dir, "index.html"))
	if err != nil {
		t.Error(err)
	}
	says(t, "the report", string(b), "Somebody stopped it.", `<section class="step" id="s02-goroutines">`, "</html>")
	if strings.Contains(string(b), `id="s06-mutex-cache"`) {
		t.Error("the report has a step that the tour did not finish")
	}
}

// tourProcess is a tour in a process that has its files in folders of the test's. The
// tour's programs stand in one of them, so its children can be told.
type tourProcess struct {
	*exec.Cmd
	tmp, cache string
}

// newTour makes a tour of these steps ready.
func newTour(t *testing.T, steps []string, flags ...string) tourProcess {
	t.Helper()
	goCache, err := exec.Command("go", "env", "GOCACHE").Output() // which does not move with the user's cache folder
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	args := slices.Concat([]string{"tour"}, flags, steps)
	tour := tourProcess{exec.CommandContext(ctx, scriptsProgram(t), args...), t.TempDir(), cacheFolder(t, steps...)}
	tour.Env = append(os.Environ(), "TMPDIR="+tour.tmp, "XDG_CACHE_HOME="+tour.cache, "GOCACHE="+strings.TrimSpace(string(goCache)))
	return tour
}

// start starts it, and returns what it prints.
func (tour tourProcess) start(t *testing.T) io.ReadCloser {
	t.Helper()
	out, err := tour.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := tour.Start(); err != nil {
		t.Fatal(err)
	}
	return out
}

// stopped waits for its end, which must be exit 130 and leave no file and no process.
func (tour tourProcess) stopped(t *testing.T) {
	t.Helper()
	err := tour.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 130 {
		t.Errorf("the tour ended with %v, want exit 130", err)
	}
	for _, runs := range []string{filepath.Join(tour.tmp, "*"), filepath.Join(tour.cache, "plaque", "*", "plaque-*")} {
		if left, _ := filepath.Glob(runs); left != nil {
			t.Errorf("it left %q", left)
		}
	}
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil || processes == nil {
		t.Fatalf("no processes to look at: %v", err)
	}
	for _, p := range processes {
		b, err := os.ReadFile(p)
		if err == nil && (strings.Contains(string(b), tour.tmp) || strings.Contains(string(b), tour.cache)) {
			t.Errorf("it left the process %s: %q", p, b)
		}
	}
}

// Other ends than one Ctrl-C leave nothing either: a terminal that is closed, a
// reader that has read enough, an impatient one.
func TestEnds(t *testing.T) {
	t.Parallel()
	// Behind nohup a child would ignore the signal, too. What we take, it does not.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	for name, end := range map[string]func(*os.Process, io.Closer) error{
		"the terminal is closed": func(p *os.Process, _ io.Closer) error { return p.Signal(syscall.SIGHUP) },
		"the reader leaves":      func(_ *os.Process, out io.Closer) error { return out.Close() },
		"Ctrl-C twice": func(p *os.Process, _ io.Closer) error {
			return errors.Join(p.Signal(syscall.SIGINT), p.Signal(syscall.SIGINT))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tour := newTour(t, []string{"01"})
			out := tour.start(t)
			if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
				t.Fatal(err)
			}
			if err := end(tour.Process, out); err != nil {
				t.Fatal(err)
			}
			tour.stopped(t)
		})
	}
}
