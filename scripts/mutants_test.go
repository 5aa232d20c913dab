package main

import (
	"testing"

	"plaque/scripts/internal/mutant"
)

// The gate tries mutants by chance. That each can be made is seen at once.
func TestMutantsCanBeMade(t *testing.T) {
	n := 0
	for _, l := range allLessons(t) {
		list, err := mutant.Read(l.Dir)
		if err != nil {
			t.Error(err)
		}
		for _, m := range list {
			if _, _, err := m.Mutated(); err != nil {
				t.Errorf("%s, mutant %q: %v", l.Step, m.Name, err)
			}
		}
		n += len(list)
	}
	if n < 100 {
		t.Errorf("only %d mutants found", n)
	}
}
