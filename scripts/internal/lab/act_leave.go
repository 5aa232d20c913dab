package lab

import (
	"context"

	"plaque/scripts/internal/lesson"
)

var _ = does((*scene).leave)

// leave lets the idle clients leave.
func (s *scene) leave(context.Context, lesson.Leave, *Outcome) error {
	s.silent.leave()
	return nil
}
