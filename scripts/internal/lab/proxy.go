package lab

import (
	"io"
	"net"
	"sync"
	"time"

	"plaque/scripts/internal/lesson"
	"plaque/steps/kit/ports"
)

// proxy is a way to a peer that can be cut.
type proxy struct {
	addr string

	mu       sync.Mutex // protects what follows
	listener net.Listener
	target   string // "": nowhere yet
	hole     bool   // it takes connections, and nothing comes through
	conns    map[net.Conn]bool
}

func newProxy() (*proxy, error) {
	addr, err := ports.FreeAddr()
	if err != nil {
		return nil, err
	}
	p := &proxy{addr: addr, conns: map[net.Conn]bool{}}
	return p, p.set("whole")
}

// lead leads the proxy to a peer's own address.
func (p *proxy) lead(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
	p.hangUp()
}

// set says what becomes of connections from now on: a value of lesson.Fleet's Links. Those
// that there are end.
func (p *proxy) set(links string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hangUp()
	p.hole = links == lesson.BlackHole
	if links == lesson.Refused {
		if p.listener != nil {
			_ = p.listener.Close()
			p.listener = nil
		}
		return nil
	}
	if p.listener != nil {
		return nil
	}
	l, err := net.Listen("tcp", p.addr)
	if err != nil {
		return err
	}
	p.listener = l
	go p.serve(l)
	return nil
}

// hangUp ends all connections. The caller holds mu.
func (p *proxy) hangUp() {
	for c := range p.conns {
		_ = c.Close()
	}
	clear(p.conns)
}

func (p *proxy) close() { _ = p.set(lesson.Refused) }

func (p *proxy) serve(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go p.pass(c)
	}
}

// pass leads one connection through.
func (p *proxy) pass(from net.Conn) {
	p.mu.Lock()
	target, hole := p.target, p.hole
	p.conns[from] = true
	p.mu.Unlock()
	defer p.end(from)
	if hole {
		_, _ = io.Copy(io.Discard, from) // until it is ended
		return
	}
	to, err := net.DialTimeout("tcp", target, time.Second)
	if err != nil {
		return
	}
	defer p.end(to)
	p.mu.Lock()
	cut := !p.conns[from]
	p.conns[to] = true
	p.mu.Unlock()
	if cut {
		return
	}
	go func() {
		defer p.end(to)
		_, _ = io.Copy(to, from)
	}()
	_, _ = io.Copy(from, to)
}

func (p *proxy) end(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
	_ = c.Close()
}
