package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace/noop"

	"plaque/scripts/internal/bench"
	"plaque/scripts/internal/build"
	"plaque/scripts/internal/lesson"
	"plaque/scripts/internal/say"
	"plaque/scripts/internal/server"
	"plaque/steps/kit/origin"
	"plaque/steps/kit/youtube"
)

// cacheGroups are the tables of `bench`, with what they aim at.
var cacheGroups = []bench.Group{
	{Name: "HitOneKey", Says: "a hit, one hot key, both cores", Unit: "ns/op", Base: "cache=otter", Aim: 0.8, Judged: ourCache, Also: []string{"allocs/op"}},
	{Name: "HitZipf", Says: "hits, 10,000 keys, Zipf 1.1, both cores", Unit: "ns/op", Base: "cache=otter", Aim: 0.9, Judged: ourCache, Also: []string{"allocs/op"}},
	{Name: "HitZipfBound", Says: "the same with room for 20,000 keys", Unit: "ns/op", Base: "cache=otter", Aim: 1.3, Judged: ourCache, Also: []string{"allocs/op"}},
	{Name: "Load", Says: "a load with nobody else about; ours is detached and bounded", Unit: "ns/op", Base: "floor=goroutine, channel, timeout", Aim: 1.5, Judged: ourCache, Also: []string{"B/op", "allocs/op"}},
	{Name: "Miss", Says: "a new key each time, loaded and remembered", Unit: "ns/op", Base: "cache=otter", Aim: 1.5, Judged: ourCache, Also: []string{"B/op", "allocs/op"}},
	{Name: "Wake/waiters=1000", Says: "1,000 waiters, each with a context, from the load's end until all have gone", Unit: "ns/op", Base: "floor=channel and context", Aim: 1.2, Judged: ourCache, Also: []string{"bytes/waiter"}},
	{Name: "Wake/waiters=10000", Says: "the same with 10,000", Unit: "ns/op", Base: "floor=channel and context", Aim: 1.2, Judged: ourCache, Also: []string{"bytes/waiter"}},
	{Name: "Memory", Says: "a million keys of 24 bytes, and what is left when all have expired", Unit: "bytes/key", Base: "cache=otter", Aim: 1, Judged: ourCache, Also: []string{"left/key"}},
}

// ourCache is the cache that is measured; its bench is a module outside go.work.
const ourCache = "cache=plaque"

// watchedGroups are the tables of `bench --watched`.
var watchedGroups = []bench.Group{
	{Name: "Hit", Says: "a hit, one hot key, one caller", Unit: "ns/op", Base: watchedWays[0].name, Also: []string{"allocs/op"}},
	{Name: "Answer", Says: "a cached answer of the server, a kept connection for each core, its caller's work included", Unit: "ns/op", Base: watchedWays[0].name, Also: []string{"allocs/op"}},
}

// watchedWays are the ways to be watched: what the reader would set, and what the
// bench does. The first is the one that the others are compared with.
var watchedWays = []struct {
	name string
	args []string
	env  []string
}{
	{name: "no provider, nothing started"},
	{"exporter none", []string{"-started"}, []string{"OTEL_TRACES_EXPORTER=none"}},
	{"sampler always_off", []string{"-started"}, []string{"OTEL_TRACES_SAMPLER=always_off"}},
	{"every request traced", []string{"-started"}, nil},
	{"traced, debug pages read", []string{"-started", "-read"}, nil},
}

// benchFolder is the folder of the bench in its step.
const benchFolder = "bench"

