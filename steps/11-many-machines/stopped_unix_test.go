//go:build unix

package main

import (
	"slices"
	"syscall"
	"testing"
	"time"
)

// A peer that is suspended, by Ctrl-Z or by a debugger, costs callers of the
// round robin a bounded wait. It takes part again when it goes on.
func TestSuspendedPeer(t *testing.T) {
	t.Parallel()
	// In one run of three the suspended peer owns the key: it is waited for, too.
	s := start(t, nil, "-peer-timeout=200ms")
	addr, pids := peersOf(t, s)
	stopped := servedBy(t, addr)
	if err := syscall.Kill(pids[stopped], syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	var by []string
	for range 2 * peers {
		by = append(by, servedBy(t, addr))
	}
	if took := time.Since(began); slices.Contains(by, stopped) || took > 20*time.Second {
		t.Errorf("served by %v after %v; %s is suspended", by, took, stopped)
	}
	if err := syscall.Kill(pids[stopped], syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); servedBy(t, addr) != stopped; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s goes on, and is not asked", stopped)
		}
	}
}
