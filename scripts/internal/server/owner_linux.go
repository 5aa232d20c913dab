package server

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// foreign reports whether a process that leader's group has not started listens
// at port. It is false where the system does not tell who listens, as it does
// not of another user's processes.
func foreign(port int, leader int) bool {
	sockets := listeners(port)
	if len(sockets) == 0 {
		return false
	}
	if holds(filepath.Join("/proc", strconv.Itoa(leader)), sockets) {
		return false // as nearly always: the others need no look
	}
	known := false
	dirs, _ := filepath.Glob("/proc/[0-9]*") // the pattern is good
	for _, dir := range dirs {
		if !holds(dir, sockets) {
			continue
		}
		if ours(dir, leader) {
			return false
		}
		known = true
	}
	return known
}

// listeners are the inodes of the sockets that listen at a TCP port, as links in
// /proc name them.
func listeners(port int) map[string]bool {
	const listening = "0A"
	found := map[string]bool{}
	suffix := fmt.Sprintf(":%04X", port)
	for _, table := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		text, _ := os.ReadFile(table) // a machine may have no IPv6
		for line := range strings.Lines(string(text)) {
			if row := strings.Fields(line); len(row) > 9 && row[3] == listening && strings.HasSuffix(row[1], suffix) {
				found["socket:["+row[9]+"]"] = true
			}
		}
	}
	return found
}

// holds reports whether the process has one of the sockets open.
func holds(dir string, sockets map[string]bool) bool {
	links, _ := os.ReadDir(dir + "/fd") // another user's are not ours to see
	for _, l := range links {
		if to, err := os.Readlink(filepath.Join(dir, "fd", l.Name())); err == nil && sockets[to] {
			return true
		}
	}
	return false
}

// ours reports whether a process is in leader's group or descends from it.
func ours(dir string, leader int) bool {
	for range 64 { // a chain of parents ends; processes may come and go while we read it
		stat, _ := os.ReadFile(dir + "/stat")
		// The name stands in parentheses and may hold anything.
		rest := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(rest) < 3 { // it has ended
			return false
		}
		parent, group := rest[1], rest[2]
		if group == strconv.Itoa(leader) || parent == strconv.Itoa(leader) {
			return true
		}
		if parent == "0" || parent == "1" {
			return false
		}
		dir = "/proc/" + parent
	}
	return false
}