// benchCommand measures a step's cache beside its peers, what it costs to watch
// it, or servers beside each other.
func benchCommand(ctx context.Context, e *env, args []string) error {
	fs := e.flags("bench")
	count := fs.Int("count", 5, "how many rounds; ratios are taken within a round")
	quick := fs.Bool("quick", false, "one short round: to see that it works")
	server := fs.Bool("server", false, "measure servers, with hey and with wrk where it is installed")
	watched := fs.Bool("watched", false, "measure what it costs to watch the cache: with tracing off, on, and with its debug pages read")
	fleet := fs.Bool("fleet", false, "measure what a hit costs in a fleet, at the owner and elsewhere, beside one machine")
	only := fs.String("only", ".", "which benchmarks of the cache: a `REGEXP`, as for go test -bench")
	names, err := e.parse(fs, args)
	if err != nil {
		return err
	}
	if len(names) > 0 {
		return errUsage{fmt.Errorf("bench takes no %q, only flags: `go run ./scripts help bench` lists them", names[0])}
	}
	if *count < 1 || *count > 100 {
		return errUsage{fmt.Errorf("--count %d: it can be 1 to 100", *count)}
	}
	b := &benching{e: e, count: *count, quick: *quick, only: *only}
	kind, kinds := b.caches, 0
	for _, k := range []struct {
		asked bool
		bench func(context.Context) ([]subject, []bench.Group, error)
	}{{*server, b.servers}, {*watched, b.watched}, {*fleet, b.fleet}} {
		if k.asked {
			kind = k.bench
			kinds++
		}
	}
	switch {
	case kinds > 1:
		return errUsage{errors.New("--server, --watched and --fleet are separate benches: name one of them")}
	case kinds == 1 && *only != ".":
		return errUsage{errors.New("--only picks benchmarks of the caches: leave out --server, --watched and --fleet")}
	}
	if err := oneOf(fs, "quick", "count"); err != nil {
		return err
	}
	if *quick {
		b.count = 1
	}
	if err := b.find(); err != nil {
		return err
	}
	dir, clean, err := build.TempDir()
	if err != nil {
		return err
	}
	defer clean()
	b.dir = dir
	ctx, stop := context.WithCancel(ctx)
	defer stop() // servers and all else that a bench has started
	defer func() {
		for _, end := range slices.Backward(b.ends) {
			end()
		}
	}()
	subjects, groups, err := kind(ctx)
	if err != nil {
		return err
	}
	rounds, err := b.measure(ctx, subjects)
	if err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "Medians of %s. A ratio is taken within a round; its least and most say how far to trust it.\n\n", say.Plural(b.count, "round"))
	for _, g := range groups {
		rows, err := bench.Rows(g, rounds)
		if err != nil {
			if *only != "." { // the group, or its base, was not asked for
				continue
			}
			return err
		}
		bench.Write(e.stdout, g, rows)
	}
	if b.after == nil || *quick {
		return nil
	}
	return b.after()
}

// subject is what is measured in one go, such as one server with one tool.
type subject struct {
	name    string
	measure func(context.Context) (bench.Round, error)
}

// benching is one call of the bench.
type benching struct {
	e     *env
	step  *lesson.Lesson // whose folder has the bench
	next  *lesson.Lesson // the one after it; nil: none
	dir   string         // for what is built
	count int
	quick bool
	only  string
	ends  []func()     // what is to be ended, the last one first
	after func() error // a last check, nil: none
}

// find finds the step that has the bench.
func (b *benching) find() error {
	for i, s := range b.e.lessons {
		if _, err := os.Stat(filepath.Join(s.Dir, benchFolder, "go.mod")); err != nil {
			continue
		}
		b.step = s
		if i+1 < len(b.e.lessons) {
			b.next = b.e.lessons[i+1]
		}
		return nil
	}
	return errors.New("no step has a folder " + benchFolder + " with a go.mod")
}

// measure is the loop of every bench: in each round each subject once. Which of
// them comes first changes from round to round.
func (b *benching) measure(ctx context.Context, subjects []subject) ([]bench.Round, error) {
	var rounds []bench.Round
	for i := range b.count {
		fmt.Fprintf(b.e.stderr, "round %d of %d\n", i+1, b.count)
		round := bench.Round{}
		for j := range subjects {
			s := subjects[(i+j)%len(subjects)]
			figures, err := s.measure(ctx)
			switch {
			case ctx.Err() != nil:
				return nil, context.Cause(ctx)
			case err != nil:
				return nil, fmt.Errorf("%s: %w", s.name, err)
			}
			maps.Copy(round, figures)
		}
		rounds = append(rounds, round)
	}
	return rounds, nil
}

