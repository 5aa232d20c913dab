// Package youtube reads a channel's newest video from its feed. It is what step
// 04 builds, kept here for the steps that put a cache in front of it.
package youtube

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/mmcdole/gofeed"
	"go.opentelemetry.io/contrib/instrumentation/net/http/httptrace/otelhttptrace"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
)

const (
	// Timeout bounds a load as a whole: connect, headers and body.
	Timeout = 3 * time.Second
	// MaxFeed bounds what is read of a feed, in bytes. A real one has 15
	// entries and some 30 kB.
	MaxFeed = 1 << 20
	// DefaultChannel is the channel when the caller names none.
	DefaultChannel = "UCs4fQRyl1TJvoeOdekW6lYA"
	// UserAgent says who asks, as a feed's operator would want to know.
	UserAgent = "plaque/1.0 (a workshop on request coalescing)"
)

// Error is a failure to learn the newest video. It wraps its cause.
type Error struct {
	Status int // what to answer: 400, 502 or 504
	Err    error
}

// refusal is an answer that is no feed.
type refusal struct {
	status int
	after  time.Duration // the answer's Retry-After; 0 where it has none
}

// Error has the number's usual words: those that came are a stranger's.
func (r refusal) Error() string {
	return strings.TrimSpace(fmt.Sprintf("it answered %d %s", r.status, http.StatusText(r.status)))
}

// RetryAfter is how long the feed asks to be left alone; 0 where it does not.
func (r refusal) RetryAfter() time.Duration { return r.after }

func (e *Error) Error() string   { return e.Err.Error() }
func (e *Error) Unwrap() error   { return e.Err }
func (e *Error) StatusCode() int { return e.Status }

// Failed is the Error for a load that failed: 504 when time ran out, else 502.
func Failed(err error) error {
	var timed net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timed) && timed.Timeout() {
		return &Error{http.StatusGatewayTimeout, fmt.Errorf("the feed took too long: %w", err)}
	}
	return &Error{http.StatusBadGateway, fmt.Errorf("the feed failed: %w", err)}
}

var (
	channelID = regexp.MustCompile(`^UC[A-Za-z0-9_-]{22}$`)
	videoID   = regexp.MustCompile(`^[A-Za-z0-9_-]{11}$`)
)

// doom is the video on which a load panics, and the one id that YouTube does not have.
const doom = "doom"

// Channel is the channel that a request asks for with ?channel=ID, or
// DefaultChannel. A malformed id is an Error with status 400: it would go into
// a URL and become a key of the cache. So is a query that does not parse: net/url
// would drop the part that says which channel is meant.
func Channel(r *http.Request) (string, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return "", &Error{http.StatusBadRequest, fmt.Errorf("%.40q is not a query: write it like ?channel=%s", r.URL.RawQuery, DefaultChannel)}
	}
	id := query.Get("channel")
	if id == "" {
		return DefaultChannel, nil
	}
	if !channelID.MatchString(id) {
		return "", &Error{http.StatusBadRequest, fmt.Errorf("%.40q is not a channel id: it is UC and 22 letters, digits, - or _", id)}
	}
	return id, nil
}

// Client reads feeds over one http.Client. It may be used at once by many.
type Client struct {
	http    *http.Client
	feedURL string
	timeout time.Duration // of a load
	agent   string        // UserAgent, and who of several asks
}

// NewClient makes a Client that reads the feed at feedURL.
func NewClient(feedURL string) *Client {
	return &Client{NewHTTPClient(), feedURL, Timeout, UserAgent}
}

// As is the same client for one of several machines: the feed is told its name,
// behind UserAgent.
func (c *Client) As(name string) *Client {
	named := *c
	named.agent = UserAgent + " " + name
	return &named
}

// Within is the same client whose loads take at most d, and not Timeout.
func (c *Client) Within(d time.Duration) *Client {
	bounded := *c
	bounded.timeout = d
	return &bounded
}

// NewHTTPClient is an http.Client with a new transport, traced: a span "HTTP GET"
// for each request, and below it what the connection cost. Share it; the
// transport keeps the connections.
func NewHTTPClient() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 10 // the default keeps 2 of a burst's 5
	return &http.Client{
		Transport: otelhttp.NewTransport(transport,
			otelhttp.WithSpanNameFormatter(func(_ string, r *http.Request) string { return "HTTP " + r.Method }),
			otelhttp.WithClientTrace(func(ctx context.Context) *httptrace.ClientTrace {
				return otelhttptrace.NewClientTrace(ctx, otelhttptrace.WithoutHeaders())
			})),
	}
}

// LatestVideo is the id of the newest video of a channel. Every error is an
// *Error. It panics where the id is "doom"; see Doomed.
func (c *Client) LatestVideo(ctx context.Context, channel string) (string, error) {
	begin := time.Now()
	slog.DebugContext(ctx, "load begins", "channel", channel)
	id, size, err := c.load(ctx, channel)
	if err != nil {
		slog.DebugContext(ctx, "load fails", "channel", channel, "bytes", size, "took", time.Since(begin), "error", err)
		return "", Failed(err)
	}
	slog.DebugContext(ctx, "load ends", "channel", channel, "video", id, "bytes", size, "took", time.Since(begin))
	return Doomed(id), nil
}

