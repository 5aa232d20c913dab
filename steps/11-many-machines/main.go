// Command 11-many-machines serves the newest video of a YouTube channel from
// several machines, which make one load of what they are asked for together: see
// package fleet for how.
//
// Without PEERS it starts three peers on this machine, each a process of its
// own, and a round robin before them. With PEERS and SELF it is one peer.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"plaque/steps/11-many-machines/cache"
	"plaque/steps/11-many-machines/fleet"
	"plaque/steps/kit/process"
	"plaque/steps/kit/web"
	"plaque/steps/kit/youtube"
)

// maxLoads is how many loads the fleet may run at once.
const maxLoads = 100

var (
	alone = flag.Bool("alone", false, "each peer loads by itself, as step 10 does")
	ttl   = flag.Duration("ttl", 5*time.Second, "how long an answer is served before the feed is asked again")
	// Longer than a load may take: see Config.Timeout.
	peerTimeout = flag.Duration("peer-timeout", youtube.Timeout+time.Second, "how long to wait for another peer's answer")
)

func main() { process.Main("11-many-machines", run) }

func run(ctx context.Context, p *process.Process) error {
	if *ttl <= 0 || *peerTimeout <= 0 {
		return fmt.Errorf("-ttl %v -peer-timeout %v: both are more than 0", *ttl, *peerTimeout)
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
	name, peers := strings.TrimPrefix(c.Self, "http://"), len(c.Peers)
	if *alone {
		c.Self = ""
	}
	c.Timeout, c.Key = *peerTimeout, checkKey
	videos := fleet.New(c, *ttl, youtube.NewClient(feed).As(name).LatestVideo,
		cache.WithStaleWhileRevalidate(*ttl),
		cache.WithStaleIfError(10*time.Minute),
		cache.WithBackoff(time.Second, time.Minute),
		cache.WithJitter(0.1),
		cache.WithMaxKeys(1000),
		cache.WithMaxLoads(max(1, maxLoads/peers)), // so that the fleet as a whole keeps step 10's bound
	)

	mux := http.NewServeMux()
	mux.Handle("GET "+fleet.Path, videos.Handler())
	mux.Handle("GET /{$}", web.Handler(func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("X-Served-By", name)
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

// checkKey says what is wrong with a channel's id.
func checkKey(key string) error {
	_, err := youtube.Channel(&http.Request{URL: &url.URL{RawQuery: "channel=" + url.QueryEscape(key)}})
	return err
}

// readPeers reads PEERS, SELF and PEER_SECRET. Without PEERS the Config has none.
// An error names the variable and how to write it.
func readPeers(addr string, getenv func(string) string) (fleet.Config, error) {
	peers, self := getenv("PEERS"), getenv("SELF")
	c := fleet.Config{Self: self, Secret: getenv("PEER_SECRET")}
	if peers == "" && self == "" {
		return c, nil
	}
	open := "" // an address that others can reach
	if host, _, _ := net.SplitHostPort(addr); !loopback(host) {
		open = "ADDR=" + addr
	}
	for peer := range strings.SplitSeq(peers, ",") {
		peer = strings.TrimSpace(peer)
		u, err := url.Parse(peer)
		switch {
		case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Scheme+"://"+u.Host != peer:
			return c, fmt.Errorf("PEERS: %q is no peer's URL: write them all like PEERS=http://10.0.0.1:3779,http://10.0.0.2:3779, with commas between and nothing behind the port", peer)
		case slices.Contains(c.Peers, peer):
			return c, fmt.Errorf("PEERS: %s is there twice", peer)
		case !loopback(u.Hostname()):
			open = peer
		}
		c.Peers = append(c.Peers, peer)
	}
	switch {
	case !slices.Contains(c.Peers, self):
		return c, fmt.Errorf("SELF=%q is none of PEERS=%s: say which of them this process is, in the same letters", self, peers)
	case c.Secret == "" && open != "":
		return c, fmt.Errorf("%s can be reached from other machines: set PEER_SECRET to the same 16 letters or more on every peer, so that a stranger is not taken for one", open)
	case c.Secret != "" && len(c.Secret) < 16:
		return c, fmt.Errorf("PEER_SECRET has %d letters: take 16 or more", len(c.Secret))
	}
	return c, nil
}

// loopback reports whether only this machine can reach a host.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
