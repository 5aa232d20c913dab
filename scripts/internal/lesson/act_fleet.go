package lesson

import (
	"fmt"
	"slices"
	"strings"

	"plaque/scripts/internal/say"
)

// Fleet is callers at each peer that runs, all at once and for one channel. Where
// the feed has a gate it opens once all of them wait inside the peers, and what is
// to happen meanwhile has happened.
type Fleet struct {
	Callers int `yaml:"callers"` // at each peer
	Key     int `yaml:"key"`     // another channel than 0

	// First:
	Restart bool   `yaml:"restart"` // the peer that was killed is started again
	Links   string `yaml:"links"`   // of each peer to the others are from now on: one of Links; "" leaves them
	// Elsewhere has one caller come first, at a peer that does not own the channel.
	Elsewhere bool `yaml:"elsewhere"`

	// While the feed holds the load:
	Kill        bool `yaml:"kill"`         // the peer that loads is killed
	FirstLeaves bool `yaml:"first_leaves"` // the caller that came first hangs up
}

var _ = kind[Fleet]("fleet", "loaded_by", "slowest")

// The values of Fleet.Links: the links take connections and answer nothing, they
// refuse connections, they are whole again.
const (
	BlackHole = "black hole"
	Refused   = "refused"
	Whole     = "whole"
)

var links = []string{BlackHole, Refused, Whole}

func (f Fleet) check(a Act) error {
	switch {
	case f.Callers < 1:
		return fmt.Errorf("fleet: callers: %d: at least 1 at each peer", f.Callers)
	case f.Links != "" && !slices.Contains(links, f.Links):
		return fmt.Errorf("fleet: links: %q: it can be %s", f.Links, strings.Join(links, ", "))
	case (f.Kill || f.FirstLeaves || f.Elsewhere) && !a.Gated():
		return fmt.Errorf("fleet: kill, first_leaves and elsewhere need a load that is held: feed must say gate: true")
	}
	return nil
}

func (f Fleet) says() string {
	before := ""
	switch {
	case f.Restart:
		before = "the peer starts again; "
	case f.Links == Whole:
		before = "the peers reach each other again; "
	case f.Links == Refused:
		before = "the peers are cut from each other, connections are refused; "
	case f.Links != "":
		before = "the peers are cut from each other, nothing comes through; "
	case f.Elsewhere:
		before = "the first at a peer that does not own the channel: "
	}
	after := ""
	if f.Kill {
		after = "; the peer that loads is killed"
	} else if f.FirstLeaves {
		after = "; the first one hangs up"
	}
	return before + say.Plural(f.Callers, "caller") + " at each peer" + after
}
