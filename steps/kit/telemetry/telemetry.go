// Package telemetry sets tracing and logging up for one program of the
// workshop: one call at the start, one at the stop.
//
// It reads the variables of the OpenTelemetry specification and LOG_LEVEL. With
// none of them set, spans go over HTTP to a Jaeger on 127.0.0.1:4318; with
// OTEL_TRACES_EXPORTER they are, instead or as well, printed as trees, written
// as JSON lines, or drawn in a file of Chrome's trace event format. Each view has
// a queue of its own, so that no span waits for one when it ends.
package telemetry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"plaque/steps/kit/terminal"
)

const (
	// DefaultEndpoint is where spans go when no variable names another place.
	DefaultEndpoint = "http://127.0.0.1:4318"

	// batchDelay is how long a finished span waits for company. The SDK's
	// default of 5 s is a long time to look at an empty Jaeger.
	batchDelay = 200 * time.Millisecond
	// queueSize bounds the spans that wait, unless OTEL_BSP_MAX_QUEUE_SIZE does.
	// The default of 2048 is full after 200 requests of a burst, and what does not
	// fit is dropped without a word.
	queueSize = 32768
	// batchSize bounds the spans of one delivery.
	batchSize = sdktrace.DefaultMaxExportBatchSize
	// exportTimeout bounds one delivery. What takes longer is lost, so it leaves
	// room for a machine whose cores are all busy.
	exportTimeout = 10 * time.Second
	// stopWithin bounds Stop as a whole.
	stopWithin = 2 * time.Second
)

// Config says who sends spans, and where to.
type Config struct {
	Service string    // service.name unless OTEL_SERVICE_NAME is set; "" means plaque
	Version string    // service.version: a step's folder name
	Out     io.Writer // where logs and the console's span trees go; nil means standard error
	JSON    io.Writer // where OTEL_TRACES_EXPORTER=json writes, and nothing else does; nil means standard output
	// Endpoint is the base URL of an OTLP/HTTP collector. When it is set, the
	// variables do not say where spans go, who sends them and how many: the
	// lab's own must reach the lab, whatever the reader's shell has set.
	Endpoint string
	// ErrorPath has spans say where in the code they were started, and ErrorPath
	// know how an error came about. It shows the inside of the program.
	ErrorPath bool
}

// Telemetry is a running set-up. Its methods may be called at once.
type Telemetry struct {
	processors []sdktrace.SpanProcessor
	resource   *resource.Resource
	provider   *sdktrace.TracerProvider
	delivery   *delivery // nil without OTLP
	log        *slog.Logger
	all        bool // OTEL_TRACES_SAMPLER is not asked
	off        bool // see Off
}

// off is what Off returns.
var off atomic.Bool

// Off reports whether nobody records spans: Start has been called, and its
// environment has OTEL_TRACES_EXPORTER=none, OTEL_SDK_DISABLED=true or
// OTEL_TRACES_SAMPLER=always_off. Spans then have ids, and nothing else.
func Off() bool { return off.Load() }