// goTest builds a package of the bench's module, outside the workspace.
func (b *benching) goTest(ctx context.Context, pkg, name string) (bin string, err error) {
	fmt.Fprintln(b.e.stderr, "building the bench")
	bin = build.Exe(filepath.Join(b.dir, name))
	return bin, goOutside(ctx, b.folder(), "test", "-c", "-o", bin, pkg)
}

func (b *benching) folder() string { return filepath.Join(b.step.Dir, benchFolder) }

// goOutside runs the go command in the bench's module, outside the workspace.
func goOutside(ctx context.Context, folder string, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("go %s in %s: %w\n%s", strings.Join(args, " "), folder, err, bytes.TrimSpace(out))
	}
	return nil
}

// caches measures the step's cache beside its peers.
func (b *benching) caches(ctx context.Context) ([]subject, []bench.Group, error) {
	bin, err := b.goTest(ctx, ".", "bench.test")
	if err != nil {
		return nil, nil, err
	}
	return []subject{{"--only " + b.only, func(ctx context.Context) (bench.Round, error) {
		return b.run(ctx, bin, nil)
	}}}, cacheGroups, nil
}

// run runs a bench that is built.
func (b *benching) run(ctx context.Context, bin string, env []string, args ...string) (bench.Round, error) {
	flags := []string{"-test.run", "^$", "-test.bench", b.only, "-test.cpu", "2", "-test.benchtime", "200ms"}
	if b.quick {
		flags = append(flags, "-test.benchtime", "10ms", "-test.short")
	}
	cmd := exec.CommandContext(ctx, bin, append(flags, args...)...)
	cmd.Dir = b.folder()
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("the bench: %w\n%s", err, out)
	}
	return bench.Parse(string(out))
}

// watched measures each way to be watched in a process of its own.
func (b *benching) watched(ctx context.Context) ([]subject, []bench.Group, error) {
	bin, err := b.goTest(ctx, "./watched", "watched.test")
	if err != nil {
		return nil, nil, err
	}
	sink, err := b.newSink()
	if err != nil {
		return nil, nil, err
	}
	// What the reader's shell has set must not change what is compared.
	neutral := []string{"OTEL_TRACES_EXPORTER=", "OTEL_TRACES_SAMPLER=", "OTEL_SDK_DISABLED=", "LOG_LEVEL=",
		"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=", "OTEL_EXPORTER_OTLP_ENDPOINT=" + sink}
	var subjects []subject
	for _, w := range watchedWays {
		subjects = append(subjects, subject{w.name, func(ctx context.Context) (bench.Round, error) {
			figures, err := b.run(ctx, bin, slices.Concat(neutral, w.env), w.args...)
			named := bench.Round{}
			for name, f := range figures {
				named[name+"/"+w.name] = f
			}
			return named, err
		}})
	}
	return subjects, watchedGroups, nil
}

// tool is a load generator: what it is called with for so long.
type tool struct {
	path string
	args func(d time.Duration, url string) []string
}

func (t tool) name() string { return strings.TrimSuffix(filepath.Base(t.path), ".exe") }

// perSecond has the tool load a server for d, and returns requests a second.
func (t tool) perSecond(ctx context.Context, d time.Duration, url string) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, d+time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, t.path, t.args(d, url)...).CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("%s on %s: %w\n%s", t.name(), url, err, out)
	}
	return bench.RequestsPerSecond(string(out))
}

// hey builds hey, for so many connections.
func (b *benching) hey(ctx context.Context, connections int) (tool, error) {
	path, err := build.BuildHey(ctx, b.e.root, b.dir)
	return tool{path, func(d time.Duration, url string) []string {
		return []string{"-z", d.String(), "-c", strconv.Itoa(connections), url}
	}}, err
}

