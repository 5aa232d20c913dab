package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
)

// The lab's own clients are what hey cannot be: they say nothing, behave badly,
// leave early, or ask for something else.

const (
	callFor   = 5 * time.Second // how long a caller of ours waits for its answer
	closedFor = 5 * time.Second // how long we wait for the server to close a connection
	// heldFor is how long we watch whether somebody is answered while another
	// load is held.
	heldFor = time.Second
)

// caller is an HTTP client with one connection and no other.
func caller() *http.Client {
	var once sync.Once
	return &http.Client{
		Timeout: callFor,
		Transport: &http.Transport{DialContext: func(ctx context.Context, network, addr string) (conn net.Conn, err error) {
			err = errors.New("it would take a second connection")
			once.Do(func() { conn, err = new(net.Dialer).DialContext(ctx, network, addr) })
			return conn, err
		}},
	}
}

// call makes one request under the span of ctx and says how it ended: a status,
// or what classify says.
func call(ctx context.Context, c *http.Client, method, url string) string {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return "error"
	}
	otel.GetTextMapPropagator().Inject(ctx, propagation.HeaderCarrier(req.Header))
	res, err := c.Do(req)
	if err != nil {
		return classify(err.Error())
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(res.Body, 1<<20)); err != nil {
		return classify(err.Error())
	}
	return fmt.Sprint(res.StatusCode)
}

// once is call on a connection of its own, in a goroutine.
func once(ctx context.Context, method, url string) <-chan string {
	ended := make(chan string, 1)
	go func() {
		c := caller()
		ended <- call(ctx, c, method, url)
		c.CloseIdleConnections()
	}()
	return ended
}

// silent are clients that have connected and say nothing.
type silent []net.Conn

// connect adds n silent clients.
func (s *silent) connect(ctx context.Context, host string, n int) error {
	for range n {
		conn, err := (&net.Dialer{Timeout: callFor}).DialContext(ctx, "tcp", host)
		if err != nil {
			return fmt.Errorf("silent client %d of %d: %w", len(*s)+1, n, err)
		}
		*s = append(*s, conn)
	}
	return nil
}

func (s *silent) leave() {
	for _, conn := range *s {
		_ = conn.Close()
	}
	*s = nil
}

// closed reports whether the server ends all their connections by itself.
func (s silent) closed() bool {
	deadline := time.Now().Add(closedFor)
	for _, conn := range s {
		if !ended(conn, deadline) {
			return false
		}
	}
	return true
}

// ended reports whether the other side ends the connection before the deadline.
func ended(conn net.Conn, deadline time.Time) bool {
	if err := conn.SetReadDeadline(deadline); err != nil {
		return true
	}
	_, err := io.Copy(io.Discard, io.LimitReader(conn, 1<<20))
	var timeout net.Error
	return !(errors.As(err, &timeout) && timeout.Timeout())
}

// rude is one client that behaves badly. It reports whether the server ended
// the connection; for a client that hangs up there is nothing to end.
func rude(ctx context.Context, host, kind string) (closed bool, err error) {
	conn, err := (&net.Dialer{Timeout: callFor}).DialContext(ctx, "tcp", host)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	deadline := time.Now().Add(closedFor)
	_ = conn.SetDeadline(deadline)
	switch kind {
	case "hangup":
		// A reset, where the system knows one, is ruder than a goodbye.
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		return false, nil
	case "rubbish":
		_, err := conn.Write([]byte("\x00\xff\x16\x03\x01 this is no HTTP \r\n\xfe\r\n\r\n"))
		return err == nil && ended(conn, deadline), err
	case "endless header":
		const most = 4 << 20 // no server should take that much
		line := []byte("X-And-So-On: " + strings.Repeat("and on ", 100) + "\r\n")
		_, err := conn.Write([]byte("GET / HTTP/1.1\r\nHost: plaque\r\n"))
		for sent := 0; err == nil && sent < most; sent += len(line) {
			_, err = conn.Write(line)
		}
		var timeout net.Error
		if err != nil && !(errors.As(err, &timeout) && timeout.Timeout()) {
			return true, nil // the write failed: the server has closed
		}
		// The kernels between us may have taken it all, read or not.
		return ended(conn, deadline), nil
	}
	return false, fmt.Errorf("no such client: %q", kind)
}
