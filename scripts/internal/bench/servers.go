package bench

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"plaque/scripts/internal/server"
	"plaque/steps/kit/origin"
	"plaque/steps/kit/ports"
	"plaque/steps/kit/youtube"
)

// tool is a load generator: its program, and what that is called with for so long.
type tool struct {
	path string
	args func(d time.Duration) []string
}

func (t tool) name() string { return strings.TrimSuffix(filepath.Base(t.path), ".exe") }

// perSecond has the tool load a server for d, and returns requests a second.
func (t tool) perSecond(ctx context.Context, d time.Duration, url string) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, d+time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, t.path, append(t.args(d), url)...).CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("%s on %s: %w\n%s", t.name(), url, err, out)
	}
	return RequestsPerSecond(string(out))
}

// hey builds hey, for so many connections.
func (b *Bench) hey(ctx context.Context, connections int) (tool, error) {
	path, err := b.bins.Hey(ctx)
	return tool{path, func(d time.Duration) []string {
		return []string{"-z", d.String(), "-c", strconv.Itoa(connections)}
	}}, err
}

// wrk is wrk where it is installed, and else nothing.
func (b *Bench) wrk(connections int) []tool {
	path, err := exec.LookPath("wrk")
	if err != nil {
		fmt.Fprintln(b.Log, "wrk is not installed (Debian: apt-get install wrk): hey alone measures, and takes more of the cores itself")
		return nil
	}
	return []tool{{path, func(d time.Duration) []string {
		return []string{"-t", "2", "-c", strconv.Itoa(connections), "-d", strconv.Itoa(int(math.Ceil(d.Seconds())))}
	}}}
}

// untraced is the environment of a server that makes no spans.
var untraced = []string{"OTEL_TRACES_EXPORTER=none"}

// Servers loads each server with 50 connections that are kept alive, where the
// server keeps them, and one cached answer: a bare one, those of the steps that
// read no feed, and the one that the bench belongs to.
func (b *Bench) Servers(ctx context.Context) (*plan, error) {
	const connections = 50
	last := 5 * time.Second
	if b.Quick {
		last = time.Second
	}
	hey, err := b.hey(ctx, connections)
	if err != nil {
		return nil, err
	}
	bare, err := b.compile(ctx, "./bare", "build")
	if err != nil {
		return nil, err
	}
	feed, url, err := b.feed(ctx)
	if err != nil {
		return nil, err
	}
	sink, err := b.sink()
	if err != nil {
		return nil, err
	}
	const base = "bare net/http"
	launches := map[string]server.Launch{base: {Command: []string{bare}}}
	for _, s := range b.Lessons {
		if s.ReadsFeed() && s != b.step {
			continue
		}
		bin, err := b.bins.Step(ctx, s)
		if err != nil {
			return nil, err
		}
		l := server.Launch{Command: []string{bin}, Collector: sink}
		if s == b.step {
			l.Feed = url
			launches[s.Number()+", every request traced"] = l
		}
		l.Env = untraced
		launches[s.Number()+", not traced"] = l
	}
	cached := b.step.Number() + ", not traced"
	perSecond := func(ctx context.Context, t tool, name string, d time.Duration) (float64, error) {
		s, err := server.StartServer(ctx, launches[name])
		if err != nil {
			return 0, err
		}
		defer func() { _ = s.Stop() }()
		if launches[name].Feed != "" { // the first answer is the feed's
			if err := answered(ctx, s.URL); err != nil {
				return 0, fmt.Errorf("%w\n%s", err, s.Log())
			}
		}
		return t.perSecond(ctx, d, s.URL)
	}
	p := &plan{after: func(ctx context.Context) error {
		const long = 30 * time.Second
		before := feed.Stats().Requests
		if _, err := perSecond(ctx, hey, cached, long); err != nil {
			return err
		}
		loads := feed.Stats().Requests - before
		fmt.Fprintf(b.Out, "Loads in %v under hey: %d (an answer is good for 4.5 to 5 s, so 6 to 8 are right)\n", long, loads)
		if loads < 6 || loads > 8 {
			return errors.New("the number of loads is wrong: the cache does not do what it is there for")
		}
		return nil
	}}
	for _, t := range append([]tool{hey}, b.wrk(connections)...) {
		for _, name := range slices.Sorted(maps.Keys(launches)) {
			p.subjects = append(p.subjects, subject{name, func(ctx context.Context) (Round, error) {
				n, err := perSecond(ctx, t, name, last)
				return Round{t.name() + "/" + name: {"requests/s": n}}, err
			}})
		}
		p.groups = append(p.groups, Group{Name: t.name(), Says: fmt.Sprintf("%d connections, one cached answer, %v each", connections, last),
			Unit: "requests/s", More: true, Base: base, Aim: 0.9, Judged: cached})
	}
	return p, nil
}

// Fleet asks for one cached answer again and again, on one connection. It asks
// the step that has the bench. In the next step, a fleet of three, it asks the
// peer that owns the channel, and the others.
func (b *Bench) Fleet(ctx context.Context) (*plan, error) {
	last := 3 * time.Second
	if b.Quick {
		last = 500 * time.Millisecond
	}
	if b.next == nil {
		return nil, fmt.Errorf("no step comes after %s, so there is no fleet to measure", b.step.Number())
	}
	hey, err := b.hey(ctx, 1)
	if err != nil {
		return nil, err
	}
	one, err := b.bins.Step(ctx, b.step)
	if err != nil {
		return nil, err
	}
	peer, err := b.bins.Step(ctx, b.next)
	if err != nil {
		return nil, err
	}
	feed, url, err := b.feed(ctx)
	if err != nil {
		return nil, err
	}
	alone, err := b.start(ctx, server.Launch{Command: []string{one}, Feed: url, Env: untraced})
	if err != nil {
		return nil, err
	}
	var addrs, urls []string
	for range 3 {
		addr, err := ports.FreeAddr()
		if err != nil {
			return nil, err
		}
		addrs, urls = append(addrs, addr), append(urls, "http://"+addr)
	}
	for i, addr := range addrs {
		env := append(slices.Clip(untraced), "PEERS="+strings.Join(urls, ","), "SELF="+urls[i])
		if _, err := b.start(ctx, server.Launch{Command: []string{peer}, Addr: addr, Feed: url, Env: env}); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(feed.Set(origin.Script{}), answered(ctx, urls[0])); err != nil {
		return nil, err
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
	p := &plan{groups: []Group{{Name: group, Says: fmt.Sprintf("one connection, one cached answer, %v each", last),
		Unit: "us/request", Base: b.step.Number(), Aim: 4, Judged: elsewhere}}}
	for _, name := range slices.Sorted(maps.Keys(servers)) {
		p.subjects = append(p.subjects, subject{name, func(ctx context.Context) (Round, error) {
			if err := answered(ctx, servers[name]); err != nil {
				return nil, err
			}
			n, err := hey.perSecond(ctx, last, servers[name])
			return Round{group + "/" + name: {"us/request": 1e6 / n}}, err
		}})
	}
	return p, nil
}
