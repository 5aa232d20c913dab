// The solution of step 02: four requests at a time, and any number of clients
// that have sent none yet. Those hold a goroutine and a connection each, and
// block no other client.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	atOnce       = 4               // so many requests are answered at a time
	maxHeader    = 64 << 10        // bounds what one client can make us read, in bytes
	writeTimeout = 2 * time.Second // for a client that does not take its answer
)

// serve answers the clients of listener, atOnce at a time, until ctx ends.
func serve(ctx context.Context, listener net.Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	slots := make(chan struct{}, atOnce) // send to take one, receive to give it back
	var open sync.WaitGroup
	defer open.Wait()
	for {
		conn, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("cannot accept: %w", err)
		}
		open.Go(func() {
			if err := handle(ctx, conn, slots); err != nil { // which ends one connection, never the server
				slog.WarnContext(ctx, "connection failed", "error", err)
			}
		})
	}
}

// handle answers one request and hangs up.
func handle(ctx context.Context, conn net.Conn, slots chan struct{}) error {
	defer conn.Close()
	// At a stop, a client that has not sent its request is out of time.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Now()) })
	defer stop()
	request, err := http.ReadRequest(bufio.NewReader(io.LimitReader(conn, maxHeader)))
	if err != nil {
		return fmt.Errorf("no request: %w", err)
	}
	// A client with a slot has sent its request, and is done within writeTimeout.
	slots <- struct{}{}
	defer func() { <-slots }()
	status, text := http.StatusOK, "Hello from plaque!\n"
	switch {
	case request.URL.Path != "/":
		status, text = http.StatusNotFound, "There is only / here.\n"
	case request.Method != http.MethodGet:
		status, text = http.StatusMethodNotAllowed, "There is only GET here.\n"
	}
	_ = conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	_, err = fmt.Fprintf(conn, "HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		status, http.StatusText(status), len(text), text)
	return err
}