// wrk finds wrk where it is installed.
func (b *benching) wrk(connections int) []tool {
	path, err := exec.LookPath("wrk")
	if err != nil {
		fmt.Fprintln(b.e.stderr, "wrk is not installed (Debian: apt-get install wrk): hey alone measures, and takes more of the cores itself")
		return nil
	}
	return []tool{{path, func(d time.Duration, url string) []string {
		return []string{"-t", "2", "-c", strconv.Itoa(connections), "-d", strconv.Itoa(int(math.Ceil(d.Seconds()))), url}
	}}}
}

// feed starts a feed for the servers, which makes no spans.
func (b *benching) feed(ctx context.Context) (*origin.Feed, string, error) {
	feed := origin.New(noop.NewTracerProvider())
	base, err := feed.Serve(ctx, "127.0.0.1:0")
	return feed, base + origin.Path, err
}

// untraced is the environment of a server that makes no spans.
var untraced = []string{"OTEL_TRACES_EXPORTER=none"}

// servers loads each server with 50 connections that are kept alive, where the
// server keeps them, and one cached answer: a bare one, those of the steps that
// read no feed, and the one that the bench belongs to.
func (b *benching) servers(ctx context.Context) ([]subject, []bench.Group, error) {
	const connections = 50
	last := 5 * time.Second
	if b.quick {
		last = time.Second
	}
	fmt.Fprintln(b.e.stderr, "building hey and the servers")
	hey, err := b.hey(ctx, connections)
	if err != nil {
		return nil, nil, err
	}
	bare := build.Exe(filepath.Join(b.dir, "bare"))
	if err := goOutside(ctx, b.folder(), "build", "-o", bare, "./bare"); err != nil {
		return nil, nil, err
	}
	// One place for all spans: it takes them and throws them away.
	sink, err := b.newSink()
	if err != nil {
		return nil, nil, err
	}
	feed, url, err := b.feed(ctx)
	if err != nil {
		return nil, nil, err
	}
	type benched struct {
		name   string
		launch server.Launch
	}
	servers := []benched{{"bare net/http", server.Launch{Command: []string{bare}}}}
	var cached benched
	for _, s := range b.e.lessons {
		if s.ReadsFeed() && s != b.step {
			continue
		}
		bin := build.BinPath(b.dir, s)
		if err := build.Build(ctx, s.Dir, ".", bin, ""); err != nil {
			return nil, nil, err
		}
		launch := server.Launch{Command: []string{bin}, Collector: sink, Env: untraced}
		if s == b.step {
			launch.Feed = url
		}
		quiet := benched{s.Number() + ", not traced", launch}
		servers = append(servers, quiet)
		if s == b.step {
			launch.Env = nil
			cached = quiet
			servers = append(servers, benched{s.Number() + ", every request traced", launch})
		}
	}
	perSecond := func(ctx context.Context, t tool, s benched, d time.Duration) (float64, error) {
		server, err := server.StartServer(ctx, s.launch)
		if err != nil {
			return 0, err
		}
		defer func() { _ = server.Stop() }()
		if s.launch.Feed != "" { // the first answer is the feed's
			if err := answered(ctx, server.URL); err != nil {
				return 0, fmt.Errorf("%w\n%s", err, server.Log())
			}
		}
		return t.perSecond(ctx, d, server.URL)
	}
	var subjects []subject
	var groups []bench.Group
	for _, t := range append([]tool{hey}, b.wrk(connections)...) {
		for _, s := range servers {
			subjects = append(subjects, subject{s.name, func(ctx context.Context) (bench.Round, error) {
				n, err := perSecond(ctx, t, s, last)
				return bench.Round{t.name() + "/" + s.name: {"requests/s": n}}, err
			}})
		}
		groups = append(groups, bench.Group{Name: t.name(), Says: fmt.Sprintf("%d connections, one cached answer, %v each", connections, last),
			Unit: "requests/s", More: true, Base: "bare net/http", Aim: 0.9, Judged: cached.name})
	}
	b.after = func() error {
		const long = 30 * time.Second
		before := feed.Stats().Requests
		if _, err := perSecond(ctx, hey, cached, long); err != nil {
			return err
		}
		loads := feed.Stats().Requests - before
		fmt.Fprintf(b.e.stdout, "Loads in %v under hey: %d (an answer is good for 4.5 to 5 s, so 6 to 8 are right)\n", long, loads)
		if loads < 6 || loads > 8 {
			return errors.New("the number of loads is wrong: the cache does not do what it is there for")
		}
		return nil
	}
	return subjects, groups, nil
}

