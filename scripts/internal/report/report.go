// Package report writes the generated parts of the READMEs, from lesson.yaml and
// from runs. So a page cannot say what a machine has not seen.
package report

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"plaque/scripts/internal/lesson"
	"plaque/scripts/internal/property"
)

const (
	begin = "<!-- generated: " // followed by the block's name
	close = " -->"
	end   = "<!-- end -->"
)

// Fill replaces the generated blocks of a page. blocks maps a block's name to
// its text. A block without a text, a text without a block and a marker without
// its partner are errors: each would be a part of a page that rots unseen.
func Fill(page string, blocks map[string]string) (string, error) {
	var b strings.Builder
	used := map[string]bool{}
	for {
		before, rest, ok := strings.Cut(page, begin)
		if strings.Contains(before, end) {
			return "", fmt.Errorf("%q stands without a beginning", end)
		}
		b.WriteString(before)
		if !ok {
			break
		}
		name, rest, ok := strings.Cut(rest, close+"\n")
		if !ok {
			return "", fmt.Errorf("%q is not closed", begin)
		}
		old, rest, ok := strings.Cut(rest, end)
		if !ok || strings.Contains(old, begin) {
			return "", fmt.Errorf("block %q has no end", name)
		}
		text, known := blocks[name]
		if !known {
			return "", fmt.Errorf("there is no block %q", name)
		}
		used[name] = true
		text = strings.Trim(text, "\n")
		if stays(name, old, text) {
			text = strings.Trim(old, "\n")
		}
		fmt.Fprintf(&b, "%s%s%s\n%s\n%s", begin, name, close, text, end)
		page = rest
	}
	for name := range blocks {
		if !used[name] {
			return "", fmt.Errorf("the page has no block %q", name)
		}
	}
	return b.String(), nil
}

// Update fills the page at path, or, when only checking, reports an error if
// that would change it. Blocks that show code it fills by itself, from the files
// that they name.
func Update(path string, blocks map[string]string, check bool) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	page := strings.ReplaceAll(string(old), "\r\n", "\n")
	all, err := excerpts(filepath.Dir(path), page)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	maps.Copy(all, blocks)
	text, err := Fill(page, all)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if text == string(old) {
		return nil
	}
	if check {
		return fmt.Errorf("%s is out of date: run `go run ./scripts pages`\n%s", path, difference(string(old), text))
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

// difference is the first line that differs, for a person to start from.
func difference(old, is string) string {
	a, b := strings.Split(old, "\n"), strings.Split(is, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("line %d is\n  %s\nand should be\n  %s", i+1, a[i], b[i])
		}
	}
	return fmt.Sprintf("it has %d lines and should have %d", len(a), len(b))
}

// Map is the table of steps.
func Map(steps []*lesson.Lesson) string {
	var b strings.Builder
	b.WriteString("| step | what it claims |\n|---|---|\n")
	total := 0
	for _, s := range steps {
		total += s.Minutes
		fmt.Fprintf(&b, "| [%s](%s)<br>%d&nbsp;min | %s |\n", s.Number(), s.Step, s.Minutes, flat(s.Claim))
	}
	fmt.Fprintf(&b, "\nThat is %d h %02d min in all.\n", total/60, total%60)
	return b.String()
}

// List is a line for each step.
func List(steps []*lesson.Lesson) string {
	var b strings.Builder
	for _, s := range steps {
		fmt.Fprintf(&b, "- %s [%s](steps/%s): %s\n", s.Number(), s.Title, s.Step, flat(s.Fixes))
	}
	return b.String()
}

// Fixes is the table of what each step gets right and wrong, in words.
func Fixes(steps []*lesson.Lesson) string {
	var b strings.Builder
	b.WriteString("| step | fixes | leaves |\n|---|---|---|\n")
	for _, s := range steps {
		fmt.Fprintf(&b, "| [%s](%s) | %s | %s |\n", s.Number(), s.Step, flat(s.Fixes), flat(s.Breaks))
	}
	return b.String()
}

// Fingerprints is the table of what each step has, and has not yet.
func Fingerprints(steps []*lesson.Lesson) string {
	var b strings.Builder
	b.WriteString("| |")
	for _, s := range steps {
		fmt.Fprintf(&b, " [%s](%s) |", s.Number(), s.Step)
	}
	b.WriteString("\n|---|" + strings.Repeat(":-:|", len(steps)) + "\n")
	marks := map[string]string{"yes": "✓", "no": "✗", "n/a": "·"}
	for _, p := range property.All {
		fmt.Fprintf(&b, "| %s |", p.Says)
		for _, s := range steps {
			fmt.Fprintf(&b, " %s |", marks[s.Fingerprint[p.Name]])
		}
		b.WriteString("\n")
	}
	b.WriteString("\n✓ has it · ✗ does not have it · a dot: not judged, because the step reads no feed, or is one machine\n")
	return b.String()
}

