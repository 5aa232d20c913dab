package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"

	"plaque/scripts/internal/build"
	"plaque/scripts/internal/jaeger"
	"plaque/scripts/internal/lab"
	"plaque/scripts/internal/lesson"
	"plaque/scripts/internal/say"
	"plaque/steps/kit/debug"
	"plaque/steps/kit/origin"
	"plaque/steps/kit/process"
	"plaque/steps/kit/telemetry"
)

// runStep runs a step in the foreground.
func runStep(ctx context.Context, e *env, args []string) error {
	// What begins with the first dash behind the step is the step's.
	own, flags := args, []string(nil)
	if i := slices.IndexFunc(args, func(a string) bool { return strings.HasPrefix(a, "-") }); i > 0 {
		own, flags = args[:i], args[i:]
	}
	names, err := e.parse(e.flags("run"), own)
	if err != nil {
		return err
	}
	s, err := e.step("run", names)
	if err != nil {
		return err
	}
	bins, err := build.Open(e.root)
	if err != nil {
		return err
	}
	defer bins.Close()
	bin, err := bins.DebugStep(ctx, s)
	if err != nil {
		return err
	}
	cmd := exec.Command(bin, flags...)
	cmd.Stdout, cmd.Stderr = e.stdout, e.stderr
	// The step ends when this pipe does: on Ctrl-C, and also if we are killed.
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = stdin.Close() })
	defer stop()
	var exit *exec.ExitError
	if err := cmd.Wait(); errors.As(err, &exit) && ctx.Err() == nil {
		return fmt.Errorf("%s ended: %w", s.Step, err)
	}
	return nil
}

// load runs hey against the step that runs, under one root span.
func load(ctx context.Context, e *env, args []string) error {
	fs := e.flags("load")
	var h lesson.Hey
	fs.IntVar(&h.Requests, "n", 10, "how many requests")
	fs.IntVar(&h.Concurrency, "c", 5, "how many at a time")
	fs.IntVar(&h.Timeout, "t", lesson.DefaultTimeout, "how many seconds to wait for an answer")
	fs.IntVar(&h.For, "z", 0, "for how many seconds, in place of -n requests; with -q")
	fs.IntVar(&h.Rate, "q", 0, "how many requests a second each of -c sends; with -z")
	url := fs.String("url", "http://"+envOr("ADDR", process.DefaultAddr), "the `URL` to load")
	names, err := e.parse(fs, args)
	if err != nil {
		return err
	}
	s, err := e.step("load", names)
	if err != nil {
		return err
	}
	if h.For != 0 || h.Rate != 0 {
		if given(fs)["n"] {
			return errUsage{errors.New("-n and -z exclude each other: load sends so many requests, or for so long")}
		}
		if h.For < 1 || h.Rate < 1 || h.Concurrency < 1 || h.Timeout < 1 {
			return errUsage{fmt.Errorf("-z %d -q %d -c %d -t %d: -z and -q go together, and all are at least 1", h.For, h.Rate, h.Concurrency, h.Timeout)}
		}
	} else if h.Requests < 1 || h.Concurrency < 1 || h.Timeout < 1 || h.Requests%h.Concurrency != 0 {
		return errUsage{fmt.Errorf("-n %d -c %d -t %d: hey sends only whole rounds, so n must be a multiple of c, and all at least 1", h.Requests, h.Concurrency, h.Timeout)}
	}
	if err := listens(ctx, *url); err != nil {
		return fmt.Errorf("nothing listens on %s: start the step in another terminal with `go run ./scripts run %s`", *url, s.Number())
	}
	if !given(fs)["url"] {
		if err := runsThere(ctx, s); err != nil {
			return err
		}
	}
	bins, err := build.Open(e.root)
	if err != nil {
		return err
	}
	defer bins.Close()
	hey, err := bins.Hey(ctx)
	if err != nil {
		return err
	}
	// Standard output has the report.
	tel, err := telemetry.Start(ctx, telemetry.Config{Service: "load", Version: s.Step, Out: e.stderr, JSON: e.stderr})
	if err != nil {
		return err
	}
	ctx, burst := lab.StartBurst(ctx, tel.Provider(), s.Step, h.Requests, h.Concurrency)
	parent := lab.Traceparent(ctx)
	fmt.Fprintf(e.stdout, "$ hey %s\n\n", strings.Join(quoted(lab.HeyArgs(h, parent, *url)), " "))
	report, answers, err := lab.RunHey(ctx, hey, h, parent, *url)
	if err != nil {
		burst.SetStatus(codes.Error, err.Error())
	}
	burst.SetAttributes(attribute.String("answers", lab.Answers(answers)))
	burst.End()
	fmt.Fprint(e.stdout, report)
	stopErr := tel.Stop()
	if err != nil {
		return err
	}
	id := burst.SpanContext().TraceID().String()
	switch j, ferr := jaeger.Find(ctx); {
	case ferr == nil && stopErr == nil:
		fmt.Fprintf(e.stdout, "\nthe burst in Jaeger: %s\n", j.TraceURL(id))
	default:
		fmt.Fprintf(e.stdout, "\ntrace %s went nowhere: start Jaeger with `go run ./scripts jaeger` and load again\n", id)
	}
	return nil
}

