package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"plaque/steps/kit/process"
	"plaque/steps/kit/web"
)

const (
	peers        = 3
	upWithin     = 20 * time.Second // a busy machine is slow to start
	stopWithin   = 5 * time.Second  // a peer stops within 2 s, and flushes its spans within 2 s
	restartAfter = 5 * time.Second
)

// launch starts three peers on this machine, and a round robin at ADDR.
func launch(ctx context.Context, p *process.Process) error {
	feed, err := p.Feed(ctx)
	if err != nil {
		return err
	}
	var urls, hosts []string
	for range peers {
		host, err := freeAddr()
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
	robin := &robin{hosts: hosts, transport: &http.Transport{
		DialContext:         (&net.Dialer{Timeout: time.Second}).DialContext,
		MaxIdleConnsPerHost: 100,
		IdleConnTimeout:     time.Minute,
	}}
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

// allUp waits until every peer takes connections.
func allUp(ctx context.Context, hosts []string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, upWithin, fmt.Errorf("the peers were not up within %v: what they say is above", upWithin))
	defer cancel()
	for _, host := range hosts {
		for {
			conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", host)
			if err == nil {
				_ = conn.Close()
				break
			}
			select {
			case <-ctx.Done():
				if errors.Is(context.Cause(ctx), context.Canceled) {
					return nil // told to stop before we were up
				}
				return context.Cause(ctx)
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	return nil
}

// freeAddr is an address of 127.0.0.1 that nobody uses now, nor the one two ports
// behind it, where a peer has its debug pages.
func freeAddr() (string, error) {
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		host := l.Addr().String()
		_, text, _ := net.SplitHostPort(host)
		port, _ := strconv.Atoi(text)
		debug, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+2))
		_ = l.Close()
		if err == nil {
			_ = debug.Close()
			return host, nil
		}
	}
	return "", errors.New("there is no free port on 127.0.0.1 with another two behind it")
}

// robin sends each request to the next peer. One that takes no connection is
// skipped: nothing has been said to it yet.
type robin struct {
	hosts     []string
	transport *http.Transport
	next      atomic.Uint64
}

func (b *robin) RoundTrip(r *http.Request) (res *http.Response, err error) {
	n := b.next.Add(1)
	for i := range b.hosts {
		out := r.Clone(r.Context())
		out.URL.Host = b.hosts[(n+uint64(i))%uint64(len(b.hosts))]
		res, err = b.transport.RoundTrip(out)
		var failed *net.OpError
		if err == nil || r.Context().Err() != nil || !errors.As(err, &failed) || failed.Op != "dial" {
			break
		}
	}
	return res, err
}

// unreachable is a 502.
type unreachable struct{ error }

func (unreachable) StatusCode() int { return http.StatusBadGateway }
