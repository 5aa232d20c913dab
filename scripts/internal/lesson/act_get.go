package lesson

import (
	"cmp"
	"fmt"
	"slices"

	"plaque/steps/kit/terminal"
)

// Get is plain requests on one connection, one after the other. Method "" means
// GET, path "" means /, times 0 once.
type Get struct {
	Method string `yaml:"method"`
	Path   string `yaml:"path"`
	Times  int    `yaml:"times"`
}

var _ = kind[Get]("get", "retry_after")

func (g Get) check(Act) error {
	if g.Times < 0 {
		return fmt.Errorf("get: times %d: at least 1", g.Times)
	}
	return nil
}

func (g Get) says() string {
	if g.Times > 1 {
		return fmt.Sprintf("%d requests on one connection", g.Times)
	}
	return "one request, " + cmp.Or(g.Method, "GET") + " " + cmp.Or(g.Path, "/")
}

func (g Get) byHand(*Lesson) string {
	words := []string{"curl", "-i"}
	if g.Method != "" {
		words = append(words, "-X", g.Method)
	}
	return terminal.Shell(append(words, slices.Repeat([]string{"http://127.0.0.1:3779" + g.Path}, max(1, g.Times))...)...)
}
