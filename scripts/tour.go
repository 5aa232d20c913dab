package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"plaque/scripts/internal/build"
	"plaque/scripts/internal/jaeger"
	"plaque/scripts/internal/lab"
	"plaque/scripts/internal/lesson"
	"plaque/scripts/internal/otlp"
	"plaque/scripts/internal/page"
	"plaque/scripts/internal/say"
	"plaque/scripts/internal/waterfall"
	"plaque/steps/kit/names"
)

// tour is the workshop's main job.
func tour(ctx context.Context, e *env, args []string) error {
	fs := e.flags("tour")
	asJSON := fs.Bool("json", false, "print one JSON document instead of text")
	withJaeger := fs.Bool("jaeger", false, "start Jaeger first, and keep it until Ctrl-C")
	dir := fs.String("report", "", "write one page of what was seen into this `folder`, as index.html")
	names, err := parse(fs, args)
	if err != nil {
		return err
	}
	steps, err := e.steps(names)
	if err != nil {
		return err
	}
	given := false
	fs.Visit(func(f *flag.Flag) { given = given || f.Name == "report" })
	var page *page.File
	if given {
		if page, err = openReport(*dir); err != nil {
			return err
		}
	}
	t := &tourist{env: e, out: say.New(e.stdout), steps: steps}
	if *asJSON {
		t.out = say.New(io.Discard)
	}
	began := time.Now()

	// Jaeger is nice to have: the tour receives the spans itself.
	if *withJaeger {
		t.jaeger, err = jaeger.Start(ctx, jaeger.Options{Root: e.root, Out: e.stderr})
		if err != nil {
			return err
		}
		defer t.jaeger.Stop()
	} else if t.jaeger, err = jaeger.Find(ctx); err != nil {
		t.jaeger = nil
	}
	if err := t.build(ctx); err != nil {
		return err
	}
	defer t.clean()
	err = t.visitAll(ctx)
	took := time.Since(began)
	if page != nil {
		// Also where the tour ends early: what it has seen until then is true.
		err = errors.Join(err, t.report(ctx, page, took, began, err))
	}
	if err != nil {
		return err
	}
	t.summary(took)
	if *asJSON {
		if err := t.json(e.stdout); err != nil {
			return err
		}
	}
	if *withJaeger {
		fmt.Fprintf(e.stderr, "\nJaeger stays up with these traces until Ctrl-C: %s\n", t.jaeger.UI)
		if err := t.jaeger.Wait(ctx); err != nil {
			return err
		}
	}
	if t.failed() > 0 {
		return errClaim
	}
	return nil
}

// tourist is a tour that runs.
type tourist struct {
	*env
	out     *say.Printer
	steps   []*lesson.Lesson
	jaeger  *jaeger.Server // nil where none listens
	bins    string         // the folder of the binaries
	clean   func()
	results []stepResult
	lost    int // spans that Jaeger did not take
}

type stepResult struct {
	step    *lesson.Lesson
	results []*lab.Result
	took    time.Duration
}

// burst is the act whose picture stands for the step, if it has run.
func (s stepResult) burst() *lab.Act {
	for _, r := range s.results {
		for _, a := range r.Acts {
			if len(a.Act.Picture) > 0 && a.TraceID != "" {
				return a
			}
		}
	}
	return nil
}

func (s stepResult) claims() (all, held int) {
	for _, r := range s.results {
		for _, a := range r.Acts {
			for _, c := range a.Checks {
				all++
				if c.Held {
					held++
				}
			}
		}
	}
	return all, held
}

func (t *tourist) failed() int {
	n := 0
	for _, s := range t.results {
		all, held := s.claims()
		n += all - held
	}
	return n
}

// build compiles hey and the steps, two at a time, and says how far it is.
func (t *tourist) build(ctx context.Context) error {
	dir, clean, err := build.TempDir()
	if err != nil {
		return err
	}
	t.bins, t.clean = dir, clean
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	began := time.Now()
	all := len(t.steps) + 1
	fmt.Fprintf(t.stderr, "building hey and %s; the first time takes two to three minutes\n", say.Plural(len(t.steps), "step"))
	var mu sync.Mutex // protects done
	done := 0
	built := func(what string, err error) {
		if err != nil {
			cancel(fmt.Errorf("%s does not build: %w", what, err))
			return
		}
		mu.Lock()
		defer mu.Unlock()
		done++
		fmt.Fprintf(t.stderr, "  %2d/%d %s\n", done, all, what)
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, 2)
	compile := func(what string, f func() error) {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if ctx.Err() == nil {
				built(what, f())
			}
		})
	}
	compile("hey", func() error { _, err := build.BuildHey(ctx, t.root, dir); return err })
	for _, s := range t.steps {
		compile(s.Step, func() error { return build.Build(ctx, s.Dir, ".", build.BinPath(dir, s), "") })
	}
	wg.Wait()
	if ctx.Err() != nil {
		clean()
		return context.Cause(ctx)
	}
	fmt.Fprintf(t.stderr, "built in %s\n\n", time.Since(began).Round(time.Second))
	return nil
}

