package lesson

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"plaque/steps/kit/origin"
)

// Act is one thing done to the server, and what must come out.
type Act struct {
	Says string         `yaml:"says"` // what is done, where Do does not say it
	Feed *origin.Script `yaml:"feed"` // told to the feed before
	Do   Kind           `yaml:"-"`    // the act's one key that names a kind
	// Callers opens the feed's gate once so many callers are parked inside the
	// step's cache: the lab sees them in the goroutine profile.
	Callers int `yaml:"callers"`
	// Picture draws the act's spans with these names.
	Picture []string `yaml:"picture"`
	Expect  Expect   `yaml:"expect"`
	// Ask are the questions that `tour --ask` asks before the experiment.
	Ask []Question `yaml:"ask"`
}

// Kind is a kind of act. Each has a file here, with its fields, what is wrong with
// them, its words and its line by hand; package lab has a file that does it.
type Kind interface {
	// check finds what cannot be done, or judged.
	check(Act) error
	// expects are the fields of Expect that this kind can be judged by, and not
	// every kind.
	expects() []string
	// says tells what is done, in a few words.
	says() string
	// byHand is the line by which a reader does it in a second terminal; "" where
	// it takes more than a line.
	byHand(*Lesson) string
}

// kinds are what registers itself by kind, by its key in lesson.yaml.
var kinds = map[string]registered{}

type registered struct {
	zero Kind
	load func(*yaml.Node) (Kind, error)
}

// kind registers K under a key.
func kind[K Kind](key string) (zero K) {
	kinds[key] = registered{zero, func(n *yaml.Node) (Kind, error) {
		var k K
		err := n.Load(&k, yaml.WithKnownFields())
		return k, err
	}}
	return zero
}

// UnmarshalYAML reads an act. It does exactly one thing.
func (a *Act) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: an act is a map, such as {hey: {n: 10, c: 5}}", n.Line)
	}
	rest := *n // without what is done
	rest.Content = nil
	var does []string
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		k, known := kinds[key.Value]
		if !known {
			rest.Content = append(rest.Content, key, value)
			continue
		}
		does = append(does, key.Value)
		var err error
		if a.Do, err = k.load(value); err != nil {
			return fmt.Errorf("%s: %w", key.Value, err)
		}
	}
	type plain Act // without this method
	if err := rest.Load((*plain)(a), yaml.WithKnownFields()); err != nil {
		return err
	}
	if len(does) != 1 {
		return fmt.Errorf("line %d: it does %d things: say one of %s", n.Line, len(does), strings.Join(slices.Sorted(maps.Keys(kinds)), ", "))
	}
	return nil
}

// check finds what cannot be done, or judged.
func (a Act) check() error {
	if err := a.Do.check(a); err != nil {
		return err
	}
	for _, name := range a.Expect.special() {
		if slices.Contains(a.Do.expects(), name) {
			continue
		}
		var with []string
		for _, key := range slices.Sorted(maps.Keys(kinds)) {
			if slices.Contains(kinds[key].zero.expects(), name) {
				with = append(with, key)
			}
		}
		return fmt.Errorf("expect: %s goes with the act %s", name, strings.Join(with, " or "))
	}
	if a.Feed != nil {
		if err := a.Feed.Check(); err != nil {
			return fmt.Errorf("feed: %w", err)
		}
	}
	for _, q := range a.Ask {
		if err := q.check(); err != nil {
			return fmt.Errorf("ask: %w", err)
		}
	}
	if a.Callers > 0 && !a.gated() {
		return errors.New("callers opens the feed's gate, so feed must say gate: true")
	}
	return nil
}

// gated reports whether the feed holds its answers until the lab lets them go.
func (a Act) gated() bool { return a.Feed != nil && a.Feed.Gate }

// special are the fields that are set and that only some kinds can be judged by.
func (e Expect) special() (names []string) {
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"all", e.All != ""},
		{"closed", e.Closed != nil},
		{"loaded_by", e.LoadedBy != nil},
		{"other_key", e.OtherKey != ""},
		{"quick", e.Quick != ""},
		{"retry_after", e.RetryAfter != nil},
		{"screen", e.Screen != nil},
		{"slowest", e.Slowest != 0},
	} {
		if f.set {
			names = append(names, f.name)
		}
	}
	return names
}

// Does tells what the act does, in a few words.
func (a Act) Does() string {
	if a.Says != "" {
		return a.Says
	}
	return a.Do.says()
}

// ByHand is how a reader does the act in a second terminal, the step running in
// the first; nothing where it takes more than a line.
func (a Act) ByHand(l *Lesson, e Experiment) []string {
	if e.Peers > 0 {
		return nil
	}
	var lines []string
	if a.Feed != nil {
		lines = append(lines, feedByHand(*a.Feed))
	}
	line := a.Do.byHand(l)
	if line == "" {
		return nil
	}
	return append(lines, line)
}

// feedByHand tells a step's feed what an act tells it.
func feedByHand(f origin.Script) string {
	words := []string{"go run ./scripts feed"}
	if f.Hold > 0 {
		words = append(words, fmt.Sprintf("--hold %d", f.Hold))
	}
	if f.Delay > 0 {
		words = append(words, fmt.Sprintf("--delay %s", f.Delay))
	}
	if f.Outage > 0 {
		words = append(words, fmt.Sprintf("--outage %s", f.Outage))
	}
	words = append(words, f.Next...)
	if len(words) == 1 { // nobody holds a gate by hand
		words = append(words, "--delay 500ms")
	}
	return strings.Join(words, " ")
}
