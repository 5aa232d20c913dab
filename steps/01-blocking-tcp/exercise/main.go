package main

import (
	"context"
	"log/slog"

	"plaque/steps/kit/process"
	"plaque/steps/kit/web"
)

func main() { process.Main("01-exercise", run) }

func run(ctx context.Context, p *process.Process) error {
	listener, err := web.Listen(p.Addr)
	if err != nil {
		return err
	}
	slog.InfoContext(ctx, "listening", "url", "http://"+listener.Addr().String())
	return serve(ctx, listener)
}
