//go:build unix

package server

import (
	"os/exec"
	"syscall"
)

// away has a command leave its parent's session, as a daemon does.
func away(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }
