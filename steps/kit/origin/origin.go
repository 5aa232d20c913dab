// Package origin is the stand-in for YouTube's feed: the other side of the wire,
// which the steps' caches protect. All the failures of the workshop come from
// here, as in life. It can be slow, refuse, send rubbish, never end, hang up or
// serve the video on which a load panics; it counts its requests. It holds its
// answers behind a gate, so that nothing in the lab or the tests depends on luck.
package origin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"plaque/steps/kit/web"
)

const (
	// Path is where the feed answers, as at YouTube.
	Path = "/feeds/videos.xml"

	// DefaultDelay is how long an answer takes when the script says nothing:
	// about what the real feed takes.
	DefaultDelay = 50 * time.Millisecond
	// DoomDelay is how late a doomed answer comes, so that the callers who will
	// suffer have joined.
	DoomDelay = 500 * time.Millisecond
	// RetryAfter is what a 429 asks for.
	RetryAfter = 3 * time.Second
	// HoldFor bounds how long Hold waits for company.
	HoldFor = 2 * time.Second
	// gateFor bounds how long a closed gate holds a request.
	gateFor = 10 * time.Second
	// What strangers send is kept within bounds: so many names, each of so many bytes.
	maxChannels, maxChannel = 1000, 64
	maxAgents, maxAgent     = 100, 200
	maxTraceparent          = 64
	// maxStats bounds what Remote reads: each byte of a name can become six.
	maxStats = 1 << 20
	// hangFor bounds the answers that never end, in case that the caller has no
	// timeout at all.
	hangFor = 30 * time.Second
)

// Script is what the feed is told to do. Its zero value answers every request
// with a good feed after DefaultDelay.
type Script struct {
	// Next are the coming answers, in order; then "ok" forever. Answers lists
	// what there is.
	Next []string `json:"next,omitempty" yaml:"next"`
	// Delay is how long each answer takes; 0 means DefaultDelay.
	Delay Duration `json:"delay,omitempty" yaml:"delay"`
	// Hold keeps all answers back until so many requests wait, or the first has
	// waited for HoldFor. From then on requests are answered as they come.
	Hold int `json:"hold,omitempty" yaml:"hold"`
	// HoldFor replaces HoldFor; 0 means HoldFor.
	HoldFor Duration `json:"hold_for,omitempty" yaml:"hold_for"`
	// Gate keeps all answers back until Open is called, or for 10 s.
	Gate bool `json:"gate,omitempty" yaml:"gate"`
	// Outage lets the feed be up for so long, then down for as long, and so on.
	// What Next does not say is then answered with a 500, a hangup and a hang, in
	// turn. 0 means that it is always up.
	Outage Duration `json:"outage,omitempty" yaml:"outage"`
	// Channel is whom all this is for; "" means everybody. Requests for other
	// channels are answered well, and counted.
	Channel string `json:"channel,omitempty" yaml:"channel"`
}

// Duration is a time.Duration that JSON and YAML write like 500ms.
type Duration time.Duration

func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText and UnmarshalText are what JSON and YAML use.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil || v < 0 {
		return fmt.Errorf("%q is not a duration: write it like 500ms or 2s", b)
	}
	*d = Duration(v)
	return nil
}

// Stats is what the feed has seen since the last script.
type Stats struct {
	Requests    int `json:"requests"`    // loads, as the feed counts them
	Connections int `json:"connections"` // new ones that brought a load
	Waiting     int `json:"waiting"`     // requests that it holds now
	Most        int `json:"most"`        // the most that it held at once
	// Channels are the requests by channel: the first 1000 channels, and none whose
	// id has more than 64 bytes. A real one has 24.
	Channels map[string]int `json:"channels"`
	Others   int            `json:"others,omitempty"` // requests for channels that Channels does not have
	// Agents are the requests by their User-Agent, in which each of several
	// machines has its name: the first 100 names, each cut to 200 bytes.
	Agents map[string]int `json:"-"`
	// Traceparents are the requests' headers of that name by channel, "" where
	// there was none, in the order in which they came: the first 1000 in all, for
	// the channels that Channels has, each cut to 64 bytes. A right one has 55.
	Traceparents map[string][]string `json:"-"`
}

