package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"plaque/scripts/internal/caller"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	oteltrace "go.opentelemetry.io/otel/trace"
)

// The lab's own clients are what hey cannot be: they say nothing, behave badly,
// leave early, or ask for something else.

const (
	callFor   = 5 * time.Second // how long a caller of ours waits for its answer
	closedFor = 5 * time.Second // how long we wait for the server to close a connection
	// heldFor is how long we watch whether somebody is answered while another
	// load is held.
	heldFor = time.Second
	slowFor = time.Second // how long a slow caller takes to say its request
	// quickAfter is when the quick caller comes behind the slow ones: late enough
	// for a server to have begun with them, early enough to be answered before
	// they have spoken.
	quickAfter = slowFor / 4
)

// call makes one request under the span of ctx and says how it ended.
func call(ctx context.Context, c *http.Client, method, url string) string {
	return caller.Ask(ctx, c, method, url, Traceparent(ctx)).String()
}

// once is call on a connection of its own, in a goroutine.
func once(ctx context.Context, method, url string) <-chan string {
	ended := make(chan string, 1)
	go func() {
		c := caller.Caller(callFor)
		ended <- call(ctx, c, method, url)
		c.CloseIdleConnections()
	}()
	return ended
}

// The spans of callers whom a picture shows beside the server, which may read no
// headers and then cannot say whom it kept waiting.
const (
	askSpan     = "ask"
	askSlowSpan = "ask slowly"
)

// ask is call with a span of its own around it.
func ask(ctx context.Context, tracer oteltrace.Tracer, url string) string {
	ctx, span := tracer.Start(ctx, askSpan)
	defer span.End()
	c := caller.Caller(callFor)
	defer c.CloseIdleConnections()
	answer := call(ctx, c, http.MethodGet, url)
	span.SetAttributes(attribute.String("answer", answer))
	return answer
}

// slowCaller is a client that has said half of its request.
type slowCaller struct {
	conn net.Conn
	span oteltrace.Span
	rest string
	err  error // the first one that came up
}

// startSlow connects and says the first half of a request.
func startSlow(ctx context.Context, tracer oteltrace.Tracer, host string) (*slowCaller, error) {
	conn, err := (&net.Dialer{Timeout: callFor}).DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(slowFor + callFor))
	ctx, span := tracer.Start(ctx, askSlowSpan)
	header := fmt.Sprintf("GET / HTTP/1.1\r\nHost: %s\r\nUser-Agent: plaque\r\nConnection: close\r\ntraceparent: %s\r\n\r\n", host, Traceparent(ctx))
	half := len(header) / 2
	c := &slowCaller{conn: conn, span: span, rest: header[half:]}
	_, c.err = conn.Write([]byte(header[:half]))
	return c, nil
}

// finish says the rest of the request.
func (c *slowCaller) finish() {
	if c.err == nil {
		_, c.err = c.conn.Write([]byte(c.rest))
	}
}

// answer reads the answer and says how the request ended, as call does.
func (c *slowCaller) answer() string {
	answer := ""
	if c.err == nil {
		var res *http.Response
		if res, c.err = http.ReadResponse(bufio.NewReader(c.conn), nil); c.err == nil {
			_, c.err = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<20))
			answer = fmt.Sprint(res.StatusCode)
			_ = res.Body.Close()
		}
	}
	if c.err != nil {
		answer = caller.Classify(c.err.Error())
	}
	c.span.SetAttributes(attribute.String("answer", answer))
	c.span.End()
	return answer
}

// close ends the caller, wherever it is.
func (c *slowCaller) close() {
	_ = c.conn.Close()
	c.span.End()
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
