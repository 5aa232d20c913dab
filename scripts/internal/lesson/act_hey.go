package lesson

import (
	"fmt"

	"plaque/scripts/internal/say"
)

// Hey is a burst, sent by hey.
type Hey struct {
	Requests    int `yaml:"n"`
	Concurrency int `yaml:"c"`
	Timeout     int `yaml:"t"` // seconds; 0 means DefaultTimeout
	// For is how many seconds it goes on, in place of a number of requests. Rate
	// is how many requests a second each caller sends then.
	For  int `yaml:"for"`
	Rate int `yaml:"q"`
}

var _ = kind[Hey]("hey", "all", "slowest")

// DefaultTimeout is how long hey waits for an answer, in seconds.
const DefaultTimeout = 2

// Seconds is the timeout that hey gets.
func (h Hey) Seconds() int {
	if h.Timeout == 0 {
		return DefaultTimeout
	}
	return h.Timeout
}

func (h Hey) check(Act) error {
	if h.For > 0 {
		if h.Requests != 0 || h.Concurrency < 1 || h.Rate < 1 || h.Timeout < 0 {
			return fmt.Errorf("hey: for %d, c %d, q %d: what goes on for a time has no n, and says how many at a time and how many a second each", h.For, h.Concurrency, h.Rate)
		}
		return nil
	}
	if h.Rate != 0 || h.Requests < 1 || h.Concurrency < 1 || h.Requests%h.Concurrency != 0 || h.Timeout < 0 {
		return fmt.Errorf("hey: n %d, c %d: hey sends only whole rounds, so n must be a multiple of c, both at least 1", h.Requests, h.Concurrency)
	}
	return nil
}

func (h Hey) says() string {
	switch {
	case h.For > 0:
		return fmt.Sprintf("requests for %d s, %d at a time", h.For, h.Concurrency)
	case h.Concurrency == 1:
		return say.Plural(h.Requests, "request") + ", one after the other"
	}
	return fmt.Sprintf("%s, %d at a time", say.Plural(h.Requests, "request"), h.Concurrency)
}

func (h Hey) byHand(l *Lesson) string {
	line := fmt.Sprintf("go run ./scripts load %s -n %d -c %d", l.Number(), h.Requests, h.Concurrency)
	if h.For > 0 {
		line = fmt.Sprintf("go run ./scripts load %s -z %d -q %d -c %d", l.Number(), h.For, h.Rate, h.Concurrency)
	}
	if h.Timeout > 0 {
		line += fmt.Sprintf(" -t %d", h.Timeout)
	}
	return line
}
