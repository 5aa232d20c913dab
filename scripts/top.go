package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"plaque/scripts/internal/look"
	"plaque/steps/kit/debug"
)

// top shows the step that runs, again and again: on a terminal until Ctrl-C,
// elsewhere once.
func top(ctx context.Context, e *env, args []string) error {
	fs := e.flags("top")
	every := time.Second
	fs.Func("every", "how long to wait between two looks, at least 100ms (default 1s)", func(s string) (err error) {
		if every, err = time.ParseDuration(s); err == nil && every < 100*time.Millisecond {
			err = errors.New("that is less than 100ms")
		}
		return err
	})
	first, step, err := e.lookInside(ctx, fs, args)
	if err != nil {
		return err
	}
	url := fs.Lookup("url").Value.String()
	v := &look.View{Last: first, HasCache: step == nil || strings.HasPrefix(step.Code, "cache/")}

	screen, ok := e.stdout.(*os.File)
	if !ok || !term.IsTerminal(int(screen.Fd())) {
		// One picture, and two looks, because what happens in a second takes
		// two.
		if !pause(ctx, every) {
			return context.Cause(ctx)
		}
		if v.Last, err = look.State(ctx, url); err != nil {
			return err
		}
		v.Before = first
		_, err := io.WriteString(e.stdout, v.Frame(0, 0))
		return err
	}
	v.Keys = "Ctrl-C ends"
	follow(ctx, screen, v, every, func() (int, int) {
		columns, lines, err := term.GetSize(int(screen.Fd()))
		if err != nil || columns < 1 || lines < 1 {
			return 80, 24
		}
		return columns, lines
	}, func() (*debug.State, error) { return look.State(ctx, url) })
	return nil
}

// follow draws v on a terminal, and what asking brings, until ctx ends.
func follow(ctx context.Context, screen io.Writer, v *look.View, every time.Duration, size func() (columns, lines int), ask func() (*debug.State, error)) {
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

// pause waits, and reports false when ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
