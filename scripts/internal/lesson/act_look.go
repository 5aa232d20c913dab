package lesson

import (
	"fmt"
	"slices"
	"strings"
)

// Look is a look into the server: the command that prints what it shows.
type Look string

var _ = kind[Look]("look", "screen")

// Looks are what there is to look with.
var Looks = []string{"stacks", "top"}

func (l Look) check(Act) error {
	if !slices.Contains(Looks, string(l)) {
		return fmt.Errorf("look: %q: it can be %s", string(l), strings.Join(Looks, ", "))
	}
	return nil
}

func (l Look) says() string { return fmt.Sprintf("look inside with `%s`", string(l)) }

func (l Look) byHand(*Lesson) string { return "go run ./scripts " + string(l) }
