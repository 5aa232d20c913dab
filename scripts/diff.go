package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/aymanbagabas/go-udiff"

	"plaque/scripts/internal/build"
	"plaque/scripts/internal/lab"
	"plaque/scripts/internal/lesson"
	"plaque/scripts/internal/otlp"
	"plaque/scripts/internal/report"
	"plaque/scripts/internal/say"
	"plaque/scripts/internal/tour"
	"plaque/scripts/internal/waterfall"
)

// diff shows what changed since the step before: in the code, in the fingerprint,
// and in a picture of each, from runs.
func diff(ctx context.Context, e *env, args []string) error {
	fs := e.flags("diff")
	code := fs.Bool("code", false, "show the code alone, and run nothing")
	names, err := parse(fs, args)
	if err != nil {
		return err
	}
	s, err := e.step("diff", names)
	if err != nil {
		return err
	}
	before := lesson.Before(e.lessons, s)
	if before == nil {
		return errUsage{fmt.Errorf("%s is the first step: there is nothing before it", s.Step)}
	}
	text, err := stepDiff(before, s)
	if err != nil {
		return err
	}
	p := say.New(e.stdout)
	if *code {
		_, err = fmt.Fprint(e.stdout, text)
		return err
	}
	added, removed := report.Size(text)
	p.Linef("%s\n\n%s", p.Bold(fmt.Sprintf("The code: %d lines more, %d lines less than in %s", added, removed, before.Step)), text)
	rows := report.Rows(before, s)
	if rows == "" {
		rows = "- none\n"
	}
	p.Linef("%s\n\n%s", p.Bold("The properties that changed"), rows)

	bins, err := build.OpenBuilt(ctx, e.root, []*lesson.Lesson{before, s}, e.stderr)
	if err != nil {
		return err
	}
	defer bins.Close()
	l, err := lab.New(ctx, bins.HeyPath(), "")
	if err != nil {
		return err
	}
	defer l.Close()
	left, err := shown(ctx, l, bins, before, s, false)
	if err != nil {
		return err
	}
	right, err := shown(ctx, l, bins, s, before, false)
	if err != nil {
		return err
	}
	pictures, err := bursts(before, s, left, right, columns())
	if err != nil {
		return err
	}
	p.Linef("%s\n\n%s", p.Bold("The two side by side"), pictures)
	return firstLie(left, right)
}

// columns is how wide the terminal is, as COLUMNS says; else wide enough for two
// pictures.
func columns() int {
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n >= waterfall.MinWidth {
		return n
	}
	return sideBySide
}

// sideBySide is the narrowest text with two pictures next to each other.
const sideBySide = 120

// shown runs the act whose picture stands for step s beside that of its
// neighbour, and what comes before it in its experiment.
func shown(ctx context.Context, l *lab.Lab, bins *build.Bins, s, neighbour *lesson.Lesson, slow bool) (*lab.Act, error) {
	x, i := lesson.Shown(s, neighbour)
	last := i + 1
	for last < len(x.Acts) && x.Acts[last].Wait > 0 { // in which loads end that nobody waits for
		last++
	}
	x.Acts = x.Acts[:last]
	if slow && lab.ReadsFeed(s) {
		x = inSlowMotion(x)
	}
	r, err := l.Run(ctx, bins.StepPath(s), s, x)
	if err != nil {
		return nil, err
	}
	return r.Acts[i], nil
}

// firstLie is an error about a claim that did not come true, if there is one.
func firstLie(acts ...*lab.Act) error {
	for _, a := range acts {
		for _, c := range a.Checks {
			if !c.Held {
				return fmt.Errorf("%s: %s: claimed %s, seen %s", a.Act.Does(), c.What, c.Want, c.Got)
			}
		}
	}
	return nil
}

// bursts draws the acts of two steps next to each other, or one under the other
// where the text must be narrower than sideBySide columns, or where a picture had
// to be cut.
func bursts(before, s *lesson.Lesson, left, right *lab.Act, width int) (string, error) {
	if width >= sideBySide {
		column := (sideBySide - len(report.Gap)) / 2
		l, err := burst(before, left, waterfall.Options{Width: column})
		if err != nil {
			return "", err
		}
		r, err := burst(s, right, waterfall.Options{Width: column})
		if err != nil {
			return "", err
		}
		if !strings.Contains(l+r, "…") {
			return report.Beside(l, r, column), nil
		}
	}
	o := waterfall.Options{Width: min(width, 100), Notes: tour.Notes}
	l, err := burst(before, left, o)
	if err != nil {
		return "", err
	}
	r, err := burst(s, right, o)
	return l + "\n" + r, err
}

