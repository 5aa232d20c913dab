// Package mutant breaks lines that matter, one at a time, and reports whether a
// test fails.
package mutant

import (
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
)

// File holds the mutants of a step, in its folder.
const File = "mutants.yaml"

// Mutant is one way to break a line that matters. A test must fail on it.
type Mutant struct {
	Folder string `yaml:"-"` // of the step
	Name   string `yaml:"name"`
	Why    string `yaml:"why"`  // what goes wrong without the line
	File   string `yaml:"file"` // the file to change, from the folder of mutants.yaml
	Old    string `yaml:"old"`  // stands in the file exactly once
	New    string `yaml:"new"`
	Test   string `yaml:"test"` // the package whose tests must fail, such as ./cache
	Run    string `yaml:"run"`  // which of its tests, as for go test -run; "" means all
}

// timeout bounds the tests of one mutant: some hang, and that counts as
// failed. A healthy run takes a few seconds.
const timeout = 60 * time.Second

// Read reads the mutants of a step's folder; a folder without the file has none.
func Read(folder string) ([]Mutant, error) {
	path := filepath.Join(folder, File)
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var list []Mutant
	d := yaml.NewDecoder(f)
	d.KnownFields(true)
	if err := d.Decode(&list); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for i := range list {
		list[i].Folder = folder
	}
	return list, nil
}

// TryAll tries the mutants. As many are compiled at once as there are cores, and
// more are tested: some do nothing but hang. judged is told of each as it ends, one
// at a time, and whether a test has killed it. The tree stays as it is; files of the
// trials stand below dir. The first error ends it.
func TryAll(ctx context.Context, list []Mutant, dir string, judged func(m Mutant, killed bool)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	cores, slots := make(chan struct{}, runtime.NumCPU()), make(chan struct{}, 4*runtime.NumCPU())
	var all sync.WaitGroup
	var mu sync.Mutex // held while judged is called
	for _, m := range list {
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if ctx.Err() != nil {
				return
			}
			killed := false
			own, err := os.MkdirTemp(dir, "mutant-")
			if err == nil {
				killed, err = m.try(ctx, own, cores)
			}
			if err != nil {
				cancel(fmt.Errorf("%s, mutant %q: %w", m.Folder, m.Name, err))
				return
			}
			mu.Lock()
			defer mu.Unlock()
			judged(m, killed)
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

// Mutated returns the path of the file to change, and its text with the change.
func (m Mutant) Mutated() (file, text string, err error) {
	file = filepath.Join(m.Folder, filepath.FromSlash(m.File))
	b, err := os.ReadFile(file)
	if err != nil {
		return "", "", err
	}
	text = strings.ReplaceAll(string(b), "\r\n", "\n")
	if n := strings.Count(text, m.Old); n != 1 || m.Old == m.New {
		return "", "", fmt.Errorf("its old text stands %d times in %s, and must stand there once", n, m.File)
	}
	return file, strings.Replace(text, m.Old, m.New, 1), nil
}

// try reports whether the tests fail on the mutant. That it compiles is checked
// first, on one of the cores: a mutant that does not is no mutant.
func (m Mutant) try(ctx context.Context, dir string, cores chan struct{}) (dead bool, err error) {
	file, text, err := m.Mutated()
	if err != nil {
		return false, err
	}
	changed := filepath.Join(dir, "mutant.go")
	if err := os.WriteFile(changed, []byte(text), 0o644); err != nil {
		return false, err
	}
	overlay := filepath.Join(dir, "overlay.json")
	if err := build.WriteOverlay(overlay, map[string]string{file: changed}); err != nil {
		return false, err
	}
	cores <- struct{}{}
	ctx, cancel := context.WithTimeout(ctx, 3*timeout)
	defer cancel()
	bin := build.Exe(filepath.Join(dir, "mutant.test"))
	// Nobody debugs it, and without tables for that it is linked in half the time.
	compile := exec.CommandContext(ctx, "go", "test", "-c", "-ldflags=-w", "-o", bin, "-overlay", overlay, m.Test)
	compile.Dir = m.Folder
	out, err := compile.CombinedOutput()
	<-cores
	if err != nil {
		return false, fmt.Errorf("it does not compile: %w\n%s", err, out)
	}
	test := exec.CommandContext(ctx, bin, "-test.failfast", "-test.timeout", timeout.String(), "-test.run", m.Run)
	test.Dir = filepath.Join(m.Folder, filepath.FromSlash(m.Test))
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
