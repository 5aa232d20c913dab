package cachetest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var schedules = flag.Duration("schedules", 2*time.Second, "how long the random schedules of a cache are tried")

// op is one line of a script: what happens next to one key of a cache. arg says
// which caller or load, or how much.
type op struct{ kind, arg byte }

// The kinds of ops.
const (
	arrive   = iota // 1 to 3 callers, at the same moment
	arriveIn        // a caller whose context is over
	hangUp          // one of the callers that wait
	forget          // the key
	succeed         // one of the loads that run
	fail            // one of the loads that run
	panics          // one of the loads that run
	goexit          // one of the loads that run
	deaf            // the loads that start from now on, do or do not ignore their context
	clock           // time passes
	kinds
)

// passes is what the clock can do: to the edges of a ttl and a timeout, and
// across them.
func (s Subject) passes(arg byte) time.Duration {
	all := []time.Duration{time.Nanosecond, time.Second, s.Timeout - 1, s.Timeout, ttl - 1, ttl, 2 * ttl}
	return all[int(arg)%len(all)]
}

func (s Subject) say(o op) string {
	switch o.kind {
	case arrive:
		return fmt.Sprintf("%d callers arrive", o.arg%3+1)
	case arriveIn:
		return "a caller arrives whose context is over"
	case hangUp:
		return fmt.Sprintf("waiting caller %d hangs up", o.arg)
	case forget:
		return "the key is forgotten"
	case succeed:
		return fmt.Sprintf("running load %d returns a value", o.arg)
	case fail:
		return fmt.Sprintf("running load %d fails", o.arg)
	case panics:
		return fmt.Sprintf("running load %d panics", o.arg)
	case goexit:
		return fmt.Sprintf("running load %d ends its goroutine", o.arg)
	case deaf:
		return fmt.Sprintf("from now on loads ignore their context: %v", o.arg%2 == 1)
	default:
		return fmt.Sprintf("%v pass", s.passes(o.arg))
	}
}

// script makes ops of bytes, two by two: what the fuzzer varies.
func script(b []byte) []op {
	var ops []op
	for ; len(b) >= 2; b = b[2:] {
		ops = append(ops, op{b[0] % kinds, b[1]})
	}
	return ops
}

// model is one key, as the contract has it, for one caller after the other. It
// has no goroutine, no lock and no timer.
type model struct {
	timeout time.Duration
	counts  bool // the cache has Stats
	now     time.Duration
	value   int           // 0: none. A load brings the number that it has.
	expires time.Duration // of value
	flight  *flightModel  // the one that callers join
	flights []*flightModel
	callers []*callerModel
	deaf    bool
	stats   Stats
}

// flightModel is one load, and the flight that it is for.
type flightModel struct {
	id       int
	deaf     bool // it ignores its context
	waiters  int
	deadline time.Duration
	over     bool // its context has ended
	landed   bool
	running  bool // the load itself
}

// callerModel is a caller, and what it got.
type callerModel struct {
	flight *flightModel // nil: it has not waited
	answer string       // "" while it waits
}

func (m *model) arrive(over bool) {
	caller := &callerModel{}
	m.callers = append(m.callers, caller)
	switch {
	case m.value != 0:
		m.stats.Hits++
		caller.answer = fmt.Sprint(m.value)
		return
	case over:
		caller.answer = "canceled"
		return
	case m.flight == nil:
		m.stats.Misses++
		m.flight = &flightModel{id: len(m.flights) + 1, deaf: m.deaf, deadline: m.now + m.timeout, running: true}
		m.flights = append(m.flights, m.flight)
	default:
		m.stats.Joined++
	}
	m.flight.waiters++
	caller.flight = m.flight
}

func (m *model) hangUp(caller *callerModel) {
	caller.answer = "canceled"
	f := caller.flight
	if f.waiters--; f.waiters > 0 {
		return
	}
	if m.flight == f {
		m.flight = nil
	}
	m.end(f)
}

// end ends the context of a load, and the load with it unless that is deaf.
func (m *model) end(f *flightModel) {
	f.over = true
	if f.running && !f.deaf {
		f.running = false
		m.land(f, "canceled")
	}
}

// load ends a load that runs.
func (m *model) load(f *flightModel, how byte) {
	f.running = false
	switch how {
	case succeed:
		m.land(f, "")
	case fail:
		m.land(f, "failed")
	case panics:
		m.stats.Panics++
		m.land(f, "panicked")
	case goexit:
		m.land(f, "goexit")
	}
}

