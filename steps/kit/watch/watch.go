// Package watch knows which spans are running, and what they say about a cache:
// its flights in the air, who waits for them, and what it has answered so far.
//
// It is a span processor: a cache that names its spans and attributes as package
// names does is seen without another line of code. A waiter's cache.get links to
// its flight.
package watch

import (
	"cmp"
	"container/list"
	"context"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"plaque/steps/kit/names"
)

const (
	// maxRunning bounds the running spans that are kept: some never end
	// (otelhttptrace leaves http.getconn open when a dial fails). The oldest go
	// first.
	maxRunning = 20000
	// maxLanded bounds the ended flights that are kept, for callers who may
	// still wait for them.
	maxLanded = 1000
)

// Watch is the processor. Make one with New; its methods may be called at once.
// What a sampler drops it never sees.
type Watch struct {
	mu       sync.Mutex // protects what follows; no span's method is called under it but those that cannot wait
	running  map[spanKey]*running
	order    *list.List // of *running, the oldest first
	flights  map[spanKey]*flight
	landed   []spanKey // the ended ones among flights, the oldest first
	counters Counters
	dropped  int
}

type spanKey struct {
	trace trace.TraceID
	span  trace.SpanID
}

func keyOf(sc trace.SpanContext) spanKey { return spanKey{sc.TraceID(), sc.SpanID()} }

type running struct {
	span   sdktrace.ReadOnlySpan
	name   string   // at its start
	parent *running // nil when that is not in this process, or had ended before
	flew   bool     // a cache.get that a flight started under
	locks  int      // running lock.wait spans below it
	at     *list.Element
}

// flight is a span with that name, running or ended.
type flight struct {
	key     string
	context trace.SpanContext
	started time.Time
	ended   time.Time // zero while it runs
	err     string    // once it has ended with an error
}

// Counters count since the start of the process. They never go down.
type Counters struct {
	Hits   int64 `json:"hits"`   // cache.get spans that say hit, also those still running
	Misses int64 `json:"misses"` // likewise
	Joined int64 `json:"joined"` // likewise
	// Those of step 10: callers who got an old value at once, a remembered
	// failure, or no load because too many ran.
	Stale  int64 `json:"stale"`
	Failed int64 `json:"failed"`
	Busy   int64 `json:"busy"`
	// Unknown counts cache.get spans that ended without a result: in step 08 a
	// waiter's, when its flight panicked.
	Unknown int64 `json:"unknown"`
	// Loads counts flights, and misses without a flight: in 05 and 06 there are
	// none, and each miss is a load.
	Loads int64 `json:"loads"`
}

// Flight is a load in the air, or one that callers still wait for though its
// span has ended: nobody will ever tell them.
type Flight struct {
	Key     string `json:"key"`      // "" when no span says
	TraceID string `json:"trace_id"` // the leader's
	SpanID  string `json:"span_id"`  // of the flight's span; of the leader's cache.get where there is no flight
	// Started is zero for a flight that is too old to be remembered.
	Started time.Time `json:"started,omitzero"`
	AgeMS   int64     `json:"age_ms"` // since Started; that of its oldest waiter where that is unknown
	// Shared is false for a load that nobody can join: in 05 and 06 there is no
	// flight span.
	Shared  bool   `json:"shared"`
	Ended   bool   `json:"ended"`              // its span has ended, and callers wait all the same
	EndedMS int64  `json:"ended_ms,omitempty"` // how long ago
	Error   string `json:"error,omitempty"`    // what the ended span says
	// Waiters counts callers who wait beside the leader. Linked counts those
	// among them whose span links here. The others want the same key and have
	// no result yet: in 08 the link comes with the answer.
	Waiters int `json:"waiters"`
	Linked  int `json:"linked"`
	// WaiterTraces are the traces of the waiters, each once, sorted, at most
	// twenty.
	WaiterTraces []string `json:"waiter_traces,omitempty"`
}

// Queue is the callers who wait for the cache's lock and want one key.
type Queue struct {
	Key     string `json:"key"`
	Callers int    `json:"callers"`
	AgeMS   int64  `json:"age_ms"` // of the one who has waited longest
}

// Span is a running span.
type Span struct {
	Service, Name   string
	TraceID, SpanID string
	Depth           int  // below how many running spans of this process
	ParentEnded     bool // it was part of a span that has ended
	Started         time.Time
	Attributes      []attribute.KeyValue
	Links           []string // span ids
}

// Now is what the running spans say at one moment.
type Now struct {
	At       time.Time
	Flights  []Flight // the oldest first
	Queues   []Queue  // for the lock, the longest wait first
	Counters Counters
	Running  int // spans
	Dropped  int // running spans that were too many to keep
}

// New makes a Watch that has seen nothing yet.
func New() *Watch {
	return &Watch{running: map[spanKey]*running{}, order: list.New(), flights: map[spanKey]*flight{}}
}

