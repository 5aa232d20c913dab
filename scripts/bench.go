package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
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
	"plaque/scripts/internal/lab"
	"plaque/scripts/internal/lesson"
	"plaque/scripts/internal/say"
	"plaque/scripts/internal/server"
	"plaque/steps/kit/origin"
	"plaque/steps/kit/youtube"
)

// benchStep is whose cache is measured; its bench is a module outside go.work.
const benchStep = "09"

// cacheGroups are the tables of `bench`, with what they aim at.
var cacheGroups = []bench.Group{
	{Name: "HitOneKey", Says: "a hit, one hot key, both cores", Unit: "ns/op", Base: "floor=snapshot, time.Since", Aim: 1.4, Judged: "cache=09", Also: []string{"allocs/op"}},
	{Name: "HitZipf", Says: "hits, 10,000 keys, Zipf 1.1, both cores", Unit: "ns/op", Base: "floor=snapshot, time.Since", Aim: 1.5, Judged: "cache=09", Also: []string{"allocs/op"}},
	{Name: "Load", Says: "a load with nobody else about; 09's is detached and bounded", Unit: "ns/op", Base: "peer=resenje", Aim: 1.25, Judged: "cache=09", Also: []string{"B/op", "allocs/op"}},
	{Name: "Miss", Says: "a new key each time, loaded and remembered", Unit: "ns/op", Base: "cache=otter", Aim: 1.2, Judged: "cache=09", Also: []string{"B/op", "allocs/op"}},
	{Name: "Wake/waiters=1000", Says: "1,000 waiters, each with a context, from the load's end until all have gone", Unit: "ns/op", Base: "floor=channel and context", Aim: 1.2, Judged: "cache=09", Also: []string{"bytes/waiter"}},
	{Name: "Wake/waiters=10000", Says: "the same with 10,000", Unit: "ns/op", Base: "floor=channel and context", Aim: 1.2, Judged: "cache=09", Also: []string{"bytes/waiter"}},
}

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

// benchCommand measures 09's cache beside its peers, what it costs to watch it,
// or the steps' servers beside a bare one.
func benchCommand(ctx context.Context, e *env, args []string) error {
	fs := e.flags("bench")
	count := fs.Int("count", 5, "how many rounds; ratios are taken within a round")
	quick := fs.Bool("quick", false, "one short round: to see that it works")
	server := fs.Bool("server", false, "measure servers, with hey and with wrk where it is installed")
	watched := fs.Bool("watched", false, "measure what it costs to watch 09: with tracing off, on, and with its debug pages read")
	fleet := fs.Bool("fleet", false, "measure what a hit costs in step 11, at the owner and elsewhere, beside step 10")
	only := fs.String("only", ".", "which benchmarks, as for go test -bench")
	names, err := parse(fs, args)
	if err != nil {
		return err
	}
	if len(names) > 0 {
		return errUsage{fmt.Errorf("bench takes no %q, only flags: --count N, --quick, --server, --watched, --fleet, --only REGEXP", names[0])}
	}
	if *count < 1 || *count > 100 {
		return errUsage{fmt.Errorf("--count %d: it can be 1 to 100", *count)}
	}
	if *quick {
		*count = 1
	}
	if *server && *watched {
		return errUsage{errors.New("--server and --watched are two benches: name one of them")}
	}
	dir, clean, err := build.TempDir()
	if err != nil {
		return err
	}
	defer clean()
	s, err := lesson.Find(e.lessons, benchStep)
	if err != nil {
		return err
	}
	if *fleet {
		return benchFleet(ctx, e, dir, *count, *quick)
	}
	folder := filepath.Join(s.Dir, "bench")
	if *server {
		return benchServers(ctx, e, folder, dir, *count, *quick)
	}
	if *watched {
		return benchWatched(ctx, e, folder, dir, *count, *quick)
	}
	return benchCaches(ctx, e, folder, dir, *count, *quick, *only)
}

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

