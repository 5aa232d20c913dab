// Command server meets the whole contract with the standard library and
// OpenTelemetry's SDK.
package main

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

const (
	ttl      = 5 * time.Second
	timeout  = 2500 * time.Millisecond // of a load
	spareFor = time.Second             // how long a channel's feed is left alone that has failed
	idleFor  = 4 * time.Second         // how long a client may send nothing
	maxLoads = 100                     // at once
	maxFeed  = 1 << 20                 // bytes
	maxKeys  = 1000
)

var (
	channelID  = regexp.MustCompile(`^UC[A-Za-z0-9_-]{22}$`)
	propagator = propagation.TraceContext{}
	tracer     = otel.Tracer("server")
)

// failure is an error with the status to answer.
type failure struct {
	status int
	text   string
	again  time.Duration // after which to come again; 0 means at once
}

func (f *failure) Error() string { return f.text }

var errBusy = &failure{http.StatusServiceUnavailable, "too many loads", time.Second}

// cache remembers the newest video of each channel. Its methods may be called at once.
type cache struct {
	feed string

	mu      sync.Mutex // protects all below
	entries map[string]entry
	flights map[string]*flight // the loads in the air
}

// entry is the last video of a channel, its last failure, or both.
type entry struct {
	video string
	until time.Time
	err   *failure
	spare time.Time // until then the feed is left alone
}

type flight struct {
	span  trace.Span
	done  chan struct{} // closed when the rest is set
	video string
	err   *failure
}

// get answers from memory, or shares the load in the air, or begins one.
func (c *cache) get(ctx context.Context, channel string) (string, error) {
	c.mu.Lock()
	e, f, now := c.entries[channel], c.flights[channel], time.Now()
	spared := now.Before(e.spare)
	switch {
	case e.video != "" && now.Before(e.until):
		c.mu.Unlock()
		return e.video, nil
	case e.video != "": // old, and good enough meanwhile
		if f == nil && !spared && len(c.flights) < maxLoads {
			c.begin(ctx, channel)
		}
		c.mu.Unlock()
		return e.video, nil
	case f != nil:
		trace.SpanFromContext(ctx).AddLink(trace.Link{SpanContext: f.span.SpanContext()})
	case spared:
		c.mu.Unlock()
		return "", &failure{e.err.status, e.err.text, e.spare.Sub(now)}
	case len(c.flights) >= maxLoads:
		c.mu.Unlock()
		return "", errBusy
	default:
		f = c.begin(ctx, channel)
	}
	c.mu.Unlock()
	select {
	case <-f.done:
		if f.err != nil {
			return "", f.err
		}
		return f.video, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// begin begins a load, which no caller that hangs up ends. c.mu is held.
func (c *cache) begin(ctx context.Context, channel string) *flight {
	ctx, span := tracer.Start(context.WithoutCancel(ctx), "load")
	f := &flight{span: span, done: make(chan struct{})}
	c.flights[channel] = f
	go func() {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		defer c.land(channel, f)
		f.video, f.err = c.load(ctx, channel)
	}()
	return f
}

// land runs when a load has returned or panicked.
func (c *cache) land(channel string, f *flight) {
	if p := recover(); p != nil {
		text := fmt.Sprint("the load panicked: ", p)
		f.err = &failure{http.StatusInternalServerError, text, spareFor}
	}
	if f.err != nil {
		f.span.SetStatus(codes.Error, f.err.text)
	}
	f.span.End()
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.flights, channel)
	e := c.entries[channel]
	if f.err != nil {
		e.err, e.spare = f.err, time.Now().Add(spareFor)
	} else {
		e = entry{video: f.video, until: time.Now().Add(ttl)}
	}
	if _, known := c.entries[channel]; !known && len(c.entries) >= maxKeys {
		for other := range c.entries { // any
			delete(c.entries, other)
			break
		}
	}
	c.entries[channel] = e
	close(f.done)
}

// load asks the feed for a channel's newest video.
func (c *cache) load(ctx context.Context, channel string) (string, *failure) {
	failed := func(err error) (string, *failure) {
		if errors.Is(err, context.DeadlineExceeded) {
			return "", &failure{http.StatusGatewayTimeout, "the feed took too long", spareFor}
		}
		return "", &failure{http.StatusBadGateway, "the feed failed: " + err.Error(), spareFor}
	}
	from := c.feed + "?channel_id=" + url.QueryEscape(channel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return failed(err)
	}
	propagator.Inject(ctx, propagation.HeaderCarrier(req.Header))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return failed(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return failed(fmt.Errorf("it answered %s", res.Status))
	}
	var document struct {
		Entries []struct {
			ID string `xml:"id"`
		} `xml:"entry"`
	}
	if err := xml.NewDecoder(io.LimitReader(res.Body, maxFeed)).Decode(&document); err != nil {
		return failed(err)
	}
	if len(document.Entries) == 0 {
		return failed(errors.New("no video"))
	}
	video, ok := strings.CutPrefix(document.Entries[0].ID, "yt:video:")
	switch {
	case !ok:
		return failed(errors.New("no video"))
	case video == "doom":
		panic("doom")
	}
	return video, nil
}

// ServeHTTP answers a request, under a span below its caller's.
func (c *cache) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx := propagator.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	ctx, span := tracer.Start(ctx, r.Method+" "+r.Pattern)
	defer span.End()
	channel := r.URL.Query().Get("channel")
	if channel == "" {
		channel = "UCs4fQRyl1TJvoeOdekW6lYA"
	}
	if !channelID.MatchString(channel) {
		http.Error(w, "that is not a channel id", http.StatusBadRequest)
		return
	}
	video, err := c.get(ctx, channel)
	if err != nil {
		status := http.StatusInternalServerError
		var f *failure
		if errors.As(err, &f) {
			status = f.status
			w.Header().Set("Retry-After", fmt.Sprint(math.Ceil(f.again.Seconds())))
		}
		http.Error(w, err.Error(), status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{"video_id": video})
}

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// It reads OTEL_EXPORTER_OTLP_ENDPOINT, and the batcher OTEL_BSP_SCHEDULE_DELAY.
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return err
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter))
	otel.SetTracerProvider(provider)

	l, err := net.Listen("tcp", os.Getenv("ADDR"))
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", &cache{
		feed:    os.Getenv("FEED_URL"),
		entries: map[string]entry{},
		flights: map[string]*flight{},
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: idleFor}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		<-ctx.Done()
		bound, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_ = server.Shutdown(bound)
		_ = provider.Shutdown(bound) // sends the spans that are left
	}()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	<-ended
	return nil
}
