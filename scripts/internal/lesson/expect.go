package lesson

import "fmt"

// Expect is what must come out of an act. What is not set is not judged, except
// that the feed's own count of loads and the spans must agree wherever a feed
// is read.
type Expect struct {
	// Answers counts what the callers got: a status such as "200", or "lost"
	// (the connection ended without an answer), "timeout" or "refused".
	Answers map[string]int `yaml:"answers"`
	// All is the status that all callers got, where their number is not known.
	All   string `yaml:"all"`
	Loads *int   `yaml:"loads"` // by the feed's own count
	// LoadsWithin bounds them where chance has a part in it.
	LoadsWithin *Bounds `yaml:"loads_within"`
	// RetryAfter counts the answers that say when to come again; not hey's, which
	// does not tell.
	RetryAfter *int `yaml:"retry_after"`
	// Slowest is how many seconds the slowest answer to hey, or of a fleet, may take.
	Slowest int `yaml:"slowest"`
	// LoadedBy is how many peers the loads came from, by what they told the feed.
	LoadedBy *int `yaml:"loaded_by"`
	// Connections are the new ones that the feed saw.
	Connections *int `yaml:"connections"`
	// Spans counts the act's spans by name, Errors those that are errors.
	Spans  map[string]int `yaml:"spans"`
	Errors map[string]int `yaml:"errors"`
	// Results counts cache.get spans by cache.result: hit, miss, joined, and in
	// step 10 stale, failed, busy.
	Results map[string]int `yaml:"results"`
	// Links are cache.get and fleet.get spans that link to a flight of the same act.
	Links *int `yaml:"links"`
	// Way are the names of the spans above the feed's only one, up to the burst.
	Way []string `yaml:"way"`
	// Serial names spans of which no two overlap; Together spans of which all do
	// at one moment.
	Serial   string `yaml:"serial"`
	Together string `yaml:"together"`
	// OtherKey is when B is answered: "at once" or "after A".
	OtherKey string `yaml:"other_key"`
	// Screen are words that stand on the screen of a look, with one blank between
	// two of them.
	Screen []string `yaml:"screen"`
	// Quick is when the quick caller behind the slow ones is answered: "at once",
	// while they still speak, or "after the slow ones", when they have spoken.
	Quick string `yaml:"quick"`
	// Closed is true when the server ends the connection of a rude client, or
	// of the silent ones, by itself.
	Closed *bool `yaml:"closed"`
	// Goroutines and Threads are bounds on what the server has at the end.
	Goroutines *Bounds `yaml:"goroutines"`
	Threads    *Bounds `yaml:"threads"`
}

// Bounds are inclusive; a Max of 0 means none.
type Bounds struct {
	Min int `yaml:"min"`
	Max int `yaml:"max"`
}

// Holds reports whether n is within the bounds.
func (b Bounds) Holds(n int) bool { return n >= b.Min && (b.Max == 0 || n <= b.Max) }

func (b Bounds) String() string {
	switch {
	case b.Max == 0:
		return fmt.Sprintf("at least %d", b.Min)
	case b.Min == 0:
		return fmt.Sprintf("at most %d", b.Max)
	}
	return fmt.Sprintf("%d to %d", b.Min, b.Max)
}
