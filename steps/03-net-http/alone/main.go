// Command alone is the server of step 03 in one file and without the kit. It
// shows what a Go program needs to be traced: copy it into your project.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "alone:", err)
		os.Exit(1)
	}
}

// traceTo sends every span of this process to an OTLP collector, such as Jaeger,
// at a base URL such as http://127.0.0.1:4318. Call shutdown before the process
// ends: spans leave in batches, and what has not left is lost.
func traceTo(ctx context.Context, collector, service string) (shutdown func(context.Context) error, err error) {
	// The exporter sends spans. A URL without a scheme would mean https.
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(collector+"/v1/traces"))
	if err != nil {
		return nil, err
	}
	// The resource is what all spans of this process have in common.
	about, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", service)), resource.WithFromEnv())
	if err != nil {
		return nil, err
	}
	// The provider makes spans, and hands those that have ended to the exporter.
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))
	otel.SetTracerProvider(provider)
	// The propagator reads and writes the traceparent header. The default one
	// does neither, and each server would start a new trace.
	otel.SetTextMapPropagator(propagation.TraceContext{})
	return provider.Shutdown, nil
}

// run serves until ctx ends. Then it answers what has come in, sends the last
// spans, and returns.
func run(ctx context.Context, log io.Writer) (err error) {
	shutdown, err := traceTo(ctx, cmp.Or(os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT"), "http://127.0.0.1:4318"), "alone")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, inTime(shutdown)) }()

	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "Hello from plaque!\n")
	})
	server := &http.Server{
		Handler:           otelhttp.NewHandler(mux, "alone"), // one span for each request
		ReadHeaderTimeout: 2 * time.Second,
		ReadTimeout:       5 * time.Second,
		WriteTimeout:      10 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    64 << 10,
	}
	listener, err := net.Listen("tcp", cmp.Or(os.Getenv("ADDR"), "127.0.0.1:3779"))
	if err != nil {
		return err
	}
	fmt.Fprintf(log, "alone: listening on http://%s\n", listener.Addr())
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() { stopped <- inTime(server.Shutdown) })
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		stop()
		return err
	}
	return <-stopped
}

// inTime gives a stop 2 s.
func inTime(stop func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	return stop(ctx)
}
