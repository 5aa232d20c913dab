package lesson

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"plaque/scripts/internal/property"
)

// Read reads the lesson file of a step's folder. Unknown fields, and whatever
// cannot be done or judged, are errors that name the file and the place.
func Read(dir string) (*Lesson, error) {
	path := filepath.Join(dir, File)
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	l := &Lesson{Step: filepath.Base(dir), Dir: dir}
	if err := l.read(f); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return l, nil
}

// read fills a lesson from a file's text, and checks it.
func (l *Lesson) read(text io.Reader) error {
	d := yaml.NewDecoder(text)
	d.KnownFields(true)
	if err := d.Decode(l); err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("it is empty")
		}
		return err
	}
	return l.check()
}

// missing is an error that names a text that is not there.
func missing(texts map[string]string) error {
	for name, text := range texts {
		if strings.TrimSpace(text) == "" {
			return fmt.Errorf("%s is missing", name)
		}
	}
	return nil
}

// check finds what a lesson must have and has not.
func (l *Lesson) check() error {
	if err := missing(map[string]string{"title": l.Title, "claim": l.Claim, "fixes": l.Fixes, "breaks": l.Breaks, "code": l.Code}); err != nil {
		return err
	}
	if l.Minutes < 1 {
		return errors.New("minutes is missing")
	}
	if _, err := os.Stat(filepath.Join(l.Dir, filepath.FromSlash(l.Code))); err != nil {
		return fmt.Errorf("code: %w", err)
	}
	switch first := l.Number() == "01"; {
	case l.NoDiff && l.Budget != 0:
		return errors.New("budget: with no-diff there is no diff to bound")
	case !first && !l.NoDiff && l.Budget < 1:
		return errors.New("budget is missing: how many lines may the diff against the step before add and remove together?")
	case first && l.Budget != 0:
		return errors.New("budget: there is no step before this one to differ from")
	}
	for _, p := range property.All {
		if v := l.Fingerprint[p.Name]; v != "yes" && v != "no" && v != "n/a" {
			return fmt.Errorf("fingerprint: %s is %q: it can be yes, no or n/a", p.Name, v)
		}
	}
	for name := range l.Fingerprint {
		if !slices.ContainsFunc(property.All, func(p property.Property) bool { return p.Name == name }) {
			return fmt.Errorf("fingerprint: there is no property %q", name)
		}
	}
	if err := l.Room.check(); err != nil {
		return fmt.Errorf("room: %w", err)
	}
	if err := l.checkExercise(); err != nil {
		return fmt.Errorf("exercise: %w", err)
	}
	if len(l.Experiments) == 0 {
		return errors.New("there are no experiments")
	}
	for _, e := range l.Experiments {
		if e.Name == "" || e.Says == "" || len(e.Acts) == 0 {
			return fmt.Errorf("experiment %q needs a name, says and acts", e.Name)
		}
		for i, a := range e.Acts {
			if err := a.check(); err != nil {
				return fmt.Errorf("experiment %q, act %d: %w", e.Name, i+1, err)
			}
			_, fleet := a.Do.(Fleet)
			_, wait := a.Do.(Wait)
			if (e.Peers > 0) != fleet && !wait {
				return fmt.Errorf("experiment %q, act %d: the act fleet goes with peers, and with peers go fleet and wait alone", e.Name, i+1)
			}
		}
	}
	if _, act := l.picture(every); act < 0 {
		return errors.New("no act has a picture")
	}
	if l.Beside != "" && !l.shows(l.Beside) {
		return fmt.Errorf("beside: there is no experiment %q with a picture", l.Beside)
	}
	return nil
}

func (l *Lesson) checkExercise() error {
	e := l.Exercise
	if err := missing(map[string]string{"asks": e.Asks, "code": e.Code, "why": e.Why}); err != nil {
		return err
	}
	for _, file := range []string{l.ExerciseFile(), l.SolutionFile()} {
		if _, err := os.Stat(file); err != nil {
			return fmt.Errorf("code: %w", err)
		}
	}
	if len(e.Hints) != 2 || strings.TrimSpace(e.Hints[0]) == "" || strings.TrimSpace(e.Hints[1]) == "" {
		return fmt.Errorf("hints: there must be two, not %d or an empty one", len(e.Hints))
	}
	if len(e.Fails) == 0 {
		return errors.New("fails is missing: what has the unsolved exercise not?")
	}
	// The checker must be able to judge it here.
	judged := func(name string) error {
		switch l.Fingerprint[name] {
		case "":
			return fmt.Errorf("there is no property %q", name)
		case "n/a":
			return fmt.Errorf("%s is n/a in this step", name)
		}
		return nil
	}
	for name, seen := range e.Fails {
		if err := judged(name); err != nil {
			return fmt.Errorf("fails: %w", err)
		}
		if strings.TrimSpace(seen) == "" {
			return fmt.Errorf("fails: %s does not say what is seen", name)
		}
	}
	for i, name := range e.Keeps {
		if err := judged(name); err != nil {
			return fmt.Errorf("keeps: %w", err)
		}
		if _, both := e.Fails[name]; both {
			return fmt.Errorf("%s is in fails and in keeps", name)
		}
		if slices.Contains(e.Keeps[:i], name) {
			return fmt.Errorf("keeps: %s is there twice", name)
		}
	}
	return nil
}
