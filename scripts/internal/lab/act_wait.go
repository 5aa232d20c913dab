package lab

import (
	"context"
	"time"

	"plaque/scripts/internal/lesson"
)

var _ = does((*scene).wait)

// wait does nothing for a time.
func (s *scene) wait(ctx context.Context, w lesson.Wait, _ *Outcome) error {
	select {
	case <-time.After(time.Duration(w)):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
