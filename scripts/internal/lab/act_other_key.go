package lab

import (
	"context"
	"time"

	"plaque/scripts/internal/lesson"
	"plaque/steps/kit/origin"
	"plaque/steps/kit/youtube"
)

// otherChannel is the key B; A is youtube.DefaultChannel.
const otherChannel = "UCBBBBBBBBBBBBBBBBBBBBBB"

var _ = does((*scene).otherKey)

// otherKey asks for B, which is remembered, while A's load is held.
func (s *scene) otherKey(ctx context.Context, _ lesson.OtherKey, out *Outcome) error {
	ctx, end := s.burst(ctx, out, 3, 2)
	defer end()
	a, b := s.url(youtube.DefaultChannel), s.url(otherChannel)
	out.answered(ask(ctx, b))
	if err := s.tell(out, origin.Script{Gate: true, Channel: youtube.DefaultChannel}); err != nil {
		return err
	}
	defer s.feed.Open()
	first := asking(ctx, a)
	s.until(ctx, gatherFor, func(st origin.Stats) bool { return st.Waiting == 1 })
	second := asking(ctx, b)
	select {
	case answer := <-second:
		out.otherKey = lesson.AtOnce
		out.answered(answer)
		s.feed.Open()
	case <-time.After(heldFor):
		out.otherKey = lesson.AfterA
		s.feed.Open()
		out.answered(<-second)
	}
	out.answered(<-first)
	return nil
}
