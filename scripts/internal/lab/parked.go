package lab

import (
	"context"
	"regexp"

	"plaque/scripts/internal/server"
	"plaque/steps/kit/stacks"
)

var (
	cacheWay = regexp.MustCompile(`/cache\.\(\*Cache\[.*\]\)\.[gG]et$`) // the step's cache: its methods Get and get
	fleetWay = regexp.MustCompile(`/fleet\.\(\*Fleet\)\.Get$`)          // step 11's way in
)

// inside looks how many callers are parked in a server behind that way in: waiting
// for a lock, a flight, a load or another peer.
func inside(s *server.Server, way *regexp.Regexp) func(context.Context) (int, error) {
	return func(ctx context.Context) (int, error) {
		text, err := s.Inside().Profile(ctx, "goroutine", 2)
		return parkedIn(text, way), err
	}
}

// parkedIn counts in a dump.
func parkedIn(dump string, way *regexp.Regexp) int {
	n := 0
	for _, g := range stacks.Parse(dump) {
		if g.Waits() && g.In(way.MatchString) {
			n++
		}
	}
	return n
}
