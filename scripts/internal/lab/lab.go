// Package lab runs a step's experiments: it builds the step and hey, starts a
// fresh server for each experiment, feeds it, loads it, collects its spans, and
// judges what came out against the step's lesson.
//
// Nothing in it depends on luck. The feed holds its answers behind gates until
// the callers are where the experiment wants them; where that does not show
// from outside, the lab looks into the server's goroutine profile.
package lab

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	oteltrace "go.opentelemetry.io/otel/trace"

	"plaque/scripts/internal/caller"
	"plaque/scripts/internal/lesson"
	"plaque/scripts/internal/look"
	"plaque/scripts/internal/otlp"
	"plaque/scripts/internal/server"
	"plaque/steps/kit/names"
	"plaque/steps/kit/origin"
	"plaque/steps/kit/youtube"
)

// otherChannel is the key B of the act other_key; A is youtube.DefaultChannel.
const otherChannel = "UCBBBBBBBBBBBBBBBBBBBBBB"

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
	Acts       []*Act
}

// True reports whether everything came out as claimed.
func (r *Result) True() bool {
	for _, a := range r.Acts {
		if !a.True() {
			return false
		}
	}
	return true
}

// Act is what came of one act.
type Act struct {
	Act     lesson.Act
	TraceID string         // of its burst; "" where nobody called
	Hey     string         // hey's report
	Answers map[string]int // by status, or lost, timeout, refused
	Loads   int            // by the feed's count
	Spans   []otlp.Span    // of the act, from all services
	Checks  []Check
	Notes   []string // what the lab saw and does not judge

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
func (a *Act) True() bool {
	for _, c := range a.Checks {
		if !c.Held {
			return false
		}
	}
	return true
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
		var act *Act
		if act, err = s.play(ctx, a); err != nil {
			break
		}
		r.Acts = append(r.Acts, act)
	}
	s.silent.leave()
	servers := s.servers()
	dead := slices.ContainsFunc(servers, (*server.Server).Dead)
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
	if dead {
		last.Checks = append(last.Checks, Check{What: "the process", Want: "runs", Got: "has ended: " + lastLine(logs(servers))})
	} else if stopErr != nil {
		last.Checks = append(last.Checks, Check{What: "the stop", Want: "clean", Got: stopErr.Error()})
	}
	return r, nil
}

// oneTrace is false for 01 and 02: a rude client there sends no header that would
// name a trace, and the accept before a connection belongs to nobody's.
func oneTrace(step *lesson.Lesson) bool { return step.Number() >= "03" }

// ReadsFeed is false for 01 to 03.
func ReadsFeed(step *lesson.Lesson) bool { return step.Number() >= "04" }

// ServesOld is true for a step whose loads may be nobody's to wait for.
func ServesOld(step *lesson.Lesson) bool { return step.Fingerprint["serves-old"] == "yes" }

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

// scene is an experiment that runs.
type scene struct {
	*Lab
	server     *server.Server // nil where there is a fleet
	fleet      *fleet         // nil where there is one server
	step       *lesson.Lesson
	experiment string
	silent     silent
	counted    origin.Stats // of the feed, up to where acts have been told
}

// count adds to an act what the feed has counted since the last call.
func (s *scene) count(act *Act) {
	now := s.feed.Stats()
	act.Loads += now.Requests - s.counted.Requests
	for agent, n := range now.Agents {
		if n > s.counted.Agents[agent] {
			act.loadedBy++
		}
	}
	act.connections += now.Connections - s.counted.Connections
	s.counted = now
}

// tell gives the feed a new script, which starts its count anew.
func (s *scene) tell(act *Act, script origin.Script) error {
	s.count(act)
	s.counted = origin.Stats{}
	return s.feed.Set(script)
}

// servers are the processes that should run.
func (s *scene) servers() []*server.Server {
	if s.fleet != nil {
		return s.fleet.running()
	}
	return []*server.Server{s.server}
}

func (s *scene) host() string { return strings.TrimPrefix(s.server.URL, "http://") }

// url is the server's address for a channel.
func (s *scene) url(channel string) string {
	return s.server.URL + "/?channel=" + url.QueryEscape(channel)
}

