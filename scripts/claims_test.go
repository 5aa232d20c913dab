package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"plaque/scripts/internal/build"
)

// claim is a piece of a page's hand-written text with numbers in it, and why
// they are what they are. Exactly one of File, Test, Measured and Known is set.
type claim struct {
	Says string `yaml:"says"` // as it stands on the page, but for line breaks

	File string   `yaml:"file"` // where it is decided, from the workshop's folder
	Has  []string `yaml:"has"`  // what stands there

	Test string `yaml:"test"` // what would fail: a test, such as steps/kit/web.TestServe

	Measured string `yaml:"measured"` // how, where and when: no machine compares it again
	Known    string `yaml:"known"`    // where it is from: not ours to measure
}

// check says what is wrong with a claim's reason.
func (c claim) check(root string) error {
	reasons := 0
	for _, r := range []string{c.File, c.Test, c.Measured, c.Known} {
		if r != "" {
			reasons++
		}
	}
	if reasons != 1 {
		return fmt.Errorf("it has %d reasons: say one of file, test, measured, known", reasons)
	}
	switch {
	case c.File != "":
		if len(c.Has) == 0 {
			return fmt.Errorf("file without has: what stands in %s?", c.File)
		}
		b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(c.File)))
		if err != nil {
			return err
		}
		for _, text := range c.Has {
			if !stands(flat(text), flat(string(b))) {
				return fmt.Errorf("%q does not stand in %s any more", text, c.File)
			}
		}
	case c.Test != "":
		dir, name, ok := strings.Cut(c.Test, ".Test")
		if !ok {
			return fmt.Errorf("test: %q: write it like steps/kit/web.TestServe", c.Test)
		}
		files, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(dir), "*_test.go"))
		if err != nil {
			return err
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				return err
			}
			if strings.Contains(string(b), "func Test"+name+"(") {
				return nil
			}
		}
		return fmt.Errorf("there is no test %s", c.Test)
	}
	return nil
}

func flat(s string) string { return strings.Join(strings.Fields(s), " ") }

// stands reports whether some words stand in a text, and not as a part of longer
// ones: "wait 2" does not stand in "wait 20", nor in "wait 2.5".
func stands(words, text string) bool {
	inWord := regexp.MustCompile(`^\.?\w`)
	for from := 0; words != ""; {
		i := strings.Index(text[from:], words)
		if i < 0 {
			return false
		}
		start := from + i
		end := start + len(words)
		splits := func(at int) bool { // a word, or a number at its point
			return at > 0 && wordByte(text[at-1]) && inWord.MatchString(text[at:])
		}
		if !splits(start) && !splits(end) {
			return true
		}
		from = start + 1
	}
	return false
}

func wordByte(b byte) bool {
	return b == '_' || '0' <= b && b <= '9' || 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z'
}

var (
	generated = regexp.MustCompile(`(?s)<!-- generated: .*?<!-- end -->`)
	fenced    = regexp.MustCompile("(?sm)^ *```.*?^ *```")
	remark    = regexp.MustCompile(`(?s)<!--.*?-->`)
	number    = regexp.MustCompile(`(?i)\d+(?:[.,]\d+)*|\b(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|thirty|fifty|hundred|thousand|million)s?\b`)
)

// byHandText is what people have written of a page: not what is generated, and not
// the code blocks, which are executed or generated.
func byHandText(page string) string {
	for _, r := range []*regexp.Regexp{generated, fenced, remark} {
		page = r.ReplaceAllString(page, " ¶ ")
	}
	return flat(page)
}

