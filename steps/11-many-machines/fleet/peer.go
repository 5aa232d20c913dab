package fleet

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
)

// asking asks one peer: with our secret, for a bounded time, and takes a bounded
// answer.
type asking struct {
	Config
	next http.RoundTripper
}

// newAsking makes the one transport to all peers.
func newAsking(c Config) *asking {
	network := http.DefaultTransport.(*http.Transport).Clone()
	network.Proxy = nil                                                   // peers are no web sites
	network.DialContext = (&net.Dialer{Timeout: time.Second}).DialContext // they are near
	network.MaxIdleConnsPerHost = 100
	network.MaxResponseHeaderBytes = MaxAnswer
	return &asking{c, otelhttp.NewTransport(network, otelhttp.WithSpanNameFormatter(func(string, *http.Request) string { return "ask owner" }))}
}

func (t *asking) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(r.Context(), t.Timeout)
	defer cancel()
	r = r.Clone(ctx)
	if t.Secret != "" {
		r.Header.Set("Authorization", "Bearer "+t.Secret)
	}
	id, _ := ctx.Value(askedForKey{}).(string)
	r.Header.Set(askedFor, id)
	res, err := t.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, MaxAnswer+1))
	if err == nil && len(body) > MaxAnswer {
		err = fmt.Errorf("the peer's answer is longer than %d bytes", MaxAnswer)
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	return res, err
}

// refusal keeps a peer's question from being passed on. Where peers do not agree
// on who owns a key it would come back to who asked, and wait for itself. Two who
// ask each other at once still do, for as long as Timeout says.
type refusal struct{}

func (refusal) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("a peer's question is not passed on")
}

// hash finds the place of a key or a peer on the ring.
func hash(b []byte) uint32 {
	sum := sha256.Sum256(b)
	return binary.BigEndian.Uint32(sum[:])
}
