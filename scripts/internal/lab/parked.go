package lab

import (
	"context"
	"plaque/scripts/internal/server"
	"plaque/steps/kit/stacks"
	"regexp"
)

// cacheWay is the step's cache: its methods Get and get.
var cacheWay = regexp.MustCompile(`/cache\.\(\*Cache\[.*\]\)\.[gG]et$`)

// fleetWay is step 11's way in.
var fleetWay = regexp.MustCompile(`/fleet\.\(\*Fleet\)\.Get$`)

// inCache is how many callers are parked inside the step's cache: in Get,
// waiting for a lock, a flight or a load.
func inCache(ctx context.Context, s *server.Server) (int, error) {
	text, err := s.Inside().Profile(ctx, "goroutine", 2)
	if err != nil {
		return 0, err
	}
	return parkedInGet(text), nil
}

// inFleet is how many callers wait inside the step's fleet.
func inFleet(ctx context.Context, s *server.Server) (int, error) {
	text, err := s.Inside().Profile(ctx, "goroutine", 2)
	return parkedIn(text, fleetWay), err
}

// parkedInGet counts in a dump.
func parkedInGet(dump string) int { return parkedIn(dump, cacheWay) }

func parkedIn(dump string, way *regexp.Regexp) int {
	n := 0
	for _, g := range stacks.Parse(dump) {
		if g.Waits() && g.In(way.MatchString) {
			n++
		}
	}
	return n
}