// Start reads the environment and installs the global TracerProvider, the W3C
// propagator and the default slog.Logger. A setting that makes no sense is an
// error which names the variable and what it may be.
func Start(ctx context.Context, c Config) (*Telemetry, error) {
	var out, stdout io.Writer = os.Stderr, os.Stdout
	if c.Out != nil {
		out = c.Out
	}
	if c.JSON != nil {
		stdout = c.JSON
	}
	screen := out
	// The console's trees and the log share one stream: a lock around each
	// write keeps a line from landing inside a tree.
	out = &lockedWriter{w: out}
	logger, err := newLogger(out, os.Getenv("LOG_LEVEL"))
	if err != nil {
		return nil, err
	}
	t := &Telemetry{log: logger, all: c.Endpoint != ""}
	if t.resource, err = newResource(ctx, c); err != nil {
		return nil, err
	}

	setting := "otlp"
	if c.Endpoint == "" {
		setting = cmp.Or(os.Getenv("OTEL_TRACES_EXPORTER"), "otlp")
		if strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") {
			setting = "none"
		}
	}
	exporters, err := parseExporters(setting)
	if err != nil {
		return nil, err
	}
	if slices.Contains(exporters, exporter{name: "otlp"}) {
		t.delivery = &delivery{log: logger, room: queueSize}
		if c.Endpoint == "" {
			if t.delivery.room, err = queueSetting(); err != nil {
				return nil, err
			}
		}
		if t.delivery.exporter, t.delivery.endpoint, err = newExporter(ctx, c.Endpoint); err != nil {
			return nil, err
		}
	}
	// After all other settings, so that a mistake in those empties no file.
	for _, e := range exporters {
		switch e.name {
		case "console":
			columns := func() int { return terminal.Columns(screen) }
			t.processors = append(t.processors, newConsole(out, columns, terminal.Colors(screen)))
		case "json":
			t.processors = append(t.processors, newJSONLines(stdout, logger))
		case "chrome":
			file, err := newChrome(e.file, logger)
			if err != nil {
				return nil, err
			}
			t.processors = append(t.processors, file)
		}
	}
	// The last in line: at the stop a collector that hangs takes all the time
	// there is. The delivery counts a span when the batcher has taken or dropped
	// it.
	if t.delivery != nil {
		t.processors = append(t.processors, sdktrace.NewBatchSpanProcessor(t.delivery,
			sdktrace.WithBatchTimeout(batchDelay),
			sdktrace.WithMaxQueueSize(t.delivery.room),
			sdktrace.WithMaxExportBatchSize(min(batchSize, t.delivery.room)),
			sdktrace.WithExportTimeout(exportTimeout)), t.delivery)
	}

	never := strings.EqualFold(strings.TrimSpace(os.Getenv("OTEL_TRACES_SAMPLER")), "always_off")
	t.off = len(t.processors) == 0 || never && !t.all
	off.Store(t.off)
	t.provider = t.newProvider(t.resource)
	paths.Store(nil)
	if c.ErrorPath { // not for what For makes: another service's code is not ours to show
		p := new(pathSpanProcessor)
		paths.Store(p)
		t.provider.RegisterSpanProcessor(p)
	}
	otel.SetTracerProvider(t.provider)
	// The default propagator does nothing, and every trace would end at the
	// edge of its process.
	otel.SetTextMapPropagator(propagation.NewCompositeTextMapPropagator(
		propagation.TraceContext{}, propagation.Baggage{}))
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { logger.Warn("telemetry", "error", err) }))
	slog.SetDefault(logger)
	return t, nil
}

// exporter is one view of the spans.
type exporter struct {
	name string
	file string // for chrome
}

// parseExporters reads OTEL_TRACES_EXPORTER.
func parseExporters(setting string) ([]exporter, error) {
	var all []exporter
	bad := func(format string, args ...any) ([]exporter, error) {
		return nil, fmt.Errorf("OTEL_TRACES_EXPORTER=%q: %s: it can be otlp, console, json, chrome:FILE or none, and several of them with commas between, as in otlp,chrome:trace.json",
			setting, fmt.Sprintf(format, args...))
	}
	for entry := range strings.SplitSeq(setting, ",") {
		// The first colon only: a path on Windows has one too.
		name, file, given := strings.Cut(strings.TrimSpace(entry), ":")
		switch {
		case name == "":
			return bad("an entry is empty")
		case !slices.Contains([]string{"otlp", "console", "json", "chrome", "none"}, name):
			return bad("there is no exporter %q", name)
		case name == "chrome" && file == "":
			return bad("chrome needs a file")
		case name != "chrome" && given:
			return bad("%s takes no %q", name, file)
		case slices.ContainsFunc(all, func(e exporter) bool { return e.name == name }):
			return bad("%s is there twice", name)
		}
		all = append(all, exporter{name, file})
	}
	if len(all) > 1 && slices.Contains(all, exporter{name: "none"}) {
		return bad("none goes with no other")
	}
	return all, nil
}

