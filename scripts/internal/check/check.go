// Package check judges a server in any language from outside: which of the
// workshop's properties it has. It knows the server by the contract in
// scripts/CONTRACT.md alone.
//
// The checker is the feed that the server reads: it counts loads, holds them
// behind a gate, dooms them, and lets callers leave. So a verdict rests on
// counts and on what must hold on every schedule. Where nothing shows from
// outside, such as that a caller has joined a load, it waits for a bound and
// says so. A property is measured three times, and one bad time loses it.
package check

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"plaque/steps/kit/ports"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace/noop"

	"plaque/scripts/internal/caller"
	"plaque/scripts/internal/otlp"
	"plaque/scripts/internal/property"
	"plaque/scripts/internal/server"
	"plaque/steps/kit/origin"
	"plaque/steps/kit/terminal"
)

const (
	// FeedAddr and SpansAddr are where the checker usually listens for a server that
	// somebody else has started: behind the three ports of a step.
	FeedAddr  = "127.0.0.1:3782"
	SpansAddr = "127.0.0.1:3783"

	rounds       = 3
	atOnce       = 6                // properties of servers that we start ourselves
	joinFor      = time.Second      // after which callers that can join a load have joined it
	answerFor    = 2 * time.Second  // in which one is answered whom nothing holds up
	ttl          = 5 * time.Second  // the contract's
	timeout      = 3 * time.Second  // of a load: the contract's longest
	leastTimeout = 2 * time.Second  // and its shortest
	callFor      = 9 * time.Second  // the longest that a caller of ours waits at all
	spansFor     = 7 * time.Second  // until spans have come: SDKs send them every 5 s
	judgeFor     = 90 * time.Second // the longest that one property can take
)

// Options say what to judge. Exactly one of Command and Addr is set.
type Options struct {
	// Command starts the server: a program and its arguments. Each property gets
	// a fresh one, told where to listen by ADDR, what to read by FEED_URL, and
	// where spans go by OTEL_EXPORTER_OTLP_ENDPOINT.
	Command []string
	// Addr is where a server listens that runs already, as HOST:PORT.
	Addr string
	// Feed and Spans are where the checker listens for the server at Addr.
	Feed, Spans string
	// Only are the properties to judge, by name; none means all.
	Only []string
	// Once measures each property once: it is quicker, and less sure.
	Once bool
	// Each is called with every verdict, in the order of property.All; nil
	// means nobody is told before the end.
	Each func(Verdict)
	// Note is called at the end with each sentence about the server that is no
	// verdict, such as that it had to be killed; nil means nobody is told.
	Note func(string)
}

// Verdict is what was found about one property.
type Verdict struct {
	Property string   `json:"property"`
	Says     string   `json:"says"`
	Has      string   `json:"has"` // yes, no or n/a, as in lesson.yaml
	Done     string   `json:"done"`
	Expected string   `json:"expected"`
	Seen     string   `json:"seen"`             // n/a: why it could not be judged
	Likely   string   `json:"likely,omitempty"` // the usual cause, where it lacks the property
	ByHand   []string `json:"by_hand,omitempty"`
	Shows    string   `json:"shows,omitempty"` // what the last line by hand prints where a server has it
}

