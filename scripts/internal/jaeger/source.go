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
	"sync"
	"time"
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
	path, err = o.sourceBinary()
	return path, err == nil && isFile(path), err
}

// Build builds that Jaeger unless it is there, and returns its path. It prints
// to out how far it is.
func Build(ctx context.Context, root string, out io.Writer) (string, error) {
	o, err := Options{Root: root, Out: out}.withDefaults()
	if err != nil {
		return "", err
	}
	path, err := o.sourceBinary()
	if err != nil || isFile(path) {
		return path, err
	}
	return path, o.build(ctx, path)
}

// sourceBinary is the path for what jaeger/ says today: other requirements or
// another Go give another binary.
func (o Options) sourceBinary() (string, error) {
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
	return filepath.Join(o.CacheDir, fmt.Sprintf("jaeger-source-%.12x%s", hash.Sum(nil), exe())), nil
}

// build builds Jaeger to path. Like a download, it gets its name when it is whole.
func (o Options) build(ctx context.Context, path string) error {
	if err := os.MkdirAll(o.CacheDir, 0o755); err != nil {
		return err
	}
	removeStale(o.CacheDir)
	dir, err := os.MkdirTemp(o.CacheDir, "build-*"+partSuffix)
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	part := filepath.Join(dir, "jaeger"+exe())

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
	if err := os.Rename(part, path); err != nil {
		return err
	}
	o.say("kept as %s", path)
	return nil
}

// buildOutput reads what `go build -v` prints: a line for each package that it
// compiles, and lines for what it downloads and what goes wrong.
type buildOutput struct {
	tail tail

	mu                   sync.Mutex // protects what follows
	compiled, downloaded int
}

func (b *buildOutput) Write(p []byte) (int, error) {
	b.mu.Lock()
	down := bytes.Count(p, []byte("go: downloading "))
	b.downloaded += down
	b.compiled += bytes.Count(p, []byte("\n")) - down
	b.mu.Unlock()
	return b.tail.Write(p)
}

func (b *buildOutput) progress() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.compiled == 0 {
		return fmt.Sprintf("%d modules fetched", b.downloaded)
	}
	return fmt.Sprintf("%d packages compiled", b.compiled)
}