// Feed is the stand-in. Its methods may be called at once.
type Feed struct {
	handler http.Handler

	mu    sync.Mutex // protects round, and what is in every round
	round *round
}

// round is a script and what has been seen since it was set. A request belongs
// to the round in which it came, also when it is answered in the next one.
type round struct {
	script Script
	began  time.Time // of the first outage's up
	downs  int       // answers that an outage has given
	stats  Stats
	gate   chan struct{} // held requests wait for its close; nil: nothing is held
}

func newRound(s Script) *round {
	r := &round{script: s, began: time.Now(), stats: Stats{Channels: map[string]int{}, Agents: map[string]int{}, Traceparents: map[string][]string{}}}
	r.script.Next = slices.Clone(s.Next)
	if s.Gate || s.Hold > 0 {
		r.gate = make(chan struct{})
	}
	return r
}

// outages are the ways to be down.
var outages = []string{"500", "hangup", "hang"}

// next takes the next answer from the script.
func (r *round) next() string {
	if len(r.script.Next) > 0 {
		next := r.script.Next[0]
		r.script.Next = r.script.Next[1:]
		return next
	}
	if d := time.Duration(r.script.Outage); d > 0 && time.Since(r.began)/d%2 == 1 {
		r.downs++
		return outages[(r.downs-1)%len(outages)]
	}
	return "ok"
}

// open lets all held requests go, and those that come later.
func (r *round) open() {
	if r.gate != nil {
		close(r.gate)
		r.gate = nil
	}
}

// bound is how long the round holds a request.
func (r *round) bound() time.Duration {
	if r.script.Gate {
		return gateFor
	}
	return cmp.Or(time.Duration(r.script.HoldFor), HoldFor)
}

// New makes a feed whose spans go to tp, each below the one that its caller
// names in a traceparent. It answers good feeds until Set tells
// it otherwise.
func New(tp trace.TracerProvider) *Feed {
	f := &Feed{round: newRound(Script{})}
	feed := http.NewServeMux()
	feed.HandleFunc("GET "+Path, f.answer)
	mux := http.NewServeMux()
	mux.Handle(Path, web.Trace(feed, otelhttp.WithTracerProvider(tp), otelhttp.WithPropagators(propagation.TraceContext{})))
	// The remote control is not the feed, and its requests are no spans. It is for
	// the person at this machine: a page that a browser shows must not set a script.
	control := http.NewServeMux()
	control.HandleFunc("GET /script", f.getScript)
	control.HandleFunc("PUT /script", f.putScript)
	control.HandleFunc("POST /open", func(w http.ResponseWriter, _ *http.Request) {
		f.Open()
		_ = web.JSON(w, f.Stats())
	})
	mux.Handle("/", web.ThisMachine(control))
	f.handler = mux
	return f
}

// ServeHTTP answers the feed at Path, and its remote control: GET and PUT
// /script, POST /open.
func (f *Feed) ServeHTTP(w http.ResponseWriter, r *http.Request) { f.handler.ServeHTTP(w, r) }

// Serve listens on addr until ctx ends and returns the feed's base URL as soon
// as it does. The URL says localhost, so that a client has a name to look up,
// as it has in life; where the machine has an IPv6 loopback it listens there
// too, and the first address tried is the right one.
func (f *Feed) Serve(ctx context.Context, addr string) (string, error) {
	listeners, err := listen(addr, web.Listen)
	if err != nil {
		return "", err
	}
	server := web.NewServer(f)
	server.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
		return context.WithValue(ctx, countedKey{}, new(atomic.Bool))
	}
	for _, l := range listeners {
		go func() {
			if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				slog.ErrorContext(ctx, "feed", "error", err)
			}
		}()
	}
	// Close, not Shutdown: an answer that never ends would hold it up.
	context.AfterFunc(ctx, func() { _ = server.Close() })
	_, port, _ := net.SplitHostPort(listeners[0].Addr().String())
	return "http://localhost:" + port, nil
}

