package main

import (
	"context"
	"net/http"

	"plaque/steps/kit/process"
	"plaque/steps/kit/web"
	"plaque/steps/kit/youtube"
)

func main() { process.Main("04-exercise", run) }

func run(ctx context.Context, p *process.Process) error {
	feed, err := p.Feed(ctx)
	if err != nil {
		return err
	}
	videos := &videos{feedURL: feed, client: youtube.NewHTTPClient()}

	mux := http.NewServeMux()
	mux.Handle("GET /{$}", web.Handler(func(w http.ResponseWriter, r *http.Request) error {
		channel, err := youtube.Channel(r)
		if err != nil {
			return err
		}
		id, err := videos.latest(r.Context(), channel)
		if err != nil {
			return err
		}
		return web.JSON(w, map[string]string{"video_id": id})
	}))
	return web.Serve(ctx, p.Addr, web.Trace(mux))
}
