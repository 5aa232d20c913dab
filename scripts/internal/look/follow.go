package look

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"plaque/steps/kit/debug"
)

// Follow draws v on a terminal of that size, and what asking brings, until ctx
// ends. When it returns the terminal is as it was.
func Follow(ctx context.Context, screen io.Writer, v *View, every time.Duration, size func() (columns, lines int), ask func() (*debug.State, error)) {
	// The other screen, without a cursor; and back, whatever happens.
	fmt.Fprint(screen, "\x1b[?1049h\x1b[?25l")
	defer fmt.Fprint(screen, "\x1b[?25h\x1b[?1049l")
	answered := time.Now()
	for {
		v.At = time.Now()
		draw(screen, v.Frame(size()))
		if !pause(ctx, every) {
			return
		}
		switch s, err := ask(); {
		case ctx.Err() != nil:
			return
		case err == nil:
			v.Before, v.Last = v.Last, s
			v.Silent, v.Why = time.Time{}, nil
			answered = time.Now()
		default:
			v.Silent, v.Why = answered, err
		}
	}
}

// draw writes a picture over the last one: a screen that was wiped first would
// flicker. Behind the last line there is no line feed, which would scroll.
func draw(w io.Writer, frame string) {
	lines := strings.Split(strings.TrimSuffix(frame, "\n"), "\n")
	_, _ = io.WriteString(w, "\x1b[H"+strings.Join(lines, "\x1b[K\r\n")+"\x1b[K\x1b[J")
}

// Twice is one picture after two looks, because what happens in a second takes two.
func Twice(ctx context.Context, c debug.Client, first *debug.State, hasCache bool, between time.Duration) (string, error) {
	if !pause(ctx, between) {
		return "", context.Cause(ctx)
	}
	last, err := c.State(ctx)
	if err != nil {
		return "", err
	}
	return (&View{Before: first, Last: last, HasCache: hasCache}).Frame(0, 0), nil
}

// pause waits, and reports false when ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
