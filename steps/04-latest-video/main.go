// Command 04-latest-video serves the newest video of a YouTube channel: see
// video.go.
//
// The claim of step 04: ten requests are ten loads, over one connection, and
// whatever the feed does, no load takes more than 3 s.
package main

import (
	"context"
	"net/http"

	"plaque/steps/kit/process"
	"plaque/steps/kit/web"
	"plaque/steps/kit/youtube"
)

func main() { process.Main("04-latest-video", run) }

func run(ctx context.Context, p *process.Process) error {
	feed, err := p.Feed(ctx)
	if err != nil {
		return err
	}
	videos := &videos{feed, client()}

	mux := http.NewServeMux()
	mux.Handle("GET /{$}", web.Handler(func(w http.ResponseWriter, r *http.Request) error {
		channel, err := youtube.Channel(r)
		if err != nil {
			return err
		}
		id, err := videos.Latest(r.Context(), channel)
		if err != nil {
			return err
		}
		return web.JSON(w, map[string]string{"video_id": youtube.Doomed(id)}) // a bug that the lab can set off
	}))
	return web.Serve(ctx, p.Addr, web.Trace(mux))
}
