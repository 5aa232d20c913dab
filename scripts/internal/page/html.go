// Package page writes what a tour saw as one page. The file needs nothing else, no
// network and no script. It can be read on a phone, on paper, or by a colleague
// who has never started the workshop.
//
// Everything that a machine said (spans, hey, logs) is escaped by html/template, and
// cleared of the words that tell about the machine.
package page

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"plaque/scripts/internal/lab"
	"plaque/scripts/internal/lesson"
	"plaque/scripts/internal/otlp"
	"plaque/scripts/internal/property"
	"plaque/scripts/internal/report"
	"plaque/scripts/internal/waterfall"
)

// Tour is what the page tells. The zero value is a page of no steps.
type Tour struct {
	Steps []Step        // those that ran to their end
	Took  time.Duration // all of it
	When  time.Time     // the day; zero says nothing of it
	On    string        // what it ran on, such as "go1.26.8, linux/amd64"
	// Ended is why the tour ended before its last step; "" where it did not.
	Ended string
	// Private are words that must not be on the page wherever a machine says
	// them: folders, the names of the machine and of its user.
	Private []string
	// Notes has something to say about a span, as in waterfall.Options.
	Notes func(otlp.Span) string
	// Jaeger is the page of a trace on this machine; nil for none.
	Jaeger func(traceID string) string
}

// Step is one step of a tour.
type Step struct {
	Lesson  *lesson.Lesson
	Before  *lesson.Lesson // nil for the first
	Diff    string         // of the code, against Before
	Results []*lab.Result
}

//go:embed page.html
var pageHTML string

//go:embed look.css
var lookCSS string // of the pictures, and the colours: what slides have, too

//go:embed page.css
var pageCSS string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"css":     func() template.CSS { return template.CSS(lookCSS + pageCSS) },
	"flat":    flat,
	"answers": lab.Answers,
}).Parse(pageHTML))

// Write writes the page. The same tour gives the same bytes.
func Write(w io.Writer, t Tour) error { return page.Execute(w, newView(t)) }

// view is the page as its template reads it.
type view struct {
	Verdict verdict
	False   []falsehood // claims that did not come true
	Facts   []string    // when, where, how long
	Ended   string
	Apart   []burst // the stampede and the coalesced burst, side by side
	Steps   []stepView
}

type verdict struct{ All, Held int }

func (v verdict) True() bool  { return v.Held == v.All }
func (v verdict) Failed() int { return v.All - v.Held }

type falsehood struct {
	Step  *lesson.Lesson
	Where string
	lab.Check
}

// burst is an act that has a picture. Without an answer to hey there is no
// histogram.
type burst struct {
	lab.Outcome
	Step    *lesson.Lesson
	Picture picture
	Bars    *histogram
	Lines   string // the histogram as hey wrote it, where Bars is nil
	Jaeger  template.URL
}

type stepView struct {
	Step
	Verdict     verdict
	Burst       *burst // stands for the step
	Experiments []experimentView
	Lines       []diffLine
	Added       int
	Removed     int
}

type experimentView struct {
	Name, Says string
	Acts       []lab.Outcome
	Bursts     []burst
}

// diffLine is a line of a diff: Kind is add, del, head or same.
type diffLine struct{ Kind, Text string }

func newView(t Tour) view {
	v := view{}
	hide := hider(t.Private)
	v.Ended = hide(t.Ended)
	v.Facts = t.facts()
	// The bursts of two steps stand side by side: of the first that remembers an
	// answer and still makes many loads at once; and of the first that makes one and
	// answers all that wait for it, even if it panics.
	wanted := []func(*lesson.Lesson) bool{
		(*lesson.Lesson).Stampedes,
		func(l *lesson.Lesson) bool { return l.Has(property.OneLoad) && l.Has(property.Clean500) },
	}
	for _, s := range t.Steps {
		sv, wrong := newStep(s, t, hide)
		v.False = append(v.False, wrong...)
		v.Verdict.All += sv.Verdict.All
		v.Verdict.Held += sv.Verdict.Held
		v.Steps = append(v.Steps, sv)
		tells := slices.IndexFunc(wanted, func(f func(*lesson.Lesson) bool) bool { return f(s.Lesson) })
		if tells >= 0 && sv.Burst != nil {
			wanted = slices.Delete(wanted, tells, tells+1)
			top := *sv.Burst
			top.Picture.ID = "top-" + s.Lesson.Number() // ids must differ on a page
			top.Picture.Rest = nil                      // says nothing beside a neighbour
			v.Apart = append(v.Apart, top)
		}
	}
	return v
}