// OnStart is called by the SDK.
func (w *Watch) OnStart(_ context.Context, s sdktrace.ReadWriteSpan) {
	sc := s.SpanContext()
	r := &running{span: s, name: s.Name()}
	w.mu.Lock()
	defer w.mu.Unlock()
	r.parent = w.running[keyOf(s.Parent())]
	r.at = w.order.PushBack(r)
	w.running[keyOf(sc)] = r
	if w.order.Len() > maxRunning {
		w.drop(w.order.Front().Value.(*running))
		w.dropped++
	}
	if r.name == names.LockWait && r.parent != nil {
		r.parent.locks++
	}
	if r.name != names.Flight {
		return
	}
	w.counters.Loads++
	f := &flight{context: sc, started: s.StartTime(), key: value(s, names.CacheKey)}
	for p := r.parent; p != nil; p = p.parent {
		if p.name == names.CacheGet {
			p.flew = true
			f.key = cmp.Or(f.key, value(p.span, names.CacheKey))
			break
		}
	}
	w.flights[keyOf(sc)] = f
}

func (w *Watch) drop(r *running) {
	w.order.Remove(r.at)
	delete(w.running, keyOf(r.span.SpanContext()))
	if r.name == names.LockWait && r.parent != nil {
		r.parent.locks--
	}
}

// OnEnd is called by the SDK.
func (w *Watch) OnEnd(s sdktrace.ReadOnlySpan) {
	k := keyOf(s.SpanContext())
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.running[k]
	if r == nil { // dropped
		r = &running{span: s, name: s.Name()}
	} else {
		w.drop(r)
	}
	switch r.name {
	case names.CacheGet:
		w.counters.add(value(s, names.CacheResult), r.flew, true)
	case names.Flight:
		f := w.flights[k]
		if f == nil {
			return
		}
		f.ended = s.EndTime()
		if st := s.Status(); st.Code == codes.Error {
			f.err = st.Description
		}
		w.landed = append(w.landed, k)
		if len(w.landed) > maxLanded {
			delete(w.flights, w.landed[0])
			w.landed = w.landed[1:]
		}
	}
}

func (c *Counters) add(result string, flew, ended bool) {
	switch {
	case result == names.Hit:
		c.Hits++
	case result == names.Joined:
		c.Joined++
	case result == names.Stale:
		c.Stale++
	case result == names.Failed:
		c.Failed++
	case result == names.Busy:
		c.Busy++
	case result == names.Miss:
		c.Misses++
		if !flew {
			c.Loads++
		}
	case ended:
		c.Unknown++
	}
}

// ForceFlush does nothing.
func (w *Watch) ForceFlush(context.Context) error { return nil }

// Shutdown does nothing.
func (w *Watch) Shutdown(context.Context) error { return nil }

func value(s sdktrace.ReadOnlySpan, key attribute.Key) string {
	for _, kv := range s.Attributes() {
		if kv.Key == key {
			return kv.Value.String()
		}
	}
	return ""
}

// Now puts together what is known at this moment.
//
// Spans end while it looks, so a caller whose answer is on its way may still be
// counted as a waiter.
func (w *Watch) Now() Now {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := Now{At: time.Now(), Counters: w.counters, Running: w.order.Len(), Dropped: w.dropped}
	air := w.inAir(n.At)
	queues := map[string]*Queue{}
	for e := w.order.Front(); e != nil; e = e.Next() {
		switch r := e.Value.(*running); r.name {
		case names.LockWait:
			if r.parent != nil {
				wait(queues, value(r.parent.span, names.CacheKey), n.At.Sub(r.span.StartTime()))
			}
		case names.CacheGet:
			result := value(r.span, names.CacheResult)
			n.Counters.add(result, r.flew, false)
			if f := w.awaited(air, r, result, n.At); f != nil {
				f.Waiters++
				f.WaiterTraces = append(f.WaiterTraces, r.span.SpanContext().TraceID().String())
			}
		}
	}
	for _, f := range air.flights {
		slices.Sort(f.WaiterTraces)
		f.WaiterTraces = slices.Compact(f.WaiterTraces)
		f.WaiterTraces = f.WaiterTraces[:min(len(f.WaiterTraces), 20)]
		n.Flights = append(n.Flights, *f)
	}
	slices.SortFunc(n.Flights, func(a, b Flight) int {
		return cmp.Or(cmp.Compare(b.AgeMS, a.AgeMS), cmp.Compare(a.Key, b.Key), cmp.Compare(a.SpanID, b.SpanID))
	})
	for _, q := range queues {
		n.Queues = append(n.Queues, *q)
	}
	slices.SortFunc(n.Queues, func(a, b Queue) int {
		return cmp.Or(cmp.Compare(b.AgeMS, a.AgeMS), cmp.Compare(a.Key, b.Key))
	})
	return n
}

