package jaeger

import "os/exec"

// Command is what runs s, for tests that look at the process.
func (s *Server) Command() *exec.Cmd { return s.child.cmd }
