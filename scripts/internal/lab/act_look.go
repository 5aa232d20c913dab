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
	state, err := look.State(ctx, s.server.Debug)
	if err != nil {
		return err
	}
	if with == "stacks" {
		var b bytes.Buffer
		look.Stacks(&b, state)
		out.Screen = b.String()
		return nil
	}
	// What happens in a second takes two looks.
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	before := state
	if state, err = look.State(ctx, s.server.Debug); err != nil {
		return err
	}
	v := look.View{Before: before, Last: state, HasCache: true}
	out.Screen = v.Frame(0, 0)
	return nil
}
