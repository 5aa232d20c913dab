package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v4"

	"plaque/scripts/internal/build"
	"plaque/scripts/internal/say"
)

// mutantsFile holds the mutants of a step, in its folder.
const mutantsFile = "mutants.yaml"

// mutant is one way to break a line that matters. A test must fail on it.
type mutant struct {
	Name string `yaml:"name"`
	Why  string `yaml:"why"`  // what goes wrong without the line
	File string `yaml:"file"` // the file to change, from the folder of mutants.yaml
	Old  string `yaml:"old"`  // stands in the file exactly once
	New  string `yaml:"new"`
	Test string `yaml:"test"` // the package whose tests must fail, such as ./cache
	Run  string `yaml:"run"`  // which of its tests, as for go test -run; "" means all
}

// mutantTimeout bounds the tests of one mutant: some hang, and that counts as
// failed. A healthy run takes a few seconds.
const mutantTimeout = 60 * time.Second

// mutants breaks each line that matters, one at a time, without touching the
// tree (go test's -overlay), and reports those that no test notices.
func mutants(ctx context.Context, e *env, args []string) error {
	names, err := e.parse(e.flags("mutants"), args)
	if err != nil {
		return err
	}
	steps, err := e.steps(names)
	if err != nil {
		return err
	}
	var folders []string
	for _, s := range steps {
		folders = append(folders, s.Dir)
	}
	dir, clean, err := build.TempDir()
	if err != nil {
		return err
	}
	defer clean()
	killed, survived := 0, 0
	for _, folder := range folders {
		list, err := readMutants(folder)
		if err != nil {
			return err
		}
		dead, err := tryAll(ctx, list, folder, dir)
		if err != nil {
			return err
		}
		for i, m := range list {
			mark := "killed  "
			if killed++; !dead[i] {
				killed--
				survived++
				mark = "SURVIVED"
			}
			fmt.Fprintf(e.stdout, "%s  %s: %s\n", mark, filepath.Base(folder), m.Name)
		}
	}
	fmt.Fprintf(e.stdout, "%s killed, %d survived\n", say.Plural(killed, "mutant"), survived)
	if survived > 0 {
		return errors.New("a line that matters can be broken and no test fails")
	}
	return nil
}

// tryAll tries the mutants of a folder, a few at once: some do nothing but hang.
func tryAll(ctx context.Context, list []mutant, folder, dir string) (dead []bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	dead = make([]bool, len(list))
	slots := make(chan struct{}, 1+runtime.NumCPU())
	var wg sync.WaitGroup
	for i, m := range list {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			own, err := os.MkdirTemp(dir, "mutant-")
			if err == nil && ctx.Err() == nil {
				dead[i], err = m.try(ctx, folder, own)
			}
			if err != nil {
				cancel(fmt.Errorf("%s, mutant %q: %w", folder, m.Name, err))
			}
		})
	}
	wg.Wait()
	return dead, context.Cause(ctx)
}

func readMutants(folder string) ([]mutant, error) {
	path := filepath.Join(folder, mutantsFile)
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var list []mutant
	d := yaml.NewDecoder(f)
	d.KnownFields(true)
	if err := d.Decode(&list); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return list, nil
}

// try reports whether the tests fail on the mutant. That it compiles is checked
// first: a mutant that does not is no mutant.
func (m mutant) try(ctx context.Context, folder, dir string) (dead bool, err error) {
	file := filepath.Join(folder, filepath.FromSlash(m.File))
	b, err := os.ReadFile(file)
	if err != nil {
		return false, err
	}
	text := strings.ReplaceAll(string(b), "\r\n", "\n")
	if n := strings.Count(text, m.Old); n != 1 || m.Old == m.New {
		return false, fmt.Errorf("its old text stands %d times in %s, and must stand there once", n, m.File)
	}
	changed := filepath.Join(dir, "mutant.go")
	if err := os.WriteFile(changed, []byte(strings.Replace(text, m.Old, m.New, 1)), 0o644); err != nil {
		return false, err
	}
	overlay := filepath.Join(dir, "overlay.json")
	if err := build.WriteOverlay(overlay, map[string]string{file: changed}); err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*mutantTimeout)
	defer cancel()
	bin := build.Exe(filepath.Join(dir, "mutant.test"))
	var out bytes.Buffer
	build := exec.CommandContext(ctx, "go", "test", "-c", "-o", bin, "-overlay", overlay, m.Test)
	build.Dir, build.Stdout, build.Stderr = folder, &out, &out
	if err := build.Run(); err != nil {
		return false, fmt.Errorf("it does not compile: %w\n%s", err, out.String())
	}
	test := exec.CommandContext(ctx, bin, "-test.failfast", "-test.timeout", mutantTimeout.String(), "-test.run", m.Run)
	test.Dir = filepath.Join(folder, filepath.FromSlash(m.Test))
	err = test.Run()
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return false, err
	}
	return err != nil, nil
}
