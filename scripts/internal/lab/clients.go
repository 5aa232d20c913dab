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

// call makes one request under the span of ctx and says how it ended.
func call(ctx context.Context, c *http.Client, method, url string) string {
	return caller.Ask(ctx, c, method, url, Traceparent(ctx)).String()
}

// once is call on a separate connection, in a goroutine.
func once(ctx context.Context, method, url string) <-chan string {
	ended := make(chan string, 1)
	go func() {
		c := caller.Caller(callFor)
		ended <- call(ctx, c, method, url)
		c.CloseIdleConnections()
	}()
	return ended
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
