// Package stacks reads what Go prints of its goroutines, in the form of an
// unrecovered panic and of /debug/pprof/goroutine?debug=2. It groups what it
// read, so that a thousand goroutines which wait for the same are one line.
package stacks

import (
	"cmp"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// TraceLabel is the pprof label under which kit/web puts the trace that a
// goroutine works for.
const TraceLabel = "trace_id"

// PagesLabel is the pprof label of the goroutines that serve the debug pages:
// they are not what a person looks for.
const PagesLabel = "debug_pages"

// Goroutine is one goroutine at the moment of the dump.
type Goroutine struct {
	ID      int
	State   string // as Go words it: "chan receive", "IO wait", "running"
	Leaked  bool   // nobody can ever wake it, says the leak profile
	Minutes int    // how long it has waited; 0 is less than one
	Labels  map[string]string
	Frames  []Frame // from the innermost to the outermost; may be empty
	// Creator is the function with the go statement; "" for main's goroutine.
	Creator string
}

// Frame is one call.
type Frame struct {
	Func string // with its package's path: plaque/steps/07-inflight/cache.(*Cache[...]).Get
	File string // as the binary has it, with the folders of the machine that built it
	Line int
}

var (
	header = regexp.MustCompile(`^goroutine (\d+) (?:gp=\S+ m=\S+ (?:mp=\S+ )?)?\[(.*)\]:$`)
	where  = regexp.MustCompile(`^\t(.*):(\d+)(?: \+0x[0-9a-f]+)?$`)
)

// Parse reads a dump. What is not a goroutine, such as the message of a panic,
// it leaves out.
func Parse(dump string) []Goroutine {
	var all []Goroutine
	var g *Goroutine
	var call string // the line before a position
	for line := range strings.Lines(dump) {
		line = strings.TrimRight(line, "\r\n")
		if m := header.FindStringSubmatch(line); m != nil {
			all = append(all, Goroutine{})
			g = &all[len(all)-1]
			g.ID, _ = strconv.Atoi(m[1]) // the pattern lets digits in only
			g.describe(m[2])
			call = ""
			continue
		}
		switch m := where.FindStringSubmatch(line); {
		case g == nil:
		case line == "":
			g, call = nil, ""
		case m == nil:
			call = line
		case strings.HasPrefix(call, "created by "):
			g.Creator, _, _ = strings.Cut(strings.TrimPrefix(call, "created by "), " in goroutine ")
		case call != "":
			n, _ := strconv.Atoi(m[2])
			g.Frames = append(g.Frames, Frame{function(call), m[1], n})
		}
	}
	return all
}

// describe reads what stands in the brackets of a header, such as
//
//	chan receive (leaked), 5 minutes labels:{"trace_id": "4bf9"}
func (g *Goroutine) describe(s string) {
	s, labels, _ := strings.Cut(s, " labels:{")
	state, rest, _ := strings.Cut(s, ", ")
	for _, note := range []string{" (scan)", " (leaked)"} {
		var found bool
		state, found = strings.CutSuffix(state, note)
		g.Leaked = g.Leaked || found && note == " (leaked)"
	}
	g.State = state
	for part := range strings.SplitSeq(rest, ", ") {
		if n, ok := strings.CutSuffix(part, " minutes"); ok {
			g.Minutes, _ = strconv.Atoi(n) // 0 when it is something else
		}
	}
	for labels != "" {
		key, after := quoted(labels)
		value, after := quoted(strings.TrimPrefix(after, ": "))
		if key == "" {
			break
		}
		if g.Labels == nil {
			g.Labels = map[string]string{}
		}
		g.Labels[key] = value
		labels = strings.TrimPrefix(after, ", ")
	}
}

// quoted takes a quoted string off the front of s; "" when there is none.
func quoted(s string) (value, rest string) {
	q, err := strconv.QuotedPrefix(s)
	if err != nil {
		return "", ""
	}
	value, _ = strconv.Unquote(q) // cannot fail for a quoted prefix
	return value, s[len(q):]
}

// function takes the arguments off a call. Methods have parentheses too, and so
// have type arguments, so it is the last pair that goes.
func function(call string) string {
	if !strings.HasSuffix(call, ")") {
		return call
	}
	depth := 0
	for i := len(call) - 1; i >= 0; i-- {
		switch call[i] {
		case ')':
			depth++
		case '(':
			if depth--; depth == 0 {
				return call[:i]
			}
		}
	}
	return call
}

// Waits reports whether the goroutine neither runs nor could.
func (g *Goroutine) Waits() bool { return g.State != "running" && g.State != "runnable" }

// In reports whether the goroutine is inside a function whose name match
// accepts.
func (g *Goroutine) In(match func(function string) bool) bool {
	return slices.ContainsFunc(g.Frames, func(f Frame) bool { return match(f.Func) })
}

// own reports whether the workshop wrote that function: the step's package main
// and whatever has the module path plaque. A test's dump has its package's path
// in front of main's functions, never "main.".
func own(function string) bool {
	return strings.HasPrefix(function, "main.") || strings.HasPrefix(function, "plaque/")
}

// background are goroutines of the runtime and the standard library that work
// for no request: signals, and the flight recorder.
var background = []string{"os/signal.loop", "runtime/trace.", "runtime.ensureSigM", "runtime.ReadTrace"}

// Aside reports whether the goroutine is the runtime's own or serves the debug
// pages.
func (g *Goroutine) Aside() bool {
	if g.Labels[PagesLabel] != "" {
		return true
	}
	// The outermost frame says whose goroutine it is: main waits in os/signal,
	// too, and is nobody's background.
	if len(g.Frames) == 0 {
		return true
	}
	outer := g.Frames[len(g.Frames)-1].Func
	return slices.ContainsFunc(background, func(p string) bool {
		return strings.HasPrefix(outer, p) || strings.HasPrefix(g.Creator, p)
	})
}

// At is the frame that says most about where a goroutine is: the innermost of our
// code; without one, the outermost, which says whose goroutine it is.
func (g *Goroutine) At() Frame {
	for _, f := range g.Frames {
		if own(f.Func) {
			return f
		}
	}
	for _, f := range slices.Backward(g.Frames) {
		if !strings.HasPrefix(f.Func, "sync.(*WaitGroup).Go.") { // it is everybody's
			return f
		}
	}
	return Frame{}
}

// Call is the library's function that the goroutine waits in, such as
// net.(*netFD).Read; "" when At is all there is.
func (g *Goroutine) Call() string {
	at := g.At()
	for _, f := range g.Frames {
		if f == at {
			break
		}
		if !strings.HasPrefix(f.Func, "runtime.") && !strings.HasPrefix(f.Func, "internal/") {
			return f.Func
		}
	}
	return ""
}

// Trace is the id of the trace that the goroutine works for, or "".
//
// A goroutine inherits its labels from the one that started it. An http.Client
// starts two for a connection, which outlive the request that dialled: they work
// for every user of the connection, so they get no trace.
func (g *Goroutine) Trace() string {
	if strings.HasPrefix(g.Creator, "net/http.(*Transport).") {
		return ""
	}
	return g.Labels[TraceLabel]
}

// Group is the goroutines in one state at one place.
type Group struct {
	Count   int      `json:"count"`
	State   string   `json:"state"`             // as Go words it: "chan receive", "IO wait"
	Func    string   `json:"func"`              // the innermost function of our code, or the outermost of a library
	File    string   `json:"file"`              // without the machine's folders
	Line    int      `json:"line"`              // of the call that it is in
	Own     bool     `json:"own"`               // Func is the workshop's
	Call    string   `json:"call,omitempty"`    // the library's function that Func waits in
	Minutes int      `json:"minutes,omitempty"` // how long the first of them has waited
	Leaked  int      `json:"leaked,omitempty"`  // how many can never wake up
	Traces  []string `json:"traces,omitempty"`  // the traces they work for, each once, sorted; at most MaxTraces
	More    int      `json:"more,omitempty"`    // how many traces are left out
}

// MaxTraces bounds how many traces a group names.
const MaxTraces = 20

// Groups sums goroutines up: ours first, then by how many there are.
func Groups(all []Goroutine) []Group {
	type key struct {
		state, call string
		at          Frame
	}
	index := map[key]int{}
	var groups []Group
	for _, g := range all {
		at := g.At()
		k := key{g.State, g.Call(), at}
		i, ok := index[k]
		if !ok {
			i = len(groups)
			index[k] = i
			groups = append(groups, Group{State: g.State, Func: at.Func, File: Short(at.File), Line: at.Line, Own: own(at.Func), Call: k.call})
		}
		groups[i].Count++
		groups[i].Minutes = max(groups[i].Minutes, g.Minutes)
		if g.Leaked {
			groups[i].Leaked++
		}
		if id := g.Trace(); id != "" {
			groups[i].Traces = append(groups[i].Traces, id)
		}
	}
	for i := range groups {
		g := &groups[i]
		slices.Sort(g.Traces)
		g.Traces = slices.Compact(g.Traces)
		if n := len(g.Traces); n > MaxTraces {
			g.Traces, g.More = g.Traces[:MaxTraces], n-MaxTraces
		}
	}
	slices.SortStableFunc(groups, func(a, b Group) int {
		if a.Own != b.Own {
			if a.Own {
				return -1
			}
			return 1
		}
		return cmp.Or(b.Count-a.Count, cmp.Compare(a.Func, b.Func), a.Line-b.Line, cmp.Compare(a.State, b.State), cmp.Compare(a.Call, b.Call))
	})
	return groups
}

var inSteps = regexp.MustCompile(`^(?:.*/)?steps/(?:[0-9]{2}-[^/]+/|(kit)(?:@[^/]+)?/)`)

// Short is a file's name without the folders that are the same everywhere: a
// step's from the step's folder on, the kit's from kit/ on, another module's from
// its version on. (Outside the workspace, the kit has a version, too.) No name it
// returns begins with the folders of the machine that built the program.
func Short(file string) string {
	file = strings.ReplaceAll(file, `\`, "/")
	if m := inSteps.FindStringSubmatch(file); m != nil {
		return path.Join(m[1], strings.TrimPrefix(file, m[0]))
	}
	parts := strings.Split(file, "/")
	return strings.Join(parts[max(0, len(parts)-2):], "/")
}
