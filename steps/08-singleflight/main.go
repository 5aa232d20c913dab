// This command serves the newest video of a YouTube channel out of a
// cache: see package cache for what is wrong with it.
package main

import (
	"context"
	"net/http"
	"time"

	"plaque/steps/08-singleflight/cache"
	"plaque/steps/kit/process"
	"plaque/steps/kit/web"
	"plaque/steps/kit/youtube"
)

// ttl is how long an answer is served before the feed is asked again.
const ttl = 5 * time.Second

func main() { process.Main("08-singleflight", run) }

func run(ctx context.Context, p *process.Process) error {
	feed, err := p.Feed(ctx)
	if err != nil {
		return err
	}
	videos := cache.New(ttl, youtube.NewClient(feed).LatestVideo)

	mux := http.NewServeMux()
	mux.Handle("GET /{$}", web.Handler(func(w http.ResponseWriter, r *http.Request) error {
		channel, err := youtube.Channel(r)
		if err != nil {
			return err
		}
		id, err := videos.Get(r.Context(), channel)
		if err != nil {
			return err
		}
		return web.JSON(w, map[string]string{"video_id": id})
	}))
	return web.Serve(ctx, p.Addr, web.Trace(mux))
}
