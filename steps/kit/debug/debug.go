// Package debug is the pages that show a step from inside while it runs: its
// running spans, its cache's flights, what its goroutines wait for, and Go's own
// profiles. A step that is stuck still answers here.
//
// The pages are for the person at the machine. They answer on loopback, to this
// machine's names, and not to other sites' pages; nothing here changes what the
// step does.
package debug

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	hpprof "net/http/pprof"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"runtime/trace"
	"strings"
	"time"

	"go.opentelemetry.io/contrib/zpages"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"plaque/steps/kit/stacks"
	"plaque/steps/kit/telemetry"
	"plaque/steps/kit/watch"
	"plaque/steps/kit/web"
)

const (
	// recorded is how far back the flight recorder goes, at least, and
	// recordedBytes how much it keeps, about: a busy step fills that earlier.
	recorded      = 10 * time.Second
	recordedBytes = 16 << 20
)

// Pages are the debug pages of one process. Make them with New.
type Pages struct {
	step     string
	began    time.Time
	watch    *watch.Watch
	tracez   *zpages.SpanProcessor
	recorder *trace.FlightRecorder
	noTrace  error // why there is no flight recorder
}

// New makes the pages of the step with that name. They see the spans that
// Processors are told of.
func New(step string) *Pages {
	return &Pages{step: step, began: time.Now(), watch: watch.New(), tracez: zpages.NewSpanProcessor()}
}

// Processors are what the pages know spans from. Hand them to the
// TracerProvider before it is used.
func (p *Pages) Processors() []sdktrace.SpanProcessor {
	return []sdktrace.SpanProcessor{p.watch, withoutParts{p.tracez}}
}

// withoutParts keeps from zpages the spans that otelhttptrace makes of parts of a
// request: it never ends http.getconn when a dial fails, and zpages would
// remember each of those forever.
type withoutParts struct{ *zpages.SpanProcessor }

func (w withoutParts) OnStart(ctx context.Context, s sdktrace.ReadWriteSpan) {
	if !strings.HasPrefix(s.Name(), "http.") {
		w.SpanProcessor.OnStart(ctx, s)
	}
}

// Serve answers the pages on addr, which must be a loopback address, until ctx
// ends. It returns as soon as it listens.
//
// From then on the stacks that Go prints name the trace that a goroutine works
// for, those of a panic too.
func (p *Pages) Serve(ctx context.Context, addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil || !web.Loopback(host) {
		return fmt.Errorf("the debug pages cannot be at %s: they show the inside of the process, and answer on 127.0.0.1 only", addr)
	}
	l, err := web.Listen(addr)
	if err != nil {
		return err
	}
	// The runtime looks at the variable when it changes. Go 1.27 does this by
	// itself.
	if settings := os.Getenv("GODEBUG"); !strings.Contains(settings, "tracebacklabels") {
		_ = os.Setenv("GODEBUG", strings.TrimPrefix(settings+",tracebacklabels=1", ","))
	}
	p.recorder, p.noTrace = startRecorder()
	server := web.NewServer(p.Handler())
	server.WriteTimeout = 0 // a CPU profile takes as long as its caller asks
	go pprof.Do(ctx, pprof.Labels(stacks.PagesLabel, "yes"), func(ctx context.Context) {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			slog.ErrorContext(ctx, "debug pages", "error", err)
		}
	})
	context.AfterFunc(ctx, func() {
		// There can be one recorder in a process; when the port is free, so is
		// that place.
		if p.recorder != nil {
			p.recorder.Stop()
		}
		_ = server.Close()
	})
	slog.InfoContext(ctx, "debug pages", "url", "http://"+l.Addr().String())
	return nil
}

// startRecorder starts a flight recorder, or says why there is none.
func startRecorder() (*trace.FlightRecorder, error) {
	if telemetry.Off() {
		// It costs each request something, for the spans in it.
		return nil, errors.New("nobody records spans here. /debug/pprof/trace?seconds=5 records what the runtime does from then on")
	}
	recorder := trace.NewFlightRecorder(trace.FlightRecorderConfig{MinAge: recorded, MaxBytes: recordedBytes})
	if err := recorder.Start(); err != nil {
		return nil, fmt.Errorf("%w. Another one, or a trace, may run in this process", err)
	}
	return recorder, nil
}