// land answers all who wait for f; failure "" is a value.
func (m *model) land(f *flightModel, failure string) {
	if f.landed {
		return
	}
	f.landed, f.over = true, true
	m.stats.Loads++
	answer := failure
	if failure == "" {
		answer = fmt.Sprint(f.id)
	} else {
		m.stats.Failures++
	}
	for _, caller := range m.callers {
		if caller.flight == f && caller.answer == "" {
			caller.answer = answer
		}
	}
	if m.flight == f {
		m.flight = nil
		if failure == "" {
			m.value, m.expires = f.id, m.now+ttl
		}
	}
}

func (m *model) clock(d time.Duration) {
	m.now += d
	if m.value != 0 && m.expires <= m.now {
		m.value = 0
	}
	for _, f := range m.flights {
		if !f.landed && f.deadline <= m.now {
			m.land(f, "timeout")
			m.end(f)
		}
	}
}

// String is what can be seen of the model from outside.
func (m *model) String() string {
	var b strings.Builder
	for i, caller := range m.callers {
		fmt.Fprintf(&b, "caller %d: %s\n", i, caller.answer)
	}
	for _, f := range m.flights {
		fmt.Fprintf(&b, "load %d: running %v, its context is over %v\n", f.id, f.running, f.over)
	}
	if m.counts {
		fmt.Fprintf(&b, "%+v\n", m.stats)
	}
	return b.String()
}

// real is a cache with callers and loads that do as they are told, to be seen
// the same way.
type real struct {
	subject Subject
	cache   Cache

	mu      sync.Mutex // protects what follows, and what it points to
	callers []*realCaller
	loads   []*realLoad
	deaf    bool
}

type realCaller struct {
	hangUp context.CancelFunc
	answer string
}

type realLoad struct {
	ctx     context.Context
	tell    chan byte
	running bool
}

func (r *real) load(ctx context.Context, _ any) (any, error) {
	l := &realLoad{ctx: ctx, tell: make(chan byte), running: true}
	over := ctx.Done()
	r.mu.Lock()
	r.loads = append(r.loads, l)
	id := len(r.loads)
	if r.deaf {
		over = nil
	}
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		l.running = false
	}()
	select {
	case <-over:
		return nil, ctx.Err()
	case how := <-l.tell:
		switch how {
		case fail:
			return id, fmt.Errorf("load %d: %w", id, errOrigin)
		case panics:
			panic(errOrigin)
		case goexit:
			runtime.Goexit()
		}
	}
	return id, nil
}

func (r *real) arrive(over bool) {
	ctx, cancel := context.WithCancel(context.Background())
	if over {
		cancel()
	}
	caller := &realCaller{hangUp: cancel}
	r.callers = append(r.callers, caller)
	go func() {
		answer := r.subject.said(r.cache.Get(ctx, "a"))
		r.mu.Lock()
		defer r.mu.Unlock()
		caller.answer = answer
	}()
}

// said is what Get returned, in the model's words.
func (s Subject) said(value any, err error) string {
	if err == nil {
		return fmt.Sprint(value)
	}
	_, stack, panicked := s.Panic(err)
	switch {
	case value != nil && !errors.Is(err, errOrigin):
		return fmt.Sprintf("%v together with %v", value, err)
	case panicked && errors.Is(err, errOrigin) && len(stack) > 0:
		return "panicked"
	case errors.Is(err, errOrigin):
		return "failed"
	case errors.Is(err, s.Goexit):
		return "goexit"
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "canceled"
	}
	return err.Error()
}

func (r *real) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	for i, caller := range r.callers {
		fmt.Fprintf(&b, "caller %d: %s\n", i, caller.answer)
	}
	for i, l := range r.loads {
		fmt.Fprintf(&b, "load %d: running %v, its context is over %v\n", i+1, l.running, l.ctx.Err() != nil)
	}
	if r.subject.Stats != nil {
		fmt.Fprintf(&b, "%+v\n", r.subject.Stats(r.cache))
	}
	return b.String()
}

// play runs a script on a cache and on the model, in fake time, and returns the
// first difference, or "". At the end all callers hang up and all loads end: no
// goroutine, flight or value may be left.
func (s Subject) play(t *testing.T, ops []op) (difference string) {
	defer func() {
		if p := recover(); p != nil { // a goroutine that is left
			difference = fmt.Sprint(p)
		}
	}()
	synctest.Test(t, func(*testing.T) {
		m := &model{timeout: s.Timeout, counts: s.Stats != nil}
		r := &real{subject: s}
		r.cache = s.New(ttl, r.load)
		begin := time.Now()
		for i, o := range ops {
			s.perform(m, r, o)
			synctest.Wait()
			if a, b := m.String(), r.String(); a != b {
				difference = fmt.Sprintf("after line %d (%v), %v from the start:\nwant\n%sseen\n%s", i+1, s.say(o), time.Since(begin), a, b)
				break
			}
		}
		for _, caller := range r.callers {
			caller.hangUp()
		}
		synctest.Wait()
		for _, l := range r.loads {
			select {
			case l.tell <- fail:
			default: // it has ended
			}
		}
		time.Sleep(ttl + s.Timeout + max(time.Second, ttl/10)) // see Subject.Entries
		synctest.Wait()
		switch {
		case difference != "":
		case s.Flights(r.cache) > 0:
			difference = "at the end: a flight is left in the air"
		case s.Entries != nil && s.Entries(r.cache) > 0:
			difference = "at the end: a value is left, though it has expired"
		}
	})
	return difference
}

