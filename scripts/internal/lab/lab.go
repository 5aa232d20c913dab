// Package lab runs a step's experiments and judges what came out against the
// step's lesson. For each experiment it starts a fresh server, feeds it, loads it,
// and collects its spans.
//
// Nothing in it depends on luck. The feed holds its answers behind gates until
// the callers are where the experiment wants them; where that does not show
// from outside, the lab looks into the server's goroutine profile.
package lab

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	oteltrace "go.opentelemetry.io/otel/trace"

	"plaque/scripts/internal/lesson"
	"plaque/scripts/internal/otlp"
	"plaque/scripts/internal/property"
	"plaque/scripts/internal/server"
	"plaque/steps/kit/origin"
	"plaque/steps/kit/terminal"
)

// gatherFor bounds how long the lab waits for callers to be where it wants
// them, and for spans to come.
const gatherFor = 2 * time.Second

// Lab has what the experiments of one lab share: hey, a feed, and a collector of
// spans. It runs one experiment at a time. Other labs may work beside it.
type Lab struct {
	heyBin    string
	feed      *origin.Feed
	feedURL   string
	collector *otlp.Receiver
	sender    *sender            // of the lab's own spans; nil until it is made
	tracer    oteltrace.Tracer   // of the callers
	stop      context.CancelFunc // of the feed
}

// New makes a lab that runs the hey at that path. forward is the base URL of an
// OTLP/HTTP collector that gets every span too, or "".
func New(ctx context.Context, hey, forward string) (*Lab, error) {
	collector, err := otlp.Listen(otlp.Config{Forward: forward})
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	l := &Lab{heyBin: hey, collector: collector, stop: stop}
	if err := l.open(ctx); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// open starts what sends spans, and the feed.
func (l *Lab) open(ctx context.Context) (err error) {
	if l.sender, err = newSender(ctx, l.collector.URL()); err != nil {
		return err
	}
	load, err := l.sender.provider(ctx, "load")
	if err != nil {
		return err
	}
	l.tracer = load.Tracer(tracerName)
	feed, err := l.sender.provider(ctx, "feed")
	if err != nil {
		return err
	}
	l.feed = origin.New(feed)
	base, err := l.feed.Serve(ctx, "127.0.0.1:0")
	l.feedURL = base + origin.Path
	return err
}

// Close stops the lab and passes on what spans are left.
func (l *Lab) Close() {
	l.stop()
	if l.sender != nil {
		_ = l.sender.stop()
	}
	_ = l.collector.Close()
}

// Forwarded says how many spans went on to the other collector.
func (l *Lab) Forwarded() (sent, failed int, err error) { return l.collector.Forwarded() }

// Result is what came of an experiment.
type Result struct {
	Experiment lesson.Experiment
	Acts       []*Outcome
}

// True reports whether everything came out as claimed.
func (r *Result) True() bool {
	return !slices.ContainsFunc(r.Acts, func(a *Outcome) bool { return !a.True() })
}

// Outcome is what came of one act.
type Outcome struct {
	Act     lesson.Act
	TraceID string         // of its burst; "" where nobody called
	Hey     string         // hey's report
	Answers map[string]int // by status, or lost, timeout, refused
	Loads   int            // by the feed's count
	Spans   []otlp.Span    // of the act, from all services
	Checks  []Check
	Notes   []string // what the lab saw and does not judge
	Screen  string   // what `stacks` or `top` printed; "" where nobody looked

	connections         int
	retryAfter          int           // answers that said when to come again
	loadedBy            int           // peers
	slowest             time.Duration // answer of a fleet
	goroutines, threads int
	closed              bool
	otherKey, quick     string
	from, to            time.Time
}

// True reports whether all checks held.
func (a *Outcome) True() bool {
	return !slices.ContainsFunc(a.Checks, func(c Check) bool { return !c.Held })
}

// Measured is the answer that this act gave to a question, and the one that its
// lesson claims. It is "nothing" where no check decides.
func (a *Outcome) Measured(q lesson.Question) (measured, claimed string) {
	measured = "nothing"
	for _, c := range a.Checks {
		if c.What == q.Check {
			measured, claimed = q.Value(c.Got), q.Value(c.Want)
		}
	}
	return measured, claimed
}

// Check is one thing that was claimed and what was seen.
type Check struct {
	What string `json:"what"`
	Want string `json:"want"`
	Got  string `json:"got"`
	Held bool   `json:"held"`
}

// Run does one experiment with a fresh server from bin.
func (l *Lab) Run(ctx context.Context, bin string, step *lesson.Lesson, e lesson.Experiment) (*Result, error) {
	l.collector.Take()
	if err := l.feed.Set(origin.Script{}); err != nil {
		return nil, err
	}
	r := &Result{Experiment: e}
	s := &scene{Lab: l, step: step, experiment: e.Name}
	launch := server.Launch{Command: append([]string{bin}, e.Args...), Collector: l.collector.URL(), Feed: l.feedURL}
	var err error
	if e.Peers > 0 {
		s.fleet, err = startFleet(ctx, launch, e.Peers)
	} else {
		s.server, err = server.StartServer(ctx, launch)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", step.Step, err)
	}
	for _, a := range e.Acts {
		var out *Outcome
		if out, err = s.play(ctx, a); err != nil {
			break
		}
		r.Acts = append(r.Acts, out)
	}
	s.silent.leave()
	servers := s.servers()
	dead := slices.IndexFunc(servers, (*server.Server).Dead)
	l.feed.Open()
	var stopErr error
	for _, server := range servers {
		stopErr = errors.Join(stopErr, server.Stop()) // its spans are flushed when it has ended
	}
	s.fleet.close()
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("%s, %s: %w", step.Step, e.Name, err)
	}
	spans := l.gather(ctx, r)
	for _, a := range r.Acts {
		a.Spans = a.pick(spans, oneTrace(step))
		a.judge(step)
	}
	last := r.Acts[len(r.Acts)-1]
	// What was counted in spans is not to be believed then, also where it agrees.
	for _, server := range servers {
		if lost := server.Lost(); lost != "" {
			last.Checks = append(last.Checks, Check{What: "the step's spans", Want: "all delivered", Got: lost})
		}
	}
	if dead >= 0 {
		log := strings.TrimSpace(servers[dead].Log())
		last.Checks = append(last.Checks, Check{What: "the process", Want: "runs", Got: "has ended: " + terminal.Plain(log[strings.LastIndex(log, "\n")+1:])})
	} else if stopErr != nil {
		last.Checks = append(last.Checks, Check{What: "the stop", Want: "clean", Got: stopErr.Error()})
	}
	return r, nil
}

