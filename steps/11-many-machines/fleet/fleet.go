// Package fleet makes one load of what several machines are asked for.
//
// The claim of step 11: however many machines are asked for a key at once, the
// feed is asked once; and when machines die or cannot reach each other, callers
// still get their answers, for one more load each.
//
// groupcache says which machine owns a key, and asks it; its own cache is
// switched off, because it keeps values until it has no room. The owner answers out
// of the cache of step 10.
package fleet

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang/groupcache"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"plaque/steps/10-resilient/cache"
)

const (
	// Path is where peers ask each other: give Handler what comes below it.
	Path = "/_groupcache/"
	// MaxAnswer bounds what is read of a peer's answer, in bytes.
	MaxAnswer = 64 << 10
	// MaxValue bounds a value, in bytes: the answer that holds it is a third longer.
	// A load that returns more has failed, on every machine.
	MaxValue = 32 << 10
	// MaxKey bounds a key, in bytes. The shortest has one.
	MaxKey = 1 << 10

	keys     = "videos" // the name of our group
	askedFor = "Plaque-Asked-For"

	// replicas is how often each peer stands on the ring that says who owns a key.
	// groupcache's default, 50 and CRC-32, can give one of three peers twice as many
	// keys as is fair: see TestShares.
	replicas = 200
)

var tracer = otel.Tracer("plaque/fleet")

// Config says who belongs to a fleet.
type Config struct {
	// Peers are the base URLs of all peers, such as http://10.0.0.1:3779, in any
	// order and any spelling that PeerURL reads. Each peer must have the same
	// ones: they decide who owns a key.
	Peers []string
	// Self is this peer's. With "" there is no fleet: this peer loads by itself,
	// and does not look at what else the Config has.
	Self string
	// Secret is what peers show each other, over plain HTTP where a peer's URL has
	// that; "" means that nobody has to. See CheckSecret.
	Secret string
	// Timeout bounds the wait for a peer's answer. It must be longer than a load
	// may take: a peer that gives up before the owner has an answer loads once more.
	Timeout time.Duration
	// Key says what is wrong with a key. What one peer refuses, all must.
	Key func(key string) error
}

// Fleet is one machine's part of a fleet. Make it with New, once in a process.
// Its methods may be called at once.
type Fleet struct {
	Config
	store *cache.Cache[string, string]
	group *groupcache.Group // nil: no fleet
	pool  *groupcache.HTTPPool

	asking   *asking
	nonsense sync.Once // an answer that makes no sense has been logged
}

// made keeps a second pool from being made: groupcache has one in a process.
var made atomic.Bool

// New makes this machine's part. What it owns, and what it must load because the
// owner does not answer, is loaded and kept as by cache.New. An error says what is
// missing or wrong in c, load or opts.
func New(c Config, ttl time.Duration, load func(context.Context, string) (string, error), opts ...cache.Option) (*Fleet, error) {
	if load == nil {
		return nil, errors.New("a fleet needs a function that loads")
	}
	for i, o := range opts {
		if o == nil {
			return nil, fmt.Errorf("option %d of the fleet's cache is nil", i+1)
		}
	}
	f := &Fleet{Config: c}
	f.store = cache.New(ttl, func(ctx context.Context, key string) (string, error) {
		if n, ok := ctx.Value(noteKey{}).(*note); ok {
			n.flight.Store(spanName(ctx)) // before the load, which may panic
		}
		value, err := load(ctx, key)
		if err == nil && len(value) > MaxValue {
			err = fmt.Errorf("the load returned %d bytes: peers take %d", len(value), MaxValue)
		}
		return value, err
	}, opts...)
	if c.Self == "" {
		return f, nil
	}
	c, err := c.checked()
	if err != nil {
		return nil, err
	}
	if made.Swap(true) {
		return nil, errors.New("this process has a fleet already")
	}
	f.Config = c
	f.asking = newAsking(c)
	f.pool = groupcache.NewHTTPPoolOpts(c.Self, &groupcache.HTTPPoolOptions{BasePath: Path, Replicas: replicas, HashFn: hash})
	f.pool.Transport = func(ctx context.Context) http.RoundTripper {
		if ctx.Value(peerKey{}) != nil {
			return refusal{}
		}
		return f.asking
	}
	f.pool.Set(c.Peers...) // copies the Transport, so that comes before
	// The caller may hang up, and others wait for the same answer.
	f.pool.Context = func(r *http.Request) context.Context {
		ctx := context.WithValue(context.WithoutCancel(r.Context()), peerKey{}, true)
		id := r.Header.Get(askedFor)
		if _, ok := parseSpan(id); !ok { // it goes into the answer, so it is no text of any length
			id = ""
		}
		return context.WithValue(ctx, askedForKey{}, id)
	}
	f.group = groupcache.NewGroup(keys, 0, groupcache.GetterFunc(func(ctx context.Context, name string, dest groupcache.Sink) error {
		key, ok := keyOf(name)
		if !ok { // both that ask have made the name of a key, or looked at it
			return fmt.Errorf("%.40q is no key's name", name)
		}
		return dest.SetBytes(f.here(ctx, key).encode())
	}))
	return f, nil
}

