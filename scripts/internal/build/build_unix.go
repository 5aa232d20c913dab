//go:build unix

package build

import (
	"os"
	"os/exec"
	"syscall"
)

// ownGroup gives the go command a group, so that its compilers can be interrupted
// with it.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

func interrupt(cmd *exec.Cmd) error {
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGINT); err != nil {
		return os.ErrProcessDone
	}
	return nil
}