func (t *tourist) visitAll(ctx context.Context) error {
	forward := ""
	if t.jaeger != nil {
		forward = t.jaeger.OTLP
		t.out.Line("Jaeger listens: every span goes on to it, and each picture has its link.")
		t.out.Line("")
	}
	l, err := lab.New(ctx, build.Exe(filepath.Join(t.bins, "hey")), forward)
	if err != nil {
		return err
	}
	closed := false
	defer func() {
		if !closed {
			l.Close()
		}
	}()
	for _, s := range t.steps {
		if err := t.visit(ctx, l, s); err != nil {
			return err
		}
	}
	l.Close() // passes on the last spans
	closed = true
	if _, failed, err := l.Forwarded(); failed > 0 {
		t.lost = failed
		fmt.Fprintf(t.stderr, "%s did not reach Jaeger: %v\n", say.Plural(failed, "span"), err)
	}
	return nil
}

// visit runs one step's experiments.
func (t *tourist) visit(ctx context.Context, l *lab.Lab, s *lesson.Lesson) error {
	began := time.Now()
	r := stepResult{step: s}
	head(t.out, s)
	for _, e := range s.Experiments {
		experiment(t.out, e)
		result, err := l.Run(ctx, build.BinPath(t.bins, s), s, e)
		if err != nil {
			return err
		}
		r.results = append(r.results, result)
		for i, a := range result.Acts {
			act(t.out, s, e, a, i)
			if len(a.Act.Picture) > 0 {
				if t.jaeger != nil && a.TraceID != "" {
					t.out.Line("    in Jaeger: " + t.link(s, a))
				}
			}
		}
	}
	t.out.Line("")
	r.took = time.Since(began)
	t.results = append(t.results, r)
	all, held := r.claims()
	if held == all {
		t.out.Linef("  %s %s: all %d claims came true (%s)", t.out.Good("✓"), s.Step, all, r.took.Round(100*time.Millisecond))
	} else {
		t.out.Linef("  %s %s: %d of %d claims did not come true", t.out.Bad("✗"), s.Step, all-held, all)
	}
	t.out.Line("")
	return nil
}

// link is the page of an act's burst, or, where a server reads no headers, the
// search that finds its connections.
func (t *tourist) link(s *lesson.Lesson, a *lab.Act) string {
	if lab.ReadsHeaders(s) {
		return t.jaeger.TraceURL(a.TraceID)
	}
	return t.jaeger.SearchURL(jaeger.Query{Service: "plaque", Operation: "handle_connection",
		Tags: map[string]string{"service.version": s.Step}})
}

// summary is the table of all steps, and where to look next.
func (t *tourist) summary(took time.Duration) {
	t.out.Line(t.out.Bold("what each step fixes, and what it leaves"))
	t.out.Line("")
	for _, r := range t.results {
		all, held := r.claims()
		mark := t.out.Good("✓")
		if held < all {
			mark = t.out.Bad("✗")
		}
		answers, loads := "-", "-"
		if b := r.burst(); b != nil {
			answers = lab.Answers(b.Answers)
			if lab.ReadsFeed(r.step) {
				loads = strconv.Itoa(b.Loads)
			}
		}
		t.out.Linef("%s %-18s %2d/%-2d claims  burst: %-10s loads: %s", mark, r.step.Step, held, all, answers, loads)
		t.out.Wrap("    fixes:  ", r.step.Fixes)
		t.out.Wrap("    leaves: ", r.step.Breaks)
	}
	t.out.Line("")
	t.out.Linef("%s in %s.", say.Plural(len(t.results), "step"), took.Round(time.Second))
	if n := t.failed(); n > 0 {
		t.out.Linef("%s did not come true.", say.Plural(n, "claim"))
	}
	t.out.Line("")
	t.compare()
}

