// Command 10-resilient serves the newest video of a YouTube channel out of a
// cache that copes with a feed that is down: see package cache for how.
package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"time"

	"plaque/steps/10-resilient/cache"
	"plaque/steps/kit/process"
	"plaque/steps/kit/web"
	"plaque/steps/kit/youtube"
)

var ttl = flag.Duration("ttl", 5*time.Second, "how long an answer is served before the feed is asked again")

func main() { process.Main("10-resilient", run) }

func run(ctx context.Context, p *process.Process) error {
	if *ttl <= 0 {
		return fmt.Errorf("-ttl %v: it must be more than 0", *ttl)
	}
	feed, err := p.Feed(ctx)
	if err != nil {
		return err
	}
	videos := cache.New(*ttl, youtube.NewClient(feed).LatestVideo,
		cache.WithStaleWhileRevalidate(*ttl),        // nobody waits for a refresh
		cache.WithStaleIfError(10*time.Minute),      // an old video is better than none
		cache.WithBackoff(time.Second, time.Minute), // a feed that is down is left alone
		cache.WithJitter(0.1),                       // what came together does not expire together
		cache.WithMaxKeys(1000),                     // an untrusted client cannot fill the memory,
		cache.WithMaxLoads(100),                     // nor start an unlimited number of loads
	)

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
