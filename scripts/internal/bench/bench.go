// Package bench reads what `go test -bench`, hey and wrk print, and makes tables
// of ratios. A figure in nanoseconds says more of the machine than of the code,
// and on a shared one it says nothing; the ratio of two that were measured within
// the same minute says something, and its spread says how much.
package bench

import (
	"cmp"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Round is one run of everything: the figures of each benchmark, by its name
// and their unit, such as "HitOneKey/cache=09" and "ns/op".
type Round map[string]map[string]float64

var line = regexp.MustCompile(`^Benchmark(\S+?)(-\d+)?\s+\d+\s+(.+)$`)

// Parse reads the output of go test -bench. A benchmark that runs more than once
// keeps its last figures.
func Parse(text string) (Round, error) {
	round := Round{}
	for l := range strings.Lines(text) {
		m := line.FindStringSubmatch(strings.TrimRight(l, "\r\n"))
		if m == nil {
			continue
		}
		name := strings.ReplaceAll(m[1], "_", " ")
		round[name] = map[string]float64{}
		fields := strings.Fields(m[3])
		if len(fields)%2 != 0 {
			return nil, fmt.Errorf("the benchmark's line %q has no unit for each figure", strings.TrimSpace(l))
		}
		for i := 0; i < len(fields); i += 2 {
			n, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				return nil, fmt.Errorf("the benchmark's line %q: %w", strings.TrimSpace(l), err)
			}
			round[name][fields[i+1]] = n
		}
	}
	if len(round) == 0 {
		return nil, fmt.Errorf("there is no benchmark in:\n%s", text)
	}
	return round, nil
}

var perSecond = regexp.MustCompile(`(?m)^\s*Requests/sec:\s+([\d.]+)\s*$`)

// RequestsPerSecond reads the report of hey or of wrk.
func RequestsPerSecond(report string) (float64, error) {
	m := perSecond.FindStringSubmatch(report)
	if m == nil {
		return 0, fmt.Errorf("the report does not say how many requests a second:\n%s", report)
	}
	return strconv.ParseFloat(m[1], 64)
}

// Group is one table: benchmarks that do the same work.
type Group struct {
	Name string // what stands before the slash, such as HitOneKey
	Says string
	Unit string // of what is compared, such as ns/op; less is better unless More
	Base string // what the others are compared with, such as cache=otter
	More bool   // more is better

	// Aim is the most (or, with More, the least) that Judged may have of the
	// base; 0: none.
	Aim    float64
	Judged string
	// Also are units that are shown beside the ratio, as they are.
	Also []string
}

// bound says which side of the aim is good.
func (g Group) bound() string {
	if g.More {
		return "at least"
	}
	return "at most"
}

// Row is one line of a table.
type Row struct {
	Name         string
	Median       float64 // of the ratios to the base, each within one round
	Least, Most  float64
	Figure       float64   // the median of the figures themselves
	Also         []float64 // the medians of the group's other units
	AimMet, Aims bool
}

// Rows compares a group's benchmarks within each round. The best comes first.
func Rows(g Group, rounds []Round) ([]Row, error) {
	names := map[string]bool{}
	for _, r := range rounds {
		for name := range r {
			if rest, ok := strings.CutPrefix(name, g.Name+"/"); ok {
				names[rest] = true
			}
		}
	}
	if !names[g.Base] {
		return nil, fmt.Errorf("%s: nothing was measured for %q, with which the others are compared", g.Name, g.Base)
	}
	var rows []Row
	for name := range names {
		var ratios, figures []float64
		also := make([][]float64, len(g.Also))
		for _, r := range rounds {
			figure, ok := r[g.Name+"/"+name][g.Unit]
			base := r[g.Name+"/"+g.Base][g.Unit]
			if !ok || base == 0 {
				return nil, fmt.Errorf("%s: a round has no %s for %q or for %q", g.Name, g.Unit, name, g.Base)
			}
			ratios = append(ratios, figure/base)
			figures = append(figures, figure)
			for i, unit := range g.Also {
				also[i] = append(also[i], r[g.Name+"/"+name][unit])
			}
		}
		row := Row{Name: name, Median: median(ratios), Least: slices.Min(ratios), Most: slices.Max(ratios), Figure: median(figures)}
		for _, a := range also {
			row.Also = append(row.Also, median(a))
		}
		if g.Aim > 0 && name == g.Judged {
			row.Aims, row.AimMet = true, row.Median <= g.Aim
			if g.More {
				row.AimMet = row.Median >= g.Aim
			}
		}
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b Row) int {
		better := cmp.Compare(a.Median, b.Median)
		if g.More {
			better = -better
		}
		return cmp.Or(better, cmp.Compare(a.Name, b.Name))
	})
	return rows, nil
}

