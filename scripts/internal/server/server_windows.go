package server

import (
	"os/exec"
	"strconv"
)

func ownGroup(*exec.Cmd) {}

// terminate closes the standard input: a step ends when its input does. Windows
// has no signal that asks a process to end.
func (s *Server) terminate() { _ = s.stdin.Close() }

// kill ends the process with all that it has started.
func (s *Server) kill() {
	if exec.Command("taskkill", "/T", "/F", "/PID", strconv.Itoa(s.cmd.Process.Pid)).Run() != nil {
		_ = s.cmd.Process.Kill()
	}
}
