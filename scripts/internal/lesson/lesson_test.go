package lesson

import (
	"fmt"
	"os"
	"path/filepath"
	"plaque/scripts/internal/property"
	"strings"
	"testing"
)

var good = `
title: A title
claim: A claim.
minutes: 5
fixes: something
breaks: something else
code: main.go
fingerprint: {` + row() + `}
exercise:
  asks: Why?
  code: main.go
  fails: {one-load: 30 loads}
  keeps: [remembers, expires]
  hints: [Look., Look again.]
  why: Because.
experiments:
  - name: one
    says: It does.
    acts:
      - feed: {next: [doom, "ok:5ms"], hold: 5}
        hey: {n: 10, c: 5}
        picture: [burst]
        expect: {answers: {"200": 10}, loads: 5}
`

// A shell takes the line by hand as it is meant.
func TestGetByHand(t *testing.T) {
	for want, g := range map[string]Get{
		"curl -i http://127.0.0.1:3779":                                                     {},
		"curl -i -X POST http://127.0.0.1:3779/nope":                                        {Method: "POST", Path: "/nope"},
		"curl -i 'http://127.0.0.1:3779/?channel=a&n=[1-5]'":                                {Path: "/?channel=a&n=[1-5]"},
		"curl -i 'http://127.0.0.1:3779/?channel=a b' 'http://127.0.0.1:3779/?channel=a b'": {Path: "/?channel=a b", Times: 2},
	} {
		if got := g.byHand(nil); got != want {
			t.Errorf("%+v: %s, want %s", g, got, want)
		}
	}
}

// row is a complete fingerprint.
func row() string {
	var b strings.Builder
	for _, p := range property.All {
		b.WriteString(p.Name + ": yes, ")
	}
	return b.String()
}