// facts are when, where and how long.
func (t Tour) facts() (facts []string) {
	if !t.When.IsZero() {
		facts = append(facts, t.When.Format("2 January 2006"))
	}
	if t.On != "" {
		facts = append(facts, t.On)
	}
	if t.Took > 0 {
		facts = append(facts, t.Took.Round(time.Second).String())
	}
	return facts
}

// newStep is a step as the page shows it, and its claims that did not come true.
func newStep(s Step, t Tour, hide func(string) string) (stepView, []falsehood) {
	v := stepView{Step: s}
	var wrong []falsehood
	pictures := 0
	for _, r := range s.Results {
		xv := experimentView{Name: r.Experiment.Name, Says: r.Experiment.Says}
		for _, act := range r.Acts {
			a := public(act, hide)
			xv.Acts = append(xv.Acts, a)
			for _, c := range a.Checks {
				v.Verdict.All++
				if c.Held {
					v.Verdict.Held++
				} else {
					wrong = append(wrong, falsehood{s.Lesson, xv.Name + ", " + a.Act.Does(), c})
				}
			}
			if len(a.Act.Picture) == 0 {
				continue
			}
			pictures++
			b := newBurst(s.Lesson, a, fmt.Sprintf("p%s-%d", s.Lesson.Number(), pictures), t, hide)
			xv.Bursts = append(xv.Bursts, b)
			if v.Burst == nil && a.TraceID != "" {
				v.Burst = &b
			}
		}
		v.Experiments = append(v.Experiments, xv)
	}
	v.Added, v.Removed = report.Size(s.Diff)
	for line := range strings.Lines(s.Diff) {
		v.Lines = append(v.Lines, kindOf(strings.TrimRight(line, "\r\n")))
	}
	return v, wrong
}

// public is an act without private words in what was seen and noted.
func public(a *lab.Outcome, hide func(string) string) lab.Outcome {
	p := *a
	p.Checks, p.Notes = slices.Clone(a.Checks), slices.Clone(a.Notes)
	for i := range p.Checks {
		p.Checks[i].Got = hide(p.Checks[i].Got)
	}
	for i := range p.Notes {
		p.Notes[i] = hide(p.Notes[i])
	}
	return p
}

func newBurst(s *lesson.Lesson, a lab.Outcome, id string, t Tour, hide func(string) string) burst {
	b := burst{
		Outcome: a, Step: s,
		Picture: draw(id, a.Act.Does(), below, waterfall.Lay(a.Spans, waterfall.Options{Only: a.Act.Picture, Notes: t.Notes}), hide),
	}
	// The page sends nobody to another machine.
	if t.Jaeger != nil && a.TraceID != "" && strings.HasPrefix(t.Jaeger(a.TraceID), "http://127.0.0.1:") {
		b.Jaeger = template.URL(t.Jaeger(a.TraceID))
	}
	if text := lab.Histogram(a.Hey); text != "" {
		if b.Bars = newHistogram(id+"-h", text); b.Bars == nil {
			b.Lines = hide(text)
		}
	}
	return b
}

func kindOf(line string) diffLine {
	switch {
	case strings.HasPrefix(line, "+++"), strings.HasPrefix(line, "---"), strings.HasPrefix(line, "@@"):
		return diffLine{"head", line}
	case strings.HasPrefix(line, "+"):
		return diffLine{"add", line}
	case strings.HasPrefix(line, "-"):
		return diffLine{"del", line}
	}
	return diffLine{"same", line}
}

// frame is a place in Go code, as a stack tells it, with its folder.
var frame = regexp.MustCompile(`(?:[A-Za-z]:)?[/\\](?:[^\s:/\\]+[/\\])+([^\s:/\\]+\.go:\d+)`)

// hider takes private words out of what machines say. A word inside a longer one
// is another word: a machine named "load" does not blacken "loads".
func hider(private []string) func(string) string {
	words := slices.DeleteFunc(slices.Clone(private), func(w string) bool { return len(w) < 2 })
	slices.SortFunc(words, func(a, b string) int { return len(b) - len(a) })
	return func(s string) string {
		s = frame.ReplaceAllString(s, "$1")
		for _, w := range words {
			s = without(s, w)
		}
		return s
	}
}

func without(s, word string) string {
	letter := func(c byte) bool {
		return c == '_' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
	}
	var b strings.Builder
	done := 0 // of s
	for at := 0; ; {
		i := strings.Index(s[at:], word)
		if i < 0 {
			return b.String() + s[done:]
		}
		from, to := at+i, at+i+len(word)
		joined := from > 0 && letter(s[from-1]) && letter(word[0]) || to < len(s) && letter(s[to]) && letter(word[len(word)-1])
		if !joined {
			b.WriteString(s[done:from] + "…")
			done = to
		}
		at = to
	}
}

// flat puts a text on one line.
func flat(s string) string { return strings.Join(strings.Fields(s), " ") }
