// Package otlp receives OpenTelemetry spans in memory and builds their trees. It
// is how the workshop sees what a step did without Jaeger; where a Jaeger
// listens, it passes every span on.
package otlp

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"plaque/scripts/internal/say"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	tracesPath   = "/v1/traces"
	typeProtobuf = "application/x-protobuf"
	typeJSON     = "application/json"
	typeGRPC     = "application/grpc"
)

// limits bound what one receiver takes in and how long it waits for others.
type limits struct {
	body   int64         // bytes of one request, before and after gunzip
	flight int64         // bytes of all requests that are being read
	parts  int           // spans, events, links, attributes and values of one request
	depth  int           // of values within values within a span
	spans  int           // spans held until they are taken
	held   int64         // bytes of memory for them, as weight estimates it
	queue  int64         // bytes that wait to be passed on
	read   time.Duration // one request, from its first byte to its last
	post   time.Duration // one request to the other collector
	close  time.Duration // Close, in all
}

var defaults = limits{
	body:   16 << 20,
	flight: 64 << 20,
	parts:  400_000,
	depth:  100,
	spans:  250_000,
	held:   512 << 20,
	queue:  64 << 20,
	read:   10 * time.Second,
	post:   2 * time.Second,
	close:  3 * time.Second,
}

// Config says how a Receiver is set up. The zero value is fine.
type Config struct {
	// Addr is where to listen; "" is a free port of 127.0.0.1.
	Addr string
	// Forward is the base URL of another OTLP/HTTP collector that gets every
	// span too, such as http://127.0.0.1:4318 for Jaeger; "" for none.
	Forward string
}

// Receiver is an OTLP/HTTP collector that keeps spans in memory. All its
// methods may be called from many goroutines at once.
type Receiver struct {
	limits limits
	url    string
	server *http.Server
	served sync.WaitGroup // waits for the server's accept loop
	close  sync.Once
	next   *forwarder    // nil if nobody else gets the spans
	flight atomic.Int64  // bytes of the requests that are being read
	decode chan struct{} // holds a token for each request that is being decoded

	mu      sync.Mutex // protects what follows
	spans   []Span
	held    int64         // weight of the spans
	more    chan struct{} // closed, and replaced, when spans arrive
	closed  bool
	refused []Refusal
}

// Listen starts a receiver.
func Listen(c Config) (*Receiver, error) { return listen(c, defaults) }

func listen(c Config, l limits) (*Receiver, error) {
	r := &Receiver{
		limits: l,
		more:   make(chan struct{}),
		decode: make(chan struct{}, 2),
	}
	if c.Forward != "" {
		next, err := newForwarder(c.Forward, l)
		if err != nil {
			return nil, err
		}
		r.next = next
	}
	listener, err := net.Listen("tcp", cmp.Or(c.Addr, "127.0.0.1:0"))
	if err != nil {
		return nil, fmt.Errorf("no port to receive spans on: %w", err)
	}
	r.url = "http://" + listener.Addr().String()
	// HTTP/2 is spoken for gRPC alone, so that its senders get an answer that they
	// understand.
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	r.server = &http.Server{
		Handler:           http.HandlerFunc(r.take),
		Protocols:         &protocols,
		ReadHeaderTimeout: min(l.read, 5*time.Second),
		ReadTimeout:       l.read,
		WriteTimeout:      2 * l.read, // it counts from the headers: the body is read within it
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    64 << 10,
		// Senders are told what is wrong in the answer. A child that dies in the
		// middle of a request is normal here and not worth a line.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	r.served.Go(func() { r.server.Serve(sniffer{listener, r}) })
	return r, nil
}

// URL is the receiver's base URL, fit for OTEL_EXPORTER_OTLP_ENDPOINT.
func (r *Receiver) URL() string { return r.url }

// Spans returns what has arrived so far, ordered by start.
func (r *Receiver) Spans() []Span {
	r.mu.Lock()
	spans := slices.Clone(r.spans)
	r.mu.Unlock()
	slices.SortStableFunc(spans, Compare)
	return spans
}

// Take returns what has arrived so far, ordered by start, and forgets it.
func (r *Receiver) Take() []Span {
	r.mu.Lock()
	spans := r.spans
	r.spans, r.held = nil, 0
	r.mu.Unlock()
	slices.SortStableFunc(spans, Compare)
	return spans
}

// Wait returns nil as soon as enough holds for the spans that have arrived, as
// Spans returns them. It is asked once at the start and again whenever more
// have come. When ctx ends first, or the receiver is closed, the error says how
// many spans there are.
func (r *Receiver) Wait(ctx context.Context, enough func([]Span) bool) error {
	for {
		r.mu.Lock()
		more, closed := r.more, r.closed
		r.mu.Unlock()
		// The channel was fetched before the spans: what comes after this look
		// closes it.
		spans := r.Spans()
		if enough(spans) {
			return nil
		}
		if closed {
			return fmt.Errorf("the receiver was closed with %s, and more were waited for", say.Plural(len(spans), "span"))
		}
		select {
		case <-more:
		case <-ctx.Done():
			// Both may be ready, and select picks either.
			if spans = r.Spans(); enough(spans) {
				return nil
			}
			return fmt.Errorf("%s had come when the wait for more ended: %w", say.Plural(len(spans), "span"), context.Cause(ctx))
		}
	}
}

// Forwarded returns how many spans the other collector has taken, how many it has
// not, and why not the last time. Spans on their way are in neither number: after
// Close there are none.
func (r *Receiver) Forwarded() (sent, failed int, lastErr error) {
	if r.next == nil {
		return 0, 0, nil
	}
	r.next.mu.Lock()
	defer r.next.mu.Unlock()
	return r.next.sent, r.next.failed, r.next.lastErr
}

// Close stops the receiver and waits for the spans that are on their way to the
// other collector, three seconds at most in all. What has arrived can still be
// read. A second Close waits for the first.
func (r *Receiver) Close() (err error) {
	r.close.Do(func() { err = r.shut() })
	return err
}

func (r *Receiver) shut() error {
	r.mu.Lock()
	r.closed = true
	close(r.more)
	r.mu.Unlock()
	deadline := time.Now().Add(r.limits.close)
	// A third of the time for requests that are still being read, the rest for
	// the other collector.
	ctx, cancel := context.WithTimeout(context.Background(), r.limits.close/3)
	defer cancel()
	err := r.server.Shutdown(ctx)
	if err != nil {
		err = r.server.Close()
	}
	r.served.Wait()
	if r.next != nil {
		r.next.stop(time.Until(deadline))
	}
	return err
}

// weight is about how many bytes of memory the spans of a request take.
func weight(body []byte, parts int) int64 { return int64(len(body)) + 64*int64(parts) }

// keep stores the spans and wakes those who wait for them.
func (r *Receiver) keep(spans []Span, weight int64) *refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	if held := len(r.spans); held+len(spans) > r.limits.spans || held > 0 && r.held+weight > r.limits.held {
		return refuse(http.StatusServiceUnavailable, "%d spans are held already and nobody has taken them", held)
	}
	r.spans = append(r.spans, spans...)
	r.held += weight
	if len(spans) > 0 && !r.closed {
		close(r.more)
		r.more = make(chan struct{})
	}
	return nil
}
