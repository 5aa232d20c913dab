// Package doctor looks at a machine before the workshop starts, and when no trace
// shows up. It looks at Go, the ports, the clock, the disk, the memory, Docker
// and the feed, and follows a span to Jaeger and back.
//
// Its messages stand in one table, and the README's section about missing traces
// is made from that table.
package doctor

import (
	"context"
	"sync"
	"time"

	"plaque/scripts/internal/jaeger"
	"plaque/steps/kit/process"
	"plaque/steps/kit/terminal"
	"plaque/steps/kit/youtube"
)

// State is how bad a finding is.
type State string

const (
	OK      State = "ok"
	Note    State = "note"    // nothing to judge
	Warning State = "warning" // the workshop goes on without it
	Failure State = "failure"
)

// Mark is the state as one character.
func (s State) Mark() string {
	return map[State]string{OK: "✓", Note: "·", Warning: "!", Failure: "✗"}[s]
}

// Finding is one thing that was looked at.
type Finding struct {
	Name   string `json:"name"`
	State  State  `json:"state"`
	Found  string `json:"found"`
	Advice string `json:"advice,omitempty"` // what to do; each Warning and Failure has one
}

func ok(name, found string) Finding   { return Finding{Name: name, State: OK, Found: found} }
func note(name, found string) Finding { return Finding{Name: name, State: Note, Found: found} }

// options are the workshop's folder, and what a test may change.
type options struct {
	root    string // the folder with go.work
	now     func() time.Time
	disk    func(ctx context.Context, dir string) (volume, error)
	memory  func(context.Context) (available, total uint64, err error)
	youtube string // the real feed

	// checkPatience bounds each check as far as it listens to its context.
	// allPatience bounds all of them, also one that hangs where no context
	// reaches, such as on the folder of a server that is gone.
	checkPatience, allPatience time.Duration
	askPatience                time.Duration // for a port
	findPatience               time.Duration // for Jaeger to have a span that it took
	dockerPatience             time.Duration // for each question to Docker
	feedPatience               time.Duration // for a feed; youtube.Timeout bounds it as well
}

func usual(root string) options {
	return options{
		root: root, now: time.Now, disk: diskOf, memory: memoryOf, youtube: "https://www.youtube.com/feeds/videos.xml",
		checkPatience: 8 * time.Second, allPatience: 9 * time.Second, askPatience: askPatience,
		findPatience: findPatience, dockerPatience: 3 * time.Second, feedPatience: youtube.Timeout,
	}
}

// exam is one look at the machine. What several checks need is found out once.
type exam struct {
	options
	step      process.Settings
	stepErr   error
	survey    func() (jaeger.Survey, error)
	goEnv     func() (goEnv, error)
	listeners func() map[uint32]int32 // the process at each port; empty where that is not told
}

// check is one of the checks, which run at once. Its findings may have other
// names.
type check struct {
	name string
	run  func(*exam, context.Context) []Finding
}

func checks() []check {
	return []check{
		{"go", (*exam).goVersion},
		{"ports", (*exam).stepPorts},
		{"Jaeger's ports", (*exam).jaegerPorts},
		{"span", (*exam).span},
		{"clock", (*exam).clock},
		{"disk", (*exam).diskSpace},
		{"memory", (*exam).freeMemory},
		{"docker", (*exam).docker},
		{"feed", (*exam).feed},
		{"youtube", (*exam).realFeed},
	}
}

// Examine looks at everything at once and returns what it found, always in one
// order and within ten seconds. root is the workshop's folder. It reads the
// environment as a step does. Its texts are single lines without control
// characters, whatever the machine answers.
func Examine(ctx context.Context, root string) []Finding { return examine(ctx, usual(root), checks()) }

func examine(ctx context.Context, o options, checks []check) []Finding {
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), o.allPatience)
	defer cancel()
	ctx, cancel = context.WithTimeout(ctx, o.checkPatience)
	defer cancel()
	x := &exam{options: o}
	x.step, x.stepErr = process.ReadSettings()
	x.survey = sync.OnceValues(func() (jaeger.Survey, error) { return jaeger.Look(ctx, o.askPatience) })
	x.goEnv = sync.OnceValues(func() (goEnv, error) { return readGoEnv(ctx, o.root) })
	x.listeners = sync.OnceValue(func() map[uint32]int32 { return listenersOf(ctx) })

	found := make([]chan []Finding, len(checks))
	for i, c := range checks {
		found[i] = make(chan []Finding, 1)
		go func() { found[i] <- c.run(x, ctx) }()
	}
	var all []Finding
	for i, c := range checks {
		select {
		case f := <-found[i]:
			all = append(all, f...)
		case <-late.Done():
			select { // it may have ended long ago, while one before it hung
			case f := <-found[i]:
				all = append(all, f...)
			default:
				all = append(all, say(c.name, "stuck", "patience", o.allPatience.String()))
			}
		}
	}
	// Names, answers and errors of other programs are in them.
	for i := range all {
		all[i].Found, all[i].Advice = terminal.Plain(all[i].Found), terminal.Plain(all[i].Advice)
	}
	return all
}
