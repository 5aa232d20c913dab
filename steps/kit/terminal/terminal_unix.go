//go:build unix

package terminal

import (
	"os"

	"golang.org/x/sys/unix"
)

func size(f *os.File) (columns, lines int, ok bool) {
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil { // not a terminal
		return 0, 0, false
	}
	return int(size.Col), int(size.Row), true
}

func keyboard(f *os.File) bool {
	_, _, ok := size(f)
	return ok
}

func escapes(*os.File) bool { return true }
