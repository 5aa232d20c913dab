package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"plaque/scripts/internal/build"
	"plaque/scripts/internal/mutant"
	"plaque/scripts/internal/say"
)

// mutants breaks each line that matters of these steps, one at a time, and reports
// those that no test notices.
func mutants(ctx context.Context, e *env, args []string) error {
	names, err := e.parse(e.flags("mutants"), args)
	if err != nil {
		return err
	}
	steps, err := e.steps(names)
	if err != nil {
		return err
	}
	var list []mutant.Mutant
	for _, s := range steps {
		more, err := mutant.Read(s.Dir)
		if err != nil {
			return err
		}
		list = append(list, more...)
	}
	dir, clean, err := build.TempDir()
	if err != nil {
		return err
	}
	defer clean()
	killed, err := mutant.TryAll(ctx, list, dir)
	if err != nil {
		return err
	}
	survived := 0
	for i, m := range list {
		mark := "killed  "
		if !killed[i] {
			mark = "SURVIVED"
			survived++
		}
		fmt.Fprintf(e.stdout, "%s  %s: %s\n", mark, filepath.Base(m.Folder), m.Name)
	}
	fmt.Fprintf(e.stdout, "%s killed, %d survived\n", say.Plural(len(list)-survived, "mutant"), survived)
	if survived > 0 {
		return errors.New("a line that matters can be broken and no test fails")
	}
	return nil
}