// burst is an act's picture below its step's name and what came out.
func burst(s *lesson.Lesson, a *lab.Act, o waterfall.Options) (string, error) {
	var b bytes.Buffer
	fmt.Fprintln(&b, s.Step)
	fmt.Fprint(&b, lab.Answers(a.Answers))
	if lab.ReadsFeed(s) {
		fmt.Fprintf(&b, ", %s", say.Plural(a.Loads, "load"))
	}
	b.WriteString("\n\n")
	o.Only = a.Act.Picture
	var picture bytes.Buffer
	if err := waterfall.Waterfall(&picture, drawn(a), o); err != nil {
		return "", err
	}
	for line := range strings.Lines(picture.String()) {
		// How many helper spans there are says nothing beside a neighbour.
		if !strings.HasPrefix(line, "not drawn:") {
			b.WriteString(line)
		}
	}
	return b.String(), nil
}

// drawn are an act's spans without the links that lead out of its picture.
func drawn(a *lab.Act) []otlp.Span {
	names := map[string]string{}
	for _, s := range a.Spans {
		names[s.ID] = s.Name
	}
	spans := slices.Clone(a.Spans)
	for i := range spans {
		spans[i].Links = slices.DeleteFunc(slices.Clone(spans[i].Links), func(l otlp.Link) bool {
			name, here := names[l.ID]
			return here && !slices.Contains(a.Act.Picture, name)
		})
	}
	return spans
}

// stepDiff compares what a reader reads of two steps: main.go and the file that
// is the lesson. Where the lesson stands in another file than before, it is
// shown as new.
func stepDiff(before, after *lesson.Lesson) (string, error) {
	var b strings.Builder
	for _, name := range []string{after.Code, "main.go"} {
		if name == "main.go" && after.Code == "main.go" {
			continue
		}
		was, err := os.ReadFile(filepath.Join(before.Dir, filepath.FromSlash(name)))
		if err != nil && !os.IsNotExist(err) {
			return "", err
		}
		is, err := os.ReadFile(filepath.Join(after.Dir, filepath.FromSlash(name)))
		if err != nil {
			return "", err
		}
		text, err := unified(path.Join(before.Step, name), path.Join(after.Step, name), was, is)
		if err != nil {
			return "", err
		}
		b.WriteString(text)
	}
	if b.Len() == 0 {
		return "", fmt.Errorf("%s and %s do not differ", before.Step, after.Step)
	}
	return b.String(), nil
}

// solutionDiff is what a reader changes in a step's exercise.
func solutionDiff(l *lesson.Lesson) (string, error) {
	was, err := os.ReadFile(l.ExerciseFile())
	if err != nil {
		return "", err
	}
	is, err := os.ReadFile(l.SolutionFile())
	if err != nil {
		return "", err
	}
	diff, err := unified("exercise/"+l.Exercise.Code, "exercise/testdata/solution/"+l.Exercise.Code, was, is)
	if err != nil {
		return "", err
	}
	if diff == "" {
		return "", fmt.Errorf("the exercise of %s and its solution do not differ", l.Step)
	}
	return diff, nil
}

// unified is the difference of two files as `diff -u` writes it; "" if there is
// none.
func unified(oldName, newName string, was, is []byte) (string, error) {
	// On Windows git may have written other ends of lines.
	unix := func(b []byte) string { return strings.ReplaceAll(string(b), "\r\n", "\n") }
	u, err := udiff.ToUnifiedDiff(oldName, newName, unix(was), shortest(unix(was), unix(is)), udiff.DefaultContextLines)
	if err != nil {
		return "", err
	}
	// The library (v0.4.1) forgets the lines between two changes of one hunk when
	// it counts where the next hunk begins in the new file.
	longer := 0
	for _, h := range u.Hunks {
		h.ToLine = h.FromLine + longer
		for _, l := range h.Lines {
			switch l.Kind {
			case udiff.Insert:
				longer++
			case udiff.Delete:
				longer--
			}
		}
	}
	return u.String(), nil
}

// shortest is the smallest set of edits that makes is of was, line by line. The
// library's own is up to a tenth longer where much has changed.
func shortest(was, is string) (edits []udiff.Edit) {
	a, b := slices.Collect(strings.Lines(was)), slices.Collect(strings.Lines(is))
	// common[i][j] is how many lines a[i:] and b[j:] have in common, in order.
	common := make([][]int, len(a)+1)
	for i := range common {
		common[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if common[i][j] = max(common[i+1][j], common[i][j+1]); a[i] == b[j] {
				common[i][j] = 1 + common[i+1][j+1]
			}
		}
	}
	at := 0 // in was
	for i, j := 0, 0; i < len(a) || j < len(b); {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			at += len(a[i])
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && common[i+1][j] >= common[i][j+1]:
			edits = append(edits, udiff.Edit{Start: at, End: at + len(a[i])})
			at += len(a[i])
			i++
		default:
			edits = append(edits, udiff.Edit{Start: at, End: at, New: b[j]})
			j++
		}
	}
	return edits
}
