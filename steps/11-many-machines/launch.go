package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"plaque/steps/kit/ports"
	"plaque/steps/kit/process"
	"plaque/steps/kit/web"
)

const (
	peers        = 3
	upWithin     = 20 * time.Second // a busy machine is slow to start
	stopWithin   = 5 * time.Second  // a peer stops within 2 s, and flushes its spans within 2 s
	restartAfter = 5 * time.Second

	// patience is how long the round robin waits for an answer. Then it looks
	// whether the peer still runs, and that takes as long at most. A load can
	// take longer than that; a peer that runs says so at once.
	patience = time.Second
	// maxAnswer bounds a peer's answer, in bytes.
	maxAnswer = 64 << 10
)

// launch starts three peers on this machine, and a round robin at ADDR.
func launch(ctx context.Context, p *process.Process) error {
	feed, err := p.Feed(ctx)
	if err != nil {
		return err
	}
	var urls, hosts []string
	for range peers {
		host, err := ports.FreeAddr() // the peer's debug pages are two ports behind it
		if err != nil {
			return err
		}
		hosts, urls = append(hosts, host), append(urls, "http://"+host)
	}
	var running sync.WaitGroup
	defer running.Wait() // they flush their spans before we go
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	for i, host := range hosts {
		env := append(os.Environ(), "ADDR="+host, "FEED_URL="+feed, "SELF="+urls[i], "PEERS="+strings.Join(urls, ","))
		if os.Getenv("LOG_LEVEL") == "" {
			env = append(env, "LOG_LEVEL=warn") // what a peer says of itself, we say below
		}
		running.Go(func() { keepUp(ctx, host, env) })
	}
	if err := allUp(ctx, hosts); err != nil {
		return err
	}
	robin := newRobin(ctx, hosts)
	mux := http.NewServeMux()
	// Callers see one server: what peers say to each other is not for them. The
	// traceparent goes through as it came, so the peer's span is the caller's child.
	mux.Handle("GET /{$}", &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.Out.URL.Scheme = "http" },
		Transport: robin,
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			web.Handler(func(http.ResponseWriter, *http.Request) error {
				return unreachable{fmt.Errorf("no peer answers: %w", err)}
			}).ServeHTTP(w, r)
		},
	})
	err = web.Serve(ctx, p.Addr, mux)
	stop(nil)
	return err
}

// keepUp runs one peer, and starts it again when it has died, until ctx ends.
func keepUp(ctx context.Context, host string, env []string) {
	for ctx.Err() == nil {
		cmd := exec.Command(os.Args[0], os.Args[1:]...)
		cmd.Env, cmd.Stderr = env, os.Stderr
		cmd.WaitDelay = stopWithin
		// A peer ends when this pipe does, and so does not outlive us, whatever
		// we die of.
		stdin, err := cmd.StdinPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			slog.ErrorContext(ctx, "a peer does not start", "peer", host, "error", err)
		} else {
			slog.InfoContext(ctx, "peer", "url", "http://"+host, "pid", cmd.Process.Pid)
			unhook := context.AfterFunc(ctx, func() {
				_ = stdin.Close()
				time.AfterFunc(stopWithin, func() { _ = cmd.Process.Kill() })
			})
			err = cmd.Wait()
			unhook()
		}
		if ctx.Err() == nil && err != nil { // without an error it was told to stop, as we may be in a moment
			slog.WarnContext(ctx, "a peer has ended, and starts again soon", "peer", host, "error", err, "in", restartAfter)
		}
		select {
		case <-ctx.Done():
		case <-time.After(restartAfter):
		}
	}
}

// allUp waits until every peer answers.
func allUp(ctx context.Context, hosts []string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, upWithin, fmt.Errorf("the peers were not up within %v: their logs are above", upWithin))
	defer cancel()
	look := newRobin(ctx, hosts)
	defer look.transport.CloseIdleConnections()
	for _, p := range look.peers {
		for !look.runs(ctx, p) {
			if !pause(ctx, 10*time.Millisecond) {
				if errors.Is(context.Cause(ctx), context.Canceled) {
					return nil // told to stop before we were up
				}
				return context.Cause(ctx)
			}
		}
	}
	return nil
}

