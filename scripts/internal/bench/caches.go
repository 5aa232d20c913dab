package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
)

// ours is the cache that is measured; its bench is a module outside go.work.
const ours = "cache=plaque"

const (
	otter   = "cache=otter"
	machine = "floor=goroutine, channel, timeout"
	woken   = "floor=channel and context"
)

// cacheGroups are the tables of Caches, with what they aim at.
var cacheGroups = []Group{
	{Name: "HitOneKey", Says: "a hit, one hot key, both cores", Unit: "ns/op", Base: otter, Aim: 0.8, Judged: ours, Also: []string{"allocs/op"}},
	{Name: "HitZipf", Says: "hits, 10,000 keys, Zipf 1.1, both cores", Unit: "ns/op", Base: otter, Aim: 0.9, Judged: ours, Also: []string{"allocs/op"}},
	{Name: "HitZipfBound", Says: "the same with room for 20,000 keys", Unit: "ns/op", Base: otter, Aim: 1.3, Judged: ours, Also: []string{"allocs/op"}},
	{Name: "Load", Says: "a load with nobody else about; ours is detached and bounded", Unit: "ns/op", Base: machine, Aim: 1.5, Judged: ours, Also: []string{"B/op", "allocs/op"}},
	{Name: "Miss", Says: "a new key each time, loaded and remembered", Unit: "ns/op", Base: otter, Aim: 1.5, Judged: ours, Also: []string{"B/op", "allocs/op"}},
	{Name: "Wake/waiters=1000", Says: "1,000 waiters, each with a context, from the load's end until all have gone", Unit: "ns/op", Base: woken, Aim: 1.2, Judged: ours, Also: []string{"bytes/waiter"}},
	{Name: "Wake/waiters=10000", Says: "the same with 10,000", Unit: "ns/op", Base: woken, Aim: 1.2, Judged: ours, Also: []string{"bytes/waiter"}},
	{Name: "Memory", Says: "a million keys of 24 bytes, and what is left when all have expired", Unit: "bytes/key", Base: otter, Aim: 1, Judged: ours, Also: []string{"left/key"}},
}

// watchedGroups are the tables of Watched.
var watchedGroups = []Group{
	{Name: "Hit", Says: "a hit, one hot key, one caller", Unit: "ns/op", Base: watchedWays[0].name, Also: []string{"allocs/op"}},
	{Name: "Answer", Says: "a cached answer of the server, a kept connection for each core, its caller's work included", Unit: "ns/op", Base: watchedWays[0].name, Also: []string{"allocs/op"}},
}

// watchedWays are the ways to be watched: what the reader would set, and what the
// bench does. The first is the one that the others are compared with.
var watchedWays = []struct {
	name, env string
	args      []string
}{
	{"no provider, nothing started", "", nil},
	{"exporter none", "OTEL_TRACES_EXPORTER=none", []string{"-started"}},
	{"sampler always_off", "OTEL_TRACES_SAMPLER=always_off", []string{"-started"}},
	{"every request traced", "", []string{"-started"}},
	{"traced, debug pages read", "", []string{"-started", "-read"}},
}

// Caches measures the step's cache beside its peers.
func (b *Bench) Caches(ctx context.Context) (*plan, error) {
	bin, err := b.compile(ctx, ".", "test", "-c")
	return &plan{groups: cacheGroups, subjects: []subject{{"--only " + b.Only, func(ctx context.Context) (Round, error) {
		return b.run(ctx, bin, nil)
	}}}}, err
}

// Watched measures what it costs to watch the step: each way in a separate process.
func (b *Bench) Watched(ctx context.Context) (*plan, error) {
	bin, err := b.compile(ctx, "./watched", "test", "-c")
	if err != nil {
		return nil, err
	}
	sink, err := b.sink()
	// What the reader's shell has set must not change what is compared.
	neutral := []string{"OTEL_TRACES_EXPORTER=", "OTEL_TRACES_SAMPLER=", "OTEL_SDK_DISABLED=", "LOG_LEVEL=",
		"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=", "OTEL_EXPORTER_OTLP_ENDPOINT=" + sink}
	p := &plan{groups: watchedGroups}
	for _, w := range watchedWays {
		p.subjects = append(p.subjects, subject{w.name, func(ctx context.Context) (Round, error) {
			figures, err := b.run(ctx, bin, append(slices.Clip(neutral), w.env), w.args...)
			named := Round{}
			for name, f := range figures {
				named[name+"/"+w.name] = f
			}
			return named, err
		}})
	}
	return p, err
}

// run runs a bench that is built.
func (b *Bench) run(ctx context.Context, bin string, env []string, args ...string) (Round, error) {
	flags := []string{"-test.run", "^$", "-test.bench", b.Only, "-test.cpu", "2", "-test.benchtime", "200ms"}
	if b.Quick {
		flags = append(flags, "-test.benchtime", "10ms", "-test.short")
	}
	cmd := exec.CommandContext(ctx, bin, append(flags, args...)...)
	cmd.Dir = folder(b.step)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("the bench: %w\n%s", err, out)
	}
	return Parse(string(out))
}
