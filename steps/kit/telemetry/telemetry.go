// Package telemetry sets tracing and logging up for one program of the
// workshop: one call at the start, one at the stop.
//
// It reads the variables of the OpenTelemetry specification and LOG_LEVEL. With
// none of them set, spans go over HTTP to a Jaeger on 127.0.0.1:4318; with
// OTEL_TRACES_EXPORTER they go, instead or as well, to the views of package see.
package telemetry

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"plaque/steps/kit/see"
	"plaque/steps/kit/terminal"
)

const (
	// DefaultEndpoint is where spans go when no variable names another place.
	DefaultEndpoint = "http://127.0.0.1:4318"

	// batchDelay is how long a finished span waits for company. The SDK's
	// default of 5 s is a long time to look at an empty Jaeger.
	batchDelay = 200 * time.Millisecond
	// queueSize bounds the spans that wait. The SDK's default of 2048 is full
	// after 200 requests of a burst, and drops the rest silently.
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
	settings   settings
	processors []sdktrace.SpanProcessor
	resource   *resource.Resource
	provider   *provider
	delivery   *delivery // nil without OTLP
	log        *slog.Logger
}

// provider is the TracerProvider of the service that was started. It is also how
// code that has nothing but OpenTelemetry's global one finds Off and ErrorPath.
type provider struct {
	*sdktrace.TracerProvider
	off   bool
	paths *see.Paths // nil unless Config.ErrorPath is set
}

func global() *provider {
	p, _ := otel.GetTracerProvider().(*provider)
	return p
}

// Off reports whether nobody records spans: Start has been called, and its
// environment has OTEL_TRACES_EXPORTER=none, OTEL_SDK_DISABLED=true or
// OTEL_TRACES_SAMPLER=always_off. Spans then have ids, and nothing else.
func Off() bool {
	p := global()
	return p != nil && p.off
}

// ErrorPath is the way that an error has come to the request of ctx; see
// see.Paths. nil unless Start was told to keep paths.
func ErrorPath(ctx context.Context) []see.Station {
	if p := global(); p != nil && p.paths != nil {
		return p.paths.Of(ctx)
	}
	return nil
}

// Start is New, and installs what it made as OpenTelemetry's global
// TracerProvider and propagator, and as the default slog.Logger.
func Start(ctx context.Context, c Config) (*Telemetry, error) {
	t, err := New(ctx, c)
	if err != nil {
		return nil, err
	}
	otel.SetTracerProvider(t.provider)
	// The default propagator does nothing, and every trace would end at the
	// edge of its process.
	otel.SetTextMapPropagator(t.settings.propagator)
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { t.log.Warn("telemetry", "error", err) }))
	slog.SetDefault(t.log)
	return t, nil
}

// New reads the environment and starts what it asks for. A setting that makes no
// sense is an error which names the variable and what it may be; Variables has
// them all.
func New(ctx context.Context, c Config) (*Telemetry, error) {
	var screen, stdout io.Writer = os.Stderr, os.Stdout
	if c.Out != nil {
		screen = c.Out
	}
	if c.JSON != nil {
		stdout = c.JSON
	}
	// The console's trees and the log share one stream: a lock around each
	// write keeps a line from landing inside a tree.
	out := &lockedWriter{w: screen}
	logger, err := newLogger(out, os.Getenv("LOG_LEVEL"))
	if err != nil {
		return nil, err
	}
	t := &Telemetry{log: logger}
	if c.Endpoint != "" {
		t.settings = defaults()
		t.settings.sampler = sdktrace.AlwaysSample()
		err = readEndpoint(&t.settings, otlpGeneral, c.Endpoint, DefaultEndpoint)
		t.settings.named, t.settings.shown = "", c.Endpoint
	} else {
		t.settings, err = readSettings()
	}
	if err != nil {
		return nil, err
	}
	if t.resource, err = newResource(ctx, c); err != nil {
		return nil, err
	}
	var last []sdktrace.SpanProcessor
	if slices.Contains(t.settings.exporters, exporter{name: "otlp"}) {
		if t.delivery, last, err = newDelivery(ctx, t.settings, logger); err != nil {
			return nil, err
		}
	}
	// After all other settings, so that a mistake in those empties no file.
	for _, e := range t.settings.exporters {
		var view sdktrace.SpanProcessor
		switch e.name {
		case "console":
			view = see.NewConsole(out, func() int { return terminal.Columns(screen) }, terminal.Colors(screen))
		case "json":
			view = see.NewJSON(stdout, logger)
		case "chrome":
			if view, err = see.NewChrome(e.file, logger); err != nil {
				return nil, fmt.Errorf("OTEL_TRACES_EXPORTER: chrome cannot write %s: %w", e.file, err)
			}
		default:
			continue
		}
		t.processors = append(t.processors, outgoing{view, t.settings.limits})
	}
	// At the stop a collector that hangs takes all the time there is.
	t.processors = append(t.processors, last...)

	off := len(t.processors) == 0 || t.settings.never
	if off {
		// Spans that go nowhere keep their ids, which errors and logs name, and
		// record nothing: a span that is recorded and thrown away costs as much
		// as one that is sent.
		t.settings.sampler = sdktrace.NeverSample()
	}
	t.provider = &provider{TracerProvider: t.newProvider(t.resource), off: off}
	if c.ErrorPath { // not for what For makes: another service's code is not ours to show
		t.provider.paths = new(see.Paths)
		t.provider.RegisterSpanProcessor(t.provider.paths)
	}
	if c.Endpoint == "" {
		if names := WithoutEffect(); names != nil {
			logger.Warn("variables without effect: they are misspelt, or about what this program does not send, such as metrics and logs", "names", names)
		}
	}
	return t, nil
}

// Provider is the TracerProvider of the service that was started.
func (t *Telemetry) Provider() trace.TracerProvider { return t.provider }

// Endpoint is where spans are sent, as the settings write it, and "" when they
// are not sent at all but printed, or thrown away.
func (t *Telemetry) Endpoint() string {
	if t.delivery == nil {
		return ""
	}
	return t.settings.shown
}

// EndpointVariable is the variable that says where spans are sent, "" for
// DefaultEndpoint, and target the whole URL that they are posted to.
func (t *Telemetry) EndpointVariable() (name, target string) {
	return t.settings.named, t.settings.endpoint.String()
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
	opts := []sdktrace.TracerProviderOption{sdktrace.WithResource(r), sdktrace.WithSampler(t.settings.sampler),
		sdktrace.WithRawSpanLimits(t.settings.limits.recorded())}
	for _, p := range t.processors {
		opts = append(opts, sdktrace.WithSpanProcessor(p))
	}
	return sdktrace.NewTracerProvider(opts...)
}

// Watch lets p see every span that starts from now on: those of this provider,
// and those of providers that For makes from now on. Call it before either is
// used. p sees a span as it was recorded: the limits of the environment are for
// what leaves the process.
func (t *Telemetry) Watch(p sdktrace.SpanProcessor) {
	t.processors = append(t.processors, p)
	t.provider.RegisterSpanProcessor(p)
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
	if t.delivery != nil {
		err = t.delivery.lost(err)
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
	return validResource(r), nil
}

type lockedWriter struct {
	mu sync.Mutex // protects w
	w  io.Writer
}

func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}