// Provider is the TracerProvider of the service that was started.
func (t *Telemetry) Provider() trace.TracerProvider { return t.provider }

// Endpoint is where spans are sent, as the settings write it, and "" when they
// are not sent at all but printed, or thrown away.
func (t *Telemetry) Endpoint() string {
	if t.delivery == nil {
		return ""
	}
	return t.delivery.endpoint
}

// For returns a TracerProvider whose spans carry another service's name and
// travel the same way. The stand-in feed lives in a step's process and is
// another service all the same.
func (t *Telemetry) For(service string) trace.TracerProvider {
	// Merge lets the later resource win; the two share one schema, so it
	// cannot fail.
	r, err := resource.Merge(t.resource, resource.NewSchemaless(attribute.String("service.name", service)))
	if err != nil {
		r = t.resource
	}
	return t.newProvider(r)
}

func (t *Telemetry) newProvider(r *resource.Resource) *sdktrace.TracerProvider {
	opts := []sdktrace.TracerProviderOption{sdktrace.WithResource(r)}
	switch {
	case t.all:
		opts = append(opts, sdktrace.WithSampler(sdktrace.AlwaysSample()))
	case t.off: // also when processors have come since, by Watch
		// Spans that go nowhere keep their ids, which errors and logs name, and
		// record nothing: a span that is recorded and thrown away costs as much
		// as one that is sent.
		opts = append(opts, sdktrace.WithSampler(sdktrace.NeverSample()))
	}
	for _, p := range t.processors {
		opts = append(opts, sdktrace.WithSpanProcessor(p))
	}
	return sdktrace.NewTracerProvider(opts...)
}

// Flush delivers what has ended so far.
func (t *Telemetry) Flush(ctx context.Context) error {
	return t.provider.ForceFlush(ctx)
}

// Stop delivers what is left and ends within stopWithin. Spans that could not be
// delivered are counted in one line of the log; the error says the same, and why
// the first of them was lost.
func (t *Telemetry) Stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
	defer cancel()
	err := t.provider.Shutdown(ctx)
	if t.delivery == nil {
		return err
	}
	if ended, sent := t.delivery.ended.Load(), t.delivery.sent.Load(); sent < ended {
		line := []any{"lost", ended - sent, "of", ended, "endpoint", t.delivery.endpoint}
		// After a stop in time the queue is empty: what was not handed over was
		// never in it.
		if dropped := ended - t.delivery.taken.Load(); err == nil && dropped > 0 {
			full := t.delivery.full()
			t.delivery.why.CompareAndSwap(nil, &full)
			line = append(line, "dropped", dropped, "why", full)
		}
		t.log.Warn("spans lost", line...)
		lost := fmt.Errorf("%d of %d spans did not reach %s", ended-sent, ended, t.delivery.endpoint)
		if why := t.delivery.why.Load(); why != nil {
			lost = fmt.Errorf("%w: %w", lost, *why)
		}
		return errors.Join(err, lost)
	}
	return err
}

// newResource describes the sender. Later detectors win, so the variables of
// the specification override what the program says of itself.
func newResource(ctx context.Context, c Config) (*resource.Resource, error) {
	opts := []resource.Option{
		resource.WithTelemetrySDK(),
		resource.WithAttributes(
			attribute.String("service.name", cmp.Or(c.Service, "plaque")),
			attribute.String("service.version", c.Version)),
	}
	if c.Endpoint == "" {
		opts = append(opts, resource.WithFromEnv())
	}
	r, err := resource.New(ctx, opts...)
	if err != nil {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w (write key=value,key=value)", err)
	}
	return r, nil
}

