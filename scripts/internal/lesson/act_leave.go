package lesson

import "errors"

// Leave lets the idle clients leave. It is true.
type Leave bool

var _ = kind[Leave]("leave")

func (l Leave) check(Act) error {
	if !l {
		return errors.New("leave: false: say true, or nothing of it")
	}
	return nil
}

func (Leave) says() string { return "the idle clients leave" }
