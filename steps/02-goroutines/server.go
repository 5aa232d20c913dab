// Command 02-goroutines answers HTTP over bare TCP, with a goroutine for each
// connection.
//
// The claim of step 02: a silent client harms nobody. A thousand of them cost a
// thousand goroutines, but only a handful of threads. But they are never sent
// away, and each keeps its goroutine and its connection for as long as it stays.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

const (
	// maxHeader bounds what one client can make us read.
	maxHeader = 64 << 10
	// writeTimeout bounds how long we wait for a client that does not take its
	// answer, and with it how long a stop takes.
	writeTimeout = 2 * time.Second
	// acceptPause is how long we wait after a failed accept. It fails when the
	// process has no file descriptor left, and trying again at once would keep
	// a core busy until there is one.
	acceptPause = time.Second

	hello = "Hello from plaque!\n"
)

var tracer = otel.Tracer("plaque/server")

// serve answers the clients of listener until ctx ends, then closes it.
func serve(ctx context.Context, listener net.Listener) error {
	// Accept knows nothing of ctx. It ends when its listener is closed.
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	// When we are told to stop, reads end at once and writes within
	// writeTimeout: that bounds the wait.
	var open sync.WaitGroup
	defer open.Wait()
	for {
		conn, accepted, err := accept(ctx, listener)
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil:
			select {
			case <-time.After(acceptPause):
			case <-ctx.Done():
			}
			continue
		}
		// The next one is accepted at once, whatever this one does.
		open.Go(func() { handleConnection(ctx, conn, accepted) })
	}
}

// accept waits for a client to connect. The span context is that of its span.
func accept(ctx context.Context, listener net.Listener) (net.Conn, trace.SpanContext, error) {
	start := time.Now()
	conn, err := listener.Accept()
	if errors.Is(err, net.ErrClosed) {
		return nil, trace.SpanContext{}, err
	}
	// The span is made afterwards, so that the accept which our own stop
	// interrupts, and which has accepted nobody, leaves none.
	ctx, span := tracer.Start(ctx, "accept", trace.WithTimestamp(start))
	defer span.End()
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
		slog.ErrorContext(ctx, "cannot accept", "error", err)
	}
	return conn, span.SpanContext(), err
}

// handleConnection answers one client and hangs up. Its span links to that of
// the accept: one comes after the other, neither is part of the other.
func handleConnection(ctx context.Context, conn net.Conn, accepted trace.SpanContext) {
	defer conn.Close()
	// The address of a TCP connection can always be parsed.
	peer, _ := netip.ParseAddrPort(conn.RemoteAddr().String())
	ctx, span := tracer.Start(ctx, "handle_connection",
		trace.WithLinks(trace.Link{SpanContext: accepted}),
		trace.WithAttributes(
			attribute.String("network.peer.address", peer.Addr().String()),
			attribute.Int("network.peer.port", int(peer.Port()))))
	defer span.End()
	// A read knows nothing of ctx either. When we are told to stop, whoever is
	// still silent is out of time.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Now()) })
	defer stop()

	err := readRequest(ctx, conn)
	if err == nil {
		err = writeResponse(ctx, conn)
	}
	if err != nil { // this client's trouble, and nobody else's
		span.SetStatus(codes.Error, err.Error())
		slog.WarnContext(ctx, "connection failed", "error", err)
	}
}

// readRequest reads up to the blank line at the end of a header. It does not
// look at what it reads: it takes anything with a blank line for a request. It
// reads no body, and closing a connection with unread data resets it, so a
// client that sends a body may lose its answer.
func readRequest(ctx context.Context, conn net.Conn) error {
	_, span := tracer.Start(ctx, "read_http_request")
	defer span.End()
	n, err := readHeader(conn)
	span.SetAttributes(attribute.Int("http.request.size", n))
	if err != nil {
		err = fmt.Errorf("no request in %d bytes: %w", n, err)
		span.SetStatus(codes.Error, err.Error())
	}
	return err
}

// readHeader returns how many bytes there were up to the blank line. There is no
// read deadline: it waits for a silent client for as long as that one stays.
func readHeader(conn net.Conn) (int, error) {
	limited := &io.LimitedReader{R: conn, N: maxHeader}
	lines := bufio.NewReader(limited)
	for n := 0; ; {
		line, err := lines.ReadString('\n')
		n += len(line)
		switch {
		case errors.Is(err, io.EOF) && limited.N == 0:
			return n, errors.New("the header does not end")
		case errors.Is(err, io.EOF):
			return n, errors.New("the client hung up")
		case errors.Is(err, os.ErrDeadlineExceeded):
			return n, errors.New("the server stops")
		case err != nil:
			return n, err
		case strings.TrimRight(line, "\r\n") == "":
			return n, nil
		}
	}
}

// writeResponse says hello. There is one answer for a connection: that we say
// so, and how long it is, is what a client needs to know where it ends.
func writeResponse(ctx context.Context, conn net.Conn) error {
	_, span := tracer.Start(ctx, "write_http_response")
	defer span.End()
	_ = conn.SetWriteDeadline(time.Now().Add(writeTimeout)) // fails on closed connections, as the write does
	n, err := fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\n"+
		"Content-Type: text/plain; charset=utf-8\r\n"+
		"Content-Length: %d\r\n"+
		"Connection: close\r\n"+
		"\r\n%s", len(hello), hello)
	span.SetAttributes(attribute.Int("http.response.size", n))
	if err != nil {
		err = fmt.Errorf("no answer sent: %w", err)
		span.SetStatus(codes.Error, err.Error())
	}
	return err
}
