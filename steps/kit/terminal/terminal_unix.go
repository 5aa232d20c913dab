//go:build unix

package terminal

import (
	"os"

	"golang.org/x/sys/unix"
)

func columns(f *os.File) (int, bool) {
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil { // not a terminal
		return 0, false
	}
	return int(size.Col), true
}

func escapes(*os.File) bool { return true }
