package web

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/pprof"
)

// ServeDebug answers the debug pages on addr until ctx ends. It returns as soon
// as it listens.
//
// The pages have a server and a mux of their own: a step that is stuck still
// answers here, and nothing of this is reachable at the step's address.
func ServeDebug(ctx context.Context, addr string) error {
	l, err := Listen(addr)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	mux.Handle("GET /{$}", http.RedirectHandler("/debug/pprof/", http.StatusFound))
	server := NewServer(mux)
	server.WriteTimeout = 0 // a CPU profile takes as long as its caller asks
	go func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			slog.ErrorContext(ctx, "debug pages", "error", err)
		}
	}()
	context.AfterFunc(ctx, func() { _ = server.Close() })
	slog.InfoContext(ctx, "debug pages", "url", "http://"+l.Addr().String())
	return nil
}