// robin sends each request to the next peer. It skips a peer that takes no
// connection: nothing has been said to that one yet. A peer can also have stopped
// without an end, as a process does that is suspended or a machine that hangs:
// its connections stay, and nothing comes. The robin leaves such a peer to itself
// after twice patience. It asks the next one, which may then do the same work
// again, and comes back once the peer answers.
type robin struct {
	ctx       context.Context // of the looks whether a peer answers again
	peers     []*runner
	transport *http.Transport
	next      atomic.Uint64
}

// runner is a peer as the robin sees it.
type runner struct {
	host    string
	stopped atomic.Bool
}

var errStopped = errors.New("the peer takes connections and does not answer")

func newRobin(ctx context.Context, hosts []string) *robin {
	b := &robin{ctx: ctx, transport: &http.Transport{
		DialContext:         (&net.Dialer{Timeout: time.Second}).DialContext,
		MaxIdleConnsPerHost: 100,
		IdleConnTimeout:     time.Minute,
	}}
	for _, host := range hosts {
		b.peers = append(b.peers, &runner{host: host})
	}
	return b
}

func (b *robin) RoundTrip(r *http.Request) (res *http.Response, err error) {
	first := int(b.next.Add(1) % uint64(len(b.peers)))
	var turn, stopped []*runner
	for _, p := range slices.Concat(b.peers[first:], b.peers[:first]) {
		if p.stopped.Load() {
			stopped = append(stopped, p)
		} else {
			turn = append(turn, p)
		}
	}
	for _, p := range append(turn, stopped...) { // where all have stopped, one may be back
		res, err = b.ask(r, p)
		var failed *net.OpError
		if err == nil || r.Context().Err() != nil || !errors.Is(err, errStopped) && (!errors.As(err, &failed) || failed.Op != "dial") {
			break
		}
	}
	return res, err
}

// ask has one peer answer, to the end, for as long as that peer runs.
func (b *robin) ask(r *http.Request, p *runner) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	defer time.AfterFunc(patience, func() {
		for ctx.Err() == nil {
			if !b.runs(ctx, p) && ctx.Err() == nil {
				b.leave(p)
				cancel(errStopped)
			}
			pause(ctx, patience)
		}
	}).Stop()
	out := r.Clone(ctx)
	out.URL.Host = p.host
	res, err := b.transport.RoundTrip(out)
	if err == nil {
		defer res.Body.Close()
		if res.StatusCode == http.StatusSwitchingProtocols { // its body never ends
			return nil, errors.New("the peer answers another protocol")
		}
		defer context.AfterFunc(ctx, func() { _ = res.Body.Close() })()
		var body []byte
		if body, err = io.ReadAll(io.LimitReader(res.Body, maxAnswer+1)); err == nil && len(body) > maxAnswer {
			err = fmt.Errorf("the peer's answer is longer than %d bytes", maxAnswer)
		}
		res.Body = io.NopCloser(bytes.NewReader(body))
	}
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, err
	}
	return res, nil
}

// runs reports whether a peer answers, within patience. An answer of another
// program, which may have the port by now, does not count.
func (b *robin) runs(ctx context.Context, p *runner) bool {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, "http://"+p.host+alivePath, nil)
	if err != nil {
		return false
	}
	res, err := b.transport.RoundTrip(req)
	if err != nil {
		return false
	}
	_ = res.Body.Close()
	return res.Header.Get(nameHeader) == p.host
}

// leave notes that a peer has stopped, and looks from now on whether it is back.
func (b *robin) leave(p *runner) {
	if p.stopped.Swap(true) {
		return
	}
	slog.WarnContext(b.ctx, "a peer takes connections and does not answer: the others are asked", "peer", p.host)
	go func() {
		for pause(b.ctx, patience) {
			if b.runs(b.ctx, p) {
				p.stopped.Store(false)
				slog.InfoContext(b.ctx, "a peer answers again", "peer", p.host)
				return
			}
		}
	}()
}

// pause waits, and reports whether ctx still lives.
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

// unreachable is a 502.
type unreachable struct{ error }

func (unreachable) StatusCode() int { return http.StatusBadGateway }
