package lab

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
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
	first, hangUp := context.WithCancel(ctx)
	defer hangUp()
	var leaver <-chan fleetCall
	if f.FirstLeaves {
		leaver = fleetAsk(first, servers[0], channel)
		s.until(ctx, gatherFor, func(st origin.Stats) bool { return st.Waiting == 1 })
	}
	return s.callRest(ctx, f, out, servers, channel, leaver, hangUp)
}

// elsewhere has a caller come first, at a peer that does not own the channel: the
// feed says who does. Where it is the same one, another channel is tried.
func (s *scene) elsewhere(ctx context.Context, f lesson.Fleet, out *Outcome) error {
	home := s.fleet.peers[0]
	for key := 1; key <= 50; key++ {
		if err := s.feed.Set(*out.Act.Feed); err != nil {
			return err
		}
		s.counted = origin.Stats{}
		n := f.Callers * len(s.fleet.peers)
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
		out.TraceID, out.from = burst.SpanContext().TraceID().String(), time.Now()
		servers := []*server.Server{home.server, owner.server}
		for _, other := range s.fleet.running() {
			if !slices.Contains(servers, other) {
				servers = append(servers, other)
			}
		}
		err := s.callRest(under, f, out, servers, fleetChannel(key), first, nil)
		burst.End()
		return err
	}
	return errors.New("one peer owns 50 channels of 50")
}

// callRest has all callers come but a first one that has, if it is not nil. With
// hangUp that one leaves.
func (s *scene) callRest(ctx context.Context, f lesson.Fleet, out *Outcome, servers []*server.Server, channel string, first <-chan fleetCall, hangUp func()) error {
	var calls []<-chan fleetCall
	called := 0 // at the peers before
	for i, server := range servers {
		n := f.Callers
		if i == 0 && first != nil {
			n--
		}
		for range n {
			calls = append(calls, fleetAsk(ctx, server, channel))
			if f.Elsewhere { // one after the other, so that a picture of them is always the same
				parked(ctx, out, f.Callers-n+len(calls)-called, 2*gatherFor, "inside a peer", func(ctx context.Context) (int, error) { return inFleet(ctx, server) })
			}
		}
		called = len(calls)
	}
	if out.gated() {
		defer s.feed.Open()
		for _, server := range servers {
			parked(ctx, out, f.Callers, 2*gatherFor, "inside a peer", func(ctx context.Context) (int, error) { return inFleet(ctx, server) })
		}
	}
	switch {
	case f.FirstLeaves:
		hangUp()
		<-first
		first = nil
		// Where it takes the load along, that shows at the feed.
		s.until(ctx, heldFor, func(st origin.Stats) bool { return st.Waiting == 0 })
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
