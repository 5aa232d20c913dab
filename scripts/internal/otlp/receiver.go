// Package trace receives OpenTelemetry spans in memory, builds their trees and
// draws them as text. It is how the workshop sees what a step did without
// Jaeger; where a Jaeger listens, it passes every span on.
package otlp

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"mime"
	"net"
	"net/http"
	"net/url"
	"plaque/scripts/internal/say"
	"plaque/steps/kit/terminal"
	"slices"
	"strings"
	"sync"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

const (
	tracesPath   = "/v1/traces"
	typeProtobuf = "application/x-protobuf"
	typeJSON     = "application/json"
)

// limits bound what one receiver takes in and how long it waits for others.
type limits struct {
	body  int64         // bytes of one request, before and after gunzip
	spans int           // spans held until somebody takes them
	queue int64         // bytes that wait to be passed on
	read  time.Duration // one request, from its first byte to its last
	post  time.Duration // one request to the other collector
	close time.Duration // Close, in all
}

var defaults = limits{
	body:  16 << 20,
	spans: 250_000,
	queue: 64 << 20,
	read:  10 * time.Second,
	post:  2 * time.Second,
	close: 3 * time.Second,
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
	served chan struct{} // closed when the server's accept loop has ended
	done   chan struct{} // closed when Close has finished
	next   *forwarder    // nil if nobody else gets the spans

	mu     sync.Mutex // protects what follows
	spans  []Span
	more   chan struct{} // closed, and replaced, when spans arrive
	closed bool
}

// Listen starts a receiver.
func Listen(c Config) (*Receiver, error) { return listen(c, defaults) }

func listen(c Config, l limits) (*Receiver, error) {
	r := &Receiver{
		limits: l,
		served: make(chan struct{}),
		done:   make(chan struct{}),
		more:   make(chan struct{}),
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
	r.server = &http.Server{
		Handler:           http.HandlerFunc(r.take),
		ReadHeaderTimeout: min(l.read, 5*time.Second),
		ReadTimeout:       l.read,
		WriteTimeout:      10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    64 << 10,
		// Senders are told what is wrong in the answer. A child that dies in the
		// middle of a request is normal here and not worth a line.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	if r.next != nil {
		go r.next.run()
	}
	go func() {
		defer close(r.served)
		r.server.Serve(listener)
	}()
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
	r.spans = nil
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

// Forwarded says how many spans the other collector has taken, how many it has
// not, and why not the last time. Spans in the queue are in neither number:
// after Close there are none.
func (r *Receiver) Forwarded() (sent, failed int, lastErr error) {
	if r.next == nil {
		return 0, 0, nil
	}
	return r.next.counts()
}

// Close stops the receiver and passes on what waits in the queue, three seconds
// at most in all. What has arrived can still be read. A second Close waits for
// the first.
func (r *Receiver) Close() error {
	r.mu.Lock()
	first := !r.closed
	if first {
		r.closed = true
		close(r.more)
	}
	r.mu.Unlock()
	if !first {
		<-r.done
		return nil
	}
	defer close(r.done)

	deadline := time.Now().Add(r.limits.close)
	// A third of the time for requests that are still being read, the rest for
	// the other collector.
	ctx, cancel := context.WithTimeout(context.Background(), r.limits.close/3)
	defer cancel()
	err := r.server.Shutdown(ctx)
	if err != nil {
		err = r.server.Close()
	}
	<-r.served
	if r.next != nil {
		r.next.stop(time.Until(deadline))
	}
	return err
}

// refusal is an answer other than 200: a status and a reason for the sender.
type refusal struct {
	status int
	reason string
}

func refuse(status int, format string, args ...any) *refusal {
	return &refusal{status, fmt.Sprintf(format, args...)}
}

// take answers one export request.
func (r *Receiver) take(w http.ResponseWriter, req *http.Request) {
	format, no := r.check(req)
	var body []byte
	if no == nil {
		body, no = r.read(w, req)
	}
	var data *tracepb.TracesData
	if no == nil {
		data, no = parse(format, body)
	}
	if no != nil {
		if no.status == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", http.MethodPost)
		}
		http.Error(w, no.reason, no.status)
		return
	}

	spans, rejected, why := decode(data)
	if no := r.keep(spans); no != nil {
		http.Error(w, no.reason, no.status)
		return
	}
	if r.next != nil && len(spans) > 0 {
		r.next.add(parcel{data: data, spans: len(spans), size: int64(len(body))})
	}
	w.Header().Set("Content-Type", format)
	w.Write(answer(format, rejected, why))
}

// check looks at everything but the body and returns the body's format.
func (r *Receiver) check(req *http.Request) (format string, no *refusal) {
	if req.URL.Path != tracesPath {
		return "", refuse(http.StatusNotFound, "nothing at %s: this collector takes traces only, POST %s", req.URL.Path, tracesPath)
	}
	if req.Method != http.MethodPost {
		return "", refuse(http.StatusMethodNotAllowed, "%s %s: spans are sent with POST", req.Method, tracesPath)
	}
	header := req.Header.Get("Content-Type")
	format, _, err := mime.ParseMediaType(header)
	if err != nil || format != typeProtobuf && format != typeJSON {
		return "", refuse(http.StatusUnsupportedMediaType, "Content-Type %q: send %s or %s", header, typeProtobuf, typeJSON)
	}
	return format, nil
}

// read returns the request's body, unpacked.
func (r *Receiver) read(w http.ResponseWriter, req *http.Request) ([]byte, *refusal) {
	body := io.Reader(http.MaxBytesReader(w, req.Body, r.limits.body))
	switch encoding := req.Header.Get("Content-Encoding"); encoding {
	case "", "identity":
	case "gzip":
		unzip, err := gzip.NewReader(body)
		if err != nil {
			return nil, r.unreadable(err)
		}
		body = unzip
	default:
		return nil, refuse(http.StatusUnsupportedMediaType, "Content-Encoding %q: send gzip or none", encoding)
	}
	// A small body can unpack into a very large one.
	all, err := io.ReadAll(io.LimitReader(body, r.limits.body+1))
	if err != nil {
		return nil, r.unreadable(err)
	}
	if int64(len(all)) > r.limits.body {
		return nil, r.unreadable(&http.MaxBytesError{Limit: r.limits.body})
	}
	return all, nil
}

func (r *Receiver) unreadable(err error) *refusal {
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return refuse(http.StatusRequestEntityTooLarge, "the body is larger than %d bytes: send fewer spans at a time", r.limits.body)
	}
	return refuse(http.StatusBadRequest, "the body cannot be read: %v", err)
}

