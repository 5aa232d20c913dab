//go:build linux

package main

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
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
	bin := scriptsProgram(t)
	// The tour's programs stand in one of these, so its children can be told.
	tmp, cache := t.TempDir(), cacheFolder(t, "02", "06")
	dir := filepath.Join(t.TempDir(), "out")
	cmd := exec.Command(bin, "tour", "--report", dir, "02", "06")
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp, "XDG_CACHE_HOME="+cache, "GOCACHE="+goCache(t))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	killed := time.AfterFunc(2*time.Minute, func() { _ = cmd.Process.Kill() })
	defer killed.Stop()
	finished := false // with 02
	for lines := bufio.NewScanner(out); lines.Scan(); {
		finished = finished || strings.Contains(lines.Text(), "✓ 02-goroutines")
		// 06 has begun beside 02, and takes longer.
		if finished && strings.Contains(lines.Text(), "06  ") {
			break
		}
	}
	began := time.Now()
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 130 {
		t.Errorf("the tour ended with %v, want exit 130", err)
	}
	if d := time.Since(began); d > 20*time.Second {
		t.Errorf("it took %v to stop", d)
	}
	for _, runs := range []string{filepath.Join(tmp, "*"), filepath.Join(cache, "plaque", "*", "plaque-*")} {
		if left, _ := filepath.Glob(runs); left != nil {
			t.Errorf("it left %q", left)
		}
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
	for _, want := range []string{"Somebody stopped it.", `<section class="step" id="s02-goroutines">`, "</html>"} {
		if !strings.Contains(string(b), want) {
			t.Errorf("the report does not say %q", want)
		}
	}
	if strings.Contains(string(b), `id="s06-mutex-cache"`) {
		t.Error("the report has a step that the tour did not finish")
	}
	noProcess(t, tmp, cache)
}

// noProcess fails where a process still runs that was started from one of these
// folders.
func noProcess(t *testing.T, folders ...string) {
	t.Helper()
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil || processes == nil {
		t.Fatalf("no processes to look at: %v", err)
	}
	for _, p := range processes {
		b, err := os.ReadFile(p)
		for _, folder := range folders {
			if err == nil && strings.Contains(string(b), folder) {
				t.Errorf("it left the process %s: %q", p, b)
			}
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
			tmp, cache := t.TempDir(), cacheFolder(t, "01")
			cmd := exec.Command(scriptsProgram(t), "tour", "01")
			cmd.Env = append(os.Environ(), "TMPDIR="+tmp, "XDG_CACHE_HOME="+cache, "GOCACHE="+goCache(t))
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			killed := time.AfterFunc(2*time.Minute, func() { _ = cmd.Process.Kill() })
			defer killed.Stop()
			if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
				t.Fatal(err)
			}
			if err := end(cmd.Process, out); err != nil {
				t.Fatal(err)
			}
			err = cmd.Wait()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 130 {
				t.Errorf("the tour ended with %v, want exit 130", err)
			}
			for _, pattern := range []string{filepath.Join(tmp, "*"), filepath.Join(cache, "plaque", "*", "plaque-*")} {
				if left, _ := filepath.Glob(pattern); left != nil {
					t.Errorf("it left %q", left)
				}
			}
			noProcess(t, tmp, cache)
		})
	}
}

// goCache is where the go command keeps its cache, which a test that moves the
// user's cache folder must not move.
func goCache(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