// play does one act.
func (s *scene) play(ctx context.Context, a lesson.Act) (*Act, error) {
	act := &Act{Act: a, Answers: map[string]int{}, from: time.Now()}
	if a.Feed != nil {
		if err := s.tell(act, *a.Feed); err != nil {
			return nil, err
		}
	}
	err := s.do(ctx, a, act)
	if err != nil {
		return nil, err
	}
	s.settle(ctx, act)
	s.count(act)
	if e := a.Expect; e.Goroutines != nil || e.Threads != nil {
		if act.goroutines, err = s.server.Count(ctx, "goroutine"); err != nil {
			return nil, err
		}
		if act.threads, err = s.server.Count(ctx, "threadcreate"); err != nil {
			return nil, err
		}
	}
	act.to = time.Now()
	return act, nil
}

// settle waits for loads that nobody waits for: their callers have been answered
// before they end, even before the feed has heard of them. Held ones need not end.
func (s *scene) settle(ctx context.Context, act *Act) {
	if act.TraceID == "" || !ServesOld(s.step) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, gatherFor)
	defer cancel()
	for {
		flights := 0
		for _, server := range s.servers() {
			state, err := look.State(ctx, server.Debug)
			if err != nil {
				flights = -1
				break
			}
			flights += len(state.Flights)
		}
		if flights == s.feed.Stats().Waiting {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (s *scene) do(ctx context.Context, a lesson.Act, act *Act) error {
	switch {
	case a.Wait > 0:
		select {
		case <-time.After(time.Duration(a.Wait)):
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	case a.Silent > 0:
		if err := s.silent.connect(ctx, s.host(), a.Silent); err != nil {
			return err
		}
		if a.Expect.Closed != nil {
			act.closed = s.silent.closed()
		}
		return nil
	case a.Leave:
		s.silent.leave()
		return nil
	case a.Rude != "":
		closed, err := rude(ctx, s.host(), a.Rude)
		act.closed = closed
		return err
	}

	// The rest are requests, under one root span.
	requests, concurrency := 1, 1
	switch {
	case a.Hey != nil:
		requests, concurrency = a.Hey.Requests, a.Hey.Concurrency // requests are 0, unknown, where it goes on for a time
	case a.Get != nil:
		requests = max(1, a.Get.Times)
	case a.Keys != nil:
		requests, concurrency = a.Keys.N, a.Keys.C
	case a.FirstLeaves > 0:
		requests, concurrency = a.FirstLeaves+1, a.FirstLeaves+1
	case a.Slow > 0:
		requests, concurrency = a.Slow+1, a.Slow+1
	case a.OtherKey:
		requests, concurrency = 3, 2
	case a.Fleet != nil:
		if err := s.fleet.prepare(ctx, *a.Fleet); err != nil {
			return err
		}
		requests = a.Fleet.Callers * len(s.fleet.running())
		concurrency = requests
		if a.Fleet.Elsewhere {
			return s.elsewhere(ctx, a, act)
		}
	}
	ctx, burst := startBurst(ctx, s.tracer, s.step.Step, requests, concurrency)
	burst.SetAttributes(attribute.String("experiment", s.experiment))
	defer burst.End()
	act.TraceID = burst.SpanContext().TraceID().String()
	switch {
	case a.Hey != nil:
		return s.hey(ctx, a, act)
	case a.Get != nil:
		s.get(ctx, a, act)
		return nil
	case a.Keys != nil:
		s.keys(ctx, a, act)
		return nil
	case a.FirstLeaves > 0:
		return s.firstLeaves(ctx, a, act)
	case a.Slow > 0:
		return s.slow(ctx, a, act)
	case a.Fleet != nil:
		return s.callFleet(ctx, a, act, fleetChannel(a.Fleet.Key))
	}
	return s.otherKey(ctx, act)
}

// tracerName is the scope of the spans that callers make.
const tracerName = "plaque/load"

// StartBurst starts the root span, made by tp, under which a burst becomes one
// trace.
func StartBurst(ctx context.Context, tp oteltrace.TracerProvider, step string, requests, concurrency int) (context.Context, oteltrace.Span) {
	return startBurst(ctx, tp.Tracer(tracerName), step, requests, concurrency)
}

func startBurst(ctx context.Context, tracer oteltrace.Tracer, step string, requests, concurrency int) (context.Context, oteltrace.Span) {
	return tracer.Start(ctx, names.Burst, oteltrace.WithNewRoot(), oteltrace.WithAttributes(
		attribute.String("step", step), attribute.Int("requests", requests), attribute.Int("concurrency", concurrency)))
}

// Traceparent is the header that makes a caller's spans children of ctx's span.
func Traceparent(ctx context.Context) string {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier["traceparent"]
}

// hey runs a burst, and opens the feed's gate once the callers are inside.
func (s *scene) hey(ctx context.Context, a lesson.Act, act *Act) error {
	opened := make(chan struct{})
	go func() {
		defer close(opened)
		if a.Callers > 0 {
			s.gathered(ctx, act, a.Callers)
			s.feed.Open()
		}
	}()
	report, answers, err := RunHey(ctx, s.heyBin, *a.Hey, Traceparent(ctx), s.server.URL)
	<-opened
	act.Hey, act.Answers = report, answers
	return err
}

// get makes plain requests, one after the other, on one connection.
func (s *scene) get(ctx context.Context, a lesson.Act, act *Act) {
	method, path := http.MethodGet, "/"
	if a.Get.Method != "" {
		method = a.Get.Method
	}
	if a.Get.Path != "" {
		path = a.Get.Path
	}
	c := caller.Caller(callFor)
	defer c.CloseIdleConnections()
	for range max(1, a.Get.Times) {
		act.answered(caller.Ask(ctx, c, method, s.server.URL+path, Traceparent(ctx)))
	}
}

// answered counts what one caller got.
func (a *Act) answered(got caller.Answer) {
	a.Answers[got.String()]++
	if got.RetryAfter != "" {
		a.retryAfter++
	}
}

// keys has each caller ask for a channel of its own. A gate opens once all have
// been answered or wait at the feed; where they do not come, it opens after a
// while.
func (s *scene) keys(ctx context.Context, a lesson.Act, act *Act) {
	n := a.Keys.N
	answers := make(chan caller.Answer, n)
	next := make(chan int, n)
	for i := range n {
		next <- i
	}
	close(next)
	var callers sync.WaitGroup
	for range a.Keys.C {
		callers.Go(func() {
			for i := range next {
				c := caller.Caller(callFor)
				answers <- caller.Ask(ctx, c, http.MethodGet, s.url(fmt.Sprintf("UC%022d", i)), Traceparent(ctx))
				c.CloseIdleConnections()
			}
		})
	}
	if a.Feed != nil && a.Feed.Gate {
		s.until(ctx, gatherFor, func(st origin.Stats) bool { return st.Waiting+len(answers) >= n })
		s.feed.Open()
	}
	callers.Wait()
	close(answers)
	for got := range answers {
		act.answered(got)
	}
}

// firstLeaves has one caller start a load, others join, and the first hang up.
// The answers are those of the others.
func (s *scene) firstLeaves(ctx context.Context, a lesson.Act, act *Act) error {
	if err := s.tell(act, origin.Script{Gate: true}); err != nil {
		return err
	}
	defer s.feed.Open()
	home := s.url(youtube.DefaultChannel)
	leader, hangUp := context.WithCancel(ctx)
	defer hangUp()
	gone := once(leader, http.MethodGet, home)
	s.until(ctx, gatherFor, func(st origin.Stats) bool { return st.Waiting == 1 })

	others := make([]<-chan string, a.FirstLeaves)
	for i := range others {
		others[i] = once(ctx, http.MethodGet, home)
	}
	s.gathered(ctx, act, a.FirstLeaves+1)
	hangUp()
	<-gone
	// Where the leader takes its load along, that shows at the feed. Where it
	// does not, nothing shows, and a second is long enough to be sure.
	s.until(ctx, heldFor, func(st origin.Stats) bool { return st.Waiting == 0 })
	s.feed.Open()
	for _, o := range others {
		act.Answers[<-o]++
	}
	return nil
}

// slow has callers who take a second to say their request, on one clock, and a
// quick one who comes when all of them speak. The kernel accepts connections in
// order, so a server that serves them in order comes to the quick one last.
func (s *scene) slow(ctx context.Context, a lesson.Act, act *Act) error {
	callers := make([]*slowCaller, a.Slow)
	for i := range callers {
		c, err := startSlow(ctx, s.tracer, s.host())
		if err != nil {
			return fmt.Errorf("slow client %d of %d: %w", i+1, a.Slow, err)
		}
		defer c.close()
		callers[i] = c
	}
	spoken := time.After(slowFor)
	// From outside, nothing shows when a server has begun to listen to all of them.
	select {
	case <-time.After(quickAfter):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	quick := make(chan string, 1)
	go func() { quick <- ask(ctx, s.tracer, s.server.URL) }()
	select {
	case answer := <-quick:
		act.quick = "at once"
		act.Answers[answer]++
		select {
		case <-spoken:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	case <-spoken:
		act.quick = "after the slow ones"
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	// All have the rest of their requests sent before one of them waits.
	for _, c := range callers {
		c.finish()
	}
	for _, c := range callers {
		act.Answers[c.answer()]++
	}
	if act.quick != "at once" {
		act.Answers[<-quick]++
	}
	return nil
}

// otherKey asks for B, which is remembered, while A's load is held.
func (s *scene) otherKey(ctx context.Context, act *Act) error {
	a, b := s.url(youtube.DefaultChannel), s.url(otherChannel)
	act.Answers[<-once(ctx, http.MethodGet, b)]++
	if err := s.tell(act, origin.Script{Gate: true, Channel: youtube.DefaultChannel}); err != nil {
		return err
	}
	defer s.feed.Open()
	first := once(ctx, http.MethodGet, a)
	s.until(ctx, gatherFor, func(st origin.Stats) bool { return st.Waiting == 1 })
	second := once(ctx, http.MethodGet, b)
	select {
	case answer := <-second:
		act.otherKey = "at once"
		act.Answers[answer]++
		s.feed.Open()
	case <-time.After(heldFor):
		act.otherKey = "after A"
		s.feed.Open()
		act.Answers[<-second]++
	}
	act.Answers[<-first]++
	return nil
}

// gathered waits until n callers are parked inside the step's cache, or all wait
// at the feed, as they do where there is no cache.
func (s *scene) gathered(ctx context.Context, act *Act, n int) {
	parked(ctx, act, n, gatherFor, "inside the cache", func(ctx context.Context) (int, error) {
		if waiting := s.feed.Stats().Waiting; waiting >= n {
			return waiting, nil
		}
		return inCache(ctx, s.server)
	})
}

// parked looks until n callers are where they should be, at two looks in a row.
// Should they not come within the bound, the act goes on and says so.
func parked(ctx context.Context, act *Act, n int, bound time.Duration, where string, look func(context.Context) (int, error)) {
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	for last := 0; ; {
		seen, err := look(ctx)
		if err == nil && seen >= n && last >= n {
			return
		}
		last = seen
		select {
		case <-ctx.Done():
			act.Notes = append(act.Notes, fmt.Sprintf("after %v only %d of %d callers were %s", bound, seen, n, where))
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// until waits until the feed's counters are as wanted, or for the bound.
func (s *scene) until(ctx context.Context, bound time.Duration, want func(origin.Stats) bool) {
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	for !want(s.feed.Stats()) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// pick takes an act's spans out of an experiment's: its trace, and unless byTrace
// what started while it ran; and what those are linked to: a connection's accept
// began before anybody called.
func (a *Act) pick(spans []otlp.Span, byTrace bool) []otlp.Span {
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

// logs is what the first of them that has ended has written.
func logs(servers []*server.Server) string {
	for _, s := range servers {
		if s.Dead() {
			return s.Log()
		}
	}
	return ""
}

func lastLine(log string) string {
	lines := strings.Split(strings.TrimSpace(log), "\n")
	return lines[len(lines)-1]
}
