package build

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"plaque/scripts/internal/lesson"
	"plaque/scripts/internal/say"
)

// Bins are the programs that one run of ours needs. They are built at stable
// paths in the user's cache folder, so that go build links only what has changed.
// A folder of this run has links to them: another run may rebuild a program while
// this one uses it. Where there is no cache folder, or none that can be written
// to, they are built in the run's folder.
//
// Its methods may be called at once.
type Bins struct {
	root  string // the workshop's
	cache string // where stable paths are; "" for none
	dir   string // of this run
	clean func()
}

// Open makes a folder for this run's programs, of the workshop at root.
func Open(root string) (*Bins, error) {
	b := &Bins{root: root}
	if caches, err := os.UserCacheDir(); err == nil && filepath.IsAbs(caches) {
		if err := b.inCache(filepath.Join(caches, "plaque")); err == nil {
			return b, nil
		}
	}
	var err error
	b.cache = ""
	b.dir, b.clean, err = TempDir()
	return b, err
}

// OpenBuilt is Open for a run that needs hey and these steps built before it
// begins. It writes to log how far it is.
func OpenBuilt(ctx context.Context, root string, steps []*lesson.Lesson, log io.Writer) (*Bins, error) {
	b, err := Open(root)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	fmt.Fprintf(log, "building hey and %s; the first time takes up to a minute\n", say.Plural(len(steps), "step"))
	done := 0
	err = b.Start(ctx, steps, func(name string) {
		done++
		fmt.Fprintf(log, "  %2d/%d %s\n", done, len(steps)+1, name)
	}).Err()
	if err != nil {
		b.Close()
		return nil, err
	}
	fmt.Fprintf(log, "built in %s\n\n", time.Since(began).Round(time.Second))
	return b, nil
}

// inCache has the stable paths and the run's folder on one disk, so that the one
// can be a hard link to the other.
func (b *Bins) inCache(caches string) (err error) {
	root := sha256.Sum256([]byte(b.root))
	b.cache = filepath.Join(caches, hex.EncodeToString(root[:6]))
	if err := os.MkdirAll(b.cache, 0o700); err != nil {
		return err
	}
	// A folder that was there may be another user's, or on a disk that is full.
	try, err := os.CreateTemp(b.cache, ".try-*")
	if err != nil {
		return err
	}
	_, err = try.WriteString(b.root)
	if err := errors.Join(err, try.Close(), os.Rename(try.Name(), filepath.Join(b.cache, rootFile))); err != nil {
		return err
	}
	forgetOthers(caches)
	b.dir, b.clean, err = tempDir(b.cache)
	return err
}

// rootFile says, in a folder of stable paths, which workshop they are of.
const rootFile = "root"

// forgetOthers removes the programs of workshops that are no longer there.
func forgetOthers(caches string) {
	marks, _ := fs.Glob(os.DirFS(caches), "*/"+rootFile) // the pattern is good
	for _, mark := range marks {
		dir := filepath.Join(caches, filepath.Dir(mark))
		root, err := os.ReadFile(filepath.Join(dir, rootFile))
		if err != nil {
			continue
		}
		if _, err := os.Stat(string(root)); errors.Is(err, os.ErrNotExist) {
			_ = os.RemoveAll(dir)
		}
	}
}

// Dir is the run's folder: of its programs, and of other files that it needs.
func (b *Bins) Dir() string { return b.dir }

// Close removes the run's folder.
func (b *Bins) Close() { b.clean() }

// Hey builds hey, at the version that scripts/go.mod names, and returns its path.
func (b *Bins) Hey(ctx context.Context) (string, error) {
	return b.build(ctx, "hey", command{dir: filepath.Join(b.root, "scripts"), pkg: "github.com/rakyll/hey"})
}

// Step builds a step and returns its path.
func (b *Bins) Step(ctx context.Context, s *lesson.Lesson) (string, error) {
	return b.build(ctx, s.Step, command{dir: s.Dir, pkg: "."})
}

