package lab

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	oteltrace "go.opentelemetry.io/otel/trace"
)

// sender delivers a lab's own spans to its collector, whatever OTEL_* variables
// the reader has set. It sets nothing that is global, so that several labs can
// live in one process.
type sender struct{ batches sdktrace.SpanProcessor }

// newSender makes one that sends to the OTLP/HTTP collector with that base URL.
func newSender(ctx context.Context, collector string) (*sender, error) {
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(collector+"/v1/traces"),
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{Enabled: false}))
	if err != nil {
		return nil, err
	}
	// The default queue drops spans of a burst without telling anyone.
	return &sender{sdktrace.NewBatchSpanProcessor(exporter, sdktrace.WithBatchTimeout(200*time.Millisecond), sdktrace.WithMaxQueueSize(1<<15))}, nil
}

// provider makes the spans of a service. Each is recorded.
func (s *sender) provider(ctx context.Context, service string) (oteltrace.TracerProvider, error) {
	r, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithAttributes(attribute.String("service.name", service)))
	if err != nil {
		return nil, err
	}
	return sdktrace.NewTracerProvider(sdktrace.WithResource(r), sdktrace.WithSampler(sdktrace.AlwaysSample()), sdktrace.WithSpanProcessor(s.batches)), nil
}

// stop delivers what is left, for at most 2 s.
func (s *sender) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	return errors.Join(s.batches.ForceFlush(ctx), s.batches.Shutdown(ctx))
}