// unclaimed are the numbers in a text that no claim covers, with what stands
// around them, and the claims that do not stand in it.
func unclaimed(text string, claims []claim) (bare, gone []string) {
	covered := make([]bool, len(text))
	for _, c := range claims {
		says, from, found := flat(c.Says), 0, false
		for {
			i := strings.Index(text[from:], says)
			if i < 0 || says == "" {
				break
			}
			found = true
			for j := range says {
				covered[from+i+j] = true
			}
			from += i + len(says)
		}
		if !found {
			gone = append(gone, c.Says)
		}
	}
	for _, at := range number.FindAllStringIndex(text, -1) {
		if !covered[at[0]] || !covered[at[1]-1] {
			bare = append(bare, strings.ToValidUTF8(text[max(0, at[0]-40):min(len(text), at[1]+40)], ""))
		}
	}
	return bare, gone
}

// A number on a page that people wrote stands in claims.yaml, with the reason:
// the line of code that sets it, the test that would fail, or who measured it and
// how. Change it on the page, or change the code, and this fails.
func TestNumbersOnPages(t *testing.T) {
	root, err := build.Root(".")
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile("claims.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string][]claim
	d := yaml.NewDecoder(strings.NewReader(string(b)))
	d.KnownFields(true)
	if err := d.Decode(&claims); err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, m := range allMarkdown(t) {
		page := filepath.ToSlash(m.path)
		known[page] = true
		bare, gone := unclaimed(byHandText(string(m.source)), claims[page])
		for _, b := range bare {
			t.Errorf("%s: a number that scripts/claims.yaml does not know: …%s…", page, b)
		}
		for _, g := range gone {
			t.Errorf("%s does not say what scripts/claims.yaml has: %q", page, g)
		}
		for _, c := range claims[page] {
			if err := c.check(root); err != nil {
				t.Errorf("%s: %q: %v", page, c.Says, err)
			}
		}
	}
	for page := range claims {
		if !known[page] {
			t.Errorf("scripts/claims.yaml has a page that does not exist: %s", page)
		}
	}
}

func TestUnclaimed(t *testing.T) {
	page := "It waits 2 s.\n<!-- generated: x -->\n7 loads\n<!-- end -->\n\n```sh\nload -n 10\n```\nFive callers\nmake 5 loads, one each."
	for _, c := range []struct {
		name       string
		says       []string
		bare, gone int
	}{
		{"all are claimed", []string{"waits 2 s", "Five callers make 5 loads"}, 0, 0},
		{"one is not", []string{"Five callers make 5 loads"}, 1, 0},
		{"a word is a number too", []string{"waits 2 s", "make 5 loads"}, 1, 0},
		{"the page says otherwise", []string{"waits 3 s", "Five callers make 5 loads"}, 1, 1},
	} {
		var claims []claim
		for _, s := range c.says {
			claims = append(claims, claim{Says: s})
		}
		bare, gone := unclaimed(byHandText(page), claims)
		if len(bare) != c.bare || len(gone) != c.gone {
			t.Errorf("%s: unclaimed %q, not on the page %q", c.name, bare, gone)
		}
	}
	root, err := build.Root(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		claim claim
		want  string
	}{
		{claim{File: "go.work", Has: []string{"go 1.26.0"}}, ""},
		{claim{File: "go.work", Has: []string{"go 9.99"}}, "does not stand in go.work"},
		{claim{File: "go.work", Has: []string{"go 1.26"}}, "does not stand in go.work"},
		{claim{File: "go.work", Has: []string{"o 1.26.0"}}, "does not stand in go.work"},
		{claim{File: "go.work", Has: []string{""}}, "does not stand in go.work"},
		{claim{File: "go.work"}, "file without has"},
		{claim{File: "nowhere", Has: []string{"x"}}, "nowhere"},
		{claim{Test: "scripts.TestUnclaimed"}, ""},
		{claim{Test: "scripts.TestNothing"}, "no test"},
		{claim{Test: "scripts"}, "write it like"},
		{claim{Known: "by all"}, ""},
		{claim{}, "0 reasons"},
		{claim{Known: "by all", Measured: "once"}, "2 reasons"},
	} {
		err := c.claim.check(root)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.claim, err, c.want)
		}
	}
}
