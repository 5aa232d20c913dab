package lesson

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Rude is a client that behaves badly: one of these.
type Rude string

var _ = kind[Rude]("rude", "closed")

const (
	HangUp        Rude = "hangup"
	Rubbish       Rude = "rubbish"
	EndlessHeader Rude = "endless header"
)

// rudenesses are the ways to be rude, each with its words.
var rudenesses = map[Rude]string{
	HangUp:        "a client connects and hangs up",
	Rubbish:       "a client sends rubbish",
	EndlessHeader: "a client sends a header that never ends",
}

func (r Rude) check(Act) error {
	if rudenesses[r] == "" {
		var all []string
		for _, r := range slices.Sorted(maps.Keys(rudenesses)) {
			all = append(all, string(r))
		}
		return fmt.Errorf("rude: %q: it can be %s", string(r), strings.Join(all, ", "))
	}
	return nil
}

func (r Rude) says() string { return rudenesses[r] }
