package lab

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"plaque/scripts/internal/caller"
	"plaque/scripts/internal/lesson"
	"plaque/scripts/internal/server"
	"plaque/steps/kit/origin"
	"plaque/steps/kit/youtube"
)

var _ = does((*scene).callPeers)

// callPeers has callers come to every peer.
func (s *scene) callPeers(ctx context.Context, f lesson.Fleet, out *Outcome) error {
	if err := s.fleet.prepare(ctx, f); err != nil {
		return err
	}
	crowd := crowd{}
	defer crowd.leave()
	if f.Elsewhere {
		return s.elsewhere(ctx, f, out, crowd)
	}
	servers := s.fleet.running()
	n := f.Callers * len(servers)
	ctx, end := s.burst(ctx, out, n, n)
	defer end()
	crowd.connect(ctx, servers, f.Callers)
	channel := youtube.DefaultChannel
	if f.Key > 0 {
		channel = numbered(f.Key)
	}
	first := crowd.ask(ctx, servers[0], channel)
	if f.FirstLeaves {
		s.until(ctx, gatherFor, func(st origin.Stats) bool { return st.Waiting == 1 })
	}
	return s.callRest(ctx, f, out, crowd, servers, channel, first)
}

// elsewhere has a caller come first, at a peer that does not own the channel: the
// feed says who does. Where it is the same one, another channel is tried.
func (s *scene) elsewhere(ctx context.Context, f lesson.Fleet, out *Outcome, crowd crowd) error {
	home := s.fleet.peers[0]
	for key := 1; key <= 50; key++ {
		crowd.connect(ctx, s.fleet.running(), f.Callers)
		if err := s.feed.Set(*out.Act.Feed); err != nil {
			return err
		}
		s.counted = origin.Stats{}
		n := f.Callers * len(s.fleet.peers)
		ctx, end := s.burst(ctx, out, n, n)
		first := crowd.ask(ctx, home.server, numbered(key))
		s.until(ctx, gatherFor, func(st origin.Stats) bool { return st.Waiting == 1 })
		owner := s.fleet.loading(s.feed.Stats().Agents)
		if owner == home {
			s.feed.Open()
			<-first.ended
			end()
			continue
		}
		defer end()
		if owner == nil {
			return errors.New("no peer has asked the feed")
		}
		servers := []*server.Server{home.server, owner.server}
		for _, other := range s.fleet.running() {
			if !slices.Contains(servers, other) {
				servers = append(servers, other)
			}
		}
		return s.callRest(ctx, f, out, crowd, servers, numbered(key), first)
	}
	return errors.New("one peer owns 50 channels of 50")
}

// callRest has all callers come but the first, who has, and lets happen what is to
// happen while they wait.
func (s *scene) callRest(ctx context.Context, f lesson.Fleet, out *Outcome, crowd crowd, servers []*server.Server, channel string, first *fleetCall) error {
	gather := func(server *server.Server, n int) {
		parked(ctx, out, n, gatherFleetFor, "inside a peer", inside(server, fleetWay))
	}
	calls := []*fleetCall{first}
	for i, server := range servers {
		for n := range f.Callers {
			if i+n == 0 {
				continue // the first
			}
			calls = append(calls, crowd.ask(ctx, server, channel))
			if f.Elsewhere { // one after the other, so that a picture of them is always the same
				gather(server, n+1)
			}
		}
	}
	if out.Act.Gated() {
		defer s.feed.Open()
		for _, server := range servers {
			gather(server, f.Callers)
		}
	}
	switch {
	case f.FirstLeaves:
		first.hangUp()
		<-first.ended
		calls = calls[1:]
		// The peer lets the caller go, and with it the load if that is the caller's.
		left(ctx, out, f.Callers-1, "inside a peer", inside(servers[0], fleetWay))
		s.until(ctx, seenWithin, func(st origin.Stats) bool { return st.Waiting == 0 })
	case f.Kill:
		if err := s.fleet.kill(s.feed.Stats().Agents); err != nil {
			return err
		}
	}
	if out.Act.Gated() {
		// A peer that gives up on another one begins to load only now.
		loads := 1
		if n := out.Act.Expect.Loads; n != nil {
			loads = *n
		} else if b := out.Act.Expect.LoadsWithin; b != nil {
			loads = b.Max
		}
		s.until(ctx, gatherFor, func(st origin.Stats) bool { return st.Requests >= loads })
		s.feed.Open()
	}
	for _, c := range calls {
		<-c.ended
		out.answered(c.answer)
		out.slowest = max(out.slowest, c.took)
	}
	return nil
}

// seenWithin is how soon the feed sees that a load has been given up.
const seenWithin = 250 * time.Millisecond

// crowd is a fleet's callers that have not asked yet, by the peer whose connection
// they have. What is slow on a busy machine is over then, before the first question
// starts the clock of a load.
type crowd map[*server.Server][]*http.Client

// connect has callers connect to each peer until n are there. One whose connection
// fails asks all the same, and its answer says what happened.
func (c crowd) connect(ctx context.Context, servers []*server.Server, n int) {
	for _, server := range servers {
		came := make([]*http.Client, max(0, n-len(c[server])))
		var connected sync.WaitGroup
		for i := range came {
			connected.Go(func() { came[i] = idle(ctx, server) })
		}
		connected.Wait()
		c[server] = append(c[server], came...)
	}
}

// idle is a caller whose connection the peer has taken. A peer hangs up on a caller
// that is too slow to speak; another one comes then.
func idle(ctx context.Context, server *server.Server) (c *http.Client) {
	for range 5 {
		c = caller.Caller(fleetFor)
		if a := caller.Ask(ctx, c, http.MethodGet, server.URL+alivePath, ""); a.Failed == "" {
			break
		}
	}
	return c
}

// alivePath is where a peer answers without a span.
const alivePath = "/alive"

// fleetCall is a caller that has asked.
type fleetCall struct {
	hangUp func()
	ended  chan struct{} // closed when there are:
	answer caller.Answer
	took   time.Duration
}

// ask has one caller that has not asked yet make its request.
func (c crowd) ask(ctx context.Context, server *server.Server, channel string) *fleetCall {
	last := len(c[server]) - 1
	client := c[server][last]
	c[server] = c[server][:last]
	ctx, hangUp := context.WithCancel(ctx)
	call := &fleetCall{hangUp: hangUp, ended: make(chan struct{})}
	go func() {
		defer hangUp()
		defer client.CloseIdleConnections()
		began := time.Now()
		call.answer = caller.Ask(ctx, client, http.MethodGet, server.URL+"/?channel="+channel, Traceparent(ctx))
		call.took = time.Since(began)
		close(call.ended)
	}()
	return call
}

// leave ends the connections of callers that have not asked.
func (c crowd) leave() {
	for _, clients := range c {
		for _, client := range clients {
			client.CloseIdleConnections()
		}
	}
}
