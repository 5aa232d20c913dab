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
	Do   Kind           `yaml:"-"`    // what the act's one key that names a kind holds
	key  string         // that key
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
// them, and its words, and registers itself by kind; package lab has a file that does
// it. A kind that a reader can do in a second terminal also has byHand, which is that
// line, or "" where it takes more than one.
type Kind interface {
	// check finds what cannot be done, or judged.
	check(Act) error
	// says tells what is done, in a few words.
	says() string
}

// kinds are what registers itself by kind, by its key in lesson.yaml.
var kinds = map[string]registered{}

type registered struct {
	load   func(*yaml.Node) (Kind, error)
	judged []string
}

// kind registers K under a key, with the fields of Expect that it can be judged by,
// and not every kind. It returns something so that it can be called where a
// package's variables are declared.
func kind[K Kind](key string, judged ...string) bool {
	kinds[key] = registered{func(n *yaml.Node) (Kind, error) {
		var k K
		err := n.Load(&k, yaml.WithKnownFields())
		return k, err
	}, judged}
	return true
}

// UnmarshalYAML reads an act. It does exactly one thing.
func (a *Act) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: an act is a map, such as {hey: {n: 10, c: 5}}", n.Line)
	}
	rest := *n // without what is done
	rest.Content = nil
	does := 0
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		k, known := kinds[key.Value]
		if !known {
			rest.Content = append(rest.Content, key, value)
			continue
		}
		a.key = key.Value
		does++
		var err error
		if a.Do, err = k.load(value); err != nil {
			return fmt.Errorf("%s: %w", key.Value, err)
		}
	}
	type plain Act // without this method
	if err := rest.Load((*plain)(a), yaml.WithKnownFields()); err != nil {
		return err
	}
	if does != 1 {
		return fmt.Errorf("line %d: it does %d things: say one of %s", n.Line, does, strings.Join(slices.Sorted(maps.Keys(kinds)), ", "))
	}
	return nil
}

// check finds what cannot be done, or judged.
func (a Act) check() error {
	if err := a.Do.check(a); err != nil {
		return err
	}
	// Some fields can be judged only after some kinds of act.
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"all", a.Expect.All != ""},
		{"closed", a.Expect.Closed != nil},
		{"loaded_by", a.Expect.LoadedBy != nil},
		{"other_key", a.Expect.OtherKey != ""},
		{"quick", a.Expect.Quick != ""},
		{"retry_after", a.Expect.RetryAfter != nil},
		{"screen", a.Expect.Screen != nil},
		{"slowest", a.Expect.Slowest != 0},
	} {
		if !f.set || slices.Contains(kinds[a.key].judged, f.name) {
			continue
		}
		with := slices.DeleteFunc(slices.Sorted(maps.Keys(kinds)), func(key string) bool { return !slices.Contains(kinds[key].judged, f.name) })
		return fmt.Errorf("expect: %s goes with the act %s", f.name, strings.Join(with, " or "))
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
	if a.Callers > 0 && !a.Gated() {
		return errors.New("callers opens the feed's gate, so feed must say gate: true")
	}
	return nil
}

// Gated reports whether the feed holds its answers until the lab lets them go.
func (a Act) Gated() bool { return a.Feed != nil && a.Feed.Gate }

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
	do, can := a.Do.(interface{ byHand(*Lesson) string })
	if !can || e.Peers > 0 {
		return nil
	}
	line := do.byHand(l)
	switch {
	case line == "":
		return nil
	case a.Feed == nil:
		return []string{line}
	}
	return []string{feedByHand(*a.Feed), line}
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
