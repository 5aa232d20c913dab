//go:build !linux

package server

// foreign reports whether a process that the leader's group has not started
// listens at port. Here that takes another program. Still, no two processes of
// ours are given one port, and a server that finds its port taken ends by itself.
func foreign(int, int) bool { return false }
