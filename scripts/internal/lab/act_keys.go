package lab

import (
	"context"
	"fmt"
	"sync"

	"plaque/scripts/internal/caller"
	"plaque/scripts/internal/lesson"
	"plaque/steps/kit/origin"
)

// numbered is one of the channels that have numbers for names.
func numbered(i int) string { return fmt.Sprintf("UC%022d", i) }

var _ = does((*scene).keys)

// keys has each caller ask for a separate channel. A gate opens once all have
// been answered or wait at the feed; where they do not come, it opens after a
// while.
func (s *scene) keys(ctx context.Context, k lesson.Keys, out *Outcome) error {
	ctx, end := s.burst(ctx, out, k.N, k.C)
	defer end()
	n := k.N
	answers := make(chan caller.Answer, n)
	next := make(chan int, n)
	for i := range n {
		next <- i
	}
	close(next)
	var callers sync.WaitGroup
	for range k.C {
		callers.Go(func() {
			for i := range next {
				answers <- ask(ctx, s.url(numbered(i)))
			}
		})
	}
	if out.Act.Gated() {
		s.until(ctx, gatherFor, func(st origin.Stats) bool { return st.Waiting+len(answers) >= n })
		s.feed.Open()
	}
	callers.Wait()
	for range n {
		out.answered(<-answers)
	}
	return nil
}
