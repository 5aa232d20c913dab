package otlp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// forwarder passes requests on to another collector, each from its own goroutine,
// a few at a time and each for limits.post at most: a collector that is slow or
// hangs costs the sender nothing.
type forwarder struct {
	limits limits
	url    string
	client *http.Client
	ctx    context.Context // ends when the time for the last posts is up
	cancel context.CancelFunc
	posts  sync.WaitGroup
	places chan struct{} // holds a token for each post on its way

	mu      sync.Mutex // protects what follows
	bytes   int64      // on their way
	closing bool       // posts gets no more
	sent    int
	failed  int
	lastErr error
}

// parcel is what came in one request. Nobody changes the body any more.
type parcel struct {
	format string
	body   []byte
	spans  int // in the body
}

func newForwarder(base string, l limits) (*forwarder, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("cannot pass spans on to %q: want the base URL of an OTLP/HTTP collector, such as http://127.0.0.1:4318", base)
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &forwarder{
		limits: l,
		url:    strings.TrimRight(base, "/") + tracesPath,
		client: &http.Client{
			Timeout:   l.post,
			Transport: &http.Transport{}, // ours to close; no proxy stands before a collector on this machine
			CheckRedirect: func(*http.Request, []*http.Request) error {
				return http.ErrUseLastResponse // a redirected POST would arrive as a GET without spans
			},
		},
		ctx:    ctx,
		cancel: cancel,
		places: make(chan struct{}, 4),
	}, nil
}

// add sends a parcel on its way and never waits. What does not fit is counted as
// failed.
func (f *forwarder) add(p parcel) {
	size := int64(len(p.body))
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.closing:
		f.fail(p.spans, errors.New("the receiver was closed first"))
		return
	case f.bytes+size > f.limits.queue:
		f.fail(p.spans, fmt.Errorf("%s is too slow: %d MiB of spans wait for it already", f.url, f.bytes>>20))
		return
	}
	f.bytes += size
	f.posts.Go(func() {
		// The time for a post begins when it has its place.
		select {
		case f.places <- struct{}{}:
			defer func() { <-f.places }()
		case <-f.ctx.Done(): // post fails at once
		}
		rejected, err := f.post(p)
		f.mu.Lock()
		defer f.mu.Unlock()
		f.bytes -= size
		f.sent += p.spans - rejected
		if err != nil {
			f.fail(rejected, err)
		}
	})
}

// fail counts spans that did not get through. f.mu is held.
func (f *forwarder) fail(spans int, err error) {
	f.failed += spans
	f.lastErr = fmt.Errorf("spans not passed on: %w", err)
}

// post sends one parcel and returns how many of its spans were not taken, and why.
func (f *forwarder) post(p parcel) (rejected int, err error) {
	req, err := http.NewRequestWithContext(f.ctx, http.MethodPost, f.url, bytes.NewReader(p.body))
	if err != nil {
		return p.spans, err
	}
	req.Header.Set("Content-Type", p.format)
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
		return p.spans, fmt.Errorf("%s answered %s%s", f.url, resp.Status, quote(string(reply)))
	}
	format, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if format == "text/html" {
		return p.spans, fmt.Errorf("%s answered with a web page: that is not an OTLP/HTTP port", f.url)
	}
	if rejected, why := rejectedIn(format, reply); rejected > 0 {
		return min(rejected, p.spans), fmt.Errorf("%s took the request but not all of it%s", f.url, quote(why))
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
func quote(reply string) string {
	if reply = line(reply, 200); reply == "" {
		return ""
	}
	return ": " + reply
}

// stop waits for the parcels on their way for as long as bound, and then gives
// them up.
func (f *forwarder) stop(bound time.Duration) {
	f.mu.Lock()
	f.closing = true
	f.mu.Unlock()
	defer time.AfterFunc(bound, f.cancel).Stop()
	defer f.cancel()
	f.posts.Wait() // bounded: without its context every post fails at once
	f.client.CloseIdleConnections()
}
