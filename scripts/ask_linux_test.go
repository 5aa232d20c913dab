package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// openTerminal is a terminal of 60 columns, and its other end: what is written to
// that is typed.
func openTerminal(t *testing.T) (tty, typed *os.File) {
	t.Helper()
	typed, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = typed.Close() })
	if err := unix.IoctlSetPointerInt(int(typed.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(typed.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tty.Close() })
	if err := unix.IoctlSetWinsize(int(tty.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 30, Col: 60}); err != nil {
		t.Fatal(err)
	}
	return tty, typed
}

// On a terminal the tour asks, and Ctrl-C at the prompt ends it and leaves nothing.
// Elsewhere it says that it cannot ask.
func TestAskInTerminal(t *testing.T) {
	t.Parallel()
	out, err := exec.Command(scriptsProgram(t), "tour", "--ask", "01").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "reads your answers from a terminal") {
		t.Errorf("without a terminal: %v, %s", err, out)
	}

	tty, typed := openTerminal(t)
	tour := newTour(t, []string{"01"}, "--ask")
	tour.Stdin, tour.Stdout, tour.Stderr = tty, tty, tty
	tour.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := tour.Start(); err != nil {
		t.Fatal(err)
	}
	_ = tty.Close() // the program's end is the last, so reading ends with it
	var screen strings.Builder
	for buf, answers := make([]byte, 1<<10), []string{"soon\n", "\x03"}; ; {
		n, err := typed.Read(buf)
		screen.Write(buf[:n])
		if err != nil && !errors.Is(err, io.EOF) {
			break // EIO: nobody has the terminal open any more
		}
		if strings.HasSuffix(screen.String(), "skip): ") && len(answers) > 0 {
			_, _ = typed.WriteString(answers[0])
			answers = answers[1:]
		}
	}
	tour.stopped(t)
	if !strings.Contains(screen.String(), "That is not a, b, or skip.") {
		t.Errorf("it does not say what an answer is:\n%s", &screen)
	}
}
