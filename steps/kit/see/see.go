// Package see has views of spans for people who want them elsewhere than in
// Jaeger: trees in a terminal, JSON lines, a file of Chrome's trace event format,
// and the path on which an error came to a request.
//
// Each view is a span processor with a separate queue, so that no span waits for a
// terminal or a disk when it ends.
package see