// write makes a step's folder with this lesson.
func write(t *testing.T, root, step, text string) string {
	t.Helper()
	dir := filepath.Join(root, "steps", step)
	const code = "package main\n"
	for name, text := range map[string]string{File: text, "main.go": code, "exercise/main.go": code,
		"exercise/testdata/solution/main.go": code, "exercise/lonely.go": code} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// exercise is what good says of its exercise.
var exercise = good[strings.Index(good, "exercise:"):strings.Index(good, "experiments:")]

func TestGood(t *testing.T) {
	l, err := Read(write(t, t.TempDir(), "01-one", good))
	if err != nil {
		t.Fatal(err)
	}
	if l.Step != "01-one" || l.Number() != "01" || l.Title != "A title" || *l.Experiments[0].Acts[0].Expect.Loads != 5 {
		t.Errorf("read as %+v", l)
	}
	if s := l.Experiments[0].Acts[0].Do.(Hey).Seconds(); s != DefaultTimeout {
		t.Errorf("hey waits %d s, want the default", s)
	}
}

// A broken lesson is an error that names the file and what is wrong.
func TestBroken(t *testing.T) {
	for _, c := range []struct{ name, old, new, want string }{
		{"empty", good, "", "it is empty"},
		{"no yaml", good, "a: [b", "lesson.yaml"},
		{"unknown field", "minutes: 5", "minuets: 5", "minuets"},
		{"no title", "title: A title\n", "", "title is missing"},
		{"no minutes", "minutes: 5", "minutes: 0", "minutes is missing"},
		{"minutes that are no number", "minutes: 5", "minutes: five", "line 4"},
		{"no such file", "code: main.go\nfinger", "code: other.go\nfinger", "other.go"},
		{"fingerprint incomplete", "heals: yes, ", "", "heals"},
		{"fingerprint with a surprise", "heals: yes, ", "heals: yes, flies: yes, ", "flies"},
		{"fingerprint neither yes nor no", "heals: yes", "heals: perhaps", "perhaps"},
		{"no exercise", exercise, "", "exercise: "},
		{"exercise with an unknown field", "  asks: Why?", "  begs: Why?", "begs"},
		{"exercise asks nothing", "asks: Why?", "asks: ''", "exercise: asks is missing"},
		{"exercise without a file", "  code: main.go", "  code: ''", "exercise: code is missing"},
		{"exercise in no such file", "  code: main.go", "  code: other.go", filepath.Join("exercise", "other.go")},
		{"exercise without a solution", "  code: main.go", "  code: lonely.go", filepath.Join("solution", "lonely.go")},
		{"exercise without a reason", "why: Because.", "why: ' '", "exercise: why is missing"},
		{"one hint", "[Look., Look again.]", "[Look.]", "hints: there must be two"},
		{"three hints", "[Look., Look again.]", "[Look., Look again., Give up.]", "hints: there must be two"},
		{"an empty hint", "[Look., Look again.]", "[Look., '']", "hints: there must be two"},
		{"exercise that fails nothing", "fails: {one-load: 30 loads}", "fails: {}", "fails is missing"},
		{"exercise that fails what is unknown", "fails: {one-load: 30 loads}", "fails: {flies: no wings}", `fails: there is no property "flies"`},
		{"exercise that fails without words", "fails: {one-load: 30 loads}", "fails: {one-load: }", "fails: one-load does not say"},
		{"exercise that fails what is not judged", "one-load: yes", "one-load: n/a", "fails: one-load is n/a"},
		{"exercise that keeps what is unknown", "keeps: [remembers,", "keeps: [flies,", `keeps: there is no property "flies"`},
		{"exercise that keeps what is not judged", "expires: yes", "expires: n/a", "keeps: expires is n/a"},
		{"exercise that keeps what it fails", "keeps: [remembers,", "keeps: [one-load,", "one-load is in fails and in keeps"},
		{"exercise that keeps a thing twice", "keeps: [remembers,", "keeps: [expires,", "keeps: expires is there twice"},
		{"hey's rounds", "n: 10, c: 5", "n: 10, c: 3", "multiple"},
		{"hey with nobody", "n: 10, c: 5", "n: 0, c: 0", "at least 1"},
		{"two things at once", "hey: {n: 10, c: 5}", "hey: {n: 10, c: 5}\n        silent: 1", "it does 2 things"},
		{"nothing to do", "hey: {n: 10, c: 5}", "says: nothing", "it does 0 things"},
		{"unknown answer", "doom, ", "gloom, ", "gloom"},
		{"answer with a bad time", "ok:5ms", "ok:5", "ok:5"},
		{"callers without a gate", "hey: {n: 10, c: 5}", "hey: {n: 10, c: 5}\n        callers: 5", "gate: true"},
		{"more slow callers than can connect in time", "hey: {n: 10, c: 5}", "slow: 11", "at most 10"},
		{"a quick caller behind nobody", "loads: 5}", "loads: 5, quick: at once}", "quick goes with the act slow"},
		{"quick as nobody is", "hey: {n: 10, c: 5}", "slow: 3\n        expect: {quick: soon}\n      - hey: {n: 10, c: 5}", "soon"},
		{"a budget against nothing", "code: main.go", "code: main.go\nbudget: 10", "no step before"},
		{"unknown rudeness", "hey: {n: 10, c: 5}", "rude: sulks", "sulks"},
		{"a fleet where there is one server", "hey: {n: 10, c: 5}", "fleet: {callers: 5}", "goes with peers"},
		{"a fleet with no callers", "hey: {n: 10, c: 5}", "fleet: {key: 1}", "callers: 0"},
		{"a fleet with links as there are none", "hey: {n: 10, c: 5}", "fleet: {callers: 5, links: tangled}", `links: "tangled"`},
		{"a fleet that dies while nothing is held", "hey: {n: 10, c: 5}", "fleet: {callers: 5, kill: true}", "gate: true"},
		{"a fleet of nobody who loads", "loads: 5}", "loads: 5, loaded_by: 3}", "loaded_by goes with the act fleet"},
		{"one server where there is a fleet", "    says: It does.\n", "    says: It does.\n    peers: 3\n", "with peers go fleet and wait alone"},
		{"no picture", "        picture: [burst]\n", "", "picture"},
		{"no experiments", good[strings.Index(good, "experiments:"):], "experiments: []\n", "no experiments"},
		{"no says", "    says: It does.\n", "", "says"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !strings.Contains(good, c.old) {
				t.Fatalf("the good lesson has no %q", c.old)
			}
			dir := write(t, t.TempDir(), "01-one", strings.Replace(good, c.old, c.new, 1))
			_, err := Read(dir)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), filepath.Join(dir, File)) {
				t.Errorf("the error is %v; want it to name the file and say %q", err, c.want)
			}
		})
	}
}