// TracesData has the same fields as OTLP's ExportTraceServiceRequest. The
// latter's package would bring all of gRPC into the program.
func parse(format string, body []byte) (*tracepb.TracesData, *refusal) {
	data := new(tracepb.TracesData)
	if format == typeProtobuf {
		if err := proto.Unmarshal(body, data); err != nil {
			return nil, refuse(http.StatusBadRequest, "the body is not an OTLP trace request in protobuf: %v", err)
		}
		return data, nil
	}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(body, data); err != nil {
		return nil, refuse(http.StatusBadRequest, "the body is not an OTLP trace request in JSON: %v", err)
	}
	unhex(data)
	return data, nil
}

// keep stores the spans and wakes those who wait for them.
func (r *Receiver) keep(spans []Span) *refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	if held := len(r.spans); held+len(spans) > r.limits.spans {
		return refuse(http.StatusServiceUnavailable, "%d spans are held already and nobody has taken them", held)
	}
	r.spans = append(r.spans, spans...)
	if len(spans) > 0 && !r.closed {
		close(r.more)
		r.more = make(chan struct{})
	}
	return nil
}

// Field numbers of ExportTraceServiceResponse and its partial success.
const (
	fieldPartialSuccess = 1
	fieldRejectedSpans  = 1
	fieldErrorMessage   = 2
)

// answer is the body of a 200. It is empty but for a partial success.
func answer(format string, rejected int, why string) []byte {
	if format == typeJSON {
		if rejected == 0 {
			return []byte("{}")
		}
		quoted, _ := json.Marshal(why) // a string always can be
		return fmt.Appendf(nil, `{"partialSuccess":{"rejectedSpans":"%d","errorMessage":%s}}`, rejected, quoted)
	}
	if rejected == 0 {
		return nil
	}
	var partial []byte
	partial = protowire.AppendTag(partial, fieldRejectedSpans, protowire.VarintType)
	partial = protowire.AppendVarint(partial, uint64(rejected))
	partial = protowire.AppendTag(partial, fieldErrorMessage, protowire.BytesType)
	partial = protowire.AppendString(partial, why)
	return protowire.AppendBytes(protowire.AppendTag(nil, fieldPartialSuccess, protowire.BytesType), partial)
}

// rejectedIn reads the other collector's answer: how many of the spans it threw
// away although it said 200, and why. What it cannot read rejects nothing.
func rejectedIn(body []byte) (rejected int, why string) {
	fields(body, func(n protowire.Number, _ uint64, partial []byte) {
		if n != fieldPartialSuccess {
			return
		}
		fields(partial, func(n protowire.Number, value uint64, text []byte) {
			switch n {
			case fieldRejectedSpans:
				rejected = int(int64(value))
			case fieldErrorMessage:
				why = string(text)
			}
		})
	})
	return max(rejected, 0), why
}

// fields calls f with each field of a message that is a number or bytes.
func fields(message []byte, f func(n protowire.Number, value uint64, text []byte)) {
	for len(message) > 0 {
		n, kind, size := protowire.ConsumeTag(message)
		if size < 0 {
			return
		}
		message = message[size:]
		switch kind {
		case protowire.VarintType:
			value, size := protowire.ConsumeVarint(message)
			if size < 0 {
				return
			}
			f(n, value, nil)
		case protowire.BytesType:
			text, size := protowire.ConsumeBytes(message)
			if size < 0 {
				return
			}
			f(n, 0, text)
		}
		if size = protowire.ConsumeFieldValue(n, kind, message); size < 0 {
			return
		}
		message = message[size:]
	}
}