// Handler answers the pages. It has a separate mux: nothing of this is reachable
// at the step's address.
func (p *Pages) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", p.start)
	mux.HandleFunc("GET /debug/state", p.serveState)
	mux.HandleFunc("GET /debug/flights", p.flights)
	mux.HandleFunc("GET /debug/spans", p.spans)
	mux.Handle("GET /debug/tracez", zpages.NewTracezHandler(p.tracez))
	mux.HandleFunc("GET /debug/goroutines", p.goroutines)
	mux.HandleFunc("GET /debug/leaks", p.leaks)
	mux.HandleFunc("GET /debug/flightrecorder", p.record)
	mux.HandleFunc("GET /debug/pprof/", withoutFolders(hpprof.Index))
	mux.HandleFunc("GET /debug/pprof/cmdline", cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", withoutFolders(hpprof.Profile))
	mux.HandleFunc("GET /debug/pprof/trace", hpprof.Trace)
	return web.ThisMachine(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// zpages would fetch a style sheet, fonts and a script from elsewhere,
		// and tell elsewhere by that who looks.
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		mux.ServeHTTP(w, r)
	}))
}

// cmdline is pprof's page of that name without the folders.
func cmdline(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = fmt.Fprintln(w, filepath.Base(os.Args[0]), strings.Join(os.Args[1:], " "))
}

// State is what GET /debug/state answers. Fields are added, never changed.
type State struct {
	Step  string    `json:"step"` // the folder's name: 07-inflight
	PID   int       `json:"pid"`
	Go    string    `json:"go"`    // go1.26.8
	Began time.Time `json:"began"` // what Counters count from
	At    time.Time `json:"at"`    // when this was true

	Flights  []watch.Flight `json:"flights"`  // the oldest first; never null
	Queues   []watch.Queue  `json:"queues"`   // callers who wait for the cache's lock, by key; never null
	Counters watch.Counters `json:"counters"` // since Began

	Goroutines Goroutines `json:"goroutines"`
	// RunningSpans counts spans that have started and not ended.
	RunningSpans int `json:"running_spans"`
}

// Goroutines says what a process's goroutines wait for.
type Goroutines struct {
	Total int `json:"total"`
	// Aside counts those that Groups leaves out: the runtime's own, and those
	// that serve the debug pages.
	Aside  int            `json:"aside"`
	Groups []stacks.Group `json:"groups"`
}

// State is the process at this moment.
func (p *Pages) State() State {
	now := p.watch.Now()
	s := State{Step: p.step, PID: os.Getpid(), Go: runtime.Version(), Began: p.began, At: now.At,
		Flights: append([]watch.Flight{}, now.Flights...), Queues: append([]watch.Queue{}, now.Queues...),
		Counters: now.Counters, RunningSpans: now.Running}
	s.Goroutines = lookAt("goroutine", nil)
	return s
}

// lookAt groups the goroutines of a profile that keep accepts; nil keeps all.
func lookAt(profile string, keep func(*stacks.Goroutine) bool) Goroutines {
	var dump bytes.Buffer
	_ = pprof.Lookup(profile).WriteTo(&dump, 2) // a buffer takes everything
	all := stacks.Parse(dump.String())
	g := Goroutines{Total: len(all)}
	var shown []stacks.Goroutine
	for i := range all {
		switch {
		case all[i].Aside():
			g.Aside++
		case keep == nil || keep(&all[i]):
			shown = append(shown, all[i])
		}
	}
	g.Groups = append([]stacks.Group{}, stacks.Groups(shown)...)
	return g
}

func (p *Pages) serveState(w http.ResponseWriter, _ *http.Request) { _ = web.JSON(w, p.State()) }

// record sends the last seconds of the runtime's trace. Each span is a task in
// it.
func (p *Pages) record(w http.ResponseWriter, _ *http.Request) {
	if p.recorder == nil {
		http.Error(w, fmt.Sprintf("There is no flight recorder: %v.", p.noTrace), http.StatusServiceUnavailable)
		return
	}
	var b bytes.Buffer
	if _, err := p.recorder.WriteTo(&b); err != nil {
		http.Error(w, fmt.Sprintf("The flight recorder gave nothing: %v. Somebody else may be downloading; try again.", err), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", p.step+".trace"))
	_, _ = w.Write(b.Bytes())
}
