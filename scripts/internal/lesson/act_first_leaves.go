package lesson

import "fmt"

// FirstLeaves is a caller that starts a load, so many that join it, and the first
// hangs up.
type FirstLeaves int

var _ = kind[FirstLeaves]("first_leaves")

func (f FirstLeaves) check(Act) error {
	if f < 1 {
		return fmt.Errorf("first_leaves: %d: at least 1 joins", f)
	}
	return nil
}

func (f FirstLeaves) says() string {
	return fmt.Sprintf("one caller starts a load, %d join, the first hangs up", f)
}
