package lab

import (
	"cmp"
	"context"
	"net/http"

	"plaque/scripts/internal/caller"
	"plaque/scripts/internal/lesson"
)

var _ = does((*scene).get)

// get makes plain requests, one after the other, on one connection.
func (s *scene) get(ctx context.Context, g lesson.Get, out *Outcome) error {
	times := max(1, g.Times)
	ctx, end := s.burst(ctx, out, times, 1)
	defer end()
	c := caller.Caller(callFor)
	defer c.CloseIdleConnections()
	for range times {
		out.answered(caller.Ask(ctx, c, cmp.Or(g.Method, http.MethodGet), s.server.URL+cmp.Or(g.Path, "/"), Traceparent(ctx)))
	}
	return nil
}