func benchCaches(ctx context.Context, e *env, folder, dir string, count int, quick bool, only string) error {
	fmt.Fprintln(e.stderr, "building the bench")
	bin := build.Exe(filepath.Join(dir, "bench.test"))
	if err := goOutside(ctx, folder, "test", "-c", "-o", bin, "."); err != nil {
		return err
	}
	var rounds []bench.Round
	for i := range count {
		fmt.Fprintf(e.stderr, "round %d of %d\n", i+1, count)
		round, err := runBench(ctx, bin, folder, nil, quick, only)
		if err != nil {
			return fmt.Errorf("--only %s: %w", only, err)
		}
		rounds = append(rounds, round)
	}
	tellRounds(e.stdout, count)
	for _, g := range cacheGroups {
		rows, err := bench.Rows(g, rounds)
		if err != nil {
			if only != "." { // the group, or its base, was not asked for
				continue
			}
			return err
		}
		bench.Write(e.stdout, g, rows)
	}
	return nil
}

// runBench runs a bench that is built once.
func runBench(ctx context.Context, bin, folder string, env []string, quick bool, only string, args ...string) (bench.Round, error) {
	benchtime := "200ms"
	if quick {
		benchtime = "10ms"
	}
	cmd := exec.CommandContext(ctx, bin, append([]string{"-test.run", "^$", "-test.bench", only, "-test.cpu", "2", "-test.benchtime", benchtime}, args...)...)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("the bench: %w\n%s", err, out)
	}
	return bench.Parse(string(out))
}

// benchWatched measures each way to be watched in a process of its own. Which of
// them comes first changes from round to round.
func benchWatched(ctx context.Context, e *env, folder, dir string, count int, quick bool) error {
	fmt.Fprintln(e.stderr, "building the bench")
	bin := build.Exe(filepath.Join(dir, "watched.test"))
	if err := goOutside(ctx, folder, "test", "-c", "-o", bin, "./watched"); err != nil {
		return err
	}
	sink, err := newSink()
	if err != nil {
		return err
	}
	defer sink.Close()
	// What the reader's shell has set must not change what is compared.
	neutral := []string{"OTEL_TRACES_EXPORTER=", "OTEL_TRACES_SAMPLER=", "OTEL_SDK_DISABLED=", "LOG_LEVEL=",
		"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=", "OTEL_EXPORTER_OTLP_ENDPOINT=" + sink.URL}
	var rounds []bench.Round
	for i := range count {
		fmt.Fprintf(e.stderr, "round %d of %d\n", i+1, count)
		round := bench.Round{}
		for j := range watchedWays {
			w := watchedWays[(i+j)%len(watchedWays)]
			figures, err := runBench(ctx, bin, folder, append(neutral[:len(neutral):len(neutral)], w.env...), quick, ".", w.args...)
			if err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
			for name, f := range figures {
				round[name+"/"+w.name] = f
			}
		}
		rounds = append(rounds, round)
	}
	tellRounds(e.stdout, count)
	for _, g := range watchedGroups {
		rows, err := bench.Rows(g, rounds)
		if err != nil {
			return err
		}
		bench.Write(e.stdout, g, rows)
	}
	return nil
}

func tellRounds(w io.Writer, count int) {
	fmt.Fprintf(w, "Medians of %s. A ratio is taken within a round; its least and most say how far to trust it.\n\n", say.Plural(count, "round"))
}

// benched is a server that is measured.
type benched struct {
	name    string
	command string
	env     []string
	feed    bool
}