// fleet asks for one cached answer again and again, on one connection: the step
// that has the bench, and in the next one, three peers of a fleet, the peer that
// owns the channel and those that do not.
func (b *benching) fleet(ctx context.Context) ([]subject, []bench.Group, error) {
	last := 3 * time.Second
	if b.quick {
		last = 500 * time.Millisecond
	}
	if b.next == nil {
		return nil, nil, fmt.Errorf("no step comes after %s, so there is no fleet to measure", b.step.Number())
	}
	fmt.Fprintf(b.e.stderr, "building hey and steps %s and %s\n", b.step.Number(), b.next.Number())
	hey, err := b.hey(ctx, 1)
	if err != nil {
		return nil, nil, err
	}
	feed, url, err := b.feed(ctx)
	if err != nil {
		return nil, nil, err
	}
	start := func(s *lesson.Lesson, addr string, env ...string) (*server.Server, error) {
		bin := build.BinPath(b.dir, s)
		if err := build.Build(ctx, s.Dir, ".", bin, ""); err != nil {
			return nil, err
		}
		started, err := server.StartServer(ctx, server.Launch{Command: []string{bin}, Addr: addr, Feed: url, Env: slices.Concat(untraced, env)})
		if err == nil {
			b.ends = append(b.ends, func() { _ = started.Stop() })
		}
		return started, err
	}
	alone, err := start(b.step, "")
	if err != nil {
		return nil, nil, err
	}
	var addrs, urls []string
	for range 3 {
		addr, err := server.FreeAddr()
		if err != nil {
			return nil, nil, err
		}
		addrs, urls = append(addrs, addr), append(urls, "http://"+addr)
	}
	for _, url := range urls {
		if _, err := start(b.next, strings.TrimPrefix(url, "http://"), "PEERS="+strings.Join(urls, ","), "SELF="+url); err != nil {
			return nil, nil, err
		}
	}
	if err := feed.Set(origin.Script{}); err != nil {
		return nil, nil, err
	}
	if err := answered(ctx, urls[0]); err != nil {
		return nil, nil, err
	}
	owner, elsewhere := b.next.Number()+", at the owner", b.next.Number()+", elsewhere"
	servers := map[string]string{b.step.Number(): alone.URL}
	for i, addr := range addrs {
		name := elsewhere
		if feed.Stats().Agents[youtube.UserAgent+" "+addr] > 0 {
			name = owner
		}
		servers[name] = urls[i]
	}
	const group = "a hit"
	var subjects []subject
	for _, name := range slices.Sorted(maps.Keys(servers)) {
		subjects = append(subjects, subject{name, func(ctx context.Context) (bench.Round, error) {
			if err := answered(ctx, servers[name]); err != nil {
				return nil, err
			}
			n, err := hey.perSecond(ctx, last, servers[name])
			return bench.Round{group + "/" + name: {"us/request": 1e6 / n}}, err
		}})
	}
	return subjects, []bench.Group{{Name: group, Says: fmt.Sprintf("one connection, one cached answer, %v each", last),
		Unit: "us/request", Base: b.step.Number(), Aim: 4, Judged: elsewhere}}, nil
}

// answered asks once, and expects a 200.
func answered(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", url, res.Status)
	}
	return nil
}

// newSink starts a collector that takes every span and keeps none, and returns
// its URL.
func (b *benching) newSink() (string, error) {
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