// quoted puts quotes around arguments with spaces, as a shell needs them.
func quoted(args []string) []string {
	q := make([]string, len(args))
	for i, a := range args {
		if q[i] = a; strings.Contains(a, " ") {
			q[i] = `"` + a + `"`
		}
	}
	return q
}

func listens(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	conn, err := (&net.Dialer{Timeout: 2 * time.Second}).DialContext(ctx, "tcp", req.URL.Host)
	if err != nil {
		return err
	}
	return conn.Close()
}

// runsThere is an error where another step than s listens at ADDR. A server
// without our debug pages may be any.
func runsThere(ctx context.Context, s *lesson.Lesson) error {
	url, err := process.DebugURL(os.Getenv("ADDR"))
	if err != nil {
		return errUsage{err}
	}
	if state, err := (debug.Client{Base: url}).State(ctx); err == nil && state.Step != s.Step {
		return notThere(state.Step, s)
	}
	return nil
}

// feedAnswers are the words that feed takes.
func feedAnswers(p *say.Printer) {
	p.Wrap("", "The next requests get these answers, in order, and all later ones get ok:")
	p.Line("")
	for _, a := range origin.Answers() {
		name, says, _ := strings.Cut(a, " ")
		p.Wrap(fmt.Sprintf("  %-10s ", name), says)
	}
}

// feed tells the feed of the step that runs what to serve next.
func feed(ctx context.Context, e *env, args []string) error {
	fs := e.flags("feed")
	base := fs.String("url", "", "the `URL` of the feed; without it, at the port behind ADDR")
	hold := fs.Int("hold", 0, "answer nobody until so many wait, for at most 2 s")
	var delay, outage time.Duration
	duration(fs, "delay", &delay, 0, "how long an answer takes: a `TIME` such as 2s; without it, 50ms")
	duration(fs, "outage", &outage, 0, "up for this `TIME`, then down for as long, and so on; without it, always up")
	answers, err := e.parse(fs, args)
	if err != nil {
		return err
	}
	if *base == "" {
		settings, err := process.ReadSettings()
		if err != nil {
			return errUsage{err}
		}
		*base = "http://" + settings.FeedAddr
	}
	script := origin.Script{Next: answers, Hold: *hold, Delay: origin.Duration(delay), Outage: origin.Duration(outage)}
	if err := script.Check(); err != nil {
		return errUsage{err}
	}
	remote := origin.Remote{Base: *base, Client: http.DefaultClient}
	seen, unread := remote.Stats(ctx) // before Set, which starts the count anew
	if err := remote.Set(ctx, script); err != nil {
		return err
	}
	if unread != nil {
		fmt.Fprintf(e.stdout, "the count starts anew; the old one cannot be read: %v\n", unread)
		return nil
	}
	fmt.Fprintf(e.stdout, "so far: %s on %s; the count starts anew\n", say.Plural(seen.Requests, "load"), say.Plural(seen.Connections, "connection"))
	return nil
}

func envOr(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

// jaegerCommand starts Jaeger in the foreground.
func jaegerCommand(ctx context.Context, e *env, args []string) error {
	fs := e.flags("jaeger")
	from := fs.String("from", "", "`WAY` to have it: "+strings.Join(jaeger.Ways, ", ")+"; without it they are tried in this order")
	build := fs.Bool("build", false, "only build it from source, and do not start it")
	rest, err := e.parse(fs, args)
	if err != nil {
		return err
	}
	switch {
	case len(rest) > 0:
		return errUsage{fmt.Errorf("jaeger takes no %q", rest[0])}
	case *from != "" && !slices.Contains(jaeger.Ways, *from):
		return errUsage{fmt.Errorf("--from %q: it can be %s", *from, strings.Join(jaeger.Ways, ", "))}
	case *build && *from != "" && *from != jaeger.FromSource:
		return errUsage{fmt.Errorf("--build builds it from source: leave out --from %s", *from)}
	case *build:
		_, err := jaeger.Build(ctx, e.root, e.stdout)
		return err
	}
	return jaeger.Run(ctx, jaeger.Options{Root: e.root, From: *from, Out: e.stdout})
}
