// Command 01-blocking-tcp answers HTTP over bare TCP, one connection at a time. Every
// client is answered, but an idle one keeps the others waiting.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/textproto"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

const (
	maxHeader = 64 << 10        // what one client can make us read, in bytes
	patience  = 2 * time.Second // with a client that does not take its answer, and after a failed accept
	response  = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 19\r\nConnection: close\r\n\r\nHello from plaque!\n"
)

var tracer = otel.Tracer("plaque/server")

// serve answers the clients of listener until ctx ends, then closes it.
func serve(ctx context.Context, listener net.Listener) error {
	defer context.AfterFunc(ctx, func() { _ = listener.Close() })() // which ends Accept
	for {
		start := time.Now()
		conn, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		_, span := tracer.Start(ctx, "accept", trace.WithTimestamp(start))
		end(span, err)
		if err != nil { // no file descriptor is left, say
			slog.ErrorContext(ctx, "cannot accept", "error", err)
			select {
			case <-time.After(patience):
			case <-ctx.Done():
			}
			continue
		}
		handleConnection(ctx, conn, trace.Link{SpanContext: span.SpanContext()}) // one at a time
	}
}

// handleConnection answers one client and hangs up. Its spans belong to the trace
// that the request names, so they are made when the request is there.
func handleConnection(ctx context.Context, conn net.Conn, accept trace.Link) {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Now()) })() // a stop ends the wait
	start, peer := trace.WithTimestamp(time.Now()), conn.RemoteAddr().(*net.TCPAddr)
	limited := &io.LimitedReader{R: conn, N: maxHeader}
	lines := textproto.NewReader(bufio.NewReader(limited))
	_, _ = lines.ReadLine() // GET / HTTP/1.1, or anything else. It waits for as long as the client is idle.
	header, err := lines.ReadMIMEHeader()
	if err != nil {
		err = fmt.Errorf("no request in %d of at most %d bytes: %w", maxHeader-limited.N, maxHeader, err)
	}
	ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": header.Get("traceparent")})
	ctx, span := tracer.Start(ctx, "handle_connection", start, trace.WithLinks(accept), trace.WithAttributes(
		attribute.String("network.peer.address", peer.IP.String()), attribute.Int("network.peer.port", peer.Port)))
	_, read := tracer.Start(ctx, "read_http_request", start, trace.WithAttributes(attribute.Int64("http.request.size", maxHeader-limited.N)))
	end(read, err)
	if err == nil {
		_, write := tracer.Start(ctx, "write_http_response", trace.WithAttributes(attribute.Int("http.response.size", len(response))))
		_ = conn.SetWriteDeadline(time.Now().Add(patience))
		_, err = io.WriteString(conn, response)
		end(write, err)
	}
	end(span, err)
	if err != nil { // which ends one connection, never the server
		slog.WarnContext(ctx, "connection failed", "error", err)
	}
}

// end ends a span, as an error if there is one.
func end(span trace.Span, err error) {
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
	}
	span.End()
}
