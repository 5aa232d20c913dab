//go:build unix

package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime/pprof"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What the runtime's poller spares us: a goroutine whose read waits in the
// kernel holds a thread, so a thousand of them hold a thousand threads. They are
// counted in a separate process, because it keeps them until it ends.
func TestRawReadsTakeAThreadEach(t *testing.T) {
	if os.Getenv("PLAQUE_RAW_READS") != "" {
		fmt.Printf("threads: %d\n", rawReads())
		os.Exit(0) // there is no other way out of those reads
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestRawReadsTakeAThreadEach$")
	cmd.Env = append(os.Environ(), "PLAQUE_RAW_READS=1")
	out, err := cmd.CombinedOutput()
	if strings.Contains(string(out), "failed to create new OS thread") {
		t.Skip("this machine does not let one process have 1000 threads: see ulimit -u")
	}
	var threads int
	if _, scan := fmt.Sscanf(string(out), "threads: %d\n", &threads); err != nil || scan != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Logf("1000 blocking reads: %d threads", threads)
	if threads < 1000 {
		t.Errorf("1000 blocking reads had %d threads after 30 s, want at least 1000", threads)
	}
}

// rawReads lets 1000 goroutines read from one pipe that has no data, without the
// runtime's poller. It returns how many threads the process has made, as soon as
// that is 1000, or after 30 s.
func rawReads() int {
	var pipe [2]int
	if err := syscall.Pipe(pipe[:]); err != nil {
		return 0
	}
	for range 1000 {
		go func() { _, _ = syscall.Read(pipe[0], make([]byte, 1)) }()
	}
	threads := pprof.Lookup("threadcreate")
	for end := time.Now().Add(30 * time.Second); threads.Count() < 1000 && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	return threads.Count()
}