// newExporter makes the OTLP/HTTP exporter and says where it sends to.
func newExporter(ctx context.Context, endpoint string) (sdktrace.SpanExporter, string, error) {
	opts := []otlptracehttp.Option{
		// One try: a Jaeger that is away is told of once, not for a minute.
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{Enabled: false}),
		otlptracehttp.WithTimeout(exportTimeout),
	}
	name, shown := variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
	if endpoint != "" {
		name, shown = "Endpoint", endpoint
	}
	switch u, err := url.Parse(shown); {
	case shown == "":
		shown = DefaultEndpoint
		opts = append(opts, otlptracehttp.WithEndpointURL(DefaultEndpoint+"/v1/traces"))
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		// Without a scheme the exporter would fall back to https and talk TLS
		// to Jaeger's plain port.
		return nil, "", fmt.Errorf("%s=%q is not a URL with a scheme: write it like %s", name, shown, DefaultEndpoint)
	case endpoint != "":
		opts = append(opts, otlptracehttp.WithEndpointURL(endpoint+"/v1/traces"))
	}
	if endpoint == "" {
		name, protocol := variable("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
		if protocol != "" && protocol != "http/protobuf" {
			return nil, "", fmt.Errorf("%s=%q: this program speaks http/protobuf only (Jaeger's port 4318)", name, protocol)
		}
	}
	exporter, err := otlptracehttp.New(ctx, opts...)
	if err != nil {
		return nil, "", fmt.Errorf("the OTLP exporter for %s: %w", shown, err)
	}
	return exporter, shown, nil
}

// queueSetting is how many spans may wait for their delivery.
func queueSetting() (int, error) {
	setting := os.Getenv("OTEL_BSP_MAX_QUEUE_SIZE")
	if setting == "" {
		return queueSize, nil
	}
	n, err := strconv.Atoi(setting)
	if err != nil || n < 1 || n > 1<<20 {
		return 0, fmt.Errorf("OTEL_BSP_MAX_QUEUE_SIZE=%q: it is how many spans may wait to be sent, from 1 to %d", setting, 1<<20)
	}
	return n, nil
}

// variable is the first of the environment variables that is set, and its value.
func variable(names ...string) (name, value string) {
	for _, name = range names {
		if value = os.Getenv(name); value != "" {
			break
		}
	}
	return name, value
}

// delivery stands around the exporter and counts, because the SDK does not
// tell: the batcher drops what does not fit its queue, and Shutdown returns nil
// though every export failed. As a processor it sees every span that ends.
type delivery struct {
	exporter sdktrace.SpanExporter
	endpoint string
	room     int // of the batcher's queue, in spans
	log      *slog.Logger
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
	if err := d.exporter.ExportSpans(ctx, spans); err != nil {
		d.warn.Do(func() {
			d.why.Store(&err)
			d.log.Warn("no spans are delivered: is Jaeger running? start it with `go run ./scripts jaeger`, or set OTEL_TRACES_EXPORTER=none",
				"endpoint", d.endpoint, "error", err)
		})
		return nil // said once; Stop gives the count
	}
	d.sent.Add(int64(len(spans)))
	return nil
}

func (d *delivery) OnStart(context.Context, sdktrace.ReadWriteSpan) {}

func (d *delivery) OnEnd(s sdktrace.ReadOnlySpan) {
	if !s.SpanContext().IsSampled() {
		return
	}
	// What is neither handed over, nor in the queue, nor in the batch behind it,
	// was dropped.
	if d.ended.Add(1)-d.taken.Load() > int64(d.room+batchSize) {
		d.warnFull.Do(func() { d.log.Warn("spans are dropped", "why", d.full()) })
	}
}

func (d *delivery) ForceFlush(context.Context) error { return nil }

// Shutdown is called twice, by the batcher for its exporter and by the provider
// for the processor. The exporter is not closed: all that would be freed is an
// idle connection.
func (d *delivery) Shutdown(context.Context) error { return nil }

type lockedWriter struct {
	mu sync.Mutex // protects w
	w  io.Writer
}

func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}
