// Package prepare fetches all that the workshop needs while there is a network,
// and shows that it works without one.
package prepare

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"plaque/scripts/internal/build"
	"plaque/scripts/internal/bundle"
	"plaque/scripts/internal/jaeger"
	"plaque/scripts/internal/lesson"
	"plaque/scripts/internal/say"
	"plaque/scripts/internal/tour"
)

// Options say what to prepare.
type Options struct {
	Root    string
	Lessons []*lesson.Lesson // all
	Out     *say.Printer
	Log     io.Writer // how far it is
	Bundle  string    // write all that was fetched to this file; "" writes none
	From    string    // take it from this file, and ask no network; "" asks
}

// Run prepares this machine. It can be run again, and then takes seconds. It sets
// variables of the go command for this process.
func Run(ctx context.Context, o Options) error {
	if strings.Contains(os.Getenv("GOFLAGS"), "-mod=mod") {
		return errors.New("GOFLAGS has -mod=mod, with which go asks the network for other versions: take it out")
	}
	if o.Bundle != "" {
		if err := bundle.Writable(o.Bundle); err != nil {
			return err
		}
	}
	does, modules := "fetches the Go modules and Jaeger", func() error { return o.modules(ctx) }
	if o.From != "" {
		does, modules = "takes the Go modules and Jaeger from "+o.From, func() error { return o.unpacked(ctx) }
	}
	o.Out.Wrap("", "This "+does+", and builds hey and the steps: at most 1.5 GB on disk, and some minutes the first time.")
	if err := o.stage("the modules", modules); err != nil {
		return err
	}
	way := "" // all
	if o.From != "" {
		var err error
		if _, way, err = jaeger.Kept(o.Root); err != nil {
			return err
		}
	}
	server, err := jaeger.Start(ctx, jaeger.Options{Root: o.Root, From: way, Out: o.Log})
	if err != nil {
		return err
	}
	defer server.Stop()
	if err := os.Setenv("GOPROXY", "off"); err != nil { // from here on nothing is fetched
		return err
	}
	bins, err := build.OpenBuilt(ctx, o.Root, o.Lessons, o.Log)
	if err != nil {
		return err
	}
	defer bins.Close()
	if err := o.stage("a step and its trace, without a network", func() error { return o.verify(ctx, bins, server) }); err != nil {
		return err
	}
	if o.Bundle != "" {
		if err := o.stage("the bundle "+o.Bundle, func() error { return o.bundle(ctx) }); err != nil {
			return err
		}
	}
	o.Out.Line("ready, also without a network")
	return nil
}

// stage does one part, and says how long it took.
func (o Options) stage(what string, do func() error) error {
	fmt.Fprintf(o.Log, "%s\n", what)
	began := time.Now()
	if err := do(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	o.Out.Wrap(o.Out.Good("✓")+" ", fmt.Sprintf("%s: %s", what, time.Since(began).Round(time.Second)))
	return nil
}

// modules fetches every module that a build or a test of the workshop needs.
func (o Options) modules(ctx context.Context, environment ...string) error {
	for _, args := range []string{"mod download", "list -deps -test work", "-C scripts list -deps github.com/rakyll/hey"} {
		cmd := exec.CommandContext(ctx, "go", strings.Fields(args)...)
		cmd.Dir = o.Root
		cmd.Env = append(os.Environ(), environment...)
		var words strings.Builder
		cmd.Stderr = &words
		if err := cmd.Run(); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("go %s: %w\n%s", args, err, strings.TrimSpace(words.String()))
		}
	}
	return nil
}

// verify runs the first experiment of a step whose callers load at once, and asks
// Jaeger for the trace.
func (o Options) verify(ctx context.Context, bins *build.Bins, server *jaeger.Server) error {
	if err := o.modules(ctx); err != nil {
		return err
	}
	for _, l := range o.Lessons {
		if !l.Stampedes() {
			continue
		}
		small := *l
		small.Experiments = l.Experiments[:1]
		t := tour.Tour{Steps: []*lesson.Lesson{&small}, Bins: bins, Jaeger: server, Out: &say.Printer{Out: io.Discard, Width: say.Elsewhere}, Log: io.Discard}
		if err := t.Run(ctx); err != nil {
			return err
		}
		if t.Failed() > 0 {
			return fmt.Errorf("%s of %s did not come true: `go run ./scripts tour %s` shows which", say.Plural(t.Failed(), "claim"), l.Step, l.Number())
		}
		id := t.Visits[0].Results[0].Acts[0].TraceID
		for deadline := time.Now().Add(10 * time.Second); ; {
			_, err := server.Trace(ctx, id)
			if !errors.Is(err, jaeger.ErrNotFound) || time.Now().After(deadline) {
				return err
			}
			time.Sleep(100 * time.Millisecond) // its spans are on their way
		}
	}
	return errors.New("no step of the workshop has callers that load at once")
}

// unpacked unpacks a bundle, makes it the module proxy, and puts Jaeger where it
// is looked for.
func (o Options) unpacked(ctx context.Context) error {
	dir, clean, err := build.TempDir()
	if err != nil {
		return err
	}
	defer clean()
	if err := bundle.Unpack(ctx, o.From, dir); err != nil {
		return err
	}
	if err := errors.Join(os.Setenv("GOPROXY", bundle.Proxy(dir)), os.Setenv("GOSUMDB", "off")); err != nil { // go.sum has them all
		return err
	}
	if err := o.modules(ctx); err != nil {
		return err
	}
	programs, _ := fs.Glob(os.DirFS(dir), bundle.JaegerIn+"*") // the pattern is good
	for _, program := range programs {
		if err := jaeger.Keep(filepath.Join(dir, filepath.FromSlash(program))); err != nil {
			return err
		}
	}
	return nil
}

// bundle writes what a machine without a network needs.
func (o Options) bundle(ctx context.Context) error {
	dir, clean, err := build.TempDir()
	if err != nil {
		return err
	}
	defer clean()
	out, err := exec.CommandContext(ctx, "go", "env", "GOMODCACHE").Output()
	if err != nil {
		return err
	}
	// A fresh module cache, filled from the one that is here, has the modules of the
	// workshop and nothing of anybody else's.
	cache := bundle.Folder(filepath.Join(strings.TrimSpace(string(out)), "cache", "download"))
	if err := o.modules(ctx, "GOMODCACHE="+dir, "GOPROXY="+cache, "GOSUMDB=off", "GOFLAGS=-modcacherw"); err != nil {
		return err
	}
	var files []bundle.File
	top := filepath.Join(dir, "cache", "download")
	err = filepath.WalkDir(top, func(at string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(at) == ".lock" {
			return err
		}
		name, err := filepath.Rel(top, at)
		files = append(files, bundle.File{Name: bundle.ModulesIn + filepath.ToSlash(name), Path: at})
		return err
	})
	if err != nil {
		return err
	}
	program, _, err := jaeger.Kept(o.Root)
	if err != nil {
		return err
	}
	has := "no Jaeger, because yours runs in Docker: `go run ./scripts jaeger --from release` keeps one, which the next bundle has"
	if program != "" {
		files = append(files, bundle.File{Name: bundle.JaegerIn + filepath.Base(program), Path: program})
		has = "with Jaeger for " + runtime.GOOS + "/" + runtime.GOARCH
	}
	if err := bundle.Pack(ctx, o.Bundle, files); err != nil {
		return err
	}
	info, err := os.Stat(o.Bundle)
	if err == nil {
		o.Out.Wrap("  ", fmt.Sprintf("%d files, %d MB, %s", len(files), info.Size()>>20, has))
	}
	return err
}