// countedKey is the context's key for whether a connection is counted. Only
// loads count one: not the remote control, nor who connects and then does not
// ask.
type countedKey struct{}

// listen opens addr and, where the machine has an IPv6 loopback, the same port
// there. A client of localhost gets one or the other, so both must be ours. open
// is web.Listen.
func listen(addr string, open func(addr string) (net.Listener, error)) ([]net.Listener, error) {
	for tries := 1; ; tries++ {
		l, err := open(addr)
		if err != nil {
			return nil, err
		}
		_, port, _ := net.SplitHostPort(l.Addr().String())
		l6, err := open(net.JoinHostPort("::1", port))
		if err == nil {
			return []net.Listener{l, l6}, nil
		}
		probe, none := open("[::1]:0")
		if none != nil {
			return []net.Listener{l}, nil
		}
		_ = probe.Close()
		_ = l.Close()
		// The port is somebody else's there. One that nobody asked for can be
		// chosen again.
		if _, asked, _ := net.SplitHostPort(addr); asked != "0" || tries == 10 {
			return nil, err
		}
	}
}

// Set replaces the script and starts the count anew. Requests that the old
// script holds are let go.
func (f *Feed) Set(s Script) error {
	if err := s.Check(); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.round.open()
	f.round = newRound(s)
	return nil
}

// Check says what is wrong with a script.
func (s Script) Check() error {
	for _, a := range s.Next {
		if _, _, err := parse(a); err != nil {
			return err
		}
	}
	if s.Hold < 0 {
		return fmt.Errorf("hold: %d: it is how many requests to wait for", s.Hold)
	}
	if s.Outage < 0 {
		return fmt.Errorf("outage: %s: it is how long the feed is up, and then down", s.Outage)
	}
	return nil
}

// Open lets all held requests go, and those that come later.
func (f *Feed) Open() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.round.open()
}

// Stats is what the feed has seen since the last Set.
func (f *Feed) Stats() Stats {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.round.stats
	s.Channels, s.Agents, s.Traceparents = maps.Clone(s.Channels), maps.Clone(s.Agents), maps.Clone(s.Traceparents)
	return s
}

// answer serves one request for a feed, as the script has it.
func (f *Feed) answer(w http.ResponseWriter, r *http.Request) {
	channel := r.URL.Query().Get("channel_id")
	name, delay, held := f.arrive(r.Context(), channel, r.Header)
	trace.SpanFromContext(r.Context()).AddEvent("asked", trace.WithAttributes(
		attribute.String("channel", cut(channel, maxChannel)), attribute.String("answer", name)))
	begin := time.Now()
	slog.DebugContext(r.Context(), "load arrives", "channel", channel, "answer", name, "held", held != nil)
	// Also where the answer is to hang up, which is a panic.
	defer func() {
		slog.DebugContext(r.Context(), "load answered", "channel", channel, "answer", name, "took", time.Since(begin), "gone", r.Context().Err() != nil)
	}()
	if held != nil && !f.wait(r.Context(), held) {
		return // the caller has gone
	}
	if !pause(r.Context(), delay) {
		return
	}
	kinds[name].write(w, r, channel)
}

// cut is a copy of at most n bytes of text.
func cut(text string, n int) string { return strings.Clone(text[:min(n, len(text))]) }

// hold is a request that waits at its round's gate.
type hold struct {
	round *round
	gate  chan struct{}
}

