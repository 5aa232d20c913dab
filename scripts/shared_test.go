package main

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"plaque/scripts/internal/build"
	"plaque/scripts/internal/lesson"
	"plaque/steps/kit/need"
)

// Programs that several tests start are built once for all of them.
var (
	bins    = sync.OnceValues(openBins)
	program = sync.OnceValues(buildProgram)
	hey     = sync.OnceValues(heyProgram)
	built   sync.Map // of func() (string, error), by a step's name and GOEXPERIMENT
)

func openBins() (*build.Bins, error) {
	root, err := build.Root(".")
	if err != nil {
		return nil, err
	}
	b, err := build.Open(root)
	if err == nil {
		closeBins = b.Close
	}
	return b, err
}

// closeBins removes what openBins made.
var closeBins = func() {}

func TestMain(m *testing.M) {
	need.Parallel(6) // they start other programs, and wait for them
	code := m.Run()
	closeBins()
	os.Exit(code)
}

func buildProgram() (string, error) {
	b, err := bins()
	if err != nil {
		return "", err
	}
	bin := build.Exe(filepath.Join(b.Dir(), "scripts"))
	return bin, build.Build(context.Background(), ".", ".", bin, "")
}

func heyProgram() (string, error) {
	b, err := bins()
	if err != nil {
		return "", err
	}
	return b.Hey(context.Background())
}

// buildHey is hey's binary.
func buildHey(t *testing.T) string {
	t.Helper()
	bin, err := hey()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// scriptsProgram is this program, built.
func scriptsProgram(t *testing.T) string {
	t.Helper()
	bin, err := program()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// cacheFolder is a folder for the user's caches in which hey and these steps are
// built already.
func cacheFolder(t *testing.T, steps ...string) string {
	t.Helper()
	built := []string{buildHey(t)}
	for _, s := range steps {
		built = append(built, buildStep(t, s))
	}
	caches := t.TempDir()
	workshops := filepath.Dir(filepath.Dir(built[0])) // the stable paths of this workshop
	to := filepath.Join(caches, "plaque", filepath.Base(workshops))
	if err := os.MkdirAll(to, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, bin := range built {
		if err := os.Link(bin, filepath.Join(to, filepath.Base(bin))); err != nil {
			t.Log(err) // it is built once more
		}
	}
	return caches
}

// buildStep is a step's binary.
func buildStep(t *testing.T, name string) string {
	t.Helper()
	s, err := lesson.Find(allLessons(t), name)
	if err != nil {
		t.Fatal(err)
	}
	once, _ := built.LoadOrStore(s.Step+os.Getenv("GOEXPERIMENT"), sync.OnceValues(func() (string, error) {
		b, err := bins()
		if err != nil {
			return "", err
		}
		bin, err := b.Step(context.Background(), s)
		experiment := os.Getenv("GOEXPERIMENT")
		if err != nil || experiment == "" {
			return bin, err
		}
		// The next build of the step has the same path.
		text, err := os.ReadFile(bin)
		if err != nil {
			return "", err
		}
		bin = build.Exe(filepath.Join(b.Dir(), s.Step+"-"+experiment))
		return bin, os.WriteFile(bin, text, 0o755)
	}))
	bin, err := once.(func() (string, error))()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}
