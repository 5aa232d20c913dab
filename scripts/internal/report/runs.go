package report

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"plaque/scripts/internal/lab"
	"plaque/scripts/internal/lesson"
	"plaque/scripts/internal/tour"
	"plaque/scripts/internal/waterfall"
)

// A page names what it shows: <!-- generated: run a doomed load --> is one
// experiment with its pictures, <!-- generated: screen a doomed load --> what
// `stacks` or `top` printed in it, <!-- generated: histogram the stampede --> how
// long answers took, <!-- generated: table a feed that fails --> a folded table of
// its acts, and <!-- generated: experiments --> one of all the experiments that
// have no block run or table.
var shows = map[string]func(*lesson.Lesson, *lab.Result) (string, error){"run": run, "screen": screen, "histogram": histogram, "table": table}

const theRest = "experiments"

// Runs are the blocks of a step's page that show experiments. Each experiment must
// stand on the page, and each block must name one.
func Runs(page string, s *lesson.Lesson, ran []*lab.Result) (map[string]string, error) {
	blocks := map[string]string{}
	others := slices.Clone(ran)
	names := blockNames(page)
	for _, name := range names {
		kind, of, _ := strings.Cut(name, " ")
		show := shows[kind]
		if show == nil {
			continue
		}
		is := func(r *lab.Result) bool { return r.Experiment.Name == of }
		i := slices.IndexFunc(ran, is)
		if i < 0 {
			return nil, fmt.Errorf("block %q: the step has no experiment %q", name, of)
		}
		text, err := show(s, ran[i])
		if err != nil {
			return nil, fmt.Errorf("block %q: %w", name, err)
		}
		blocks[name] = text
		if kind == "run" || kind == "table" {
			others = slices.DeleteFunc(others, is)
		}
	}
	rest := slices.Contains(names, theRest)
	switch {
	case rest && len(others) == 0:
		return nil, fmt.Errorf("block %q: every experiment stands on the page already", theRest)
	case rest:
		blocks[theRest] = list(others)
	case len(others) > 0:
		return nil, fmt.Errorf("the page does not show the experiment %q: add a block %q or %q", others[0].Experiment.Name, "run "+others[0].Experiment.Name, theRest)
	}
	return blocks, nil
}

// blockNames are the names of a page's generated blocks, in order.
func blockNames(page string) (names []string) {
	for _, part := range strings.Split(page, begin)[1:] {
		if name, _, ok := strings.Cut(part, close+"\n"); ok {
			names = append(names, name)
		}
	}
	return names
}

func fence(text string) string { return "```text\n" + strings.TrimRight(text, "\n") + "\n```\n" }

// seen are an act's claims, all of which came true.
func seen(a *lab.Outcome) (all []string) {
	for _, c := range a.Checks {
		all = append(all, c.What+": "+c.Want)
	}
	return all
}

// run is an experiment of s as a page shows it: what was done, the picture, and what
// came out.
func run(s *lesson.Lesson, r *lab.Result) (string, error) {
	var b strings.Builder
	for i, a := range r.Acts {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintln(&b, a.Act.Does())
		// What 01 to 03 do takes no time that survives the rounding, unless
		// callers are slow.
		if _, slow := a.Act.Do.(lesson.Slow); len(a.Act.Picture) > 0 && (s.ReadsFeed() || slow) {
			picture := draw(stillAct(a).Spans, waterfall.Options{Width: 96, Only: a.Act.Picture, Notes: tour.Notes})
			for line := range strings.Lines(picture) {
				b.WriteString("  " + line)
			}
		}
		for _, s := range seen(a) {
			fmt.Fprintf(&b, "  %s\n", s)
		}
	}
	return flat(r.Experiment.Says) + "\n\n" + fence(b.String()), nil
}

// screen is what a command printed in the first act in which somebody looked.
func screen(_ *lesson.Lesson, r *lab.Result) (string, error) {
	for _, a := range r.Acts {
		if a.Screen != "" {
			return fence(ours(a.Screen)), nil
		}
	}
	return "", errors.New("nobody looks inside in that experiment: give one of its acts a `look`")
}

// histogram is how long answers took, and what they were, as hey prints it of the
// first act in which it was answered.
func histogram(_ *lesson.Lesson, r *lab.Result) (string, error) {
	for _, a := range r.Acts {
		bars := lab.Histogram(a.Hey)
		if _, answers, ok := strings.Cut(a.Hey, statusCodes); ok && bars != "" {
			return fence("Response time histogram:\n" + bars + "\n\n" + statusCodes + answers), nil
		}
	}
	return "", errors.New("hey has no histogram of that experiment")
}

