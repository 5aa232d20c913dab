package lab

import (
	"context"

	"plaque/scripts/internal/lesson"
)

var _ = does((*scene).hey)

// hey runs a burst, and opens the feed's gate once the callers are inside.
func (s *scene) hey(ctx context.Context, h lesson.Hey, out *Outcome) error {
	// Requests are 0, unknown, where it goes on for a time.
	ctx, end := s.burst(ctx, out, h.Requests, h.Concurrency)
	defer end()
	opened := make(chan struct{})
	go func() {
		defer close(opened)
		if out.Act.Callers > 0 {
			s.gathered(ctx, out, out.Act.Callers)
			s.feed.Open()
		}
	}()
	report, answers, err := runHey(ctx, s.heyBin, h, Traceparent(ctx), s.server.URL)
	<-opened
	out.Hey, out.Answers = report, answers
	return err
}
