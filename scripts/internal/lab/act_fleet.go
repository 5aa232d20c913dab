package lab

import (
	"context"
	"errors"
	"fmt"
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
	if f.Elsewhere {
		return s.elsewhere(ctx, f, out)
	}
	n := f.Callers * len(s.fleet.running())
	ctx, end := s.burst(ctx, out, n, n)
	defer end()
	return s.callFleet(ctx, f, out, fleetChannel(f.Key))
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
func (s *scene) callFleet(ctx context.Context, f lesson.Fleet, out *Outcome, channel string) error {
	servers := s.fleet.running()
	crowd := crowd{}
	defer crowd.leave()
	crowd.connect(ctx, servers, f.Callers)
	first, hangUp := context.WithCancel(ctx)
	defer hangUp()
	var leaver <-chan fleetCall
	if f.FirstLeaves {
		leaver = crowd.ask(first, servers[0], channel)
		s.until(ctx, gatherFor, func(st origin.Stats) bool { return st.Waiting == 1 })
	}
	return s.callRest(ctx, f, out, crowd, servers, channel, leaver, hangUp)
}

// elsewhere has a caller come first, at a peer that does not own the channel: the
// feed says who does. Where it is the same one, another channel is tried.
func (s *scene) elsewhere(ctx context.Context, f lesson.Fleet, out *Outcome) error {
	home := s.fleet.peers[0]
	crowd := crowd{}
	defer crowd.leave()
	for key := 1; key <= 50; key++ {
		crowd.connect(ctx, s.fleet.running(), f.Callers)
		if err := s.feed.Set(*out.Act.Feed); err != nil {
			return err
		}
		s.counted = origin.Stats{}
		n := f.Callers * len(s.fleet.peers)
		under, burst := startBurst(ctx, s.tracer, s.step.Step, n, n)
		first := crowd.ask(under, home.server, fleetChannel(key))
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
		out.TraceID, out.from = burst.SpanContext().TraceID().String(), time.Now()
		servers := []*server.Server{home.server, owner.server}
		for _, other := range s.fleet.running() {
			if !slices.Contains(servers, other) {
				servers = append(servers, other)
			}
		}
		err := s.callRest(under, f, out, crowd, servers, fleetChannel(key), first, nil)
		burst.End()
		return err
	}
	return errors.New("one peer owns 50 channels of 50")
}

// callRest has all callers come but a first one that has, if it is not nil. With
// hangUp that one leaves.
func (s *scene) callRest(ctx context.Context, f lesson.Fleet, out *Outcome, crowd crowd, servers []*server.Server, channel string, first <-chan fleetCall, hangUp func()) error {
	var calls []<-chan fleetCall
	called := 0 // at the peers before
	for i, server := range servers {
		n := f.Callers
		if i == 0 && first != nil {
			n--
		}
		for range n {
			calls = append(calls, crowd.ask(ctx, server, channel))
			if f.Elsewhere { // one after the other, so that a picture of them is always the same
				parked(ctx, out, f.Callers-n+len(calls)-called, gatherFleetFor, "inside a peer", func(ctx context.Context) (int, error) { return inFleet(ctx, server) })
			}
		}
		called = len(calls)
	}
	if out.gated() {
		defer s.feed.Open()
		for _, server := range servers {
			parked(ctx, out, f.Callers, gatherFleetFor, "inside a peer", func(ctx context.Context) (int, error) { return inFleet(ctx, server) })
		}
	}
	switch {
	case f.FirstLeaves:
		hangUp()
		<-first
		first = nil
		// The peer lets the caller go, and with it the load if that is the caller's.
		left(ctx, out, f.Callers-1, "inside a peer", func(ctx context.Context) (int, error) { return inFleet(ctx, servers[0]) })
		s.until(ctx, seenWithin, func(st origin.Stats) bool { return st.Waiting == 0 })
	case f.Kill:
		if err := s.fleet.kill(s.feed.Stats().Agents); err != nil {
			return err
		}
	}
	if out.gated() {
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
	if first != nil {
		calls = append(calls, first)
	}
	for _, c := range calls {
		got := <-c
		out.Answers[got.answer]++
		out.slowest = max(out.slowest, got.took)
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

// ask has one caller that has not asked yet make its request.
func (c crowd) ask(ctx context.Context, server *server.Server, channel string) <-chan fleetCall {
	last := len(c[server]) - 1
	client := c[server][last]
	c[server] = c[server][:last]
	ended := make(chan fleetCall, 1)
	go func() {
		defer client.CloseIdleConnections()
		began := time.Now()
		answer := call(ctx, client, http.MethodGet, server.URL+"/?channel="+channel)
		ended <- fleetCall{answer, time.Since(began)}
	}()
	return ended
}

// leave ends the connections of callers that have not asked.
func (c crowd) leave() {
	for _, clients := range c {
		for _, client := range clients {
			client.CloseIdleConnections()
		}
	}
}