// Run judges a server. The error says why nothing, or not everything, could be
// judged; the verdicts are those up to then. It always ends by itself: every
// wait has a bound.
func Run(ctx context.Context, o Options) ([]Verdict, error) {
	if err := Known(o.Only); err != nil {
		return nil, err
	}
	if o.Addr == "" {
		o.Spans = "" // any port: servers that we start are told
	}
	var err error
	c := &checker{Options: o}
	if c.spans, err = otlp.Listen(otlp.Config{Addr: o.Spans}); err != nil {
		return nil, fmt.Errorf("%w\nIf another program has that port, move the checker's with --spans 127.0.0.1:PORT", err)
	}
	defer c.spans.Close()
	if o.Addr != "" {
		if c.running, err = c.join(ctx); err != nil {
			return nil, err
		}
		defer c.running.stop()
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := c.open(ctx); err != nil {
		return nil, err
	}
	verdicts, err := c.judgeAll(ctx, slices.DeleteFunc(slices.Clone(properties), func(p measured) bool {
		return len(o.Only) > 0 && !slices.Contains(o.Only, p.Name)
	}))
	cancel()
	c.shown.Wait() // it stops a server, too
	if n := c.killed.Load(); n > 0 && o.Note != nil {
		o.Note(fmt.Sprintf("It had to be killed, %d of %d times: it does not end within %v when it is told to (SIGTERM; on Windows its standard input ends).", n, c.started.Load(), server.StopWithin))
	}
	return verdicts, err
}

// Known says which of these names is no property.
func Known(names []string) error {
	var known []string
	for _, p := range properties {
		known = append(known, p.Name)
	}
	for _, n := range names {
		if !slices.Contains(known, n) {
			return fmt.Errorf("there is no property %q; there are %s", n, strings.Join(known, ", "))
		}
	}
	return nil
}

// checker is a check that runs.
type checker struct {
	Options
	spans   *otlp.Receiver
	running *subject // the server at Addr; nil where we start servers

	readsFeed bool   // what open found
	single    string // why it is not several machines; "" where it is

	shown sync.WaitGroup // done when spans have come, or have had their time

	started, killed atomic.Int64 // servers
}

// subject is a server with the feed that it reads.
type subject struct {
	url   string
	feed  *origin.Feed
	stop  context.CancelFunc // of the feed
	owned *server.Server     // nil if somebody else started it
	round int                // of the property that is measured, from 0

	holds time.Time     // since when the feed holds its answers
	held  time.Duration // the longest time for which it did in this round

	checker *checker
}

// serveFeed is a subject that has no server yet, and the URL of its feed, which
// listens at addr.
func (c *checker) serveFeed(ctx context.Context, addr string) (*subject, string, error) {
	ctx, stop := context.WithCancel(ctx)
	s := &subject{feed: origin.New(noop.NewTracerProvider()), stop: stop, checker: c}
	base, err := s.feed.Serve(ctx, addr)
	if err != nil {
		stop()
		return nil, "", err
	}
	return s, base + origin.Path, nil
}

// join makes a subject of the server at Addr.
func (c *checker) join(ctx context.Context) (*subject, error) {
	conn, err := (&net.Dialer{Timeout: answerFor}).DialContext(ctx, "tcp", c.Addr)
	if err != nil {
		return nil, fmt.Errorf("nothing listens on %s: start your server there first, with %s", c.Addr, c.environment())
	}
	_ = conn.Close()
	s, _, err := c.serveFeed(ctx, c.Feed)
	if err != nil {
		cause, _, _ := strings.Cut(err.Error(), "\n")
		return nil, fmt.Errorf("%s\nThe checker is the feed that your server reads. If another program has that port, move the checker's with --feed 127.0.0.1:PORT", cause)
	}
	s.url = "http://" + c.Addr
	return s, nil
}

// environment is what a server at Addr must be started with.
func (c *checker) environment() string {
	_, port, _ := net.SplitHostPort(c.Feed)
	return terminal.Shell("FEED_URL=http://localhost:"+port+origin.Path, "OTEL_EXPORTER_OTLP_ENDPOINT=http://"+c.Spans)
}

// start starts a server with a new feed.
func (c *checker) start(ctx context.Context) (*subject, error) {
	if c.running != nil {
		return c.running, nil
	}
	s, feed, err := c.serveFeed(ctx, "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	for range 2 { // another program may have taken the port before it did
		var addr string
		if addr, err = ports.FreeAddr(); err != nil {
			break
		}
		s.owned, err = server.StartServer(ctx, server.Launch{Command: c.Command, Addr: addr, Collector: c.spans.URL(), Feed: feed})
		if err == nil {
			c.started.Add(1)
			s.url = s.owned.URL
			return s, nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	s.stop()
	return nil, err
}

// hold has the feed hold its answers until open.
func (s *subject) hold(script origin.Script) {
	script.Gate = true
	_ = s.feed.Set(script)
	s.holds = time.Now()
}

// open lets the answers go that hold has held.
func (s *subject) open() {
	s.feed.Open()
	s.held = max(s.held, time.Since(s.holds))
}

// release lets go of whatever a property has left at the gate, and stops a
// server that was started for it, which flushes its spans.
func (s *subject) release() {
	s.feed.Open()
	if s.owned != nil {
		if errors.Is(s.owned.Stop(), server.ErrKilled) {
			s.checker.killed.Add(1)
		}
		s.stop()
	}
}

// open makes the first request, from which it learns what the server does. What
// is wrong here is wrong with everything.
func (c *checker) open(ctx context.Context) error {
	s, err := c.start(ctx)
	if err != nil {
		return err
	}
	b := newBurst(ctx, s)
	channel := newChannel()
	a := b.ask(channel).wait(callFor)
	loads := s.loads(channel)
	c.single = single(machines(b, channel, a))
	died := s.owned != nil && a.Failed != "" && s.owned.WaitDead(time.Second) // before we stop it ourselves
	if err := unfit(a, channel, loads); err != nil || died {
		s.release()
		switch {
		case died:
			return fmt.Errorf("the first request, GET /, was not answered: the process had ended by then (%s). Its last words:\n%s", s.owned.Ended(), plain(s.owned.Log()))
		case c.Addr != "" && a.Status == 200:
			err = fmt.Errorf("%w\nStart it with %s", err, c.environment())
		}
		return err
	}
	c.readsFeed = loads > 0
	// A server sends its spans after a while, or when it is stopped, or never. What
	// needs none is judged meanwhile.
	c.shown.Go(func() {
		bound, cancel := context.WithTimeout(ctx, spansFor)
		defer cancel()
		_ = c.spans.Wait(bound, func(spans []otlp.Span) bool { return len(spans) > 0 })
		if s.owned != nil {
			s.release()
		}
	})
	return nil
}

// spanless says why a server cannot be judged by its spans; "" where it can.
func (c *checker) spanless() string {
	c.shown.Wait()
	if len(c.spans.Spans()) > 0 {
		return ""
	}
	if refused := c.refused(); refused != "" {
		return "none of its spans could be taken: " + refused
	}
	return "it sends no spans"
}

// refused says which spans the receiver did not take; "" for none.
func (c *checker) refused() string {
	var all []string
	for _, r := range c.spans.Refused() {
		all = append(all, r.String())
	}
	return strings.Join(all, "; ")
}

// plain makes what the server wrote safe to print.
func plain(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = terminal.Clip(terminal.Plain(line), 400)
	}
	return strings.Join(lines, "\n")
}

// unfit says why a server with this first answer cannot be judged at all.
func unfit(a caller.Answer, channel string, loads int) error {
	video, isJSON := videoID(a.Body)
	switch {
	case a.Failed == "refused":
		return errors.New("nothing listens there any more: it ended when somebody connected")
	case a.Failed == "timeout":
		return fmt.Errorf("it takes connections and does not answer: GET / had %v", callFor)
	case a.Failed == "lost":
		return fmt.Errorf("it takes connections and ends them without an answer to GET / (%w)", a.Err)
	case a.Failed == "rubbish":
		return fmt.Errorf("it answers GET /, but not in HTTP: %.200s", a.Err)
	case a.Failed == "too long":
		return errors.New("its answer to GET / is longer than 1 MiB, and the checker reads no further: it should be a line")
	case a.Failed != "":
		return fmt.Errorf("GET / failed: %w", a.Err)
	case a.Status != 200:
		return fmt.Errorf("it answers GET /?channel=%s with %d, and the contract wants 200: %.200q", channel, a.Status, a.Body)
	case loads == 0 && isJSON:
		return errors.New("it answers with a video, but has not asked the checker's feed: does it read FEED_URL, and hand the channel on as channel_id?")
	case loads > 0 && video != origin.VideoID(channel):
		return fmt.Errorf(`it asked the feed, and answered %.200q; the contract wants {"video_id":%q}`, a.Body, origin.VideoID(channel))
	}
	return nil
}

// judgeAll judges properties, each with a separate server and a few at once
// where we start the servers; else one after the other.
func (c *checker) judgeAll(ctx context.Context, picked []measured) (verdicts []Verdict, err error) {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next, found := make(chan int, len(picked)), make([]chan Verdict, len(picked))
	for i := range picked {
		next <- i
		found[i] = make(chan Verdict, 1)
	}
	close(next)
	judges := atOnce
	if c.running != nil {
		judges = 1
	}
	for range judges {
		wg.Go(func() {
			for i := range next {
				v, err := c.judge(ctx, picked[i])
				if err != nil {
					cancel(fmt.Errorf("%s: %w", picked[i].Name, err))
					return
				}
				found[i] <- v
			}
		})
	}
	for _, f := range found {
		select {
		case v := <-f:
			verdicts = append(verdicts, v)
			if c.Each != nil {
				c.Each(v)
			}
		case <-ctx.Done():
			return verdicts, context.Cause(ctx)
		}
	}
	return verdicts, nil
}

// judge measures one property. The error says that no server could be started.
func (c *checker) judge(ctx context.Context, p measured) (Verdict, error) {
	v := Verdict{Property: p.Name, Says: p.Says, Done: p.done, Expected: p.expected}
	if v.Seen = c.unfitFor(p.Needs); v.Seen != "" {
		v.Has = "n/a"
		return v, ctx.Err()
	}
	s, err := c.start(ctx)
	if err != nil {
		return v, err
	}
	bounded, cancel := context.WithTimeout(ctx, judgeFor)
	defer cancel()
	seen := p.measure(bounded, s)
	switch over := bounded.Err() != nil; {
	case over && seen.has == "yes" && seen.judge == nil:
		seen = no("it did not end within %v", judgeFor)
	case over && seen.has == "no" && !seen.sure: // its callers were called back
		seen = unclear("%s: it did not end within %v; seen: %s", tooBusy, judgeFor, seen.what)
	}
	if seen.judge != nil {
		c.wait(ctx, seen.judge)
	}
	died := s.owned != nil && (s.owned.Dead() || seen.has == "no" && s.owned.WaitDead(time.Second))
	s.release()
	if seen.judge != nil {
		seen = seen.judge(c.spans.Spans())
		if seen.has == "no" && !died {
			// Spans may be late, or end late, because the server lacks a core.
			if reason := crowded(stretch()); reason != "" {
				seen = unclear("%s: %s; seen: %s", tooBusy, reason, seen.what)
			}
		}
	}
	if died {
		seen.has = "no"
		seen.what += "; the process has ended: " + s.owned.Ended() + lastWords(s.owned.Log())
	}
	if refused := c.refused(); refused != "" && seen.has == "no" && p.Needs&property.Spans != 0 {
		seen.what += ". Some spans could not be taken: " + refused
	}
	v.Has, v.Seen = seen.has, seen.what
	if v.Has == "no" {
		v.Likely, v.ByHand, v.Shows = cmp.Or(seen.likely, p.likely), p.hand, p.shows
	}
	return v, ctx.Err()
}

// unfitFor says why a server cannot be judged on a property with these needs; ""
// where it can.
func (c *checker) unfitFor(needs property.Needs) string {
	switch {
	case needs&property.Machines != 0 && c.single != "":
		return c.single
	case needs&property.Feed != 0 && !c.readsFeed:
		return "it reads no feed"
	case needs&property.Spans != 0:
		return c.spanless()
	}
	return ""
}

// lastWords are what a server's log says of its end, for the end of a sentence: a
// Go program says first why it ends, others last.
func lastWords(log string) string {
	lines := strings.Split(plain(log), "\n")
	if i := slices.IndexFunc(lines, func(line string) bool {
		return strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ")
	}); i >= 0 {
		lines = lines[i : i+1]
	}
	if words := strings.TrimSpace(strings.Join(lines[max(0, len(lines)-3):], " | ")); words != "" {
		return ". Its last words: " + words
	}
	return ""
}

// wait waits until the spans say yes. It ends when they have had their time: a
// server may send them late, and one that is still starved of time later.
func (c *checker) wait(ctx context.Context, judge func([]otlp.Span) seen) {
	bound, cancel := context.WithTimeout(ctx, spansFor)
	defer cancel()
	_ = c.spans.Wait(bound, func(spans []otlp.Span) bool { return judge(spans).has == "yes" })
}
