// Package ports finds ports of this machine for programs that are told where to
// listen.
package ports

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

const (
	// Ports from lowest up to highest are below those that systems give to
	// outgoing connections and to listeners on port 0.
	lowest, highest = 20000, 29000
	// enough blocks are leased before one of them is returned again.
	enough = 120
)

// addrs are the blocks of three ports that this process has leased.
var addrs struct {
	sync.Mutex // protects blocks and next
	blocks     []block
	next       int // of blocks, once there are enough
}

// block is three ports in a row. The process holds them by UDP sockets with the
// same numbers, until it ends: another process of ours passes over them, also
// while nobody listens there, and TCP stays free for a server that is told where
// to listen.
type block struct {
	port int
	held [3]net.PacketConn
}

// lease takes the block, if nobody has.
func lease(port int) (b block, ok bool) {
	b.port = port
	for i := range b.held {
		c, err := net.ListenPacket("udp", loopback(port+i))
		if err != nil {
			b.release()
			return block{}, false
		}
		b.held[i] = c
	}
	return b, true
}

func (b block) release() {
	for _, c := range b.held {
		if c != nil {
			_ = c.Close()
		}
	}
}

// free reports whether nobody listens at the block's ports now.
func (b block) free() bool {
	for i := range 3 {
		l, err := net.Listen("tcp", loopback(b.port+i))
		if err != nil {
			return false
		}
		_ = l.Close()
	}
	return true
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// FreeAddr is an address of 127.0.0.1 where nobody listens, with two such ports
// behind it: a step takes three. No other process that calls FreeAddr gets it
// while this one runs, and no call in this process soon.
func FreeAddr() (string, error) {
	b, err := leased()
	if err != nil {
		return "", err
	}
	return loopback(b.port), nil
}

// Free are n ports of 127.0.0.1, each as FreeAddr's are, the first three in a row.
func Free(n int) ([]int, error) {
	var free []int
	for len(free) < n {
		b, err := leased()
		if err != nil {
			return nil, err
		}
		free = append(free, b.port, b.port+1, b.port+2)
	}
	return free[:n], nil
}

// leased is a block at whose ports nobody listens now.
func leased() (block, error) {
	addrs.Lock()
	defer addrs.Unlock()
	if len(addrs.blocks) >= enough {
		for range addrs.blocks {
			b := addrs.blocks[addrs.next%len(addrs.blocks)]
			addrs.next++
			if b.free() {
				return b, nil
			}
		}
	}
	const all = (highest - lowest) / 3
	first := rand.IntN(all)
	for i := range all {
		b, leased := lease(lowest + (first+i)%all*3)
		if !leased {
			continue
		}
		if !b.free() { // a stranger listens there
			b.release()
			continue
		}
		addrs.blocks = append(addrs.blocks, b)
		return b, nil
	}
	return block{}, errors.New("there are no three free ports in a row between 20000 and 29000")
}