// arrive counts a request and takes its answer from the script. It may go on at
// once where held is nil.
func (f *Feed) arrive(ctx context.Context, channel string, header http.Header) (name string, delay time.Duration, held *hold) {
	counted, _ := ctx.Value(countedKey{}).(*atomic.Bool)
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.round
	r.stats.Requests++
	if r.stats.Channels[channel] > 0 || len(r.stats.Channels) < maxChannels && len(channel) <= maxChannel {
		channel := strings.Clone(channel) // not the request's buffer, which can be longer
		r.stats.Channels[channel]++
		if r.stats.Requests <= 1000 {
			r.stats.Traceparents[channel] = append(r.stats.Traceparents[channel], cut(header.Get("traceparent"), maxTraceparent))
		}
	} else {
		r.stats.Others++
	}
	if agent := cut(header.Get("User-Agent"), maxAgent); r.stats.Agents[agent] > 0 || len(r.stats.Agents) < maxAgents {
		r.stats.Agents[agent]++
	}
	if counted != nil && !counted.Swap(true) {
		r.stats.Connections++
	}
	if r.script.Channel != "" && r.script.Channel != channel {
		return "ok", DefaultDelay, nil
	}
	next := r.next()
	name, delay, _ = parse(next) // Set has checked it
	delay = cmp.Or(delay, kinds[name].delay, time.Duration(r.script.Delay), DefaultDelay)
	if r.gate == nil {
		return name, delay, nil
	}
	held = &hold{r, r.gate}
	r.stats.Waiting++
	r.stats.Most = max(r.stats.Most, r.stats.Waiting)
	if !r.script.Gate && r.stats.Waiting >= r.script.Hold {
		r.open()
	}
	return name, delay, held
}

// wait holds a request at the gate. It reports whether the caller is still
// there.
func (f *Feed) wait(ctx context.Context, h *hold) bool {
	timer := time.NewTimer(h.round.bound())
	defer timer.Stop()
	late, here := false, true
	select {
	case <-h.gate:
	case <-timer.C:
		late = true
	case <-ctx.Done():
		here = false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	h.round.stats.Waiting--
	if late {
		h.round.open()
	}
	return here
}

// pause waits, and reports whether the caller is still there.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (f *Feed) getScript(w http.ResponseWriter, _ *http.Request) {
	_ = web.JSON(w, f.Stats())
}

func (f *Feed) putScript(w http.ResponseWriter, r *http.Request) {
	var s Script
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10))
	d.DisallowUnknownFields()
	err := d.Decode(&s)
	switch {
	case err != nil:
		err = fmt.Errorf("the script is no JSON object that we know: %w", err)
	case d.More():
		err = errors.New("the script ends, and then there is more")
	default:
		err = f.Set(s)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_ = web.JSON(w, f.Stats())
}

// Remote tells a feed in another process what to do.
type Remote struct {
	Base   string // such as http://127.0.0.1:3780
	Client *http.Client
}

// Set is Feed.Set.
func (c Remote) Set(ctx context.Context, s Script) error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	_, err = c.do(ctx, http.MethodPut, "/script", string(b))
	return err
}

// Open is Feed.Open.
func (c Remote) Open(ctx context.Context) error {
	_, err := c.do(ctx, http.MethodPost, "/open", "")
	return err
}

// Stats is Feed.Stats.
func (c Remote) Stats(ctx context.Context) (Stats, error) {
	var s Stats
	b, err := c.do(ctx, http.MethodGet, "/script", "")
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, fmt.Errorf("%s does not answer like our feed: %w", c.Base, err)
	}
	return s, nil
}

func (c Remote) do(ctx context.Context, method, path, body string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	u, err := url.JoinPath(c.Base, path)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, u, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	res, err := c.Client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("no feed answers at %s: start a step first (%w)", c.Base, err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxStats+1))
	if len(b) > maxStats {
		return nil, fmt.Errorf("%s answers more than our feed would", c.Base)
	}
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("the feed says: %s", strings.TrimSpace(string(b)))
	}
	return b, err
}
