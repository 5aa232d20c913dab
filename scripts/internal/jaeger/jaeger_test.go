package jaeger

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"plaque/scripts/internal/build"
)

func TestDockerComesFirst(t *testing.T) {
	f := newFakes(t)
	release := f.releaseIs([]byte("unused"))
	s := f.start()
	if s.From != FromDocker || !s.Pages {
		t.Errorf("From %q, Pages %v; want docker with pages", s.From, s.Pages)
	}
	if err := errors.Join(s.Stop(), s.Stop()); err != nil {
		t.Error(err)
	}
	mustBeGone(t, s)
	mustHold(t, f.CacheDir)
	if n := release.requests.Load(); n != 0 {
		t.Errorf("the release was asked %d times", n)
	}
	log := f.logged()
	file := "--file " + filepath.Join(f.Root, "compose.yaml")
	mustSay(t, "the log of docker", log, "compose version\n", "info ", file+" --project-name plaque-", " up --no-color --quiet-pull")
	if n := strings.Count(log, " down "); n != 1 {
		t.Errorf("`compose down` ran %d times, want once:\n%s", n, log)
	}
}

// What fails says why, and the next way is tried.
func TestOrder(t *testing.T) {
	f := newFakes(t)
	t.Setenv("FAKE_DOCKER", "no compose")
	s := f.start()
	if s.From != FromSource {
		t.Errorf("From = %q", s.From)
	}
	out := f.out.String()
	mustSay(t, "Start", out, "unknown command: docker compose", "404 Not Found", "building Jaeger from source", "4 minutes")
	if d, r := strings.Index(out, "No Jaeger from docker"), strings.Index(out, "No Jaeger from release"); d < 0 || r < d {
		t.Errorf("docker comes before release:\n%s", out)
	}
}

// Some systems have Compose as a separate command, and an old one cannot read
// the file.
func TestComposeIsASeparateCommand(t *testing.T) {
	f := newFakes(t)
	f.docker = filepath.Join(t.TempDir(), "docker")
	for _, name := range []string{f.docker, f.docker + "-compose"} {
		if err := copySelf(build.Exe(name)); err != nil {
			t.Fatal(err)
		}
	}
	f.From = FromDocker
	t.Setenv("FAKE_DOCKER", "no compose, and an old one")
	_, err := Start(t.Context(), f.Options)
	mustFail(t, err, "unknown command: docker compose", "-compose --file` fails", "needs Docker Compose 2 or newer", "'^x-'")

	t.Setenv("FAKE_DOCKER", "no compose")
	f.start()
	mustSay(t, "Start", f.out.String(), "docker-compose up`")
}

// A container that cannot start is no reason to give up either.
func TestComposeFails(t *testing.T) {
	f := newFakes(t)
	t.Setenv("FAKE_DOCKER", "no image")
	self, err := os.ReadFile(f.docker)
	if err != nil {
		t.Fatal(err)
	}
	f.releaseIs(self)
	s := f.start()
	if s.From != FromRelease {
		t.Errorf("From = %q", s.From)
	}
	mustSay(t, "Start", f.out.String(), "No Jaeger from docker", "pull access denied")
	mustSay(t, "the log of docker", f.logged(), " down ")
}

func TestOnlyTheWayAskedFor(t *testing.T) {
	f := newFakes(t)
	t.Setenv("FAKE_DOCKER", "no engine")
	release := f.releaseIs([]byte("unused"))
	f.From = FromDocker
	_, err := Start(t.Context(), f.Options)
	mustFail(t, err, "docker", "Cannot connect to the Docker daemon")
	if text := err.Error() + f.out.String(); strings.Contains(text, "release") || strings.Contains(text, "source") || release.requests.Load() > 0 {
		t.Errorf("another way was tried: %s", text)
	}

	f.From = "brew"
	_, err = Start(t.Context(), f.Options)
	mustFail(t, err, `"brew"`, "docker, release, source")
}

func TestAllWaysFail(t *testing.T) {
	f := newFakes(t)
	t.Setenv("FAKE_GO", "fails")
	f.docker = "no-such-docker"
	_, err := Start(t.Context(), f.Options)
	mustFail(t, err, "docker: there is no no-such-docker command", "release: ", "404", "source: ", "main.go:1:1: syntax error")
	mustHold(t, f.CacheDir)
}

func TestDockerHangs(t *testing.T) {
	f := newFakes(t)
	t.Setenv("FAKE_DOCKER", "hangs")
	f.From, f.dockerPatience = FromDocker, time.Second
	_, err := Start(t.Context(), f.Options)
	mustFail(t, err, "fails: no answer within 1s")
}

