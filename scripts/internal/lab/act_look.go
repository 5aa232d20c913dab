package lab

import (
	"bytes"
	"context"
	"time"

	"plaque/scripts/internal/lesson"
	"plaque/scripts/internal/look"
)

var _ = does((*scene).look)

// look keeps what the command would print in a pipe.
func (s *scene) look(ctx context.Context, with lesson.Look, out *Outcome) error {
	server := s.server.Inside()
	state, err := server.State(ctx)
	if err != nil {
		return err
	}
	if with == "stacks" {
		var b bytes.Buffer
		look.Stacks(&b, state)
		out.Screen = b.String()
		return nil
	}
	out.Screen, err = look.Twice(ctx, server, state, true, time.Second)
	return err
}
