package lab

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"plaque/scripts/internal/lesson"
	"plaque/scripts/internal/server"
)

// fleetFor is how long a caller of a fleet waits: longer than a peer waits for
// another one and then for a load.
const fleetFor = 25 * time.Second

// gatherFleetFor bounds how long the lab waits for callers to be inside one peer.
const gatherFleetFor = 8 * time.Second

// fleet is a step that runs as several processes. Each is known to the others by
// the address of a proxy before it. So they can be cut from each other, and
// callers and the feed still reach them.
type fleet struct {
	launch server.Launch
	peers  []*peer
}

type peer struct {
	proxy  *proxy
	server *server.Server // nil: killed
}

// startFleet starts n peers and waits until they are up.
func startFleet(ctx context.Context, launch server.Launch, n int) (_ *fleet, err error) {
	f := &fleet{launch: launch}
	defer func() {
		if err != nil {
			f.stop()
		}
	}()
	var urls []string
	for range n {
		proxy, err := newProxy()
		if err != nil {
			return nil, err
		}
		f.peers = append(f.peers, &peer{proxy: proxy})
		urls = append(urls, "http://"+proxy.addr)
	}
	f.launch.Env = []string{"PEERS=" + strings.Join(urls, ",")}
	for _, p := range f.peers {
		if err := f.start(ctx, p); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// start starts a peer, which gets a free port, and leads its proxy there.
func (f *fleet) start(ctx context.Context, p *peer) (err error) {
	launch := f.launch
	launch.Env = append(slices.Clip(launch.Env), "SELF=http://"+p.proxy.addr)
	if p.server, err = server.StartServer(ctx, launch); err == nil {
		p.proxy.lead(strings.TrimPrefix(p.server.URL, "http://"))
	}
	return err
}

// running are the peers that were not killed.
func (f *fleet) running() (servers []*server.Server) {
	for _, p := range f.peers {
		if p.server != nil {
			servers = append(servers, p.server)
		}
	}
	return servers
}

// stop ends all peers and their proxies.
func (f *fleet) stop() {
	for _, s := range f.running() {
		_ = s.Stop()
	}
	f.close()
}

// close ends the proxies. A nil fleet has none.
func (f *fleet) close() {
	if f != nil {
		for _, p := range f.peers {
			p.proxy.close()
		}
	}
}

// prepare does what comes before the callers.
func (f *fleet) prepare(ctx context.Context, a lesson.Fleet) error {
	for _, p := range f.peers {
		if p.server == nil && a.Restart {
			if err := f.start(ctx, p); err != nil {
				return err
			}
		}
		if a.Links != "" {
			if err := p.proxy.set(a.Links); err != nil {
				return err
			}
		}
	}
	return nil
}

// loading is a peer that has asked the feed, by what the feed was told; nil where
// none has.
func (f *fleet) loading(agents map[string]int) *peer {
	for _, p := range f.peers {
		for agent := range agents {
			if strings.HasSuffix(agent, " "+p.proxy.addr) {
				return p
			}
		}
	}
	return nil
}

// kill ends the peer that loads, without a chance to say so.
func (f *fleet) kill(agents map[string]int) error {
	p := f.loading(agents)
	if p == nil || p.server == nil {
		return fmt.Errorf("no peer has asked the feed: %v", agents)
	}
	p.server.Kill()
	p.server = nil
	return nil
}