// benchServers loads each server with 50 connections that are kept alive, where
// the server keeps them, and one cached answer.
func benchServers(ctx context.Context, e *env, folder, dir string, count int, quick bool) error {
	const connections = 50
	last, long := 5*time.Second, 30*time.Second
	if quick {
		last, long = time.Second, 0
	}
	fmt.Fprintln(e.stderr, "building hey, a bare server, and steps 01, 02, 03 and 09")
	hey, err := build.BuildHey(ctx, e.root, dir)
	if err != nil {
		return err
	}
	bare := build.Exe(filepath.Join(dir, "bare"))
	if err := goOutside(ctx, folder, "build", "-o", bare, "./bare"); err != nil {
		return err
	}
	off := []string{"OTEL_TRACES_EXPORTER=none"}
	servers := []benched{{name: "bare net/http", command: bare}}
	var cached benched
	for _, number := range []string{"01", "02", "03", "09"} {
		s, err := lesson.Find(e.lessons, number)
		if err != nil {
			return err
		}
		bin := build.BinPath(dir, s)
		if err := build.Build(ctx, s.Dir, ".", bin, ""); err != nil {
			return err
		}
		b := benched{name: number + ", not traced", command: bin, env: off, feed: lab.ReadsFeed(s)}
		servers = append(servers, b)
		if b.feed {
			cached = b
			servers = append(servers, benched{name: number + ", every request traced", command: bin, feed: true})
		}
	}

	// One place for all spans: it takes them and throws them away.
	sink, err := newSink()
	if err != nil {
		return err
	}
	defer sink.Close()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	feed := origin.New(noop.NewTracerProvider())
	base, err := feed.Serve(ctx, "127.0.0.1:0")
	if err != nil {
		return err
	}

	tools := []struct {
		name string
		args func(time.Duration, string) []string
	}{{hey, func(d time.Duration, url string) []string {
		return []string{"-z", d.String(), "-c", strconv.Itoa(connections), url}
	}}}
	if wrk, err := exec.LookPath("wrk"); err == nil {
		tools = append(tools, struct {
			name string
			args func(time.Duration, string) []string
		}{wrk, func(d time.Duration, url string) []string {
			return []string{"-t", "2", "-c", strconv.Itoa(connections), "-d", strconv.Itoa(int(math.Ceil(d.Seconds()))), url}
		}})
	} else {
		fmt.Fprintln(e.stderr, "wrk is not installed (Debian: apt-get install wrk): hey alone measures, and takes more of the cores itself")
	}

	measure := func(b benched, tool int, d time.Duration) (float64, error) {
		launch := server.Launch{Command: []string{b.command}, Collector: sink.URL, Env: b.env}
		if b.feed {
			launch.Feed = base + origin.Path
		}
		server, err := server.StartServer(ctx, launch)
		if err != nil {
			return 0, err
		}
		defer func() { _ = server.Stop() }()
		if b.feed { // the first answer is the feed's
			if err := answered(ctx, server.URL); err != nil {
				return 0, fmt.Errorf("%s: %w\n%s", b.name, err, server.Log())
			}
		}
		run, cancel := context.WithTimeout(ctx, d+time.Minute)
		defer cancel()
		out, err := exec.CommandContext(run, tools[tool].name, tools[tool].args(d, server.URL)...).CombinedOutput()
		if err != nil {
			if ctx.Err() != nil {
				return 0, context.Cause(ctx)
			}
			return 0, fmt.Errorf("%s on %s: %w\n%s", tools[tool].name, b.name, err, out)
		}
		return bench.RequestsPerSecond(string(out))
	}

	var rounds []bench.Round
	for i := range count {
		fmt.Fprintf(e.stderr, "round %d of %d\n", i+1, count)
		round := bench.Round{}
		for t, tool := range tools {
			for _, b := range servers {
				n, err := measure(b, t, last)
				if err != nil {
					return err
				}
				round[toolName(tool.name)+"/"+b.name] = map[string]float64{"requests/s": n}
			}
		}
		rounds = append(rounds, round)
	}
	tellRounds(e.stdout, count)
	for _, tool := range tools {
		g := bench.Group{Name: toolName(tool.name), Says: fmt.Sprintf("%d connections, one cached answer, %v each", connections, last), Unit: "requests/s", More: true,
			Base: "bare net/http", Aim: 0.9, Judged: cached.name}
		rows, err := bench.Rows(g, rounds)
		if err != nil {
			return err
		}
		bench.Write(e.stdout, g, rows)
	}
	if long == 0 {
		return nil
	}
	before := feed.Stats().Requests
	if _, err := measure(cached, 0, long); err != nil {
		return err
	}
	loads := feed.Stats().Requests - before
	fmt.Fprintf(e.stdout, "Loads in %v under hey: %d (an answer is good for 5 s, so 5 to 7 are right)\n", long, loads)
	if loads < 5 || loads > 7 {
		return errors.New("the number of loads is wrong: the cache does not do what it is there for")
	}
	return nil
}

