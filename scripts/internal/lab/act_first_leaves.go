package lab

import (
	"context"

	"plaque/scripts/internal/caller"
	"plaque/scripts/internal/lesson"
	"plaque/steps/kit/origin"
	"plaque/steps/kit/youtube"
)

var _ = does((*scene).firstLeaves)

// firstLeaves has one caller start a load, others join, and the first hang up.
// The answers are those of the others.
func (s *scene) firstLeaves(ctx context.Context, others lesson.FirstLeaves, out *Outcome) error {
	n := int(others)
	ctx, end := s.burst(ctx, out, n+1, n+1)
	defer end()
	if err := s.tell(out, origin.Script{Gate: true}); err != nil {
		return err
	}
	defer s.feed.Open()
	home := s.url(youtube.DefaultChannel)
	leader, hangUp := context.WithCancel(ctx)
	defer hangUp()
	gone := asking(leader, home)
	s.until(ctx, gatherFor, func(st origin.Stats) bool { return st.Waiting == 1 })

	joined := make([]<-chan caller.Answer, n)
	for i := range joined {
		joined[i] = asking(ctx, home)
	}
	s.gathered(ctx, out, n+1)
	hangUp()
	<-gone
	// Where the leader takes its load along, that shows at the feed. Where it
	// does not, nothing shows, and a second is long enough to be sure.
	s.until(ctx, heldFor, func(st origin.Stats) bool { return st.Waiting == 0 })
	s.feed.Open()
	for _, o := range joined {
		out.answered(<-o)
	}
	return nil
}
