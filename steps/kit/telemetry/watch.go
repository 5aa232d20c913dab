package telemetry

import sdktrace "go.opentelemetry.io/otel/sdk/trace"

// Watch lets p see every span that starts from now on: those of this provider,
// and those of providers that For makes from now on. Call it before either is
// used.
func (t *Telemetry) Watch(p sdktrace.SpanProcessor) {
	t.processors = append(t.processors, p)
	t.provider.RegisterSpanProcessor(p)
}
