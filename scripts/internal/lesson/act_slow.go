package lesson

import (
	"fmt"

	"plaque/scripts/internal/say"
)

// Slow is so many clients that take a second to say their request, and a quick one
// that comes behind them.
type Slow int

var _ = kind[Slow]("slow", "quick")

// MaxSlow is how many slow clients there may be. They have to be connected well
// within the second that they take.
const MaxSlow = 10

func (s Slow) check(a Act) error {
	if s < 1 || s > MaxSlow {
		return fmt.Errorf("slow: %d: at least 1, at most %d", s, MaxSlow)
	}
	if q := a.Expect.Quick; q != "" && q != AtOnce && q != AfterSlow {
		return fmt.Errorf("expect: quick: %q: it can be %q or %q", q, AtOnce, AfterSlow)
	}
	return nil
}

// AtOnce and AfterSlow are the values of Expect.Quick.
const (
	AtOnce    = "at once"
	AfterSlow = "after the slow ones"
)

func (s Slow) says() string {
	return say.Plural(int(s), "client") + " take a second to send their header; a quick one comes behind them"
}
