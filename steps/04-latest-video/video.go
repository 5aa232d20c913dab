package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"time"

	"github.com/mmcdole/gofeed"
	"go.opentelemetry.io/contrib/instrumentation/net/http/httptrace/otelhttptrace"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"

	"plaque/steps/kit/youtube"
)

const (
	// timeout bounds a load as a whole: connect, headers and body. Without one a
	// feed that hangs would hang us.
	timeout = 3 * time.Second
	// maxFeed bounds what is read of a feed, in bytes. A real one has 15
	// entries and some 30 kB; an endless one would fill the memory.
	maxFeed = 1 << 20
	// userAgent says who asks, as a feed's operator would want to know.
	userAgent = "plaque/1.0 (a workshop on request coalescing)"
)

// videos asks a feed for the newest video of a channel. It may be used at once
// by many.
type videos struct {
	feedURL string
	// client is the http.Client for one request; done is called after it.
	client func() (c *http.Client, done func())
}

// newVideos reads the feed at feedURL over one client that all requests share.
// Share it: its transport keeps the connections, and whoever asks next finds
// one open.
//
// With newTransport, each request gets a transport of its own. Nobody sees it
// in the code that uses the client, and each request looks the name up and
// connects anew (and with https, shakes hands anew). As people write it by
// accident, it also leaks: every transport keeps its one connection open, with
// two goroutines and a descriptor, for a next request that cannot come. This
// one closes it: we want to show the cost, not to run out of descriptors.
func newVideos(feedURL string, newTransport bool) *videos {
	if newTransport {
		return &videos{feedURL, func() (*http.Client, func()) {
			t := transport()
			return traced(t), t.CloseIdleConnections
		}}
	}
	shared := traced(transport())
	return &videos{feedURL, func() (*http.Client, func()) { return shared, func() {} }}
}

// transport keeps enough connections for a burst: the default keeps 2 for each
// host, and of five callers three would connect again.
func transport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = 10
	return t
}

// traced is a client over t. Each request is a span, "HTTP GET", and carries
// its id to the feed; spans below it say what the connection cost, and whether
// it was there already.
func traced(t http.RoundTripper) *http.Client {
	return &http.Client{
		Transport: otelhttp.NewTransport(t,
			otelhttp.WithSpanNameFormatter(func(_ string, r *http.Request) string { return "HTTP " + r.Method }),
			otelhttp.WithClientTrace(func(ctx context.Context) *httptrace.ClientTrace {
				return otelhttptrace.NewClientTrace(ctx, otelhttptrace.WithoutHeaders())
			})),
	}
}

// Latest is the id of the newest video of a channel. Every error says what
// status to answer: 504 when the feed took too long, else 502. It panics where
// the id is "doom"; see youtube.Doomed.
func (v *videos) Latest(ctx context.Context, channel string) (string, error) {
	// Not feedURL + "?channel_id=" + channel: the channel is a stranger's text.
	u, err := url.Parse(v.feedURL)
	if err != nil {
		return "", youtube.Failed(err)
	}
	query := u.Query()
	query.Set("channel_id", channel)
	u.RawQuery = query.Encode()
	// The caller's context ends the load when the caller has gone, and makes
	// the load's span a child of the request's. The timeout is a context's, not
	// http.Client's: over a transport that is not its own, net/http cancels in
	// two ways at once, and the error has the words of either.
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", youtube.Failed(err)
	}
	req.Header.Set("User-Agent", userAgent)

	client, done := v.client()
	defer done()
	res, err := client.Do(req)
	if err != nil {
		return "", youtube.Failed(err)
	}
	defer res.Body.Close()
	// To the end, whatever the status is: a connection with an answer half read
	// cannot be used again.
	document, err := io.ReadAll(io.LimitReader(res.Body, maxFeed+1))
	switch {
	case res.StatusCode != http.StatusOK:
		return "", youtube.Failed(fmt.Errorf("it answered %s", res.Status))
	case err != nil:
		return "", youtube.Failed(fmt.Errorf("it broke off: %w", err))
	case len(document) > maxFeed:
		return "", youtube.Failed(fmt.Errorf("it is longer than %d bytes", maxFeed))
	}
	id, err := newest(document)
	if err != nil {
		return "", youtube.Failed(err)
	}
	return youtube.Doomed(id), nil
}

// newest is the id of the first video in a feed. A feed without entries, and an
// entry that is no video, are fine for gofeed; not for us.
func newest(document []byte) (string, error) {
	feed, err := gofeed.NewParser().Parse(bytes.NewReader(document))
	if err != nil {
		return "", fmt.Errorf("it is no feed that we can read: %w", err)
	}
	if len(feed.Items) == 0 {
		return "", errors.New("it has no entries")
	}
	id, ok := strings.CutPrefix(feed.Items[0].GUID, "yt:video:")
	if !ok || id == "" {
		return "", fmt.Errorf("its newest entry, %.40q, is no video", feed.Items[0].GUID)
	}
	return id, nil
}
