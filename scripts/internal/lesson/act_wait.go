package lesson

import (
	"fmt"
	"time"

	"plaque/steps/kit/origin"
)

// Wait is a time in which nothing is done.
type Wait time.Duration

var _ = kind[Wait]("wait")

// UnmarshalText reads it like 500ms.
func (w *Wait) UnmarshalText(text []byte) error { return (*origin.Duration)(w).UnmarshalText(text) }

func (w Wait) check(Act) error {
	if w <= 0 {
		return fmt.Errorf("wait: %s: more than nothing", time.Duration(w))
	}
	return nil
}

func (w Wait) says() string { return fmt.Sprintf("wait %s", time.Duration(w)) }