// benchFleet asks for one cached answer again and again, on one connection: a step
// 10, and in step 11 the peer that owns the channel and one that does not.
func benchFleet(ctx context.Context, e *env, dir string, count int, quick bool) error {
	last := 3 * time.Second
	if quick {
		last = 500 * time.Millisecond
	}
	fmt.Fprintln(e.stderr, "building hey and steps 10 and 11")
	hey, err := build.BuildHey(ctx, e.root, dir)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	feed := origin.New(noop.NewTracerProvider())
	base, err := feed.Serve(ctx, "127.0.0.1:0")
	if err != nil {
		return err
	}
	launches := map[string]server.Launch{}
	for _, number := range []string{"10", "11"} {
		s, err := lesson.Find(e.lessons, number)
		if err != nil {
			return err
		}
		bin := build.BinPath(dir, s)
		if err := build.Build(ctx, s.Dir, ".", bin, ""); err != nil {
			return err
		}
		launches[number] = server.Launch{Command: []string{bin}, Feed: base + origin.Path, Env: []string{"OTEL_TRACES_EXPORTER=none"}}
	}
	ten, err := server.StartServer(ctx, launches["10"])
	if err != nil {
		return err
	}
	defer func() { _ = ten.Stop() }()
	var addrs, urls []string
	for range 3 {
		addr, err := server.FreeAddr()
		if err != nil {
			return err
		}
		addrs, urls = append(addrs, addr), append(urls, "http://"+addr)
	}
	servers := map[string]*server.Server{"10": ten}
	for i, addr := range addrs {
		l := launches["11"]
		l.Addr, l.Env = addr, append(slices.Clone(l.Env), "PEERS="+strings.Join(urls, ","), "SELF="+urls[i])
		peer, err := server.StartServer(ctx, l)
		if err != nil {
			return err
		}
		defer func() { _ = peer.Stop() }()
		servers[addr] = peer
	}
	if err := feed.Set(origin.Script{}); err != nil {
		return err
	}
	if err := answered(ctx, urls[0]); err != nil {
		return err
	}
	for _, addr := range addrs {
		name := "11, elsewhere"
		if feed.Stats().Agents[youtube.UserAgent+" "+addr] > 0 {
			name = "11, at the owner"
		}
		servers[name] = servers[addr]
		delete(servers, addr)
	}
	const group = "a hit"
	var rounds []bench.Round
	for i := range count {
		fmt.Fprintf(e.stderr, "round %d of %d\n", i+1, count)
		round := bench.Round{}
		for name, s := range servers {
			if err := answered(ctx, s.URL); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			run, cancel := context.WithTimeout(ctx, last+time.Minute)
			out, err := exec.CommandContext(run, hey, "-z", last.String(), "-c", "1", s.URL).CombinedOutput()
			cancel()
			if err != nil {
				return fmt.Errorf("hey on %s: %w\n%s", name, err, out)
			}
			n, err := bench.RequestsPerSecond(string(out))
			if err != nil {
				return err
			}
			round[group+"/"+name] = map[string]float64{"us/request": 1e6 / n}
		}
		rounds = append(rounds, round)
	}
	tellRounds(e.stdout, count)
	g := bench.Group{Name: group, Says: fmt.Sprintf("one connection, one cached answer, %v each", last), Unit: "us/request", Base: "10", Aim: 4, Judged: "11, elsewhere"}
	rows, err := bench.Rows(g, rounds)
	if err != nil {
		return err
	}
	bench.Write(e.stdout, g, rows)
	return nil
}

// toolName is a load generator's name in the table.
func toolName(path string) string {
	return strings.TrimSuffix(filepath.Base(path), ".exe")
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

// sink is a collector that takes every span and keeps none.
type sink struct {
	URL string
	*http.Server
}

func newSink() (*sink, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &sink{URL: "http://" + l.Addr().String(), Server: &http.Server{ReadTimeout: time.Minute, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
	})}}
	go func() { _ = s.Serve(l) }()
	return s, nil
}
