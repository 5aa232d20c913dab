package server

import (
	"os/exec"
	"strconv"
)

func ownGroup(*exec.Cmd) {}

// terminate closes the standard input: a step ends when its input does. Windows
// has no signal that asks a process to end.
func (s *Server) terminate() { _ = s.stdin.Close() }

// killRest does nothing: Windows tells no more what an ended process has started, and
// may have given its number to a stranger.
func (s *Server) killRest() {}

// kill ends the process with all that it has started.
func (s *Server) kill() {
	if exec.Command("taskkill", "/T", "/F", "/PID", strconv.Itoa(s.cmd.Process.Pid)).Run() != nil {
		_ = s.cmd.Process.Kill()
	}
}
