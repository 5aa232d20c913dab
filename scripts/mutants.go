package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"

	"plaque/scripts/internal/build"
	"plaque/scripts/internal/mutant"
	"plaque/scripts/internal/say"
)

// mutants breaks each line that matters of these steps, one at a time, and reports
// those that no test notices.
func mutants(ctx context.Context, e *env, args []string) error {
	fs := e.flags("mutants")
	some := fs.Int("some", 0, "try so many of them, picked by chance; 0 means all")
	steps, err := e.parseSteps(fs, args)
	if err != nil {
		return err
	}
	if *some < 0 {
		return errUsage{fmt.Errorf("--some %d: it is how many mutants to try, and 0 means all", *some)}
	}
	var list []mutant.Mutant
	for _, s := range steps {
		more, err := mutant.Read(s.Dir)
		if err != nil {
			return err
		}
		list = append(list, more...)
	}
	if *some > 0 && *some < len(list) {
		rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		list = list[:*some]
	}
	dir, clean, err := build.TempDir()
	if err != nil {
		return err
	}
	defer clean()
	survived := 0
	err = mutant.TryAll(ctx, list, dir, func(m mutant.Mutant, killed bool) {
		mark := "killed  "
		if !killed {
			mark = "SURVIVED"
			survived++
		}
		fmt.Fprintf(e.stdout, "%s  %s: %s\n", mark, filepath.Base(m.Folder), m.Name)
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "%s killed, %d survived\n", say.Plural(len(list)-survived, "mutant"), survived)
	if survived > 0 {
		return errors.New("a line that matters can be broken and no test fails")
	}
	return nil
}
