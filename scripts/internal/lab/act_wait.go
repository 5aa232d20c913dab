package lab

import (
	"context"
	"time"

	"plaque/scripts/internal/lesson"
)

var _ = does((*scene).wait)

// wait does nothing for a time.
func (s *scene) wait(ctx context.Context, d lesson.Wait, _ *Outcome) error {
	return pause(ctx, time.Duration(d))
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