// perform does one op to both; one that has no object does nothing.
func (s Subject) perform(m *model, r *real, o op) {
	switch o.kind {
	case arrive:
		for range o.arg%3 + 1 {
			m.arrive(false)
			r.arrive(false)
		}
	case arriveIn:
		m.arrive(true)
		r.arrive(true)
	case hangUp:
		var waiting []int
		for i, caller := range m.callers {
			if caller.answer == "" {
				waiting = append(waiting, i)
			}
		}
		if len(waiting) > 0 {
			i := waiting[int(o.arg)%len(waiting)]
			m.hangUp(m.callers[i])
			r.callers[i].hangUp()
		}
	case forget:
		if s.Forget != nil {
			m.value, m.flight = 0, nil
			s.Forget(r.cache, "a")
		}
	case succeed, fail, panics, goexit:
		var running []int
		for i, f := range m.flights {
			if f.running {
				running = append(running, i)
			}
		}
		if len(running) > 0 {
			i := running[int(o.arg)%len(running)]
			m.load(m.flights[i], o.kind)
			if i < len(r.loads) { // else the difference shows
				select {
				case r.loads[i].tell <- o.kind:
				default:
				}
			}
		}
	case deaf:
		m.deaf = o.arg%2 == 1
		r.mu.Lock()
		r.deaf = m.deaf
		r.mu.Unlock()
	case clock:
		d := s.passes(o.arg)
		m.clock(d)
		time.Sleep(d)
	}
}

// shrink returns the shortest script that it finds which still fails: without
// some of the lines, and with smaller args.
func shrink(ops []op, fails func([]op) bool) []op {
	for size := len(ops) / 2; size > 0; size /= 2 {
		for i := 0; i+size <= len(ops); {
			if less := slices.Delete(slices.Clone(ops), i, i+size); fails(less) {
				ops = less
			} else {
				i++
			}
		}
	}
	for i := range ops {
		for arg := range ops[i].arg {
			less := slices.Clone(ops)
			if less[i].arg = arg; fails(less) {
				ops = less
				break
			}
		}
	}
	return ops
}

// try fails the test, with the shrunk script, unless the cache does as the
// model.
func (s Subject) try(t *testing.T, ops []op) {
	if s.play(t, ops) == "" {
		return
	}
	ops = shrink(ops, func(ops []op) bool { return s.play(t, ops) != "" })
	var b strings.Builder
	for i, o := range ops {
		fmt.Fprintf(&b, "%3d  %v\n", i+1, s.say(o))
	}
	t.Fatalf("the script\n%sends otherwise than in the model: %s", b.String(), s.play(t, ops))
}

// known are schedules that chance may miss in a short time.
var known = [][]byte{
	{arrive, 2, forget, 0, arrive, 0, succeed, 0, succeed, 0, arrive, 0},
	{deaf, 1, arrive, 1, hangUp, 0, hangUp, 0, arrive, 0, succeed, 0, clock, 3, arrive, 0},
	{deaf, 1, arrive, 0, clock, 3, arrive, 0},
	{arrive, 0, forget, 0, arrive, 0, hangUp, 0, arrive, 0}, // the last waiter leaves a flight that was forgotten
}

// Schedules tries known schedules, then random ones for as long as -schedules says:
// whatever callers, loads and the clock do to one key, it ends as in a model of
// the contract. It reports the shortest script that it finds.
func Schedules(t *testing.T, s Subject) {
	for _, b := range known {
		s.try(t, script(b))
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	n := 0
	for end := time.Now().Add(*schedules); time.Now().Before(end); n++ {
		ops := make([]op, 1+random.IntN(30))
		for i := range ops {
			ops[i] = op{byte(random.IntN(kinds)), byte(random.IntN(8))}
		}
		s.try(t, ops)
	}
	t.Logf("%d schedules", n)
}

// Fuzz does the same with schedules that are made to reach every line.
func Fuzz(f *testing.F, s Subject) {
	for _, b := range known {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s.try(t, script(b[:min(len(b), 200)])) // longer ones find no more, and take longer
	})
}
