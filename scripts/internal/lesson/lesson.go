// Package lesson reads lesson.yaml, the one place where a step says what it is. It
// holds the step's claim, its experiments and what must come out of them, and its
// column of the fingerprint. The tour, the load command, the tests and the tables in the
// READMEs are made from it.
package lesson

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"plaque/scripts/internal/property"
)

// File is the name of a lesson file in a step's folder.
const File = "lesson.yaml"

// Lesson is what one step says of itself.
type Lesson struct {
	Step string `yaml:"-"` // the folder's name: 05-naive-cache
	Dir  string `yaml:"-"` // the folder

	Title   string `yaml:"title"`
	Claim   string `yaml:"claim"`   // one sentence that could be false
	Minutes int    `yaml:"minutes"` // to read, run and look
	Fixes   string `yaml:"fixes"`   // what it gets right that the step before got wrong
	Breaks  string `yaml:"breaks"`  // what it still gets wrong: the reason for the next step
	Code    string `yaml:"code"`    // the file that is the lesson, below Dir
	// Budget is the most lines that the code's diff against the step before may
	// add and remove together: one new idea a step. The first step has none.
	Budget int `yaml:"budget"`
	// NoDiff says that the code is no change of the step before's but something else:
	// its page shows no diff, and none is bounded.
	NoDiff bool `yaml:"no-diff"`
	// Beside names the experiment whose burst stands beside that of the step before,
	// which has an experiment of this name, too. Without it, Shown chooses.
	Beside string `yaml:"beside"`

	Fingerprint map[string]string `yaml:"fingerprint"` // yes, no or n/a by property.Property.Name
	Room        Room              `yaml:"room"`
	Exercise    Exercise          `yaml:"exercise"`
	Experiments []Experiment      `yaml:"experiments"`
}

// Room is how a step is shown to a group. Its zero value leaves the step out.
type Room struct {
	Minutes map[int]int `yaml:"minutes"` // that it takes, by the length of the run sheet in minutes
	See     string      `yaml:"see"`     // one thing on the screen, by which everybody is known to be there
	Say     string      `yaml:"say"`     // beside the picture
	Think   string      `yaml:"think"`   // what people think at first, and what is so
}

// check finds what a facilitator would miss.
func (r Room) check() error {
	if r.Minutes == nil && r.See+r.Say+r.Think == "" {
		return nil
	}
	if len(r.Minutes) == 0 || r.See == "" || r.Say == "" || r.Think == "" {
		return errors.New("it needs minutes, see, say and think, or nothing")
	}
	for length, minutes := range r.Minutes {
		if minutes < 1 || minutes > length {
			return fmt.Errorf("%d minutes of %d", minutes, length)
		}
	}
	return nil
}

// Exercise is a small program below exercise/ that is wrong on purpose, and how
// `check --exercise` tells that a reader has mended it.
type Exercise struct {
	Minutes int    `yaml:"minutes"` // of the two hours that it takes; 0 where the hours are without it
	Asks    string `yaml:"asks"`    // the question, as an interviewer would ask it
	Code    string `yaml:"code"`    // the file to mend, below exercise/; the solution is below exercise/testdata/solution/
	// Fails are properties that the unsolved exercise has not and a solution
	// has, by property.Property.Name, each with words of what the checker sees.
	Fails map[string]string `yaml:"fails"`
	// Keeps are properties that it has and must not lose.
	Keeps []string `yaml:"keeps"`
	Hints []string `yaml:"hints"` // two
	Why   string   `yaml:"why"`   // what the solution shows
}

// Properties are those that judge an attempt at the exercise, by property.Property.Name.
func (e Exercise) Properties() []string {
	return append(slices.Sorted(maps.Keys(e.Fails)), e.Keeps...)
}

// Number is the step's two digits: "05".
func (l *Lesson) Number() string { return l.Step[:2] }

// Has reports whether the step has a property.
func (l *Lesson) Has(p property.Property) bool { return l.Fingerprint[p.Name] == "yes" }

// ReadsFeed reports whether the step answers what it reads from a feed.
func (l *Lesson) ReadsFeed() bool { return l.Fingerprint[property.OneLoad.Name] != "n/a" }

// Flies reports whether the step's loads are flights, which callers join.
func (l *Lesson) Flies() bool { return l.Has(property.TraceJoined) }

// Stampedes and Coalesces report whether it is one of the two steps that tell the
// story when they stand side by side: the one that remembers and loads once a
// caller, and the one whose flights harm nobody.
func (l *Lesson) Stampedes() bool {
	return l.Has(property.Remembers) && !l.Has(property.OneLoad)
}

func (l *Lesson) Coalesces() bool {
	return l.Has(property.Clean500) && !l.Has(property.ServesOld)
}

// ExerciseFile is where a reader mends the exercise.
func (l *Lesson) ExerciseFile() string {
	return filepath.Join(l.Dir, "exercise", filepath.FromSlash(l.Exercise.Code))
}

