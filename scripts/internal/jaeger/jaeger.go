// Package jaeger starts, finds and asks a Jaeger with the repo's configuration.
//
// There are three ways to have one, tried in this order: Docker Compose, the
// official release of this system, and a build from source out of the folder
// jaeger/. Whatever the way, Jaeger listens on 127.0.0.1, keeps traces in its
// memory, and they go when it stops.
package jaeger

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Version is the Jaeger that Docker and the release archive bring. The source
// build is a little older: jaeger/go.mod says why.
const Version = "2.20.0"

// The ways to have a Jaeger, as --from names them.
const (
	FromDocker  = "docker"
	FromRelease = "release"
	FromSource  = "source"
)

// Ways are the values of Options.From in the order in which they are tried.
var Ways = []string{FromDocker, FromRelease, FromSource}

const (
	// startPatience bounds how long a program of this machine may take until it
	// answers: measured 0.2 s, on a busy machine several seconds.
	startPatience = 30 * time.Second
	// composePatience has room for a first pull of the image.
	composePatience = 10 * time.Minute
)

// Options say which Jaeger to start. The zero value of each field but Root is
// good.
type Options struct {
	// Root is the repo's folder: the one with compose.yaml and jaeger/.
	Root string
	// From is one of Ways, and then the only one tried; "" tries all.
	From string
	// FreePorts takes ports that nobody uses instead of the usual ones, and
	// does not look for a Jaeger that runs already.
	FreePorts bool
	// Out gets a line for each thing that is done; nil discards them.
	Out io.Writer
	// CacheDir keeps the binaries; "" is plaque in the user's cache directory.
	CacheDir string
	// ReleaseURL is where releases are found; "" is Jaeger's page on GitHub.
	ReleaseURL string

	// The rest is for tests; withDefaults sets what is used otherwise.
	docker, podman, goCommand string
	stall, dockerPatience     time.Duration
	transport                 http.RoundTripper
	pinned                    map[string]string // as the variable of that name
}

// Run is the whole command: it finds a Jaeger that runs already, or starts one
// and keeps it until ctx is done. It prints to o.Out what it does and how to use
// what it found.
func Run(ctx context.Context, o Options) error {
	s, err := Start(ctx, o)
	if err != nil {
		return err
	}
	out := cmp.Or(o.Out, io.Discard)
	if s.From == "" {
		fmt.Fprintf(out, "Jaeger runs already: it is used as it is.\n%s", s.Usage())
		return nil
	}
	fmt.Fprintf(out, "Jaeger is up (%s).\n%s", s.From, s.Usage())
	fmt.Fprintln(out, "Ctrl-C stops it. Its traces live in its memory and go with it.")
	return errors.Join(s.Wait(ctx), s.Stop())
}

// Start returns a Jaeger that answers: the one that runs already, or one that it
// starts. ctx bounds the start alone: the caller stops the Jaeger that it has
// started.
func Start(ctx context.Context, o Options) (*Server, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if o.FreePorts {
		return o.startAnywhere(ctx)
	}
	survey, err := Look(ctx, askPatience)
	if err != nil {
		return nil, err
	}
	s, err := survey.running(ctx)
	if errors.Is(err, ErrNotRunning) {
		return o.start(ctx, survey.Server.ports)
	}
	return s, err
}

func (o Options) withDefaults() (Options, error) {
	if o.From != "" && !slices.Contains(Ways, o.From) {
		return o, fmt.Errorf("there is no way %q to have a Jaeger: it can be %s", o.From, strings.Join(Ways, ", "))
	}
	root, err := filepath.Abs(o.Root)
	if err != nil {
		return o, err
	}
	o.Root = root
	if _, err := os.Stat(o.config()); err != nil {
		return o, fmt.Errorf("no configuration for Jaeger (is %s the workshop's folder?): %w", root, err)
	}
	o.Out = &lockedWriter{w: cmp.Or(o.Out, io.Discard)}
	o.docker = cmp.Or(o.docker, "docker")
	o.podman = cmp.Or(o.podman, "podman")
	o.goCommand = cmp.Or(o.goCommand, "go")
	o.stall = cmp.Or(o.stall, downloadStall)
	o.dockerPatience = cmp.Or(o.dockerPatience, dockerPatience)
	if o.pinned == nil {
		o.pinned = pinned
	}
	o.ReleaseURL = cmp.Or(o.ReleaseURL, "https://github.com/jaegertracing/jaeger/releases/download")
	if o.CacheDir == "" {
		if o.CacheDir, err = CacheDir(); err != nil {
			return o, err
		}
	}
	return o, nil
}

func (o Options) config() string { return filepath.Join(o.Root, "jaeger", "config.yaml") }

// CacheDir is where binaries are kept when Options name no other place. It need
// not be there yet.
func CacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("there is nowhere to keep Jaeger: %w", err)
	}
	return filepath.Join(dir, "plaque"), nil
}

// startAnywhere starts on free ports. Another program can take such a port
// before Jaeger does, so it tries anew with others.
func (o Options) startAnywhere(ctx context.Context) (*Server, error) {
	for tries := 3; ; tries-- {
		p, err := freePorts()
		if err != nil {
			return nil, err
		}
		s, err := o.start(ctx, p)
		if err == nil || tries == 1 || ctx.Err() != nil || !errors.Is(err, errTaken) {
			return s, err
		}
	}
}

