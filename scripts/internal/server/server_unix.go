//go:build unix

package server

import (
	"os/exec"
	"syscall"
)

// ownGroup gives the process a group, so that what it starts can be ended with
// it: of `go run .` the server is a child.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

func (s *Server) terminate() { _ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGTERM) }

func (s *Server) killRest() { s.kill() }

func (s *Server) kill() { _ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL) }
