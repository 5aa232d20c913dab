//go:build unix

package check

import (
	"fmt"
	"os"
	"os/exec"
	"plaque/steps/kit/need"
	"syscall"
	"testing"
	"time"
)

// A measurement counts only if the machine was awake meanwhile.
func TestOnTime(t *testing.T) {
	for _, c := range []struct {
		stops, runs int
		stretch     float64
		measured    seen
		has         string
	}{
		{0, 1, 1, yes(""), "yes"},
		{1, 2, 1, yes(""), "yes"},
		{1, 2, 1, no("late"), "no"},
		{9, 4, 1, yes(""), "yes"},
		{9, 4, 1, no("late"), "n/a"},
		{0, 1, 20, yes(""), "yes"},
		{0, 1, 2, no("late"), "no"}, // both cores have other work
		{0, 4, 20, no("late"), "n/a"},
		{0, 1, 1, tooLong(yes("")), "yes"},
		{0, 4, 1, tooLong(no("late")), "no"}, // the server is slow to take connections
		{1, 4, 1, tooLong(no("late")), "n/a"},
		{0, 1, 20, seen{has: "no", sure: true}, "no"},
		{1, 1, 20, seen{has: "no", sure: true}, "no"},
	} {
		runs := 0
		result := onTime(func() seen {
			if runs++; runs <= c.stops {
				standStill(t)
			}
			time.Sleep(3 * beat)
			return c.measured
		}, func() float64 { return c.stretch }, func(time.Duration) {})
		if runs != c.runs || result.has != c.has {
			t.Errorf("with %d stops and work %.0f times as long, %q was taken %d times and came to %q, want %d times and %q", c.stops, c.stretch, c.measured.has, runs, result.has, c.runs, c.has)
		}
	}
}

// tooLong is a measurement in which a load was held until it may have timed out.
func tooLong(s seen) seen {
	s.held = heldMost
	return s
}

// standStill stops this process, as its machine would, and has it go on later.
func standStill(t *testing.T) {
	t.Helper()
	need.Program(t, "it comes with every Unix", "sh")
	need.Program(t, "apt install procps", "ps")
	// Soon after it has come to stand still, however long that takes.
	later := exec.Command("sh", "-c", fmt.Sprintf(`
		until case $(ps -o state= -p %[1]d) in T*) true;; *) false;; esac; do sleep 0.01; done
		sleep 0.55; kill -CONT %[1]d`, os.Getpid()))
	if err := later.Start(); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := later.Wait(); err != nil {
		t.Fatal(err)
	}
}