func TestFind(t *testing.T) {
	root := t.TempDir()
	write(t, root, "01-one", good)
	write(t, root, "02-two-words", strings.Replace(good, "code: main.go", "code: main.go\nbudget: 10", 1))
	write(t, root, "kit", "no lesson")
	all, err := All(root)
	if err != nil || len(all) != 2 {
		t.Fatalf("%d lessons, %v; want 2", len(all), err)
	}
	for _, name := range []string{"2", "02", "two-words", "02-two-words"} {
		if l, err := Find(all, name); err != nil || l != all[1] {
			t.Errorf("Find(%q) = %v, %v", name, l, err)
		}
	}
	for _, name := range []string{"", "3", "001", "one-01", "kit"} {
		if _, err := Find(all, name); err == nil || !strings.Contains(err.Error(), "01-one, 02-two-words") {
			t.Errorf("Find(%q): %v, want an error that lists the steps", name, err)
		}
	}
	if Before(all, all[0]) != nil || Before(all, all[1]) != all[0] {
		t.Error("Before does not give the step before")
	}
	if _, err := All(t.TempDir()); err == nil {
		t.Error("a folder without steps is no error")
	}
}

// From the second step on a lesson says how much its code may differ.
func TestBudgetIsDemanded(t *testing.T) {
	if _, err := Read(write(t, t.TempDir(), "02-two", good)); err == nil || !strings.Contains(err.Error(), "budget is missing") {
		t.Errorf("a second step without a budget: %v", err)
	}
}

// A step that names the experiment to stand beside the step before has it, and so
// has the step before.
func TestBeside(t *testing.T) {
	first := func(name string) string {
		return strings.Replace(good, "code: main.go", "code: main.go\nbeside: "+name, 1)
	}
	second := func(name string) string { return strings.Replace(first(name), "beside:", "budget: 20\nbeside:", 1) }
	for _, c := range []struct{ one, two, want string }{
		{good, second("one"), ""},
		{good, second("another"), `there is no experiment "another" with a picture`},
		{good, strings.Replace(second("one"), "        picture: [burst]\n", "", 1), "no act has a picture"},
		{first("one"), second("one"), "the step before has no experiment"},
		{strings.Replace(good, "name: one", "name: another", 1), second("one"), "the step before has no experiment"},
	} {
		root := t.TempDir()
		write(t, root, "01-one", c.one)
		write(t, root, "02-two", c.two)
		if _, err := All(root); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

// Slow clients stand for a step beside a neighbour that has them too; else it is
// the first act with a picture, unless the later step names an experiment that both
// have.
func TestShown(t *testing.T) {
	all, err := All(filepath.Join("..", "..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		step, neighbour string
		slow            bool
		name            string // of the experiment, where it matters
	}{
		{"01", "02", true, ""}, {"02", "01", true, ""}, {"02", "03", true, ""}, {"03", "02", true, ""},
		{"03", "04", false, ""}, {"04", "03", false, ""}, {"06", "05", false, ""},
		{"07", "08", false, "a doomed load"}, {"08", "07", false, "a doomed load"}, {"08", "09", false, "a doomed load"},
		{"09", "05", false, "one flight"}, {"05", "09", false, "the stampede"}, {"07", "06", false, "one flight"}, {"09", "10", false, "one flight"},
	} {
		s, err := Find(all, c.step)
		if err != nil {
			t.Fatal(err)
		}
		n, err := Find(all, c.neighbour)
		if err != nil {
			t.Fatal(err)
		}
		x, i := Shown(s, n)
		if a := x.Acts[i]; isSlow(x, a) != c.slow || len(a.Picture) == 0 {
			t.Errorf("%s beside %s: act %d of %q; want slow clients: %v", c.step, c.neighbour, i+1, x.Name, c.slow)
		}
		if c.name != "" && x.Name != c.name {
			t.Errorf("%s beside %s: %q, want %q", c.step, c.neighbour, x.Name, c.name)
		}
	}
}

// The workshop's own lessons can be read, and stand in order.
func TestOurs(t *testing.T) {
	all, err := All(filepath.Join("..", "..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range all {
		if want := fmt.Sprintf("%02d", i+1); l.Number() != want {
			t.Errorf("step %s is %s", want, l.Step)
		}
	}
	if len(all) < 9 {
		t.Errorf("%d lessons, want 9 or more", len(all))
	}
}
