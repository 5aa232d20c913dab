package jaeger

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"

	"plaque/scripts/internal/build"
)

// sourcePackage is what jaeger/go.mod builds.
const sourcePackage = "github.com/jaegertracing/jaeger/cmd/jaeger"

// SourceBinary says where the Jaeger built from root's jaeger/go.mod is kept, and
// whether it is there. It builds nothing.
func SourceBinary(root string) (path string, built bool, err error) {
	o, err := Options{Root: root}.withDefaults()
	if err != nil {
		return "", false, err
	}
	path, err = o.sourcePath()
	return path, err == nil && isFile(path), err
}

// Build builds that Jaeger unless it is there. It prints to out how far it is.
func Build(ctx context.Context, root string, out io.Writer) error {
	o, err := Options{Root: root, Out: out}.withDefaults()
	if err == nil {
		_, err = o.sourceBinary(ctx)
	}
	return err
}

// sourceBinary returns the path of the Jaeger that is built the first time.
func (o Options) sourceBinary(ctx context.Context) (string, error) {
	path, err := o.sourcePath()
	if err != nil {
		return "", err
	}
	return path, o.keep(path, func() error { return o.build(ctx, path) })
}

// sourcePath is the path for what jaeger/ says today: other requirements or
// another Go give another binary.
func (o Options) sourcePath() (string, error) {
	hash := sha256.New()
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join(o.Root, "jaeger", name))
		if err != nil {
			return "", err
		}
		// A checkout on Windows may have other line ends, and is the same.
		text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
		fmt.Fprintf(hash, "%s %d\n%s", name, len(text), text)
	}
	fmt.Fprintf(hash, "%s %s %s", runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return filepath.Join(o.CacheDir, build.Exe(fmt.Sprintf("jaeger-source-%.12x", hash.Sum(nil)))), nil
}

// build builds Jaeger to path. Like a download, it gets its name when it is whole.
func (o Options) build(ctx context.Context, path string) error {
	dir, err := os.MkdirTemp(o.CacheDir, "build-*"+partSuffix)
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	part := filepath.Join(dir, build.Exe("jaeger"))

	o.say("building Jaeger from source. The first time this takes some 4 minutes on two cores and\n" +
		"fetches 250 MB; then it is kept. It is the whole Jaeger but its web pages.")
	// -w leaves out the debugger's tables, a third of the file.
	cmd := exec.CommandContext(ctx, o.goCommand, "build", "-mod=readonly", "-v", "-ldflags=-s -w", "-o", part, sourcePackage)
	cmd.Dir = filepath.Join(o.Root, "jaeger")
	// jaeger/ is outside go.work. Without cgo no C compiler is asked for.
	cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
	// Go ends its compilers when it is interrupted, and leaves them when killed.
	cmd.Cancel = func() error { return interrupt(cmd.Process) }
	cmd.WaitDelay = stopPatience
	var words buildOutput
	cmd.Stdout, cmd.Stderr = &words, &words

	done := o.progress(func(elapsed time.Duration) string { return fmt.Sprintf("  %v: %s", elapsed, words.progress()) })
	err = cmd.Run()
	done()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("go build in %s: %w", cmd.Dir, withWords(err, words.tail.String()))
	}
	return os.Rename(part, path)
}

// buildOutput reads what `go build -v` prints: a line for each package that it
// compiles, and lines for what it downloads and what goes wrong.
type buildOutput struct {
	tail                 tail
	compiled, downloaded atomic.Int64
}

func (b *buildOutput) Write(p []byte) (int, error) {
	down := bytes.Count(p, []byte("go: downloading "))
	b.downloaded.Add(int64(down))
	b.compiled.Add(int64(bytes.Count(p, []byte("\n")) - down))
	return b.tail.Write(p)
}

func (b *buildOutput) progress() string {
	if n := b.compiled.Load(); n > 0 {
		return fmt.Sprintf("%d packages compiled", n)
	}
	return fmt.Sprintf("%d modules fetched", b.downloaded.Load())
}