// name is what people call what was measured.
func (r Row) name() string {
	if _, name, named := strings.Cut(r.Name, "="); named {
		return name
	}
	return r.Name
}

// PageHead is the head of the table that PageLines fill.
const PageHead = "| what is measured | here | beside | ratio, least to most | aim |\n|---|--:|--:|--:|--:|\n"

// PageLines writes the lines that a page has of a group: of many caches that which
// is judged beside the base, of a few servers each.
func PageLines(w io.Writer, g Group, rows []Row) {
	base := rows[slices.IndexFunc(rows, func(r Row) bool { return r.Name == g.Base })]
	unit, _, _ := strings.Cut(g.Unit, "/op")
	for _, r := range rows {
		what, aim := g.Says, ""
		switch many := strings.Contains(r.Name, "="); {
		case r.Name == g.Base, many && r.Name != g.Judged:
			continue
		case !many:
			what += ": " + r.Name
		}
		if r.Aims {
			aim = fmt.Sprintf("%s %.2g", g.bound(), g.Aim)
			if !r.AimMet {
				aim += ", missed"
			}
		}
		fmt.Fprintf(w, "| %s | %s | %s, %s | %.2f, %.2f to %.2f | %s |\n",
			what, short(r.Figure, unit), short(base.Figure, unit), base.name(), r.Median, r.Least, r.Most, aim)
	}
}

// short is a figure in the unit that makes it short, with three digits at least.
func short(n float64, unit string) string {
	for _, up := range [][2]string{{"ns", "µs"}, {"µs", "ms"}} {
		if unit == up[0] && n >= 1000 {
			n, unit = n/1000, up[1]
		}
	}
	digits := 0
	for limit := 100.0; n < limit && digits < 2; limit /= 10 {
		digits++
	}
	return strconv.FormatFloat(n, 'f', digits, 64) + " " + unit
}

// Write writes a group as a table for people.
func Write(w io.Writer, g Group, rows []Row) {
	fmt.Fprintf(w, "%s: %s\n", g.Name, g.Says)
	fmt.Fprintf(w, "  %-36s %7s  %-15s %12s", "", "ratio", "from - to", g.Unit)
	for _, unit := range g.Also {
		fmt.Fprintf(w, " %12s", unit)
	}
	fmt.Fprintln(w)
	for _, r := range rows {
		name := r.name()
		if strings.HasPrefix(r.Name, "floor=") {
			name += " (floor)"
		}
		fmt.Fprintf(w, "  %-36s %7.2f  %-15s %12.4g", name, r.Median, fmt.Sprintf("%.2f - %.2f", r.Least, r.Most), r.Figure)
		for _, n := range r.Also {
			fmt.Fprintf(w, " %12.4g", n)
		}
		if r.Aims {
			verdict := "missed"
			if r.AimMet {
				verdict = "met"
			}
			fmt.Fprintf(w, "  aim: %s %.2f, %s", g.bound(), g.Aim, verdict)
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintln(w)
}

// median is the middle one, or the mean of the two in the middle.
func median(all []float64) float64 {
	all = slices.Sorted(slices.Values(all))
	n := len(all)
	return (all[(n-1)/2] + all[n/2]) / 2
}