// forwarder passes spans on to another collector, from a goroutine of its own:
// a collector that is slow or hangs costs the sender nothing.
type forwarder struct {
	limits limits
	url    string
	client *http.Client
	ctx    context.Context // ends when the time for the last posts is up
	cancel context.CancelFunc
	idle   chan struct{} // closed when run has returned

	mu      sync.Mutex // protects what follows
	queue   []parcel
	bytes   int64         // of the parcels in the queue
	wake    chan struct{} // holds a token when run should look again
	closing bool
	sent    int
	failed  int
	lastErr error
}

// parcel is what came in one request. The message is nobody else's any more.
type parcel struct {
	data  *tracepb.TracesData
	spans int
	size  int64
}

func newForwarder(base string, l limits) (*forwarder, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("cannot pass spans on to %q: want the base URL of an OTLP/HTTP collector, such as http://127.0.0.1:4318", base)
	}
	f := &forwarder{
		limits: l,
		url:    strings.TrimRight(base, "/") + tracesPath,
		client: &http.Client{
			Timeout:   l.post,
			Transport: &http.Transport{}, // ours to close; no proxy stands before a collector on this machine
			CheckRedirect: func(*http.Request, []*http.Request) error {
				return http.ErrUseLastResponse // a redirected POST would arrive as a GET without spans
			},
		},
		wake: make(chan struct{}, 1),
		idle: make(chan struct{}),
	}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	return f, nil
}

// add queues a parcel and never waits. What does not fit is counted as failed.
func (f *forwarder) add(p parcel) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.closing:
		f.fail(p.spans, errors.New("the receiver was closed first"))
		return
	case f.bytes+p.size > f.limits.queue:
		f.fail(p.spans, fmt.Errorf("%s is too slow: %d MiB of spans wait for it already", f.url, f.bytes>>20))
		return
	}
	f.queue = append(f.queue, p)
	f.bytes += p.size
	f.signal()
}

func (f *forwarder) signal() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// fail counts spans that did not get through. f.mu is held.
func (f *forwarder) fail(spans int, err error) {
	f.failed += spans
	f.lastErr = fmt.Errorf("spans not passed on: %w", err)
}

// run posts one parcel after the other until the queue is empty and closing.
func (f *forwarder) run() {
	defer close(f.idle)
	for {
		f.mu.Lock()
		if len(f.queue) == 0 {
			closing := f.closing
			f.mu.Unlock()
			if closing {
				return
			}
			<-f.wake
			continue
		}
		p := f.queue[0]
		f.queue[0] = parcel{}
		f.queue = f.queue[1:]
		f.bytes -= p.size
		f.mu.Unlock()

		rejected, err := f.post(p)
		f.mu.Lock()
		f.sent += p.spans - rejected
		if err != nil {
			f.fail(rejected, err)
		}
		f.mu.Unlock()
	}
}

// post sends one parcel and says how many of its spans were not taken, and why.
func (f *forwarder) post(p parcel) (rejected int, err error) {
	body, err := proto.Marshal(p.data)
	if err != nil {
		return p.spans, err
	}
	req, err := http.NewRequestWithContext(f.ctx, http.MethodPost, f.url, bytes.NewReader(body))
	if err != nil {
		return p.spans, err
	}
	req.Header.Set("Content-Type", typeProtobuf)
	resp, err := f.client.Do(req)
	if err != nil {
		return p.spans, f.explain(err)
	}
	defer resp.Body.Close()
	reply, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return p.spans, f.explain(err)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return p.spans, fmt.Errorf("%s answered %s%s", f.url, resp.Status, quote(reply))
	}
	format, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if format == "text/html" {
		return p.spans, fmt.Errorf("%s answered with a web page: that is not an OTLP/HTTP port", f.url)
	}
	if rejected, why := rejectedIn(reply); rejected > 0 {
		return min(rejected, p.spans), fmt.Errorf("%s took the request but not all of it%s", f.url, quote([]byte(why)))
	}
	return 0, nil
}

// explain puts what went wrong on the way into words.
func (f *forwarder) explain(err error) error {
	if f.ctx.Err() != nil {
		return fmt.Errorf("%s had not answered when the receiver was closed", f.url)
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return fmt.Errorf("%s did not answer within %v", f.url, f.limits.post)
	}
	if outer, ok := errors.AsType[*url.Error](err); ok {
		err = outer.Err // the URL is said once
	}
	return fmt.Errorf("%s: %w", f.url, err)
}

// quote returns a reply's first line, cut to fit a message; "" for none.
func quote(reply []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(reply)), "\n")
	if line = terminal.Plain(line); line == "" {
		return ""
	}
	return ": " + terminal.Clip(line, 200)
}

// stop lets the queue drain for as long as bound and then gives the rest up.
func (f *forwarder) stop(bound time.Duration) {
	f.mu.Lock()
	f.closing = true
	f.signal()
	f.mu.Unlock()
	timer := time.AfterFunc(bound, f.cancel)
	defer timer.Stop()
	defer f.cancel()
	<-f.idle // bounded: without its context every post fails at once
	f.client.CloseIdleConnections()
}

func (f *forwarder) counts() (sent, failed int, lastErr error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sent, f.failed, f.lastErr
}