// start tries each way until one leads to a Jaeger that answers.
func (o Options) start(ctx context.Context, p ports) (*Server, error) {
	ways := Ways
	if o.From != "" {
		ways = []string{o.From}
	}
	var failed []error
	for i, from := range ways {
		s, err := o.startFrom(ctx, from, p)
		if err == nil {
			return s, nil
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("stopped before Jaeger was up: %w", ctx.Err())
		}
		failed = append(failed, fmt.Errorf("%s: %w", from, err))
		if i < len(ways)-1 {
			o.say("No Jaeger from %s: %v", from, err)
		}
	}
	return nil, fmt.Errorf("no Jaeger could be started:\n%w", errors.Join(failed...))
}

// startFrom starts the Jaeger that one way leads to.
func (o Options) startFrom(ctx context.Context, from string, p ports) (*Server, error) {
	var l launch
	var program string
	var err error
	switch from {
	case FromDocker:
		l, err = o.compose(ctx, p)
	case FromRelease:
		program, err = o.releaseBinary(ctx)
	case FromSource:
		program, err = o.sourceBinary(ctx)
	}
	if err != nil {
		return nil, err
	}
	if program != "" {
		l = o.binary(program, p)
	}
	return o.launch(ctx, p, from, l)
}

// launch is a command that runs Jaeger in the foreground.
type launch struct {
	cmd      *exec.Cmd
	stop     func() error  // asks it to end; nil means an interrupt
	patience time.Duration // until it answers
	// waits says for what, now and then until it answers. Then what cmd prints is
	// for the reader, too; where waits is "", it is Jaeger's log.
	waits string
}

// launch runs l until Jaeger answers. When it does not, nothing is left running.
func (o Options) launch(ctx context.Context, p ports, from string, l launch) (*Server, error) {
	out := io.Discard
	if l.waits != "" {
		out = o.Out
	}
	c, err := startChild(l.cmd, l.stop, out)
	if err != nil {
		return nil, err
	}
	s := newServer(p)
	s.From, s.child = from, c
	done := func() {}
	if l.waits != "" {
		done = o.progress(func(elapsed time.Duration) string { return fmt.Sprintf("  %v: waiting %s", elapsed, l.waits) })
	}
	err = s.ready(ctx, l.patience)
	done()
	if err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	s.Pages = s.hasPages(ctx)
	return s, nil
}

// binary is the launch of a Jaeger that is a file of this machine.
func (o Options) binary(path string, p ports) launch {
	cmd := exec.Command(path, "--config", o.config())
	cmd.Env = append(os.Environ(), p.env()...)
	cmd.Env = append(cmd.Env,
		"JAEGER_LISTEN_HOST=127.0.0.1",
		"JAEGER_UI_CONFIG="+filepath.Join(o.Root, "jaeger", "ui-config.json"))
	return launch{cmd: cmd, patience: startPatience}
}

// say prints one line about what is done.
func (o Options) say(format string, args ...any) { fmt.Fprintf(o.Out, format+"\n", args...) }

// Server is a Jaeger that answers. Its methods may be called at once.
type Server struct {
	// UI, API and OTLP are base URLs: of the web pages, of the API, and of OTLP
	// over HTTP. They end without a slash.
	UI, API, OTLP string
	// Pages tells whether UI has Jaeger's web pages: a build from source has
	// not.
	Pages bool
	// From is one of Ways, and "" when this Jaeger ran already.
	From string

	ports ports
	child *child // nil when this Jaeger ran already
	limit int64  // of an answer in bytes; 0 means apiLimit
}

func newServer(p ports) *Server {
	ui := "http://" + p.addr(uiPort)
	return &Server{
		UI:    ui,
		API:   ui + "/api",
		OTLP:  "http://" + p.addr(otlpHTTPPort),
		ports: p,
	}
}

// Usage says in a few lines where this Jaeger is and how to send it spans.
func (s *Server) Usage() string {
	var b strings.Builder
	if s.Pages {
		fmt.Fprintf(&b, "  pages  %s\n", s.UI)
	}
	fmt.Fprintf(&b, "  API    %s/services\n", s.API)
	fmt.Fprintf(&b, "  spans  %s (OTLP over HTTP)\n", s.OTLP)
	if s.ports[otlpHTTPPort] != known[otlpHTTPPort].Number {
		fmt.Fprintf(&b, "That is not the usual port for spans: start each step with OTEL_EXPORTER_OTLP_ENDPOINT=%s\n", s.OTLP)
	}
	if !s.Pages {
		b.WriteString("This Jaeger was built without its web pages. All else is there: ask the API, or read\n" +
			"the same spans as text in what `go run ./scripts tour` and `load STEP` print.\n")
	}
	return b.String()
}

// Wait returns nil when ctx is done, and an error when Jaeger ends before that.
// Where Jaeger ran already it just waits for ctx.
func (s *Server) Wait(ctx context.Context) error {
	if s.child == nil {
		<-ctx.Done()
		return nil
	}
	select {
	case <-ctx.Done():
		return nil
	case <-s.child.done:
		// Where Ctrl-C reaches every program of the terminal, Jaeger may be
		// gone a moment before ctx is.
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(200 * time.Millisecond):
		}
		return fmt.Errorf("the Jaeger from %s stopped by itself: %w", s.From, s.child.ended())
	}
}

// Stop ends a Jaeger that Start started, and returns once it is gone. It leaves
// alone one that ran already.
func (s *Server) Stop() error {
	if s.child == nil {
		return nil
	}
	return s.child.end()
}

// ready waits until the Jaeger that we started takes spans and answers questions.
func (s *Server) ready(ctx context.Context, patience time.Duration) error {
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := s.answers(bounded)
		select {
		case <-s.child.done:
			// Checked even if something answers: that would be another program,
			// which took the port first.
			return s.child.ended()
		default:
		}
		if err == nil {
			return nil
		}
		select {
		case <-s.child.done:
		case <-bounded.Done():
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("no answer from Jaeger within %v: %w", patience, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