// Exercise builds a step's exercise and returns its path.
func (b *Bins) Exercise(ctx context.Context, s *lesson.Lesson) (string, error) {
	return b.build(ctx, "exercise-"+s.Step, command{dir: s.Dir, pkg: "./exercise"})
}

// HeyPath and StepPath are where a program is once it has been built.
func (b *Bins) HeyPath() string { return b.path("hey") }

func (b *Bins) StepPath(s *lesson.Lesson) string { return b.path(s.Step) }

func (b *Bins) path(name string) string { return Exe(filepath.Join(b.dir, name)) }

// build runs c for the program of that name, and returns its path in the run's
// folder.
func (b *Bins) build(ctx context.Context, name string, c command) (string, error) {
	mine := b.path(name)
	c.bin, c.tmp = mine, b.dir // so that they are swept with it if we are killed
	if b.cache == "" {
		return mine, c.run(ctx)
	}
	// Another run may want the same program now.
	lock := flock.New(filepath.Join(b.cache, name+lockExt))
	if _, err := lock.TryLockContext(ctx, 50*time.Millisecond); err != nil {
		return "", fmt.Errorf("%s: %w", lock.Path(), err)
	}
	defer lock.Close()
	stable := Exe(filepath.Join(b.cache, name))
	c.bin = stable
	if err := c.run(ctx); err != nil {
		return "", err
	}
	_ = os.Remove(mine)
	if os.Link(stable, mine) == nil {
		return mine, nil
	}
	return mine, copyFile(stable, mine) // some file systems have no hard links
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// Job is hey and steps that are being built. Its methods may be called at once.
type Job struct {
	hey   *built
	steps map[*lesson.Lesson]*built
	all   sync.WaitGroup
	fail  context.CancelCauseFunc
	ctx   context.Context // its cause is the first error
}

// built is a program that is being built.
type built struct {
	name  string
	build func(context.Context) (string, error) // returns path
	done  chan struct{}                         // closed once what follows is set
	path  string
	err   error
}

// Start builds hey and the steps, two at a time and in this order. The first that
// does not build ends the job. told hears of each that is built, one at a time.
func (b *Bins) Start(ctx context.Context, steps []*lesson.Lesson, told func(name string)) *Job {
	j := &Job{steps: map[*lesson.Lesson]*built{}}
	j.ctx, j.fail = context.WithCancelCause(ctx)
	queue := make(chan *built, 1+len(steps))
	enqueue := func(name string, build func(context.Context) (string, error)) *built {
		p := &built{name: name, build: build, done: make(chan struct{})}
		queue <- p
		return p
	}
	j.hey = enqueue("hey", b.Hey)
	for _, s := range steps {
		j.steps[s] = enqueue(s.Step, func(ctx context.Context) (string, error) { return b.Step(ctx, s) })
	}
	close(queue)
	var mu sync.Mutex // held while told hears
	build := func(p *built) {
		defer close(p.done)
		if p.err = context.Cause(j.ctx); p.err != nil {
			return
		}
		if p.path, p.err = p.build(j.ctx); p.err != nil {
			if ctx.Err() == nil {
				p.err = fmt.Errorf("%s does not build: %w", p.name, p.err)
			}
			j.fail(p.err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		told(p.name)
	}
	for range 2 {
		j.all.Go(func() {
			for p := range queue {
				build(p)
			}
		})
	}
	return j
}

// Hey waits until hey is built, and returns its path.
func (j *Job) Hey() (string, error) { return j.wait(j.hey) }

// Step waits until a step of the job is built, and returns its path.
func (j *Job) Step(s *lesson.Lesson) (string, error) { return j.wait(j.steps[s]) }

func (j *Job) wait(p *built) (string, error) {
	<-p.done
	return p.path, p.err
}

// Err waits until all is built, or the job has ended, and returns why it has.
func (j *Job) Err() error {
	j.all.Wait()
	defer j.fail(nil)
	return context.Cause(j.ctx)
}
