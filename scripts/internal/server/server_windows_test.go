package server

import "os/exec"

func away(*exec.Cmd) {}