// load reads the feed of a channel. size is how many bytes of it came.
func (c *Client) load(ctx context.Context, channel string) (id string, size int, err error) {
	// Not http.Client.Timeout: over a transport that is not its own, net/http
	// cancels in two ways at once, and the error has the words of either.
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	u, err := FeedOf(c.feedURL, channel)
	if err != nil {
		return "", 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", 0, Away(u, err)
	}
	req.Header.Set("User-Agent", c.agent)
	res, err := c.http.Do(req)
	if err != nil {
		return "", 0, Away(u, err)
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusSwitchingProtocols { // its body is the connection, and never ends
		return "", 0, refusal{res.StatusCode, 0}
	}
	// net/http ends a read when the context ends. That holds for a body only; this
	// holds whatever the answer is.
	defer context.AfterFunc(ctx, func() { _ = res.Body.Close() })()
	// To the end, whatever the status is, so that the connection can be used
	// again; or to MaxFeed: parsing 64 MiB of feed takes 700 MB of memory.
	document, err := io.ReadAll(io.LimitReader(res.Body, MaxFeed+1))
	if err != nil && ctx.Err() != nil {
		err = ctx.Err() // not that the body is closed
	}
	switch {
	case res.StatusCode != http.StatusOK:
		return "", len(document), refusal{res.StatusCode, retryAfter(res.Header, time.Now())}
	case err != nil:
		return "", len(document), fmt.Errorf("it broke off: %w", err)
	case len(document) > MaxFeed:
		return "", len(document), fmt.Errorf("it is longer than %d bytes", MaxFeed)
	}
	id, err = newest(document)
	return id, len(document), err
}

// FeedOf is the URL of a channel's feed. The query of feedURL stays as it is
// written, except for a channel.
func FeedOf(feedURL, channel string) (*url.URL, error) {
	u, err := url.Parse(feedURL)
	if err != nil {
		return nil, errors.New("FEED_URL is not a URL") // err would repeat it, with its secrets
	}
	var query []string
	for pair := range strings.SplitSeq(u.RawQuery, "&") {
		name, _, _ := strings.Cut(pair, "=")
		if name, _ = url.QueryUnescape(name); pair != "" && name != "channel_id" {
			query = append(query, pair)
		}
	}
	u.RawQuery = strings.Join(append(query, "channel_id="+url.QueryEscape(channel)), "&")
	return u, nil
}

// Away is why the feed at u gave no answer. Callers read it, so it says the host
// and no more of u: a path, a query and a password can be secrets.
func Away(u *url.URL, err error) error {
	var about *url.Error // says the whole URL, or that of a redirect
	for errors.As(err, &about) {
		err = about.Err
	}
	text := err.Error()
	// A redirect that makes no sense is repeated, and can repeat what it was asked.
	hide := []string{u.Path, u.EscapedPath(), u.RawQuery}
	for pair := range strings.SplitSeq(u.RawQuery, "&") {
		_, written, _ := strings.Cut(pair, "=")
		plain, _ := url.QueryUnescape(written)
		hide = append(hide, written, plain)
	}
	if password, ok := u.User.Password(); ok {
		hide = append(hide, password)
	}
	for _, secret := range hide {
		if len(secret) > 3 {
			text = strings.ReplaceAll(text, secret, "***")
		}
	}
	return &told{fmt.Sprintf("%s://%s: %.200s", u.Scheme, u.Host, text), err}
}

// told is an error in words of ours.
type told struct {
	text string
	err  error
}

func (t *told) Error() string { return t.text }
func (t *told) Unwrap() error { return t.err }

// retryAfter reads the header of that name: seconds, or the time at which to come
// again. It is 0 where that cannot be read or has passed, and the longest Duration
// for more seconds than that has.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := h.Get("Retry-After")
	if text != "" && strings.Trim(text, "0123456789") == "" {
		seconds, err := strconv.ParseInt(text, 10, 64)
		if err != nil || seconds > int64(math.MaxInt64/time.Second) {
			return math.MaxInt64
		}
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// newest is the id of the first video in a feed.
func newest(document []byte) (string, error) {
	feed, err := gofeed.NewParser().Parse(bytes.NewReader(document))
	if err != nil {
		return "", fmt.Errorf("it is no feed that we can read: %.200s", err.Error()) // it can repeat a name of any length
	}
	if len(feed.Items) == 0 {
		return "", errors.New("it has no entries")
	}
	id, ok := strings.CutPrefix(feed.Items[0].GUID, "yt:video:")
	if !ok || id != doom && !videoID.MatchString(id) {
		return "", fmt.Errorf("its newest entry, %.40q, is no video", feed.Items[0].GUID)
	}
	return id, nil
}

// Doomed returns id, or panics where it is "doom". It stands for the bug that
// every real load has somewhere, on some input; only here it is on purpose.
func Doomed(id string) string {
	if id == doom {
		panic("doom: the load cannot take this video")
	}
	return id
}
