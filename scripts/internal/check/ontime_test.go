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
	for _, stops := range []int{0, 1, 5} {
		runs := 0
		onTime(func() {
			if runs++; runs <= stops {
				standStill(t)
			}
			time.Sleep(3 * beat)
		})
		if want := min(stops+1, 3); runs != want {
			t.Errorf("with %d stops it was taken %d times, want %d", stops, runs, want)
		}
	}
}

// standStill stops this process, as its machine would, and has it go on later.
func standStill(t *testing.T) {
	t.Helper()
	need.Program(t, "it comes with every Unix", "sh")
	need.Program(t, "apt install procps", "ps")
	// A second after it has come to stand still, however long that takes.
	later := exec.Command("sh", "-c", fmt.Sprintf(`
		until case $(ps -o state= -p %[1]d) in T*) true;; *) false;; esac; do sleep 0.01; done
		sleep 1; kill -CONT %[1]d`, os.Getpid()))
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