// compare says where to look next.
func (t *tourist) compare() {
	if t.jaeger == nil {
		t.out.Line("Look next: start Jaeger with `go run ./scripts jaeger` in a second terminal, and take the tour")
		t.out.Line("again: every picture above becomes a trace that you can click through.")
		return
	}
	var pairs []string
	for i := 1; i < len(t.results); i++ {
		a, b := t.results[i-1], t.results[i]
		if lab.ReadsHeaders(a.step) && a.burst() != nil && b.burst() != nil {
			pairs = append(pairs, fmt.Sprintf("  %s and %s: %s", a.step.Number(), b.step.Number(), t.jaeger.CompareURL(a.burst().TraceID, b.burst().TraceID)))
		}
	}
	if pairs == nil {
		t.out.Line("Look next: " + t.jaeger.UI)
		return
	}
	t.out.Line("Look next, in Jaeger: two neighbours' bursts, span by span")
	for _, p := range pairs {
		t.out.Line(p)
	}
}

// json prints the whole tour as one document.
func (t *tourist) json(w io.Writer) error {
	type act struct {
		Says    string         `json:"says"`
		By      []string       `json:"by_hand,omitempty"`
		TraceID string         `json:"trace_id,omitempty"`
		Answers map[string]int `json:"answers,omitempty"`
		Loads   int            `json:"loads"`
		Spans   map[string]int `json:"spans,omitempty"`
		Checks  []lab.Check    `json:"checks"`
		Notes   []string       `json:"notes,omitempty"`
		Hey     string         `json:"hey,omitempty"`
	}
	type experiment struct {
		Name string `json:"name"`
		True bool   `json:"true"`
		Acts []act  `json:"acts"`
	}
	type step struct {
		Step        string       `json:"step"`
		Claim       string       `json:"claim"`
		True        bool         `json:"true"`
		Seconds     float64      `json:"seconds"`
		Experiments []experiment `json:"experiments"`
	}
	doc := struct {
		True  bool   `json:"true"`
		Steps []step `json:"steps"`
	}{True: t.failed() == 0}
	for _, r := range t.results {
		all, held := r.claims()
		s := step{Step: r.step.Step, Claim: r.step.Claim, True: all == held, Seconds: r.took.Seconds()}
		for _, x := range r.results {
			e := experiment{Name: x.Experiment.Name, True: x.True()}
			for _, a := range x.Acts {
				counts := map[string]int{}
				for _, sp := range a.Spans {
					counts[sp.Name]++
				}
				e.Acts = append(e.Acts, act{says(a.Act), byHand(r.step, x.Experiment, a.Act), a.TraceID, a.Answers, a.Loads, counts, a.Checks, a.Notes, a.Hey})
			}
			s.Experiments = append(s.Experiments, e)
		}
		doc.Steps = append(doc.Steps, s)
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(doc)
}

// says tells what an act does, in a few words.
func says(a lesson.Act) string {
	switch {
	case a.Says != "":
		return a.Says
	case a.Hey != nil && a.Hey.For > 0:
		return fmt.Sprintf("requests for %d s, %d at a time", a.Hey.For, a.Hey.Concurrency)
	case a.Keys != nil:
		return fmt.Sprintf("%s, each for a channel of its own, %d at a time", say.Plural(a.Keys.N, "request"), a.Keys.C)
	case a.Hey != nil && a.Hey.Concurrency == 1:
		return say.Plural(a.Hey.Requests, "request") + ", one after the other"
	case a.Hey != nil:
		return fmt.Sprintf("%s, %d at a time", say.Plural(a.Hey.Requests, "request"), a.Hey.Concurrency)
	case a.Get != nil && a.Get.Times > 1:
		return fmt.Sprintf("%d requests on one connection", a.Get.Times)
	case a.Get != nil:
		method, path := "GET", "/"
		if a.Get.Method != "" {
			method = a.Get.Method
		}
		if a.Get.Path != "" {
			path = a.Get.Path
		}
		return "one request, " + method + " " + path
	case a.Slow > 0:
		return say.Plural(a.Slow, "client") + " take a second to say what they want; a quick one comes behind them"
	case a.Silent == 1:
		return "a client connects and says nothing"
	case a.Silent > 0:
		return fmt.Sprintf("%d clients connect and say nothing", a.Silent)
	case a.Leave:
		return "the silent clients leave"
	case a.Rude == "hangup":
		return "a client connects and hangs up"
	case a.Rude == "rubbish":
		return "a client sends rubbish"
	case a.Rude != "":
		return "a client sends a header that never ends"
	case a.FirstLeaves > 0:
		return fmt.Sprintf("one caller starts a load, %d join, the first hangs up", a.FirstLeaves)
	case a.OtherKey:
		return "B is in the cache; A's load is held; somebody asks for B"
	case a.Fleet != nil:
		return fleetSays(*a.Fleet)
	}
	return fmt.Sprintf("wait %s", time.Duration(a.Wait))
}

// fleetSays is says for a fleet.
func fleetSays(f lesson.Fleet) string {
	before := ""
	switch {
	case f.Restart:
		before = "the peer starts again; "
	case f.Links == "whole":
		before = "the peers reach each other again; "
	case f.Links == "refused":
		before = "the peers are cut from each other, connections are refused; "
	case f.Links != "":
		before = "the peers are cut from each other, nothing comes through; "
	case f.Elsewhere:
		before = "the first at a peer that does not own the channel: "
	}
	after := ""
	if f.Kill {
		after = "; the peer that loads is killed"
	} else if f.FirstLeaves {
		after = "; the first one hangs up"
	}
	return before + say.Plural(f.Callers, "caller") + " at each peer" + after
}

// byHand is how a reader does an act in a second terminal, the step running in
// the first; nothing where it takes more than a line.
func byHand(s *lesson.Lesson, e lesson.Experiment, a lesson.Act) []string {
	if e.Peers > 0 {
		return nil
	}
	var lines []string
	if f := a.Feed; f != nil {
		line := "go run ./scripts feed"
		if f.Hold > 0 {
			line += fmt.Sprintf(" --hold %d", f.Hold)
		}
		if f.Delay > 0 {
			line += fmt.Sprintf(" --delay %s", f.Delay)
		}
		if f.Outage > 0 {
			line += fmt.Sprintf(" --outage %s", f.Outage)
		}
		lines = append(lines, strings.Join(append([]string{line}, f.Next...), " "))
		if f.Hold == 0 && f.Delay == 0 && f.Outage == 0 && len(f.Next) == 0 {
			lines = []string{"go run ./scripts feed --delay 500ms"}
		}
	}
	switch {
	case a.Hey != nil:
		line := fmt.Sprintf("go run ./scripts load %s -n %d -c %d", s.Number(), a.Hey.Requests, a.Hey.Concurrency)
		if a.Hey.For > 0 {
			line = fmt.Sprintf("go run ./scripts load %s -z %d -q %d -c %d", s.Number(), a.Hey.For, a.Hey.Rate, a.Hey.Concurrency)
		}
		if a.Hey.Timeout > 0 {
			line += fmt.Sprintf(" -t %d", a.Hey.Timeout)
		}
		return append(lines, line)
	case a.Get != nil:
		line := "curl -i"
		if a.Get.Method != "" {
			line += " -X " + a.Get.Method
		}
		for range max(1, a.Get.Times) {
			line += " http://127.0.0.1:3779" + a.Get.Path
		}
		return append(lines, line)
	case a.Silent == 1:
		return append(lines, "nc 127.0.0.1 3779")
	}
	return nil
}

func head(p *say.Printer, s *lesson.Lesson) {
	title := s.Number() + "  " + s.Title
	p.Line(p.Bold(title) + "  " + p.Dim(strings.Repeat("─", max(3, p.Width-len([]rune(title))-2))))
	p.Wrap("    ", s.Claim)
}

func experiment(p *say.Printer, e lesson.Experiment) {
	p.Line("")
	p.Wrap("  "+e.Name+": ", e.Says)
}

// act writes what was done, what came out and whether it was claimed.
func act(p *say.Printer, s *lesson.Lesson, e lesson.Experiment, a *lab.Act, i int) {
	p.Line("")
	p.Line("    " + p.Bold(says(a.Act)))
	for _, line := range byHand(s, e, a.Act) {
		p.Line("    " + p.Dim("$ "+line))
	}
	if len(a.Act.Picture) > 0 {
		var b bytes.Buffer
		o := waterfall.Options{Width: p.Width - 4, Color: p.Color, Only: a.Act.Picture, Notes: notes}
		if err := waterfall.Waterfall(&b, a.Spans, o); err != nil {
			p.Line("    " + err.Error())
		}
		p.Line("")
		for line := range strings.Lines(b.String()) {
			fmt.Fprint(p.Out, "    ", line)
		}
		if h := lab.Histogram(a.Hey); h != "" {
			p.Line("")
			p.Line("    hey's histogram, in seconds; timings are not judged")
			for line := range strings.Lines(h) {
				fmt.Fprint(p.Out, "    ", strings.TrimRight(line, "\n"), "\n")
			}
		}
		p.Line("")
	}
	for _, n := range a.Notes {
		p.Line("    note: " + n)
	}
	for _, c := range a.Checks {
		if c.Held {
			p.Linef("    %s %s: %s", p.Good("✓"), c.What, c.Got)
		} else {
			p.Linef("    %s %s: claimed %s, seen %s", p.Bad("✗"), c.What, c.Want, c.Got)
		}
	}
}

// notes says what a burst was.
func notes(s otlp.Span) string {
	if s.Name != names.Burst {
		return ""
	}
	return fmt.Sprintf("%s requests, %s at a time", s.Attrs["requests"], s.Attrs["concurrency"])
}
