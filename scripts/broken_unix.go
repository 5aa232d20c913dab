//go:build unix

package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// broken reports whether nobody reads the other end of a pipe any more.
func broken(f *os.File) bool {
	fds := []unix.PollFd{{Fd: int32(f.Fd())}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n == 1 && fds[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0
}