// SolutionFile is what stands there once it is mended. The go command builds it
// only in the other's place, by an overlay.
func (l *Lesson) SolutionFile() string {
	return filepath.Join(l.Dir, "exercise", "testdata", "solution", filepath.FromSlash(l.Exercise.Code))
}

// Experiment is what is done to one fresh server, act by act.
type Experiment struct {
	Name string   `yaml:"name"`
	Says string   `yaml:"says"` // what the experiment shows, as a sentence
	Args []string `yaml:"args"` // the step's own flags
	// Peers starts so many processes, which know each other by PEERS and SELF, with
	// proxies of the lab's between them; 0 starts the step as a reader does.
	Peers int   `yaml:"peers"`
	Acts  []Act `yaml:"acts"`
}

var stepName = regexp.MustCompile(`^[0-9]{2}-[a-z0-9]+(-[a-z0-9]+)*$`)

// All reads the lessons of all steps below root, in order: the folders that are
// named like steps and have a lesson file. The error is of each that is broken, and
// then the others are returned all the same.
func All(root string) ([]*Lesson, error) {
	folders, err := os.ReadDir(filepath.Join(root, "steps"))
	if err != nil {
		return nil, fmt.Errorf("no steps here: %w (run this inside the workshop's folder)", err)
	}
	var all []*Lesson
	var broken []error
	var unread bool // the step before is broken: what it shows is not known
	for _, f := range folders {
		if !f.IsDir() || !stepName.MatchString(f.Name()) {
			continue
		}
		dir := filepath.Join(root, "steps", f.Name())
		if _, err := os.Stat(filepath.Join(dir, File)); errors.Is(err, fs.ErrNotExist) {
			continue // somebody's notes
		}
		l, err := Read(dir)
		if err != nil {
			broken = append(broken, err)
			unread = true
			continue
		}
		if !unread && l.Beside != "" && (len(all) == 0 || !all[len(all)-1].shows(l.Beside)) {
			return nil, fmt.Errorf("%s: beside: the step before has no experiment %q with a picture", l.Step, l.Beside)
		}
		all = append(all, l)
		unread = false
	}
	if len(all) == 0 && broken == nil {
		return nil, fmt.Errorf("no steps in %s", filepath.Join(root, "steps"))
	}
	return all, errors.Join(broken...)
}

// Find picks a step by its number ("5", "05"), name or both. The error lists
// what exists.
func Find(all []*Lesson, name string) (*Lesson, error) {
	var steps []string
	for _, l := range all {
		if slices.Contains([]string{l.Step, l.Number(), strings.TrimPrefix(l.Number(), "0"), l.Step[3:]}, name) {
			return l, nil
		}
		steps = append(steps, l.Step)
	}
	return nil, fmt.Errorf("there is no step %q; there are %s", name, strings.Join(steps, ", "))
}

// Shown finds the act whose picture stands for a step beside the picture of its
// neighbour: the one that the later of the two names, if both have it; the slow
// clients where both steps have them, because there a burst takes no time that a
// picture could show; or else the first act that has a picture. Every lesson has one.
func Shown(l, neighbour *Lesson) (x Experiment, act int) {
	later := l
	if neighbour.Step > l.Step {
		later = neighbour
	}
	for _, wanted := range []wanted{named(later.Beside), isSlow} {
		if _, there := neighbour.picture(wanted); there >= 0 {
			if x, act := l.picture(wanted); act >= 0 {
				return x, act
			}
		}
	}
	return l.picture(every)
}

// wanted picks acts of experiments.
type wanted func(Experiment, Act) bool

func named(name string) wanted { return func(x Experiment, _ Act) bool { return x.Name == name } }

func every(Experiment, Act) bool { return true }

func isSlow(_ Experiment, a Act) bool { _, slow := a.Do.(Slow); return slow }

// picture finds the first act that has a picture and is wanted. The act is -1 if
// there is none.
func (l *Lesson) picture(is wanted) (x Experiment, act int) {
	for _, x := range l.Experiments {
		for i, a := range x.Acts {
			if len(a.Picture) > 0 && is(x, a) {
				return x, i
			}
		}
	}
	return Experiment{}, -1
}

// shows reports whether an experiment with this name has a picture.
func (l *Lesson) shows(name string) bool {
	_, act := l.picture(named(name))
	return act >= 0
}

// Before is the lesson before l, or nil.
func Before(all []*Lesson, l *Lesson) *Lesson {
	if i := slices.Index(all, l); i > 0 {
		return all[i-1]
	}
	return nil
}

// After is the lesson behind l, or nil.
func After(all []*Lesson, l *Lesson) *Lesson {
	if i := slices.Index(all, l); i >= 0 && i+1 < len(all) {
		return all[i+1]
	}
	return nil
}
