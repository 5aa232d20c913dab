// Command dochan lets a load panic under singleflight's DoChan, which ends the
// process, and shows what becomes of the load's span:
//
//	go run ./steps/08-singleflight/dochan batched
//	go run ./steps/08-singleflight/dochan synchronous
//	go run ./steps/08-singleflight/dochan flushed
//
// It sends to where OTEL_EXPORTER_OTLP_ENDPOINT says, or else to a Jaeger on this
// machine: look there for the service dochan.
package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"golang.org/x/sync/singleflight"

	"plaque/steps/kit/telemetry"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "dochan:", err)
		os.Exit(1)
	}
}

// run does not return when all goes as it should.
func run(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("say how spans are sent: batched, synchronous or flushed")
	}
	provider, err := newProvider(ctx, args[0])
	if err != nil {
		return err
	}
	defer func() { _ = recover() }() // recovers nothing: the panic is in another goroutine
	var flights singleflight.Group
	<-flights.DoChan("a", func() (any, error) {
		if args[0] == "flushed" {
			defer flush(ctx, provider)
		}
		_, span := provider.Tracer("dochan").Start(ctx, "flight")
		defer span.End() // keeps the panic as an exception, and lets it go on
		panic("doom")
	})
	return fmt.Errorf("the process has survived")
}

// newProvider sends each span before its End returns, or else in batches.
func newProvider(ctx context.Context, how string) (*sdktrace.TracerProvider, error) {
	endpoint := cmp.Or(os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT"), telemetry.DefaultEndpoint)
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(endpoint+"/v1/traces"))
	if err != nil {
		return nil, err
	}
	send := sdktrace.WithBatcher(exporter)
	switch how {
	case "batched", "flushed":
	case "synchronous":
		send = sdktrace.WithSyncer(exporter)
	default:
		return nil, fmt.Errorf("spans cannot be sent %q: say batched, synchronous or flushed", how)
	}
	name := resource.NewSchemaless(attribute.String("service.name", "dochan"))
	return sdktrace.NewTracerProvider(sdktrace.WithResource(name), send), nil
}

// flush sends what has ended. It is bounded: a collector that hangs must not keep
// a process that has to die.
func flush(ctx context.Context, provider *sdktrace.TracerProvider) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	_ = provider.ForceFlush(ctx)
}