// wait adds a caller to the queue of those that want the same key.
func wait(queues map[string]*Queue, key string, since time.Duration) {
	if queues[key] == nil {
		queues[key] = &Queue{Key: key}
	}
	queues[key].Callers++
	queues[key].AgeMS = max(queues[key].AgeMS, since.Milliseconds())
}

// air is the flights that Now tells of.
type air struct {
	flights map[spanKey]*Flight
	// newest has the running flight of each key: after Forget there can be two,
	// and a caller joins the newer one.
	newest map[string]*Flight
}

// inAir is the flights that are running. w.mu is held.
func (w *Watch) inAir(now time.Time) air {
	a := air{flights: map[spanKey]*Flight{}, newest: map[string]*Flight{}}
	for k, f := range w.flights {
		if !f.ended.IsZero() {
			continue
		}
		told := f.tell(now)
		a.flights[k] = told
		if other := a.newest[f.key]; other == nil || other.Started.Before(told.Started) {
			a.newest[f.key] = told
		}
	}
	return a
}

// awaited is the flight that the running cache.get r waits for; nil if it leads
// one, or waits for something else. A flight that is not in the air yet comes
// into it: one that has ended though r waits, or the load of a step without
// flights. w.mu is held.
func (w *Watch) awaited(a air, r *running, result string, now time.Time) *Flight {
	sc, began, key := r.span.SpanContext(), r.span.StartTime(), value(r.span, names.CacheKey)
	links := r.span.Links()
	switch {
	case r.flew || result == names.Stale:
	case len(links) > 0:
		to := links[len(links)-1].SpanContext
		f := a.flights[keyOf(to)]
		if f == nil {
			// Too old to be remembered, unless w.flights has it; the link has its trace.
			f = &Flight{Key: key, TraceID: to.TraceID().String(), SpanID: to.SpanID().String(), Shared: true, Ended: true,
				AgeMS: now.Sub(began).Milliseconds()}
			if old := w.flights[keyOf(to)]; old != nil {
				f = old.tell(now)
			}
			a.flights[keyOf(to)] = f
		}
		f.Linked++
		return f
	case result == names.Miss: // its own load, and nobody else can join it
		a.flights[keyOf(sc)] = &Flight{Key: key, TraceID: sc.TraceID().String(), SpanID: sc.SpanID().String(),
			Started: began, AgeMS: now.Sub(began).Milliseconds()}
	case result == "" && r.locks == 0:
		return a.newest[key]
	}
	return nil
}

func (f *flight) tell(now time.Time) *Flight {
	t := &Flight{Key: f.key, TraceID: f.context.TraceID().String(), SpanID: f.context.SpanID().String(), Shared: true,
		Started: f.started, AgeMS: now.Sub(f.started).Milliseconds(), Ended: !f.ended.IsZero(), Error: f.err}
	if t.Ended {
		t.EndedMS = now.Sub(f.ended).Milliseconds()
	}
	return t
}

// Spans are the spans that run at this moment, trace by trace, the oldest first,
// each behind the one that it is part of. At most limit; 0 means all.
func (w *Watch) Spans(limit int) []Span {
	w.mu.Lock()
	defer w.mu.Unlock()
	below := map[*running][]*running{}
	var roots []*running
	for e := w.order.Front(); e != nil; e = e.Next() {
		r := e.Value.(*running)
		if p := r.parent; p != nil && w.running[keyOf(p.span.SpanContext())] == p {
			below[p] = append(below[p], r)
		} else {
			roots = append(roots, r)
		}
	}
	// The roots of one trace stand together, where the oldest stands.
	first := map[trace.TraceID]int{}
	for i, r := range roots {
		if _, ok := first[r.span.SpanContext().TraceID()]; !ok {
			first[r.span.SpanContext().TraceID()] = i
		}
	}
	slices.SortStableFunc(roots, func(a, b *running) int {
		return first[a.span.SpanContext().TraceID()] - first[b.span.SpanContext().TraceID()]
	})
	var all []Span
	var add func(r *running, depth int)
	add = func(r *running, depth int) {
		if limit > 0 && len(all) == limit {
			return
		}
		sc := r.span.SpanContext()
		service, _ := r.span.Resource().Set().Value("service.name")
		s := Span{Service: service.AsString(), Name: r.span.Name(), TraceID: sc.TraceID().String(), SpanID: sc.SpanID().String(), Depth: depth,
			Started: r.span.StartTime(), Attributes: r.span.Attributes(), ParentEnded: depth == 0 && r.parent != nil}
		for _, l := range r.span.Links() {
			s.Links = append(s.Links, l.SpanContext.SpanID().String())
		}
		all = append(all, s)
		for _, c := range below[r] {
			add(c, depth+1)
		}
	}
	for _, r := range roots {
		add(r, 0)
	}
	return all
}
