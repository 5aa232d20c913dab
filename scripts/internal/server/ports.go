package server

import (
	"errors"
	"net"
	"os"
	"strconv"
	"sync"
)

// addrs hands out ports below those that systems give to outgoing connections.
// Processes begin at different ones, so that two test binaries seldom meet.
var addrs = struct {
	sync.Mutex // protects next
	next       int
}{next: 20000 + os.Getpid()%3000*3}

// FreeAddr is an address of 127.0.0.1 that nobody uses now, with two free ports
// behind it: a step takes three. No call in this process returns it again soon.
func FreeAddr() (string, error) {
	addrs.Lock()
	defer addrs.Unlock()
	for range 1000 {
		port := addrs.next
		if addrs.next += 3; addrs.next > 29000 {
			addrs.next = 20000
		}
		free := true
		for i := range 3 {
			l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port+i)))
			if err != nil {
				free = false
				break
			}
			_ = l.Close()
		}
		if free {
			return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), nil
		}
	}
	return "", errors.New("there are no three free ports in a row between 20000 and 29000")
}
