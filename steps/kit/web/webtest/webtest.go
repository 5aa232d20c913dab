// Package webtest has what the tests of servers share: a network in memory, so
// that a server runs in the fake time of testing/synctest, which real sockets
// stop from moving; and a recorder of spans.
package webtest

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"syscall"
	"testing"

	"go.opentelemetry.io/otel"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// backlog is how many connections wait to be accepted. The next is refused.
const backlog = 128

// Listener is a net.Listener without a kernel. A client that dials is connected
// before anybody has accepted it, as it is in life; but nothing is buffered: a
// write ends when the other side has read all of it.
//
// Make it with Listen, inside the bubble that it is used in.
type Listener struct {
	queue chan net.Conn

	mu     sync.Mutex // protects closed and dialed
	closed bool
	dialed uint16
}

// Listen makes a listener.
func Listen() *Listener {
	return &Listener{queue: make(chan net.Conn, backlog)}
}

// Addr is an address that nobody has: 192.0.2.0/24 is kept for documentation.
func (l *Listener) Addr() net.Addr { return address("192.0.2.1:80") }

// Dial connects a new client: the first comes from 192.0.2.2:50001, the second
// from 192.0.2.2:50002.
func (l *Listener) Dial() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.queue) == backlog {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: l.Addr(), Err: syscall.ECONNREFUSED}
	}
	l.dialed++
	from := net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr("192.0.2.2"), 50000+l.dialed))
	client, server := net.Pipe()
	l.queue <- conn{server, l.Addr(), from} // never waits: there is room, and others send under the lock too
	return conn{client, from, l.Addr()}, nil
}

// DialContext is Dial in the shape that an http.Transport wants.
func (l *Listener) DialContext(context.Context, string, string) (net.Conn, error) {
	return l.Dial()
}

// Accept waits for a client. After Close it returns net.ErrClosed.
func (l *Listener) Accept() (net.Conn, error) {
	c, ok := <-l.queue
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

// Close ends Accept, and hangs up on those who were not accepted yet.
func (l *Listener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return net.ErrClosed
	}
	l.closed = true
	close(l.queue)
	for c := range l.queue {
		_ = c.Close() // a pipe's Close returns no error
	}
	return nil
}

// conn is an end of a pipe that has addresses.
type conn struct {
	net.Conn
	local, remote net.Addr
}

func (c conn) LocalAddr() net.Addr  { return c.local }
func (c conn) RemoteAddr() net.Addr { return c.remote }

func address(s string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(s)) }

// provider is global for the whole test binary: a tracer that a package made at
// its start belongs to the first provider that is set, forever.
var provider = sync.OnceValue(func() *sdktrace.TracerProvider {
	p := sdktrace.NewTracerProvider()
	otel.SetTracerProvider(p)
	return p
})

// Record collects the spans of the global tracers until the test ends. Tests
// that record must not run in parallel: each would see the spans of all.
func Record(t testing.TB) *tracetest.SpanRecorder {
	t.Helper()
	recorder := tracetest.NewSpanRecorder()
	provider().RegisterSpanProcessor(recorder)
	t.Cleanup(func() { provider().UnregisterSpanProcessor(recorder) })
	return recorder
}

// Buffer is a bytes.Buffer whose methods may be called at once.
type Buffer struct {
	mu sync.Mutex // protects b
	b  bytes.Buffer
}

func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// Get is the body that a URL answers with 200.
func Get(t testing.TB, url string) string {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v, %.300s", url, res.Status, err, b)
	}
	return string(b)
}

// Serve answers HTTP at an address until the test ends.
func Serve(t testing.TB, at string, h http.Handler) {
	t.Helper()
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
}

// Connect hands each connection at an address to talk, one after the other, and
// closes it when the test ends.
func Connect(t testing.TB, at string, talk func(net.Conn)) {
	t.Helper()
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	var conns []net.Conn
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns = append(conns, c)
			talk(c)
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
		for _, c := range conns {
			_ = c.Close()
		}
	})
}
