//go:build linux

package main

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"plaque/scripts/internal/lab"
)

// Ctrl-C in the middle of the tour: it ends soon, with exit 130, and leaves no
// process and no file behind.
func TestCtrlC(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "scripts")
	if err := lab.Build(t.Context(), ".", ".", bin, ""); err != nil {
		t.Fatal(err)
	}
	tmp := t.TempDir() // the tour's binaries stand here, so its children can be told
	cmd := exec.Command(bin, "tour", "01")
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	killed := time.AfterFunc(2*time.Minute, func() { _ = cmd.Process.Kill() })
	defer killed.Stop()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		// Here hey waits for a server that does not answer.
		if strings.Contains(lines.Text(), "a silent client:") {
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
	if left, _ := filepath.Glob(filepath.Join(tmp, "*")); left != nil {
		t.Errorf("it left %q", left)
	}
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil || processes == nil {
		t.Fatalf("no processes to look at: %v", err)
	}
	for _, p := range processes {
		if b, err := os.ReadFile(p); err == nil && strings.Contains(string(b), tmp) {
			t.Errorf("it left the process %s: %q", p, b)
		}
	}
}
