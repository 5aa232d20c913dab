package lesson

import "fmt"

// Silent is so many clients that connect and send nothing.
type Silent int

var _ = kind[Silent]("silent", "closed")

func (s Silent) check(Act) error {
	if s < 1 {
		return fmt.Errorf("silent: %d: at least 1", s)
	}
	return nil
}

func (s Silent) says() string {
	if s == 1 {
		return "a client connects and sends nothing"
	}
	return fmt.Sprintf("%d clients connect and send nothing", s)
}

func (s Silent) byHand(*Lesson) string {
	if s > 1 {
		return ""
	}
	return "nc 127.0.0.1 3779"
}
