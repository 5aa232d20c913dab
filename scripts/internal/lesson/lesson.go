// Package lesson reads lesson.yaml, the one place where a step says what it is. It
// holds the step's claim, its experiments and what must come out of them, and its
// column of the fingerprint. The tour, the load command, the tests and the tables in the
// READMEs are made from it.
package lesson

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

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

// Expect is what must come out of an act. What is not set is not judged, except
// that the feed's own count of loads and the spans must agree wherever a feed
// is read.
type Expect struct {
	// Answers counts what the callers got: a status such as "200", or "lost"
	// (the connection ended without an answer), "timeout" or "refused".
	Answers map[string]int `yaml:"answers"`
	// All is the status that all callers got, where their number is not known.
	All   string `yaml:"all"`
	Loads *int   `yaml:"loads"` // by the feed's own count
	// LoadsWithin bounds them where chance has a part in it.
	LoadsWithin *Bounds `yaml:"loads_within"`
	// RetryAfter counts the answers that say when to come again; not hey's, which
	// does not tell.
	RetryAfter *int `yaml:"retry_after"`
	// Slowest is how many seconds the slowest answer to hey, or of a fleet, may take.
	Slowest int `yaml:"slowest"`
	// LoadedBy is how many peers the loads came from, by what they told the feed.
	LoadedBy *int `yaml:"loaded_by"`
	// Connections are the new ones that the feed saw.
	Connections *int `yaml:"connections"`
	// Spans counts the act's spans by name, Errors those that are errors.
	Spans  map[string]int `yaml:"spans"`
	Errors map[string]int `yaml:"errors"`
	// Results counts cache.get spans by cache.result: hit, miss, joined, and in
	// step 10 stale, failed, busy.
	Results map[string]int `yaml:"results"`
	// Links are cache.get and fleet.get spans that link to a flight of the same act.
	Links *int `yaml:"links"`
	// Way are the names of the spans above the feed's only one, up to the burst.
	Way []string `yaml:"way"`
	// Serial names spans of which no two overlap; Together spans of which all do
	// at one moment.
	Serial   string `yaml:"serial"`
	Together string `yaml:"together"`
	// OtherKey is when B is answered: "at once" or "after A".
	OtherKey string `yaml:"other_key"`
	// Screen are words that stand on the screen of a look, with one blank between
	// two of them.
	Screen []string `yaml:"screen"`
	// Quick is when the quick caller behind the slow ones is answered: "at once",
	// while they still speak, or "after the slow ones", when they have spoken.
	Quick string `yaml:"quick"`
	// Closed is true when the server ends the connection of a rude client, or
	// of the silent ones, by itself.
	Closed *bool `yaml:"closed"`
	// Goroutines and Threads are bounds on what the server has at the end.
	Goroutines *Bounds `yaml:"goroutines"`
	Threads    *Bounds `yaml:"threads"`
}

// Bounds are inclusive; a Max of 0 means none.
type Bounds struct {
	Min int `yaml:"min"`
	Max int `yaml:"max"`
}

// Holds reports whether n is within the bounds.
func (b Bounds) Holds(n int) bool { return n >= b.Min && (b.Max == 0 || n <= b.Max) }

func (b Bounds) String() string {
	switch {
	case b.Max == 0:
		return fmt.Sprintf("at least %d", b.Min)
	case b.Min == 0:
		return fmt.Sprintf("at most %d", b.Max)
	}
	return fmt.Sprintf("%d to %d", b.Min, b.Max)
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
	for _, l := range all {
		number := l.Number()
		if name == l.Step || name == number || "0"+name == number || name == l.Step[3:] {
			return l, nil
		}
	}
	var steps []string
	for _, l := range all {
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
	if name := later.Beside; name != "" && l.shows(name) && neighbour.shows(name) {
		return l.named(name)
	}
	if l.slow() && neighbour.slow() {
		x, act, _ = l.picture(isSlow)
		return x, act
	}
	x, act, _ = l.picture(func(Act) bool { return true })
	return x, act
}

func isSlow(a Act) bool { _, slow := a.Do.(Slow); return slow }

func (l *Lesson) slow() bool {
	_, _, ok := l.picture(isSlow)
	return ok
}

// named finds the first act with a picture of the experiment with this name. The
// act is -1 if there is none.
func (l *Lesson) named(name string) (x Experiment, act int) {
	for _, x := range l.Experiments {
		if x.Name == name {
			return x, slices.IndexFunc(x.Acts, func(a Act) bool { return len(a.Picture) > 0 })
		}
	}
	return Experiment{}, -1
}

func (l *Lesson) shows(name string) bool {
	_, act := l.named(name)
	return act >= 0
}

// picture finds the first act that has a picture and is wanted.
func (l *Lesson) picture(wanted func(Act) bool) (Experiment, int, bool) {
	for _, x := range l.Experiments {
		for i, a := range x.Acts {
			if len(a.Picture) > 0 && wanted(a) {
				return x, i, true
			}
		}
	}
	return Experiment{}, 0, false
}

// Before is the lesson before l, or nil.
func Before(all []*Lesson, l *Lesson) *Lesson {
	if i := slices.Index(all, l); i > 0 {
		return all[i-1]
	}
	return nil
}

// After is the step behind l; nil for the last.
func After(all []*Lesson, l *Lesson) *Lesson {
	for i, other := range all {
		if other == l && i+1 < len(all) {
			return all[i+1]
		}
	}
	return nil
}

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

// check finds what a lesson must have and has not.
func (l *Lesson) check() error {
	for name, text := range map[string]string{"title": l.Title, "claim": l.Claim, "fixes": l.Fixes, "breaks": l.Breaks, "code": l.Code} {
		if strings.TrimSpace(text) == "" {
			return fmt.Errorf("%s is missing", name)
		}
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
	left := maps.Clone(l.Fingerprint)
	for _, p := range property.All {
		if v := l.Fingerprint[p.Name]; v != "yes" && v != "no" && v != "n/a" {
			return fmt.Errorf("fingerprint: %s is %q: it can be yes, no or n/a", p.Name, v)
		}
		delete(left, p.Name)
	}
	for name := range left {
		return fmt.Errorf("fingerprint: there is no property %q", name)
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
	pictures := 0
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
			if len(a.Picture) > 0 {
				pictures++
			}
		}
	}
	if pictures == 0 {
		return errors.New("no act has a picture")
	}
	if l.Beside != "" && !l.shows(l.Beside) {
		return fmt.Errorf("beside: there is no experiment %q with a picture", l.Beside)
	}
	return nil
}

func (l *Lesson) checkExercise() error {
	e := l.Exercise
	for name, text := range map[string]string{"asks": e.Asks, "code": e.Code, "why": e.Why} {
		if strings.TrimSpace(text) == "" {
			return fmt.Errorf("%s is missing", name)
		}
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
