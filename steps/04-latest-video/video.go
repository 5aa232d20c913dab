package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
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
	// entries and about 30 kB. An endless one would fill the memory.
	maxFeed = 1 << 20
	// userAgent names us to the feed's operator.
	userAgent = "plaque/1.0 (a workshop on request coalescing)"
)

// videos asks a feed for the newest video of a channel. Many goroutines may use
// it at once.
type videos struct {
	feedURL string
	client  *http.Client // one for all requests: its transport keeps the connections
}

// transport keeps enough connections for a burst. The default keeps 2 for each
// host, so three of five callers would connect again.
func transport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = 10
	return t
}

// traced is a client over t. Each request is a span, "HTTP GET", whose id goes to
// the feed. Spans below it show what the connection cost and whether it was
// reused.
func traced(t http.RoundTripper) *http.Client {
	return &http.Client{
		Transport: otelhttp.NewTransport(t,
			otelhttp.WithSpanNameFormatter(func(_ string, r *http.Request) string { return "HTTP " + r.Method }),
			otelhttp.WithClientTrace(func(ctx context.Context) *httptrace.ClientTrace {
				return otelhttptrace.NewClientTrace(ctx, otelhttptrace.WithoutHeaders())
			})),
	}
}

// Latest returns the id of the newest video of a channel. Every error carries the
// status to answer with: 504 when the feed took too long, otherwise 502.
func (v *videos) Latest(ctx context.Context, channel string) (string, error) {
	// Not feedURL + "?channel_id=" + channel: a client sent it, so it is untrusted.
	u, err := youtube.FeedOf(v.feedURL, channel)
	if err != nil {
		return "", youtube.Failed(err)
	}
	// The caller's context cancels the load when the caller disconnects, and makes
	// the load's span a child of the request's. http.Client.Timeout over a wrapped
	// transport races two cancellations, so the error's text would vary.
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", youtube.Failed(youtube.Away(u, err))
	}
	req.Header.Set("User-Agent", userAgent)
	res, err := v.client.Do(req)
	if err != nil {
		return "", youtube.Failed(youtube.Away(u, err)) // without the URL, which may hold a secret
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusSwitchingProtocols { // its body never ends
		return "", youtube.Failed(fmt.Errorf("it answered %s", res.Status))
	}
	// To the end, also after an error: a connection with half an answer on it
	// cannot be reused.
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
	return id, nil
}

// newest returns the id of the first video in a feed. gofeed accepts a feed
// without entries, and an entry that is no video. We do not.
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
