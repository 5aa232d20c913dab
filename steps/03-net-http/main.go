package main

import (
	"context"

	"plaque/steps/kit/process"
	"plaque/steps/kit/web"
)

func main() { process.Main("03-net-http", run) }

func run(ctx context.Context, p *process.Process) error {
	listener, err := web.Listen(p.Addr)
	if err != nil {
		return err
	}
	return web.ServeOn(ctx, listener, newServer(newHandler()))
}