// oneTrace is false where a server takes one request a connection: a rude client
// sends no header there that would name a trace, and the accept before a connection
// belongs to nobody's.
func oneTrace(step *lesson.Lesson) bool { return step.Has(property.KeepAlive) }

// gather takes all spans of an experiment. The server's have come when it has
// stopped; the feed's end when it has noticed that its callers have gone.
func (l *Lab) gather(ctx context.Context, r *Result) []otlp.Span {
	loads := 0
	for _, a := range r.Acts {
		loads += a.Loads
	}
	ctx, cancel := context.WithTimeout(ctx, gatherFor)
	defer cancel()
	_ = l.collector.Wait(ctx, func(spans []otlp.Span) bool { return otlp.Count(spans, feedSpan) >= loads })
	_ = l.sender.batches.ForceFlush(ctx)
	return l.collector.Take()
}

// pick takes an act's spans out of an experiment's: its trace, or, where a
// server reads no headers, what started while it ran, and what that is linked
// to: a connection's accept began before anybody called.
func (a *Outcome) pick(spans []otlp.Span, byTrace bool) []otlp.Span {
	mine := map[string]bool{}
	for _, s := range spans {
		if s.TraceID == a.TraceID || !byTrace && s.Service == "plaque" && !s.Start.Before(a.from) && !s.Start.After(a.to) {
			mine[s.ID] = true
			for _, l := range s.Links {
				mine[l.ID] = true
			}
		}
	}
	var picked []otlp.Span
	for _, s := range spans {
		if mine[s.ID] {
			picked = append(picked, s)
		}
	}
	return picked
}
