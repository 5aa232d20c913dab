// Package caller makes one request on one connection, and names what came of it.
package caller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

const maxAnswer = 1 << 20 // bytes of an answer that we take

// Caller is an HTTP client with one connection and no other: where that one is
// lost, a request fails and is not sent again in silence. A request may take as
// long as timeout, its answer's body included.
func Caller(timeout time.Duration) *http.Client {
	var once sync.Once
	return &http.Client{
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			MaxResponseHeaderBytes: maxAnswer,
			DialContext: func(ctx context.Context, network, addr string) (conn net.Conn, err error) {
				err = errors.New("it would take a second connection")
				once.Do(func() { conn, err = new(net.Dialer).DialContext(ctx, network, addr) })
				return conn, err
			}},
	}
}

// Listens is an error where nobody takes connections at a URL's host and port, or
// where it is no URL of a server. A URL without a port has that of its scheme.
func Listens(ctx context.Context, at string) error {
	u, err := url.Parse(at)
	if err != nil {
		return err
	}
	usual := map[string]string{"http": "80", "https": "443"}[u.Scheme]
	if usual == "" || u.Hostname() == "" {
		return fmt.Errorf("%q is not the URL of a server: write it like http://127.0.0.1:3779", at)
	}
	addr := net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), usual))
	conn, err := (&net.Dialer{Timeout: 2 * time.Second}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	return conn.Close()
}

// Answer is what one caller got.
type Answer struct {
	Status int    // 0 where there was no answer
	Body   string // at most 1 MiB of it
	// RetryAfter is the header of that name, as it came.
	RetryAfter string
	// ServedBy is X-Served-By: which of several machines it was.
	ServedBy string
	// Failed is what happened instead of a whole answer: lost (the connection
	// ended), timeout, refused, rubbish (no HTTP), too long, or error.
	Failed string
	Err    error
}

// String is the status, or what happened instead.
func (a Answer) String() string {
	if a.Failed != "" {
		return a.Failed
	}
	return fmt.Sprint(a.Status)
}

// Ask makes one request and takes its answer. traceparent is a header to send,
// or "".
func Ask(ctx context.Context, c *http.Client, method, url, traceparent string) Answer {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return Answer{Failed: "error", Err: err}
	}
	if traceparent != "" {
		req.Header.Set("traceparent", traceparent)
	}
	res, err := c.Do(req)
	if err != nil {
		return Answer{Failed: Classify(err.Error()), Err: err}
	}
	defer res.Body.Close()
	a := Answer{Status: res.StatusCode, RetryAfter: res.Header.Get("Retry-After"), ServedBy: res.Header.Get("X-Served-By")}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		a.Failed, a.Err = Classify(err.Error()), err
	case len(body) > maxAnswer:
		a.Failed, a.Err = "too long", fmt.Errorf("its answer is longer than %d bytes", maxAnswer)
	}
	a.Body = string(body)
	return a
}

// Classify names what happened to a request without an answer, by the words of
// Go's client on Linux, macOS and Windows.
func Classify(err string) string {
	for _, c := range classes {
		if slices.ContainsFunc(c.words, func(w string) bool { return strings.Contains(err, w) }) {
			return c.name
		}
	}
	return "error"
}

var classes = []struct {
	name  string
	words []string
}{
	{"timeout", []string{"Client.Timeout", "deadline exceeded", "i/o timeout"}},
	{"refused", []string{"refused"}},
	{"too long", []string{"response headers exceeded"}},
	{"rubbish", []string{"malformed HTTP", "malformed MIME", "unexpected response", "readLoopPeekFail"}}, // the last: it spoke before it was asked
	{"lost", []string{"EOF", "connection reset", "broken pipe", "forcibly closed", "aborted", "closed", "second connection"}},
}
