package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"plaque/scripts/internal/caller"
	"plaque/scripts/internal/lesson"
	"plaque/scripts/internal/server"
	"plaque/steps/kit/origin"
	"plaque/steps/kit/youtube"
)

// fleetFor is how long a caller of a fleet waits: longer than a peer waits for
// another one and then for a load.
const fleetFor = 12 * time.Second

// fleet is a step that runs as several processes. Each is known to the others by
// the address of a proxy before it, so they can be cut from each other while
// callers and the feed reach them all the same.
type fleet struct {
	launch server.Launch
	peers  []*peer
}

type peer struct {
	proxy  *proxy
	server *server.Server // nil: killed
}

// name is what the peer tells the feed.
func (p *peer) name() string { return p.proxy.addr }

// startFleet starts n peers and waits until they are up.
func startFleet(ctx context.Context, launch server.Launch, n int) (*fleet, error) {
	f := &fleet{launch: launch}
	var urls []string
	for range n {
		proxy, err := newProxy()
		if err != nil {
			f.stop()
			return nil, err
		}
		f.peers = append(f.peers, &peer{proxy: proxy})
		urls = append(urls, "http://"+proxy.addr)
	}
	f.launch.Env = append(slices.Clone(launch.Env), "PEERS="+strings.Join(urls, ","))
	for _, p := range f.peers {
		if err := f.start(ctx, p); err != nil {
			f.stop()
			return nil, err
		}
	}
	return f, nil
}

// start starts a peer, which gets a free port, and leads its proxy there.
func (f *fleet) start(ctx context.Context, p *peer) (err error) {
	launch := f.launch
	launch.Env = append(slices.Clone(launch.Env), "SELF=http://"+p.proxy.addr)
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
			if strings.HasSuffix(agent, " "+p.name()) {
				return p
			}
		}
	}
	return nil
}

// kill ends the peer that loads, without a word.
func (f *fleet) kill(agents map[string]int) error {
	p := f.loading(agents)
	if p == nil || p.server == nil {
		return fmt.Errorf("no peer has asked the feed: %v", agents)
	}
	p.server.Kill()
	p.server = nil
	return nil
}

// fleetChannel is the channel that a fleet's callers ask for.
func fleetChannel(key int) string {
	if key == 0 {
		return youtube.DefaultChannel
	}
	return fmt.Sprintf("UC%022d", key)
}

// fleetCall is a caller's answer.
type fleetCall struct {
	answer string
	took   time.Duration
}

// callFleet has callers come to every peer at once, and lets happen what is to
// happen while they wait.
func (s *scene) callFleet(ctx context.Context, a lesson.Act, act *Act, channel string) error {
	servers := s.fleet.running()
	first, hangUp := context.WithCancel(ctx)
	defer hangUp()
	var leaver <-chan fleetCall
	if a.Fleet.FirstLeaves {
		leaver = fleetAsk(first, servers[0], channel)
		s.until(ctx, gatherFor, func(st origin.Stats) bool { return st.Waiting == 1 })
	}
	return s.callRest(ctx, a, act, servers, channel, leaver, hangUp)
}

// elsewhere has a caller come first, at a peer that does not own the channel: the
// feed says who does. Where it is the same one, another channel is tried.
func (s *scene) elsewhere(ctx context.Context, a lesson.Act, act *Act) error {
	home := s.fleet.peers[0]
	for key := 1; key <= 50; key++ {
		if err := s.feed.Set(*a.Feed); err != nil {
			return err
		}
		s.counted = origin.Stats{}
		n := a.Fleet.Callers * len(s.fleet.peers)
		under, burst := startBurst(ctx, s.tracer, s.step.Step, n, n)
		first := fleetAsk(under, home.server, fleetChannel(key))
		s.until(ctx, gatherFor, func(st origin.Stats) bool { return st.Waiting == 1 })
		owner := s.fleet.loading(s.feed.Stats().Agents)
		if owner == nil {
			burst.End()
			return errors.New("no peer has asked the feed")
		}
		if owner == home {
			s.feed.Open()
			<-first
			burst.End()
			continue
		}
		act.TraceID, act.from = burst.SpanContext().TraceID().String(), time.Now()
		servers := []*server.Server{home.server, owner.server}
		for _, other := range s.fleet.running() {
			if !slices.Contains(servers, other) {
				servers = append(servers, other)
			}
		}
		err := s.callRest(under, a, act, servers, fleetChannel(key), first, nil)
		burst.End()
		return err
	}
	return errors.New("one peer owns 50 channels of 50")
}

