package main

import (
	"errors"
	"flag"
	"fmt"
	"strconv"

	"plaque/scripts/internal/say"
)

// guessFlag is the flag for a number that somebody has read off Jaeger; below 0 if
// it was not typed.
func guessFlag(fs *flag.FlagSet, what string) *int {
	said := -1
	fs.Func("guess", "judge this `NUMBER`, and change nothing: "+what, func(s string) error {
		n, err := strconv.ParseUint(s, 10, 31)
		if err != nil {
			return errors.New("it needs a whole number, such as 5")
		}
		said = int(n)
		return nil
	})
	return &said
}

// judge says whether a number that somebody said is the one that was measured; an
// error where it is not. It does not tell the right one: others may still be
// looking.
func (e *env) judge(said, measured int, thing, does string) error {
	claim := say.Plural(said, thing) + " " + does
	if said != measured {
		return fmt.Errorf("✗ not so: %s. Look once more", claim)
	}
	p := e.printer()
	p.Wrap(p.Good("✓")+" ", claim)
	return nil
}
