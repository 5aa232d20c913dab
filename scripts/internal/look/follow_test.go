package look

import (
	"bytes"
	"context"
	"errors"
	"plaque/steps/kit/debug"
	"strings"
	"testing"
	"time"
)

// top on a terminal: it draws over the last picture, keeps that when the step
// stops answering, and puts the terminal back.
func TestFollow(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var screen bytes.Buffer
	first := &debug.State{Step: "07-inflight", PID: 1, Began: time.Now(), At: time.Now()}
	asked := 0
	Follow(ctx, &screen, &View{Last: first, HasCache: true}, time.Millisecond, func() (int, int) { return 80, 24 }, func() (*debug.State, error) {
		asked++
		switch asked {
		case 1, 4:
			s := *first
			s.Counters.Hits = int64(1000 + asked)
			return &s, nil
		case 5:
			cancel()
		}
		return nil, errors.New("127.0.0.1:3781 has not answered within 2s")
	})
	all, end := strings.CutSuffix(screen.String(), "\x1b[?25h\x1b[?1049l")
	all, begin := strings.CutPrefix(all, "\x1b[?1049h\x1b[?25l")
	if !begin || !end {
		t.Errorf("the terminal is not put back: %q", screen.String())
	}
	pictures := strings.Split(all, "\x1b[H")[1:]
	if len(pictures) != 5 {
		t.Fatalf("%d pictures, want 5: %q", len(pictures), pictures)
	}
	for i, want := range []string{"since start        0", "since start     1001", "since start     1001", "since start     1001", "since start     1004"} {
		if silent := strings.Contains(pictures[i], "NO ANSWER since "); !strings.Contains(pictures[i], want) || silent != (i == 2 || i == 3) {
			t.Errorf("picture %d: %q; want %q", i, pictures[i], want)
		}
	}
}
