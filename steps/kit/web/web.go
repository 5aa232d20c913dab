// Package web is the HTTP server that the steps from 03 on share: traced,
// bounded in time and size, and stopped cleanly. It hides no failure: a panic
// that reaches a handler costs the caller its connection, as net/http has it.
package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"plaque/steps/kit/stacks"
	"plaque/steps/kit/telemetry"
	"plaque/steps/kit/terminal"
)

// StopWithin is how long a server that stops waits for requests in the air.
// After that it closes their connections: in step 07 some would never end.
const StopWithin = 2 * time.Second

// NewServer is a server with a limit on everything that a client could draw
// out. WriteTimeout leaves room for the queue of step 06.
func NewServer(handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 2 * time.Second,
		ReadTimeout:       5 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          log.New(os.Stderr, "", log.LstdFlags), // a panic's stack, as it is
	}
}

// Listen opens addr, and says what to do when that fails.
func Listen(addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, cannotListen(addr, err)
	}
	return l, nil
}

// reservedPort is Windows' WSAEACCES: the port is in a range that Windows keeps for
// itself, mostly for Hyper-V. No other system has an error of that number.
const reservedPort = syscall.Errno(10013)

func cannotListen(addr string, err error) error {
	what := "If another program is there, stop it, or move this one"
	if errors.Is(err, reservedPort) {
		what = "Windows reserves this port (`netsh interface ipv4 show excludedportrange protocol=tcp` lists all of these). Move this program"
	}
	return fmt.Errorf("cannot listen on %s: %w\n%s with ADDR=127.0.0.1:PORT (the feed and the debug pages take the two ports behind it)", addr, err, what)
}

// Serve answers on addr until ctx ends, then stops within StopWithin.
func Serve(ctx context.Context, addr string, handler http.Handler) error {
	l, err := Listen(addr)
	if err != nil {
		return err
	}
	return ServeOn(ctx, l, NewServer(handler))
}

// ServeOn is Serve for your listener and server.
func ServeOn(ctx context.Context, l net.Listener, server *http.Server) error {
	var inAir atomic.Int64
	next := server.Handler
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inAir.Add(1)
		defer inAir.Add(-1)
		next.ServeHTTP(w, r)
	})
	slog.InfoContext(ctx, "listening", "url", "http://"+l.Addr().String())
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), StopWithin)
	defer cancel()
	if err := server.Shutdown(stop); err != nil {
		// Shutdown waits for idle clients too; those have lost nothing.
		if n := inAir.Load(); n > 0 {
			slog.WarnContext(ctx, "requests did not end in time; their connections are closed", "requests", n, "waited", StopWithin)
		}
		return server.Close()
	}
	return nil
}

// Trace gives every request a span. From outside in: otelhttp starts the span
// and reads the caller's traceparent; observe adds what otelhttp leaves out, and
// labels the goroutine, and those that it starts, with the trace;
// the mux finds the route. A 404 and a 405 are traced because the mux is
// inside.
//
// When nobody records spans (telemetry.Off), a request gets its ids and nothing
// else: otelhttp would still describe each one, for nobody.
func Trace(mux http.Handler, opts ...otelhttp.Option) http.Handler {
	if telemetry.Off() && len(opts) == 0 {
		return identify(observe(mux))
	}
	return otelhttp.NewHandler(observe(mux), "server", opts...)
}

// identify does of otelhttp what is left when nothing is recorded: it reads the
// caller's traceparent, and gives the request a span that is only an id.
func identify(next http.Handler) http.Handler {
	tracer := otel.Tracer("plaque/web")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := otel.GetTextMapPropagator().Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		ctx, span := tracer.Start(ctx, "server")
		defer span.End()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// observe sends the trace's id back to the caller. It names the span after the
// route even when the handler panics, and makes a panic an error. It does not
// recover: the panic goes its way to otelhttp, which keeps it as an event, and on
// to net/http, which logs it and closes the connection.
func observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		span := trace.SpanFromContext(r.Context())
		if sc := span.SpanContext(); sc.IsValid() {
			id := sc.TraceID().String()
			w.Header().Set("Traceresponse", "00-"+id+"-"+sc.SpanID().String()+"-"+sc.TraceFlags().String())
			// A goroutine that is stuck names its trace by this. Not in the
			// request's context: a copy of the request would keep what the mux
			// writes into it from us. Off again afterwards, because the
			// connection's goroutine serves others.
			pprof.SetGoroutineLabels(pprof.WithLabels(r.Context(), pprof.Labels(stacks.TraceLabel, id)))
			defer pprof.SetGoroutineLabels(r.Context())
		}
		returned := false
		defer func() {
			if route := routeOf(r); span.IsRecording() && route != "" {
				span.SetName(r.Method + " " + route)
				span.SetAttributes(attribute.String("http.route", route))
			}
			if !returned {
				span.SetStatus(codes.Error, "panic")
			}
		}()
		next.ServeHTTP(w, r)
		returned = true
	})
}

// routeOf is the pattern that the mux has found, without its method: /{$}. "" where
// there is none.
func routeOf(r *http.Request) string { return r.Pattern[strings.IndexByte(r.Pattern, ' ')+1:] }

// Handler makes an http.Handler of a function that may fail. An error is
// answered as JSON, with the trace's id, and logged: its text and its status are
// those of FailureOf. Where telemetry knows it, the path of the error is in the
// answer. With a RetryAfter of more than 0 the answer has the header of that name,
// in whole seconds, rounded up.
func Handler(h func(http.ResponseWriter, *http.Request) error) http.Handler {
	if h == nil {
		panic("web.Handler: there is no function to call")
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := h(w, r)
		if err == nil {
			return
		}
		ctx, f := r.Context(), FailureOf(err)
		// The line becomes an event of the span, so Jaeger has the error too.
		slog.WarnContext(ctx, "request failed", "status", f.Status, "error", f.Text)
		answer := map[string]any{"error": f.Text}
		if sc := trace.SpanContextFromContext(ctx); sc.HasTraceID() {
			answer["trace_id"] = sc.TraceID().String()
		}
		if path := telemetry.ErrorPath(ctx); path != nil {
			if route := routeOf(r); route != "" { // the span gets its name when the handler has returned
				path[0].Span = r.Method + " " + route
			}
			answer["path"] = path
		}
		if f.RetryAfter > 0 {
			seconds := int64((f.RetryAfter-1)/time.Second) + 1 // adding first would overflow
			w.Header().Set("Retry-After", strconv.FormatInt(seconds, 10))
		}
		write(w, f.Status, answer)
	})
}

// JSON answers 200 with v.
func JSON(w http.ResponseWriter, v any) error {
	write(w, http.StatusOK, v)
	return nil
}

func write(w http.ResponseWriter, code int, v any) {
	b, err := json.Marshal(v)
	if err != nil { // no type of ours: maps and structs of strings always marshal
		panic(err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	// The caller may have gone; there is nobody left to tell.
	_, _ = w.Write(append(terminal.JSON(b), '\n'))
}
