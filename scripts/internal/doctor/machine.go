package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	psdisk "github.com/shirou/gopsutil/v4/disk"
	psmem "github.com/shirou/gopsutil/v4/mem"

	"plaque/scripts/internal/jaeger"
)

const mb = 1 << 20

// What the workshop takes, in bytes: the steps, their tests and hey, and on top
// of them a Jaeger built from source. Measured on linux/amd64 with two cores,
// Go 1.26.8 and empty caches, and rounded up. A machine with more cores compiles
// more at once, and takes more memory.
var (
	stepsNeed  = needs{cache: 300 * mb, modules: 250 * mb, tmp: 300 * mb, memory: 1024 * mb}
	jaegerNeed = needs{cache: 1600 * mb, modules: 1300 * mb, tmp: 1600 * mb, kept: 100 * mb, memory: 3584 * mb}
)

type needs struct {
	cache, modules, tmp, kept uint64 // on the disk: GOCACHE, GOMODCACHE, GOTMPDIR, jaeger.CacheDir
	memory                    uint64
}

// volume is the disk that a folder is on.
type volume struct{ free, total uint64 } // bytes

// diskOf asks for the nearest folder above dir that is there.
func diskOf(ctx context.Context, dir string) (volume, error) {
	for {
		if _, err := os.Stat(dir); err == nil || dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	u, err := psdisk.UsageWithContext(ctx, dir)
	if err != nil {
		return volume{}, err
	}
	return volume{u.Free, u.Total}, nil
}

func memoryOf(ctx context.Context) (available, total uint64, err error) {
	m, err := psmem.VirtualMemoryWithContext(ctx)
	if err != nil {
		return 0, 0, err
	}
	return m.Available, m.Total, nil
}

// jaegerToBuild tells whether Jaeger may have to be built from source one day.
func (x *exam) jaegerToBuild() bool {
	_, built, err := jaeger.SourceBinary(x.root)
	return err == nil && !built
}

// diskSpace looks at each disk that is written to. Two folders are taken to be
// on one disk when both disks are as large to the byte.
func (x *exam) diskSpace(ctx context.Context) []Finding {
	all := stepsNeed.cache + stepsNeed.modules + stepsNeed.tmp
	e, err := x.goEnv()
	if err != nil {
		return []Finding{note("disk", "not looked at: where Go builds is not known")}
	}
	kept, err := jaeger.CacheDir()
	if err != nil {
		return []Finding{say("disk", "disk-unknown", "dir", "the user's cache directory", "why", err.Error(), "needs", size(all))}
	}
	tmp := os.TempDir()
	if e.GOTMPDIR != "" {
		tmp = "GOTMPDIR"
	}
	type disk struct {
		volume
		places        []string
		steps, jaeger uint64 // bytes that they write there
	}
	var disks []disk
	for _, p := range []struct {
		name, dir     string
		steps, jaeger uint64
	}{
		{"GOCACHE", e.GOCACHE, stepsNeed.cache, jaegerNeed.cache},
		{"GOMODCACHE", e.GOMODCACHE, stepsNeed.modules, jaegerNeed.modules},
		{tmp, cmp.Or(e.GOTMPDIR, os.TempDir()), stepsNeed.tmp, jaegerNeed.tmp},
		{"Jaeger", kept, 0, jaegerNeed.kept},
	} {
		v, err := x.disk(ctx, p.dir)
		if err != nil {
			return []Finding{say("disk", "disk-unknown", "dir", p.dir, "why", err.Error(), "needs", size(all))}
		}
		i := slices.IndexFunc(disks, func(d disk) bool { return d.total == v.total })
		if i < 0 {
			i = len(disks)
			disks = append(disks, disk{volume: v})
		}
		d := &disks[i]
		d.places, d.steps, d.jaeger = append(d.places, p.name), d.steps+p.steps, d.jaeger+p.jaeger
	}
	var found []Finding
	for _, d := range disks {
		places, whole := strings.Join(d.places, ", "), d.steps+d.jaeger
		switch {
		case d.free < d.steps:
			found = append(found, say("disk", "disk-low", "free", size(d.free), "places", places, "needs", size(d.steps)))
		case d.free < whole && x.jaegerToBuild():
			found = append(found, say("disk", "disk-low-for-jaeger", "free", size(d.free), "places", places, "needs", size(whole)))
		default:
			found = append(found, ok("disk", fmt.Sprintf("%s free for %s; a first build takes %s, with Jaeger from source %s", size(d.free), places, size(d.steps), size(whole))))
		}
	}
	return found
}

func (x *exam) freeMemory(ctx context.Context) []Finding {
	available, total, err := x.memory(ctx)
	need := size(stepsNeed.memory)
	switch {
	case err != nil:
		return []Finding{say("memory", "memory-unknown", "why", err.Error(), "needs", need)}
	case available < stepsNeed.memory:
		return []Finding{say("memory", "memory-low", "available", size(available), "total", size(total), "needs", need)}
	case available < jaegerNeed.memory && x.jaegerToBuild():
		return []Finding{say("memory", "memory-low-for-jaeger", "available", size(available), "total", size(total), "needs", size(jaegerNeed.memory))}
	}
	return []Finding{ok("memory", fmt.Sprintf("%s available of %s; a first build takes %s, Jaeger from source %s", size(available), size(total), need, size(jaegerNeed.memory)))}
}

// size is a number of bytes for people.
func size(n uint64) string {
	if n < 1000*mb {
		return fmt.Sprintf("%d MB", n/mb)
	}
	return fmt.Sprintf("%.1f GB", float64(n)/(1<<30))
}

func (x *exam) docker(ctx context.Context) []Finding {
	tool, err := jaeger.DockerAnswers(ctx, x.root, x.dockerPatience)
	switch {
	case err == nil:
		return []Finding{ok("docker", "an engine answers: `"+tool+" up` starts Jaeger, and so does "+startJaeger)}
	case errors.Is(err, jaeger.ErrNoDocker):
		return []Finding{note("docker", "not installed, and not needed: "+otherWayToBe)}
	}
	return []Finding{say("docker", "docker-silent", "why", flat(err.Error()))}
}
