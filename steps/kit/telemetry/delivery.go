package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/protobuf/proto"
)

// newDelivery makes the exporter and the batcher in front of it, whose order
// matters: the delivery counts a span when the batcher has taken or dropped it.
func newDelivery(ctx context.Context, s settings, log *slog.Logger) (*delivery, []sdktrace.SpanProcessor, error) {
	opts := []otlptracehttp.Option{
		otlptracehttp.WithEndpointURL(s.endpoint.String()),
		// One try: a Jaeger that is away is told of once, not for a minute.
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{Enabled: false}),
		otlptracehttp.WithTimeout(s.timeout),
	}
	// The exporter reads the other variables itself, and the table has checked
	// them. They are not for an endpoint that the program names.
	if s.named == "" && s.shown != DefaultEndpoint {
		opts = append(opts, otlptracehttp.WithTLSClientConfig(nil), otlptracehttp.WithHeaders(nil), otlptracehttp.WithCompression(otlptracehttp.NoCompression))
	}
	exporter, err := otlptracehttp.New(ctx, opts...)
	if err != nil {
		return nil, nil, fmt.Errorf("the OTLP exporter for %s: %w", s.shown, err)
	}
	d := &delivery{exporter: exporter, limits: s.limits, endpoint: s.shown, room: s.queue, batch: s.batch, log: log}
	return d, []sdktrace.SpanProcessor{sdktrace.NewBatchSpanProcessor(d,
		sdktrace.WithBatchTimeout(s.delay),
		sdktrace.WithMaxQueueSize(s.queue),
		sdktrace.WithMaxExportBatchSize(s.batch),
		sdktrace.WithExportTimeout(s.export)), d}, nil
}

// delivery stands around the exporter. It counts, because the SDK does not
// tell: the batcher drops what does not fit its queue, and Shutdown returns nil
// though every export failed. As a processor it sees every span that ends.
type delivery struct {
	exporter    sdktrace.SpanExporter
	limits      limits
	endpoint    string
	room, batch int // of the batcher, in spans
	log         *slog.Logger
	// ended spans are those that the batcher has taken or dropped; of these taken
	// have left its queue, and of these sent have arrived.
	ended, taken, sent atomic.Int64
	warn, warnFull     sync.Once
	why                atomic.Pointer[error] // of the first loss
}

// full is why spans are dropped, and what to do.
func (d *delivery) full() error {
	return fmt.Errorf("more spans ended at once than the queue of %d takes: set OTEL_BSP_MAX_QUEUE_SIZE higher, or unset it for %d", d.room, queueSize)
}

func (d *delivery) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	d.taken.Add(int64(len(spans)))
	out := make([]sdktrace.ReadOnlySpan, len(spans))
	for i, s := range spans {
		out[i] = d.limits.of(s)
	}
	if err := d.exporter.ExportSpans(ctx, out); err != nil {
		d.warn.Do(func() {
			d.why.Store(&err)
			d.log.Warn(advice(err), "endpoint", d.endpoint, "error", err)
		})
		return nil // said once; Stop gives the count
	}
	d.sent.Add(int64(len(spans)))
	return nil
}

// advice is what to say of the first delivery that fails.
func advice(err error) string {
	if errors.Is(err, proto.Error) {
		return "spans cannot be marshalled, so their batch is lost: this is a bug of the workshop, not of what takes the spans"
	}
	return "no spans are delivered: is Jaeger running? start it with `go run ./scripts jaeger`, or set OTEL_TRACES_EXPORTER=none"
}

func (d *delivery) OnStart(context.Context, sdktrace.ReadWriteSpan) {}

func (d *delivery) OnEnd(s sdktrace.ReadOnlySpan) {
	if !s.SpanContext().IsSampled() {
		return
	}
	// What is neither handed over, nor in the queue, nor in the batch behind it,
	// was dropped.
	if d.ended.Add(1)-d.taken.Load() > int64(d.room+d.batch) {
		d.warnFull.Do(func() { d.log.Warn("spans are dropped", "why", d.full()) })
	}
}

func (d *delivery) ForceFlush(context.Context) error { return nil }

// Shutdown is called twice, by the batcher for its exporter and by the provider
// for the processor. The exporter is not closed: all that would be freed is an
// idle connection.
func (d *delivery) Shutdown(context.Context) error { return nil }

// lost says in one line of the log, and in the error, how many spans did not
// arrive. stopped is what the provider's stop returned.
func (d *delivery) lost(stopped error) error {
	ended, sent := d.ended.Load(), d.sent.Load()
	if sent >= ended {
		return stopped
	}
	line := []any{"lost", ended - sent, "of", ended, "endpoint", d.endpoint}
	// After a stop in time the queue is empty: what was not handed over was
	// never in it.
	if dropped := ended - d.taken.Load(); stopped == nil && dropped > 0 {
		full := d.full()
		d.why.CompareAndSwap(nil, &full)
		line = append(line, "dropped", dropped, "why", full)
	}
	d.log.Warn("spans lost", line...)
	lost := fmt.Errorf("%d of %d spans did not reach %s", ended-sent, ended, d.endpoint)
	if why := d.why.Load(); why != nil {
		lost = fmt.Errorf("%w: %w", lost, *why)
	}
	return errors.Join(stopped, lost)
}
