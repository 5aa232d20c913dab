package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace/noop"

	"plaque/scripts/internal/build"
	"plaque/scripts/internal/caller"
	"plaque/scripts/internal/lesson"
	"plaque/scripts/internal/say"
	"plaque/scripts/internal/server"
	"plaque/steps/kit/origin"
)

// Bench says what is measured, and for how long.
type Bench struct {
	Root     string
	Lessons  []*lesson.Lesson
	Out, Log io.Writer // the tables; how far it is
	Rounds   int
	Quick    bool   // short rounds: to see that it works
	Only     string // which benchmarks of the caches, as for go test -bench
	Page     string // the command that a page names; not "": write the page's table

	step *lesson.Lesson // whose folder has the bench
	next *lesson.Lesson // the one after it; nil: none
	bins *build.Bins
	ends []func() // what is to be ended, the last one first
}

// Kind is one thing that can be measured: Caches, Servers, Watched, Fleet. It
// builds and starts what it needs, and has the rest done by Run.
type Kind func(*Bench, context.Context) (*plan, error)

type plan struct {
	subjects []subject
	groups   []Group
	after    func(context.Context) error // a last check, which takes long; nil: none
}

// subject is what is measured in one go, such as one server with one tool.
type subject struct {
	name    string
	measure func(context.Context) (Round, error)
}

// Run measures each subject once a round, and writes the tables. Which of them
// comes first changes from round to round.
func (b *Bench) Run(ctx context.Context, kind Kind) error {
	i := slices.IndexFunc(b.Lessons, func(l *lesson.Lesson) bool {
		_, err := os.Stat(filepath.Join(folder(l), "go.mod"))
		return err == nil
	})
	if i < 0 {
		return errors.New("no step has a folder bench with a go.mod")
	}
	b.step, b.next = b.Lessons[i], lesson.After(b.Lessons, b.Lessons[i])
	var err error
	if b.bins, err = build.Open(b.Root); err != nil {
		return err
	}
	defer b.bins.Close()
	ctx, stop := context.WithCancel(ctx)
	defer stop() // servers and all else that a bench has started
	defer func() {
		for _, end := range slices.Backward(b.ends) {
			end()
		}
	}()
	fmt.Fprintln(b.Log, "building what is measured")
	p, err := kind(b, ctx)
	if err != nil {
		return err
	}
	rounds := make([]Round, b.Rounds)
	for i := range rounds {
		fmt.Fprintf(b.Log, "round %d of %d\n", i+1, b.Rounds)
		rounds[i] = Round{}
		for j := range p.subjects {
			s := p.subjects[(i+j)%len(p.subjects)]
			figures, err := s.measure(ctx)
			switch {
			case ctx.Err() != nil:
				return context.Cause(ctx)
			case err != nil:
				return fmt.Errorf("%s: %w", s.name, err)
			}
			maps.Copy(rounds[i], figures)
		}
	}
	write := Write
	if b.Page != "" {
		write = PageLines
		fmt.Fprint(b.Out, PageHead)
	} else {
		fmt.Fprintf(b.Out, "Medians of %s. A ratio is taken within a round; its least and most say how far to trust it.\n\n", say.Plural(b.Rounds, "round"))
	}
	for _, g := range p.groups {
		switch rows, err := Rows(g, rounds); {
		case err == nil:
			write(b.Out, g, rows)
		case b.Only == ".": // else the group, or its base, was not asked for
			return err
		}
	}
	if b.Page != "" {
		fmt.Fprintf(b.Out, "\n<!-- measured: %s, %s, %s/%s, Go %s, %s -->\n", b.Page, say.Plural(runtime.NumCPU(), "core"),
			runtime.GOOS, runtime.GOARCH, strings.TrimPrefix(runtime.Version(), "go"), time.Now().Format("January 2006"))
	}
	if p.after == nil || b.Quick {
		return nil
	}
	return p.after(ctx)
}

// folder is the module of a step's bench, which is outside the workspace.
func folder(l *lesson.Lesson) string { return filepath.Join(l.Dir, "bench") }

// compile runs the go command in the bench's module, and returns the program.
func (b *Bench) compile(ctx context.Context, pkg string, args ...string) (bin string, err error) {
	bin = build.Exe(filepath.Join(b.bins.Dir(), "bench-"+filepath.Base(pkg)))
	cmd := exec.CommandContext(ctx, "go", append(args, "-o", bin, pkg)...)
	cmd.Dir = folder(b.step)
	cmd.Env = append(os.Environ(), "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		return "", fmt.Errorf("go %s in %s: %w\n%s", strings.Join(args, " "), cmd.Dir, err, bytes.TrimSpace(out))
	}
	return bin, nil
}

// start starts a server, which is stopped at the end.
func (b *Bench) start(ctx context.Context, l server.Launch) (*server.Server, error) {
	s, err := server.StartServer(ctx, l)
	if err == nil {
		b.ends = append(b.ends, func() { _ = s.Stop() })
	}
	return s, err
}

// feed starts a feed for the servers, which makes no spans.
func (b *Bench) feed(ctx context.Context) (*origin.Feed, string, error) {
	feed := origin.New(noop.NewTracerProvider())
	base, err := feed.Serve(ctx, "127.0.0.1:0")
	return feed, base + origin.Path, err
}

// sink starts a collector that takes every span and keeps none, and returns its
// URL.
func (b *Bench) sink() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	s := &http.Server{ReadTimeout: time.Minute, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
	})}
	go func() { _ = s.Serve(l) }()
	b.ends = append(b.ends, func() { _ = s.Close() })
	return "http://" + l.Addr().String(), nil
}

// answered asks once, and expects a 200.
func answered(ctx context.Context, url string) error {
	c := caller.Caller(10 * time.Second)
	defer c.CloseIdleConnections()
	if a := caller.Ask(ctx, c, http.MethodGet, url, ""); a.Status != http.StatusOK || a.Failed != "" {
		return fmt.Errorf("GET %s: %v %w", url, a, a.Err)
	}
	return nil
}
