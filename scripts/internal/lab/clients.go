package lab

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"plaque/scripts/internal/caller"
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

// ask gets a URL under the span of ctx, on a separate connection.
func ask(ctx context.Context, url string) caller.Answer {
	c := caller.Caller(callFor)
	defer c.CloseIdleConnections()
	return caller.Ask(ctx, c, http.MethodGet, url, Traceparent(ctx))
}

// asking is ask in a goroutine.
func asking(ctx context.Context, url string) <-chan caller.Answer {
	ended := make(chan caller.Answer, 1)
	go func() { ended <- ask(ctx, url) }()
	return ended
}

// dial makes a connection to the server.
func (s *scene) dial(ctx context.Context) (net.Conn, error) {
	return (&net.Dialer{Timeout: callFor}).DialContext(ctx, "tcp", s.host())
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
