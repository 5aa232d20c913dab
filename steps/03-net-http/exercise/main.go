package main

import (
	"context"
	"io"
	"net/http"

	"plaque/steps/kit/process"
	"plaque/steps/kit/web"
)

func main() { process.Main("03-exercise", run) }

func run(ctx context.Context, p *process.Process) error {
	listener, err := web.Listen(p.Addr)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "Hello from plaque!\n") // fails when the caller has gone
	})
	return web.ServeOn(ctx, listener, newServer(web.Trace(mux)))
}
