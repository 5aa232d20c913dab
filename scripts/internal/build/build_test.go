package build

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofrs/flock"

	"plaque/scripts/internal/lesson"
)

// workshop is a folder with one program, which prints its text.
func workshop(t *testing.T, text string) (string, *lesson.Lesson) {
	t.Helper()
	root := t.TempDir()
	dir := filepath.Join(root, "steps", "01-one")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "go.mod"), "module one\n\ngo 1.26.0\n")
	write(t, filepath.Join(dir, "main.go"), "package main\n\nfunc main() { print(`"+text+"`) }\n")
	t.Setenv("GOWORK", "off")
	return root, &lesson.Lesson{Step: "01-one", Dir: dir}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// cacheAt lets the user's cache folder be dir, where a variable can say so; the go
// command keeps its own.
func cacheAt(t *testing.T, dir string) {
	t.Helper()
	out, err := exec.Command("go", "env", "GOCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOCACHE", strings.TrimSpace(string(out)))
	switch runtime.GOOS {
	case "windows":
		t.Setenv("LocalAppData", dir)
	case "darwin", "ios":
		t.Setenv("HOME", dir)
	default:
		t.Setenv("XDG_CACHE_HOME", dir)
	}
}

// opened is Open of the workshop at root, until the test ends.
func opened(t *testing.T, root string) *Bins {
	t.Helper()
	b, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func built1(t *testing.T, b *Bins, s *lesson.Lesson) string {
	t.Helper()
	bin, err := b.Step(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

func says(t *testing.T, bin string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), bin).CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v", bin, err)
	}
	return string(out)
}

// What has not changed is not linked again, by another run neither; what has is,
// and a run keeps the program that it has built.
func TestStablePaths(t *testing.T) {
	cacheAt(t, t.TempDir())
	root, s := workshop(t, "old")
	first, second := opened(t, root), opened(t, root)
	if first.cache == "" {
		t.Fatal("the cache folder is not used")
	}
	one, two := built1(t, first, s), built1(t, second, s)
	a, err := os.Stat(one)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.Stat(two)
	if err != nil {
		t.Fatal(err)
	}
	if one == two || !os.SameFile(a, b) {
		t.Errorf("%s and %s are not one file under two names", one, two)
	}
	write(t, filepath.Join(s.Dir, "main.go"), "package main\n\nfunc main() { print(`new`) }\n")
	if got := says(t, built1(t, second, s)); got != "new" {
		t.Errorf("after a change the program says %q", got)
	}
	if got := says(t, one); got != "old" {
		t.Errorf("the program of the first run says %q", got)
	}
	first.Close()
	if _, err := os.Stat(first.Dir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after Close the run's folder is there: %v", err)
	}
	// The programs of a workshop that is gone go with it.
	if err := os.RemoveAll(root); err != nil {
		t.Fatal(err)
	}
	other, _ := workshop(t, "other")
	opened(t, other)
	if _, err := os.Stat(second.cache); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the programs of a workshop that is gone are there: %v", err)
	}
}

// Many runs at once, of one workshop, each get a whole program.
func TestRunsAtOnce(t *testing.T) {
	cacheAt(t, t.TempDir())
	root, s := workshop(t, "hello")
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() {
			b, err := Open(root)
			if err != nil {
				t.Error(err)
				return
			}
			defer b.Close()
			bin, err := b.Step(t.Context(), s)
			if err != nil {
				t.Error(err)
				return
			}
			if got := says(t, bin); got != "hello" {
				t.Errorf("the program says %q", got)
			}
		})
	}
	all.Wait()
}

// Without a cache folder, or with one that cannot be written to, programs are
// built in a temporary folder.
func TestNoCacheFolder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, "")
	for name, dir := range map[string]string{"none": "", "a file": file, "relative": "here"} {
		t.Run(name, func(t *testing.T) {
			cacheAt(t, dir)
			if dir == "" {
				t.Setenv("HOME", "") // else the system's default is below it
			}
			root, s := workshop(t, "hello")
			b := opened(t, root)
			if got := says(t, built1(t, b, s)); got != "hello" || b.cache != "" {
				t.Errorf("%q from %s", got, b.Dir())
			}
		})
	}
}

// A run removes what a killed one has left, and nothing that lives.
func TestSweep(t *testing.T) {
	parent := filepath.Join(t.TempDir(), "a[b") // not a pattern
	if err := os.Mkdir(parent, 0o755); err != nil {
		t.Fatal(err)
	}
	live, cleanLive, err := tempDir(parent)
	if err != nil {
		t.Fatal(err)
	}
	defer cleanLive()
	// Of a killed process nothing is left but the folder and a lock that nobody
	// holds.
	dead := filepath.Join(parent, tempPrefix+"dead")
	strange := filepath.Join(parent, tempPrefix+"strange") // no lock: not ours to judge
	for _, dir := range []string{dead, strange} {
		if err := os.MkdirAll(filepath.Join(dir, "more"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, dead+lockExt, "")
	again, clean, err := tempDir(parent)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{live: true, live + lockExt: true, again: true, strange: true, dead: false, dead + lockExt: false} {
		if _, err := os.Stat(path); (err == nil) != want {
			t.Errorf("%s is there: %v, want %v", path, err == nil, want)
		}
	}
	clean()
	for _, path := range []string{again, again + lockExt} {
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s is left", path)
		}
	}
}

// Processes that come and go at once sweep nothing of each other.
func TestSweepersAtOnce(t *testing.T) {
	parent := t.TempDir()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 20 {
				dir, clean, err := tempDir(parent)
				if err != nil {
					t.Error(err)
					return
				}
				if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
					t.Error(err)
				}
				clean()
			}
		})
	}
	all.Wait()
	if left, _ := os.ReadDir(parent); len(left) > 0 {
		t.Errorf("%d files are left, such as %s", len(left), left[0].Name())
	}
}

// The first program that does not build ends the job, and says which it was.
func TestJob(t *testing.T) {
	cacheAt(t, t.TempDir())
	root, s := workshop(t, "hello")
	b := opened(t, root)
	j := b.Start(t.Context(), []*lesson.Lesson{s}, func(string) {})
	// There is no hey in this workshop.
	if _, err := j.Hey(); err == nil || !strings.Contains(err.Error(), "hey does not build") {
		t.Errorf("hey: %v", err)
	}
	if err := j.Err(); err == nil || !strings.Contains(err.Error(), "hey does not build") {
		t.Errorf("the job: %v", err)
	}
}

// A build that is stopped waits for no lock that another run holds.
func TestStoppedAtTheLock(t *testing.T) {
	cacheAt(t, t.TempDir())
	root, s := workshop(t, "hello")
	b := opened(t, root)
	lock := flock.New(filepath.Join(b.cache, s.Step+lockExt))
	if err := lock.Lock(); err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := b.Step(ctx, s); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the error is %v", err)
	}
}

// A build that is stopped ends soon and leaves nothing: the go command is
// interrupted, and waited for.
func TestStoppedBuild(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows cannot interrupt")
	}
	cacheAt(t, t.TempDir())
	t.Setenv("GOCACHE", t.TempDir()) // so that it takes long
	root, s := workshop(t, "hello")
	b := opened(t, root)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { _, err := b.Step(ctx, s); ended <- err }()
	working := func() []string {
		found, _ := fs.Glob(os.DirFS(b.Dir()), "go-*/go-build*")
		return found
	}
	for working() == nil {
		select {
		case err := <-ended:
			t.Fatalf("it ended before it began: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
	if left := working(); left != nil {
		t.Errorf("it left %q", left)
	}
}