// Claim is the head of a step's page.
func Claim(steps []*lesson.Lesson, s *lesson.Lesson) string {
	way := []string{fmt.Sprintf("%d minutes", s.Minutes)}
	if before := lesson.Before(steps, s); before != nil {
		way = slices.Insert(way, 0, fmt.Sprintf("before: [%s](../%s)", before.Step, before.Step))
	}
	if after := lesson.After(steps, s); after != nil {
		way = append(way, fmt.Sprintf("next: [%s](../%s)", after.Step, after.Step))
	}
	return fmt.Sprintf("> %s\n\n%s\n", flat(s.Claim), strings.Join(way, " · "))
}

// Rows lists the rows of the fingerprint in which a step differs from the one
// before, as a Markdown list; "" if there is none.
func Rows(before, s *lesson.Lesson) string {
	var b strings.Builder
	for _, p := range property.All {
		switch was, is := before.Fingerprint[p.Name], s.Fingerprint[p.Name]; {
		case was == is:
		case is == "yes":
			fmt.Fprintf(&b, "- ✓ now: %s\n", p.Says)
		case is == "no" && was == "yes":
			fmt.Fprintf(&b, "- ✗ no longer: %s\n", p.Says)
		case is == "no":
			fmt.Fprintf(&b, "- ✗ not yet: %s\n", p.Says)
		}
	}
	return b.String()
}

// Next is what a step still lacks and the next one mends.
func Next(s, after *lesson.Lesson) string {
	var b strings.Builder
	for _, p := range property.All {
		if s.Fingerprint[p.Name] == "no" && after.Has(p) {
			fmt.Fprintf(&b, "- ✗ %s\n", p.Says)
		}
	}
	return b.String()
}

// Size counts the lines that a unified diff adds and removes.
func Size(diff string) (added, removed int) {
	for line := range strings.Lines(diff) {
		switch {
		case strings.HasPrefix(line, "+++"), strings.HasPrefix(line, "---"):
		case strings.HasPrefix(line, "+"):
			added++
		case strings.HasPrefix(line, "-"):
			removed++
		}
	}
	return added, removed
}

// Changed is what a step does otherwise than the one before: the rows of the
// fingerprint and, folded, the code; diff is "" where there is none to show.
func Changed(before, s *lesson.Lesson, diff string) string {
	var b strings.Builder
	b.WriteString(Rows(before, s))
	if diff == "" {
		return b.String()
	}
	added, removed := Size(diff)
	fmt.Fprintf(&b, "\n<details><summary>The code: %d lines more, %d lines less than in %s</summary>\n\n", added, removed, before.Step)
	short := withoutDeletions(diff)
	if short != diff {
		fmt.Fprintf(&b, "Long deletions are left out. `go run ./scripts diff --code %s` shows them.\n\n", s.Number())
	}
	fmt.Fprintf(&b, "```diff\n%s```\n\n</details>\n", short)
	return b.String()
}

// mostDeleted is how many deleted lines in a row a page shows: so many can be
// compared with what stands in their place.
const mostDeleted = 12

// withoutDeletions is a unified diff in which a line stands for each longer run of
// deleted lines.
func withoutDeletions(diff string) string {
	var b strings.Builder
	var run []string
	flush := func() {
		if len(run) > mostDeleted {
			run = []string{fmt.Sprintf("-… %d lines\n", len(run))}
		}
		b.WriteString(strings.Join(run, ""))
		run = nil
	}
	for line := range strings.Lines(diff) {
		if strings.HasPrefix(line, "-") && !strings.HasPrefix(line, "--- ") {
			run = append(run, line)
			continue
		}
		flush()
		b.WriteString(line)
	}
	flush()
	return b.String()
}

// Exercise is what a step's page asks of its reader: how to check an answer, what
// the checker says at first, two hints and the solution, as a diff of the file
// to mend.
func Exercise(s *lesson.Lesson, diff string) string {
	e := s.Exercise
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\nThe file to mend is [exercise/%s](exercise/%s).\n\n", flat(e.Asks), e.Code, e.Code)
	fmt.Fprintf(&b, "<!-- fails: and lacks %d. -->\n```sh\ngo run ./scripts check --exercise %s\n```\n\nAt first it finds:\n\n", len(e.Fails), s.Number())
	for _, p := range property.All {
		if seen, ok := e.Fails[p.Name]; ok {
			fmt.Fprintf(&b, "- ✗ %s: %s\n", p.Says, flat(seen))
		}
	}
	if len(e.Keeps) > 0 {
		b.WriteString("\nThese must stay so:\n\n")
	}
	for _, p := range property.All { // in the checker's order, whatever the lesson's is
		if slices.Contains(e.Keeps, p.Name) {
			fmt.Fprintf(&b, "- ✓ %s\n", p.Says)
		}
	}
	for i, hint := range e.Hints {
		fmt.Fprintf(&b, "\n<details><summary>Hint %d</summary>\n\n%s\n\n</details>\n", i+1, flat(hint))
	}
	fmt.Fprintf(&b, "\n<details><summary>Solution</summary>\n\n%s\n\n```diff\n%s```\n\n</details>\n", flat(e.Why), diff)
	return b.String()
}

// flat puts a text on one line.
func flat(s string) string { return strings.Join(strings.Fields(s), " ") }