// Get returns the value of key: the one that this machine remembers, or else what
// the key's owner answers; and where that does not answer, what this machine
// loads. Errors are an *Error that says what cache.Get's says, on whichever
// machine; without a fleet they are cache.Get's. If ctx ends first, Get returns
// its cause at once.
func (f *Fleet) Get(ctx context.Context, key string) (string, error) {
	span := trace.SpanFromContext(ctx)
	if span.IsRecording() {
		ctx, span = tracer.Start(ctx, "fleet.get",
			trace.WithAttributes(attribute.String("cache.key", key)))
		defer span.End()
	}
	if key == "" || len(key) > MaxKey {
		text := fmt.Sprintf("a key of %d bytes: it has 1 to %d", len(key), MaxKey)
		return "", &Error{Text: text, Status: http.StatusBadRequest}
	}
	if f.group == nil {
		return f.store.Get(ctx, key)
	}
	// Nobody tells groupcache that an owner is dead. What was loaded here in its
	// place must be found here, or each caller would try the owner first.
	if value, ok := f.store.Fresh(key); ok {
		span.SetAttributes(attribute.String("cache.from", "here"))
		return value, nil
	}
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if err := f.Key(key); err != nil {
		return "", newError(err)
	}
	answered := make(chan answer, 1)
	go func() { answered <- f.ask(context.WithoutCancel(ctx), key) }()
	select {
	case a := <-answered:
		if span.IsRecording() {
			span.SetAttributes(attribute.String("cache.from", a.From))
			if flight, ok := parseSpan(a.Flight); ok && a.AskedFor != spanName(ctx) {
				span.AddLink(trace.Link{SpanContext: flight})
			}
		}
		return a.result()
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// ask has groupcache find the answer. Callers that ask at once get that of the
// first, here and on the owner's machine. So ctx must not end with the first
// caller. Nothing that groupcache calls may panic: the other callers would wait
// forever.
func (f *Fleet) ask(ctx context.Context, key string) answer {
	ctx = context.WithValue(ctx, askedForKey{}, spanName(ctx))
	var text []byte
	err := f.group.Get(ctx, nameOf(key), groupcache.AllocatingByteSliceSink(&text))
	a, bad := decode(text)
	if err != nil || bad != nil { // a peer that answers nonsense counts as dead
		if err == nil {
			f.nonsense.Do(func() {
				slog.WarnContext(ctx, "a peer's answer makes no sense: do all peers run the same version? Its keys are loaded here", "error", bad)
			})
		}
		return f.here(ctx, key)
	}
	return a
}

// here answers out of this machine's cache, which loads if it must. An error is
// an answer too: one that groupcache sees as an error, from a peer, would make
// every machine try again by itself.
func (f *Fleet) here(ctx context.Context, key string) answer {
	n := &note{}
	value, err := f.store.Get(context.WithValue(ctx, noteKey{}, n), key)
	a := answer{Value: []byte(value), From: f.Self}
	if err != nil {
		a = answer{Error: newError(err), From: f.Self}
	}
	a.AskedFor, _ = ctx.Value(askedForKey{}).(string)
	a.Flight, _ = n.flight.Load().(string)
	return a
}

// Handler answers the other peers at Path.
func (f *Fleet) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, _ := strings.CutPrefix(r.URL.Path, Path+keys+"/")
		key, ours := keyOf(name)
		switch {
		case f.group == nil:
			http.NotFound(w, r)
		case f.Secret != "" && subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), []byte("Bearer "+f.Secret)) != 1:
			http.Error(w, "this peer does not know you: PEER_SECRET must be the same everywhere", http.StatusForbidden)
		case !ours || f.Key(key) != nil:
			http.Error(w, "that is no key of ours", http.StatusBadRequest)
		default:
			f.pool.ServeHTTP(w, r)
		}
	})
}

// What a context carries: whose question it is, and that it came from a peer.
type (
	noteKey     struct{}
	askedForKey struct{}
	peerKey     struct{}
)

// note is where a load writes down its flight's span.
type note struct{ flight atomic.Value }