// callRest has all callers come but a first one that has, if it is not nil. With
// hangUp that one leaves.
func (s *scene) callRest(ctx context.Context, a lesson.Act, act *Act, servers []*server.Server, channel string, first <-chan fleetCall, hangUp func()) error {
	var calls []<-chan fleetCall
	called := 0 // at the peers before
	for i, server := range servers {
		n := a.Fleet.Callers
		if i == 0 && first != nil {
			n--
		}
		for range n {
			calls = append(calls, fleetAsk(ctx, server, channel))
			if a.Fleet.Elsewhere { // one after the other, so that a picture of them is always the same
				parked(ctx, act, a.Fleet.Callers-n+len(calls)-called, 2*gatherFor, "inside a peer", func(ctx context.Context) (int, error) { return inFleet(ctx, server) })
			}
		}
		called = len(calls)
	}
	if a.Feed != nil && a.Feed.Gate {
		defer s.feed.Open()
		for _, server := range servers {
			parked(ctx, act, a.Fleet.Callers, 2*gatherFor, "inside a peer", func(ctx context.Context) (int, error) { return inFleet(ctx, server) })
		}
	}
	switch {
	case a.Fleet.FirstLeaves:
		hangUp()
		<-first
		first = nil
		// Where it takes the load along, that shows at the feed.
		s.until(ctx, heldFor, func(st origin.Stats) bool { return st.Waiting == 0 })
	case a.Fleet.Kill:
		if err := s.fleet.kill(s.feed.Stats().Agents); err != nil {
			return err
		}
	}
	if a.Feed != nil && a.Feed.Gate {
		// Who gives up on another peer begins to load only now.
		loads := 1
		if n := a.Expect.Loads; n != nil {
			loads = *n
		} else if b := a.Expect.LoadsWithin; b != nil {
			loads = b.Max
		}
		s.until(ctx, gatherFor, func(st origin.Stats) bool { return st.Requests >= loads })
		s.feed.Open()
	}
	if first != nil {
		calls = append(calls, first)
	}
	for _, c := range calls {
		got := <-c
		act.Answers[got.answer]++
		act.slowest = max(act.slowest, got.took)
	}
	return nil
}

// fleetAsk makes one request at a peer, on a connection of its own.
func fleetAsk(ctx context.Context, server *server.Server, channel string) <-chan fleetCall {
	ended := make(chan fleetCall, 1)
	go func() {
		c := caller.Caller(fleetFor)
		defer c.CloseIdleConnections()
		began := time.Now()
		answer := call(ctx, c, http.MethodGet, server.URL+"/?channel="+channel)
		ended <- fleetCall{answer, time.Since(began)}
	}()
	return ended
}

// proxy is a way to a peer that can be cut.
type proxy struct {
	addr string

	mu       sync.Mutex // protects what follows
	listener net.Listener
	target   string // "": nowhere yet
	hole     bool   // it takes connections, and nothing comes through
	conns    map[net.Conn]bool
}

func newProxy() (*proxy, error) {
	addr, err := server.FreeAddr()
	if err != nil {
		return nil, err
	}
	p := &proxy{addr: addr, conns: map[net.Conn]bool{}}
	return p, p.set("whole")
}

// lead leads the proxy to a peer's own address.
func (p *proxy) lead(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
	p.hangUp()
}

// set says what becomes of connections from now on: one of lesson.Links. Those
// that there are end.
func (p *proxy) set(links string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hangUp()
	p.hole = links == "black hole"
	if links == "refused" {
		if p.listener != nil {
			_ = p.listener.Close()
			p.listener = nil
		}
		return nil
	}
	if p.listener != nil {
		return nil
	}
	l, err := net.Listen("tcp", p.addr)
	if err != nil {
		return err
	}
	p.listener = l
	go p.serve(l)
	return nil
}

// hangUp ends all connections. The caller holds mu.
func (p *proxy) hangUp() {
	for c := range p.conns {
		_ = c.Close()
	}
	clear(p.conns)
}

func (p *proxy) close() { _ = p.set("refused") }

func (p *proxy) serve(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go p.pass(c)
	}
}

// pass leads one connection through.
func (p *proxy) pass(from net.Conn) {
	p.mu.Lock()
	target, hole := p.target, p.hole
	p.conns[from] = true
	p.mu.Unlock()
	defer p.end(from)
	if hole {
		_, _ = io.Copy(io.Discard, from) // until it is ended
		return
	}
	to, err := net.DialTimeout("tcp", target, time.Second)
	if err != nil {
		return
	}
	defer p.end(to)
	p.mu.Lock()
	cut := !p.conns[from]
	if !cut {
		p.conns[to] = true
	}
	p.mu.Unlock()
	if cut {
		return
	}
	done := make(chan struct{})
	go func() {
		_, _ = io.Copy(to, from)
		p.end(to)
		close(done)
	}()
	_, _ = io.Copy(from, to)
	p.end(from)
	<-done
}

func (p *proxy) end(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
	_ = c.Close()
}
