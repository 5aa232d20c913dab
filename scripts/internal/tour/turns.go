package tour

import (
	"bytes"
	"io"
	"sync"
)

// turns gives several writers one writer, one after the other: what is written
// before a turn waits for it, and then goes on at once. Its methods, and those of
// the writers, may be called at once.
type turns struct {
	fail func(error) // hears of the first error of w

	mu      sync.Mutex // protects what follows, and w
	w       io.Writer
	now     int // whose turn it is; -1 before the first
	waiting []bytes.Buffer
	failed  error // of w: then nothing more is written
}

func newTurns(w io.Writer, n int, fail func(error)) *turns {
	return &turns{fail: fail, w: w, now: -1, waiting: make([]bytes.Buffer, n)}
}

// give lets it be i's turn.
func (t *turns) give(i int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now = i
	t.write(t.waiting[i].Bytes())
	t.waiting[i] = bytes.Buffer{}
}

// of is i's writer. It never fails: an error ends the whole tour, by fail.
func (t *turns) of(i int) io.Writer { return turn{t, i} }

func (t *turns) err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failed
}

// write writes to w. The caller holds mu.
func (t *turns) write(b []byte) {
	if len(b) == 0 || t.failed != nil {
		return
	}
	if _, err := t.w.Write(b); err != nil {
		t.failed = err
		t.fail(err)
	}
}

type turn struct {
	*turns
	i int
}

func (t turn) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.i == t.now {
		t.write(b)
	} else {
		t.waiting[t.i].Write(b)
	}
	return len(b), nil
}