func TestRunUntilCancelled(t *testing.T) {
	f := newFakes(t)
	t.Setenv("GOWORK", "")
	f.From = FromSource
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ran := make(chan error)
	go func() { ran <- Run(ctx, f.Options) }()
	go func() {
		waitFor(f.out.String, "Ctrl-C stops it")
		cancel()
	}()
	if err := <-ran; err != nil {
		t.Fatalf("%v\n%s", err, f.out)
	}
	mustSay(t, "Run", f.out.String(), "Jaeger is up (source)", "http://127.0.0.1:", "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:")
	mustSay(t, "the log", f.logged(), "build -mod=readonly", "GOWORK=off", "jaeger starts")
	at := regexp.MustCompile(`http://(\S+)/api`).FindStringSubmatch(f.out.String())
	if conn, err := net.Dial("tcp", at[1]); err == nil {
		conn.Close()
		t.Errorf("Jaeger still runs at %s", at[1])
	}
}

func TestJaegerDies(t *testing.T) {
	f := newFakes(t)
	f.From = FromSource
	s := f.start()
	// It may be gone before it has answered.
	if resp, err := http.Post(s.UI+"/die", "", nil); err == nil {
		resp.Body.Close()
	}
	mustFail(t, s.Wait(t.Context()), "source", "by itself", "the sky fell")
}

// Another program may take a port between the look and the start.
func TestPortTakenMeanwhile(t *testing.T) {
	f := newFakes(t)
	t.Setenv("FAKE_JAEGER", "port taken")
	f.From = FromSource
	f.start()
	if n := strings.Count(f.logged(), "jaeger starts"); n != 2 {
		t.Errorf("started %d times, want 2:\n%s", n, f.logged())
	}
}

func TestNeverAnswers(t *testing.T) {
	f := newFakes(t)
	t.Setenv("FAKE_JAEGER", "mute")
	o := f.complete()
	p := free(t)
	l := o.binary(f.docker, p)
	l.patience = 100 * time.Millisecond
	_, err := o.launch(t.Context(), p, FromSource, l)
	mustFail(t, err, "no answer from Jaeger within 100ms", "/status")
	if l.cmd.ProcessState == nil {
		t.Error("the program was left running")
	}
}

func TestStopKillsWhatDoesNotStop(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows kills at once")
	}
	f := newFakes(t)
	t.Setenv("FAKE_JAEGER", "stubborn")
	o := f.complete()
	p := free(t)
	s, err := o.launch(t.Context(), p, FromSource, o.binary(f.docker, p))
	if err != nil {
		t.Fatal(err)
	}
	s.child.patience = 100 * time.Millisecond
	if err := s.Stop(); err == nil {
		t.Error("Stop says nothing of the kill")
	}
	mustBeGone(t, s)
}

func TestCancelledWhileBuilding(t *testing.T) {
	f := newFakes(t)
	t.Setenv("FAKE_GO", "hangs")
	f.From = FromSource
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	started := make(chan error)
	go func() {
		_, err := Start(ctx, f.Options)
		started <- err
	}()
	waitFor(f.logged, "go hangs")
	cancel()
	if err := <-started; !errors.Is(err, context.Canceled) {
		t.Errorf("Start returns %v", err)
	}
	mustHold(t, f.CacheDir)
}

// The build is kept, and another go.sum is another build.
func TestBuildIsKept(t *testing.T) {
	f := newFakes(t)
	root := t.TempDir()
	if err := os.CopyFS(filepath.Join(root, "jaeger"), os.DirFS(filepath.Join(f.Root, "jaeger"))); err != nil {
		t.Fatal(err)
	}
	f.Root = root
	o := f.complete()
	path, err := o.sourcePath()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := o.sourceBinary(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(f.logged(), "build -mod"); n != 1 {
		t.Errorf("built %d times, want once", n)
	}
	mustHold(t, f.CacheDir, filepath.Base(path))
	if out, err := exec.Command(path, "compose", "version").CombinedOutput(); err != nil {
		t.Errorf("what was built does not run: %v\n%s", err, out)
	}

	sums, err := os.OpenFile(filepath.Join(root, "jaeger", "go.sum"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	sums.WriteString("example.com/x v1.0.0 h1:x\n")
	sums.Close()
	if other, err := o.sourcePath(); err != nil || other == path {
		t.Errorf("with another go.sum: %s, %v", other, err)
	}
}

func TestNotTheWorkshopsFolder(t *testing.T) {
	dir := t.TempDir()
	_, err := Start(t.Context(), Options{Root: dir})
	mustFail(t, err, dir, "config.yaml")
}