// table shows an experiment whose acts are alike, a row each, folded.
func table(_ *lesson.Lesson, r *lab.Result) (string, error) {
	var b strings.Builder
	x := r.Experiment
	fmt.Fprintf(&b, "<details><summary>%s, in %d acts</summary>\n\n%s\n\n| what is done | what comes out |\n|---|---|\n", capital(x.Name), len(r.Acts), flat(x.Says))
	for _, a := range r.Acts {
		fmt.Fprintf(&b, "| %s | %s |\n", cell(a.Act.Does()), cell(strings.Join(seen(a), " · ")))
	}
	b.WriteString("\n</details>\n")
	return b.String(), nil
}

// list shows experiments without their pictures, folded: what each is about, then
// a line for each act. A table would scroll sideways on a phone.
func list(ran []*lab.Result) string {
	var b strings.Builder
	many := "One more experiment"
	if len(ran) > 1 {
		many = fmt.Sprintf("%d more experiments", len(ran))
	}
	fmt.Fprintf(&b, "<details><summary>%s</summary>\n\n", many)
	for _, r := range ran {
		fmt.Fprintf(&b, "- **%s.** %s\n", inline(capital(r.Experiment.Name)), inline(flat(r.Experiment.Says)))
		for _, a := range r.Acts {
			line := a.Act.Does()
			if len(a.Checks) > 0 {
				line += " → " + strings.Join(seen(a), " · ")
			}
			fmt.Fprintf(&b, "  - %s\n", inline(line))
		}
	}
	b.WriteString("\n</details>\n")
	return b.String()
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// inline keeps a text on one line, without HTML; cell keeps it inside one cell of a
// table.
func inline(s string) string { return strings.NewReplacer("\n", " ", "<", "&lt;").Replace(s) }
func cell(s string) string   { return strings.ReplaceAll(inline(s), "|", `\|`) }

// library are rows of goroutines that no code of ours started, or that send
// spans. How many there are differs from run to run, and a page leaves them out.
var library = regexp.MustCompile(`(transport|batch_span_processor|signal|http/server|delivery)\.go:\d+\s*$|^ +in (net|trace|syscall|http)\.`)

// explained is a line that says what a state is: "select: waits for …".
var explained = regexp.MustCompile(`^([a-zA-Z][a-zA-Z ]*): `)

// ours is a screen without libraries' goroutines, and without states that no other
// goroutine has.
func ours(screen string) string {
	var b strings.Builder
	cut := false
	for line := range strings.Lines(screen) {
		switch {
		case strings.HasPrefix(line, "in libraries:"), library.MatchString(strings.TrimRight(line, "\n")):
			if !cut {
				b.WriteString("    …\n")
			}
			cut = true
		case explained.MatchString(line) && cut && !strings.Contains(b.String(), "  "+explained.FindStringSubmatch(line)[1]+"  "):
		case strings.TrimSpace(line) == "" && strings.HasSuffix(b.String(), "\n\n"):
		default:
			b.WriteString(strings.TrimRight(line, " \n") + "\n")
		}
	}
	return b.String()
}

const statusCodes = "Status code distribution:\n"

// crowds is what counts in a histogram: how many answers were fast and how many
// slow, which is before and after the longest run of empty rows, and the rest.
func crowds(histogram string) string {
	bars, rest, _ := strings.Cut(histogram, statusCodes)
	var counts []int
	for _, m := range row.FindAllStringSubmatch(bars, -1) {
		n, _ := strconv.Atoi(m[1])
		counts = append(counts, n)
	}
	fast, slow, empty, longest := 0, 0, 0, 0
	for _, n := range counts {
		switch {
		case n == 0:
			empty++
			continue
		case empty > longest:
			longest, fast, slow = empty, fast+slow, 0
		}
		empty, slow = 0, slow+n
	}
	return fmt.Sprintf("%d fast, %d slow, %s", fast, slow, flat(rest))
}

// row is a row of hey's histogram, with its number of answers.
var row = regexp.MustCompile(`(?m)^\s*\d+\.\d+ \[(\d+)\]`)

// moment are the parts of a screen that differ from run to run: times, numbers
// of processes and of traces.
var moment = regexp.MustCompile(`process \d+|\b[0-9a-f]{32}\b|\b\d+(\.\d+)? (s|ms|min)\b|go\d+\.\d+(\.\d+)?|\b\d+ (goroutines|left out|running spans)\b`)

// stays reports whether two texts of a block differ in nothing but the moment.
// Then the one that stands on the page stays: it is a real one, too.
func stays(block, old, is string) bool {
	mask := crowds
	switch kind, _, _ := strings.Cut(block, " "); kind {
	case "histogram":
	case "screen":
		mask = func(s string) string { return flat(moment.ReplaceAllString(s, "…")) }
	default:
		return false
	}
	return mask(old) == mask(is)
}
