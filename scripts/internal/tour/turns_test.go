package tour

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"
)

// Whatever the writers do at once, the text stands in their order, and the one
// whose turn it is goes through at once.
func TestTurns(t *testing.T) {
	var out bytes.Buffer
	turns := newTurns(&out, 3, func(err error) { t.Error(err) })
	var all sync.WaitGroup
	for i := range 3 {
		all.Go(func() {
			for n := range 100 {
				fmt.Fprintf(turns.of(i), "%d:%d\n", i, n)
			}
		})
	}
	turns.give(0)
	all.Wait()
	want := ""
	for i := range 3 {
		turns.give(i)
		for n := range 100 {
			want += fmt.Sprintf("%d:%d\n", i, n)
		}
		if got := out.String(); got != want {
			t.Fatalf("in turn %d there is\n%s\nwant\n%s", i, got, want)
		}
	}
	fmt.Fprint(turns.of(2), "last\n")
	if got := out.String(); got != want+"last\n" {
		t.Errorf("what is written in its turn does not go through at once")
	}
}

// A writer that fails is told of once, and nothing more is written to it.
func TestTurnsOfAFullDisk(t *testing.T) {
	full := errors.New("the disk is full")
	heard := 0
	turns := newTurns(failing{full}, 2, func(err error) {
		heard++
		if err != full {
			t.Errorf("heard of %v", err)
		}
	})
	turns.give(0)
	for i := range 2 {
		if n, err := fmt.Fprint(turns.of(i), "text"); n != 4 || err != nil {
			t.Errorf("a turn's writer says %d, %v", n, err)
		}
	}
	turns.give(1)
	if heard != 1 || turns.err() != full {
		t.Errorf("heard of it %d times, and the error is %v", heard, turns.err())
	}
}

type failing struct{ error }

func (f failing) Write([]byte) (int, error) { return 0, f.error }
