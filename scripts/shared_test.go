package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"plaque/scripts/internal/build"
	"plaque/scripts/internal/lab"
	"plaque/scripts/internal/lesson"
	"plaque/steps/kit/need"
)

// bins is where the programs are built that tests start.
var bins = sync.OnceValues(func() (*build.Bins, error) {
	root, err := build.Root(".")
	if err != nil {
		return nil, err
	}
	b, err := build.Open(root)
	if err == nil {
		closeBins = b.Close
	}
	return b, err
})

// closeBins removes what bins made.
var closeBins = func() {}

func TestMain(m *testing.M) {
	need.Parallel(6) // they start other programs, and wait for them
	code := m.Run()
	closeBins()
	os.Exit(code)
}

// built has a func() (string, error) for each program that several tests start, which
// builds it once for all of them.
var built sync.Map

// program is the path of a program, which build builds.
func program(t *testing.T, name string, build func(*build.Bins) (string, error)) string {
	t.Helper()
	once, _ := built.LoadOrStore(name, sync.OnceValues(func() (string, error) {
		b, err := bins()
		if err != nil {
			return "", err
		}
		return build(b)
	}))
	bin, err := once.(func() (string, error))()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// says fails the test unless a text has all of these.
func says(t *testing.T, what, text string, wants ...string) {
	t.Helper()
	if missing := slices.DeleteFunc(slices.Clone(wants), func(want string) bool { return strings.Contains(text, want) }); len(missing) > 0 {
		t.Errorf("%s: no %q in\n%.20000s", what, missing, text)
	}
}

// workshop is the workshop's folder.
func workshop(t *testing.T) string {
	t.Helper()
	root, err := build.Root(".")
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// allLessons are those of all steps.
func allLessons(t *testing.T) []*lesson.Lesson {
	t.Helper()
	lessons, err := lesson.All(workshop(t))
	if err != nil {
		t.Fatal(err)
	}
	return lessons
}

// findLesson is that of a step.
func findLesson(t *testing.T, all []*lesson.Lesson, step string) *lesson.Lesson {
	t.Helper()
	l, err := lesson.Find(all, step)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// newLab is a lab that loads with hey, until the test ends.
func newLab(t *testing.T) *lab.Lab {
	t.Helper()
	l, err := lab.New(t.Context(), buildHey(t), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// buildHey is hey's binary.
func buildHey(t *testing.T) string {
	t.Helper()
	return program(t, "hey", func(b *build.Bins) (string, error) { return b.Hey(context.Background()) })
}

// scriptsProgram is this program, built.
func scriptsProgram(t *testing.T) string {
	t.Helper()
	return program(t, "scripts", func(b *build.Bins) (string, error) {
		bin := build.Exe(filepath.Join(b.Dir(), "scripts"))
		return bin, build.Build(context.Background(), ".", ".", bin, "")
	})
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
	s := findLesson(t, allLessons(t), name)
	experiment := os.Getenv("GOEXPERIMENT")
	return program(t, s.Step+experiment, func(b *build.Bins) (string, error) {
		bin, err := b.Step(context.Background(), s)
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
	})
}
