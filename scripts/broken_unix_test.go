//go:build unix

package main

import (
	"os"
	"syscall"
	"testing"
)

func TestBrokenPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if broken(w) {
		t.Error("a pipe with a reader is broken")
	}
	_ = r.Close()
	if !broken(w) {
		t.Error("a pipe without a reader is not broken")
	}
	// Somebody reads what the tests print, so the signal came for a connection.
	if ends(syscall.SIGPIPE) {
		t.Error("a connection that breaks ends the program")
	}
	if !ends(syscall.SIGHUP) || !ends(os.Interrupt) {
		t.Error("a closed terminal, or Ctrl-C, does not end the program")
	}
}
