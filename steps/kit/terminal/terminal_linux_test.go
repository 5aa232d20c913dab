package terminal

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// A terminal, as the kernel makes one.
func TestTerminal(t *testing.T) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	for wide, want := range map[uint16]int{0: 80, 80: 80, 120: 120} {
		if err := unix.IoctlSetWinsize(int(tty.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 30, Col: wide}); err != nil {
			t.Fatal(err)
		}
		if got := Columns(tty); got != want {
			t.Errorf("%d columns: got %d, want %d", wide, got, want)
		}
		if got, lines := Size(tty); got != want || lines != 30 {
			t.Errorf("%d columns, 30 lines: got %d and %d", wide, got, lines)
		}
	}
	for _, c := range []struct {
		noColor, term string
		want          bool
	}{
		{"", "xterm-256color", true}, {"1", "xterm-256color", false}, {"", "dumb", false}, {"", "", true},
	} {
		t.Setenv("NO_COLOR", c.noColor)
		t.Setenv("TERM", c.term)
		if got := Colors(tty); got != c.want {
			t.Errorf("NO_COLOR=%s TERM=%s: %t, want %t", c.noColor, c.term, got, c.want)
		}
		if got := Escapes(tty); got != (c.term != "dumb") {
			t.Errorf("NO_COLOR=%s TERM=%s: escape codes: %t", c.noColor, c.term, got)
		}
	}
}
