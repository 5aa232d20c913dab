// Command feed is the stand-in feed as a separate program, for peers that run in
// containers or on several machines. It listens at ADDR. A step by itself needs no
// such program: it starts the same feed in its own process.
package main

import (
	"context"

	"plaque/steps/kit/origin"
	"plaque/steps/kit/process"
	"plaque/steps/kit/web"
)

func main() {
	process.Main("feed", func(ctx context.Context, p *process.Process) error {
		return web.Serve(ctx, p.Addr, origin.New(p.Telemetry.For("feed")))
	})
}
