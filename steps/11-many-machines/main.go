// Command 11-many-machines serves the newest video of a YouTube channel from
// several machines, which make one load of what they are asked for together: see
// package fleet for how.
//
// Without PEERS it starts three peers on this machine, each a separate
// process, and a round robin before them. With PEERS and SELF it is one peer.
package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"plaque/steps/10-resilient/cache"
	"plaque/steps/11-many-machines/fleet"
	"plaque/steps/kit/process"
	"plaque/steps/kit/web"
	"plaque/steps/kit/youtube"
)

// maxLoads is how many loads the fleet may run at once.
const maxLoads = 100

var (
	alone   = flag.Bool("alone", false, "each peer loads by itself, as step 10 does")
	ttl     = flag.Duration("ttl", 5*time.Second, "how long an answer is served before the feed is asked again")
	timeout = flag.Duration("timeout", youtube.Timeout, "how long a load may take; give -peer-timeout more")
	// Longer than a load may take: see Config.Timeout.
	peerTimeout = flag.Duration("peer-timeout", youtube.Timeout+time.Second, "how long to wait for another peer's answer")
)

func main() {
	nameInstance()
	process.Main("11-many-machines", run)
}

func run(ctx context.Context, p *process.Process) error {
	if *ttl <= 0 || *timeout <= 0 || *peerTimeout <= 0 {
		return fmt.Errorf("-ttl %v -timeout %v -peer-timeout %v: all are more than 0", *ttl, *timeout, *peerTimeout)
	}
	config, err := readPeers(p.Addr, os.Getenv)
	if err != nil {
		return err
	}
	if config.Peers == nil {
		return launch(ctx, p)
	}
	return serve(ctx, p, config)
}

// serve runs one peer.
func serve(ctx context.Context, p *process.Process, c fleet.Config) error {
	feed, err := p.Feed(ctx)
	if err != nil {
		return err
	}
	name, peers := nameOf(c.Self), len(c.Peers)
	if *alone {
		c.Self = ""
	}
	c.Timeout, c.Key = *peerTimeout, checkKey
	videos, err := fleet.New(c, *ttl, youtube.NewClient(feed).As(name).Within(*timeout).LatestVideo,
		cache.WithStaleWhileRevalidate(*ttl),
		cache.WithStaleIfError(10*time.Minute),
		cache.WithBackoff(time.Second, time.Minute),
		cache.WithJitter(0.1),
		cache.WithMaxKeys(1000),
		cache.WithMaxLoads(max(1, maxLoads/peers)), // so that the fleet as a whole keeps step 10's bound
	)
	if err != nil {
		return err
	}

	mux := http.NewServeMux()
	mux.Handle("GET "+fleet.Path, videos.Handler())
	mux.Handle("GET /{$}", web.Handler(func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set(nameHeader, name)
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
	traced := web.Trace(mux)
	return web.Serve(ctx, p.Addr, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == alivePath {
			w.Header().Set(nameHeader, name)
			return // 200, without a span: the round robin asks as often as it likes
		}
		traced.ServeHTTP(w, r)
	}))
}

const (
	// alivePath answers as long as a peer runs, whatever its loads do.
	alivePath  = "/alive"
	nameHeader = "X-Served-By" // the name of the peer that answers
)

// nameOf is what a peer is called in answers, to the feed and in spans.
func nameOf(self string) string { return strings.TrimPrefix(self, "http://") }

// checkKey says what is wrong with a channel's id.
func checkKey(key string) error {
	_, err := youtube.Channel(&http.Request{URL: &url.URL{RawQuery: "channel=" + url.QueryEscape(key)}})
	return err
}
