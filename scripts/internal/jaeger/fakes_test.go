package jaeger

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"plaque/steps/kit/web/webtest"
)

// The tests' own program stands in for docker, go and jaeger when
// PLAQUE_TEST_FAKES is set: on every system it is a program that can be started.
// FAKE_DOCKER, FAKE_GO and FAKE_JAEGER say what is wrong with it.
func TestMain(m *testing.M) {
	if os.Getenv("PLAQUE_TEST_FAKES") == "" || len(os.Args) < 2 {
		os.Exit(m.Run())
	}
	if strings.HasSuffix(strings.TrimSuffix(os.Args[0], ".exe"), "-compose") { // Compose as a separate command
		os.Exit(fakeDocker(os.Args))
	}
	switch os.Args[1] {
	case "compose", "info":
		os.Exit(fakeDocker(os.Args[1:]))
	case "build":
		os.Exit(fakeGo(os.Args[1:]))
	case "--config":
		os.Exit(fakeJaeger(os.Getenv("FAKE_JAEGER")))
	}
	os.Exit(m.Run())
}

func fakeDocker(args []string) int {
	mode := os.Getenv("FAKE_DOCKER")
	fakeLog(args)
	switch {
	case slices.Contains(args, "version"):
		if args[0] == "compose" && strings.HasPrefix(mode, "no compose") {
			return complain("docker: unknown command: docker compose")
		}
	case slices.Contains(args, "config"):
		if strings.HasSuffix(mode, "an old one") {
			return complain("'name' does not match any of the regexes: '^x-'")
		}
	case args[0] == "info":
		switch mode {
		case "no engine":
			return complain("Cannot connect to the Docker daemon")
		case "hangs":
			time.Sleep(time.Hour)
		}
	case slices.Contains(args, "up"):
		if mode == "no image" {
			return complain("pull access denied")
		}
		return fakeJaeger("")
	case slices.Contains(args, "down"):
		// Nobody is there when `up` has failed.
		if resp, err := http.Post("http://127.0.0.1:"+os.Getenv("JAEGER_UI_PORT")+"/quit", "", nil); err == nil {
			resp.Body.Close()
		}
	}
	return 0
}

// fakeGo puts a copy of itself where Jaeger should be built.
func fakeGo(args []string) int {
	fakeLog(append(args, "GOWORK="+os.Getenv("GOWORK")))
	switch os.Getenv("FAKE_GO") {
	case "fails":
		return complain("go: downloading example.com/x v1.0.0\ncmd/jaeger/main.go:1:1: syntax error")
	case "hangs":
		interrupted, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		defer stop()
		fakeLog([]string{"go", "hangs"})
		<-interrupted.Done()
		return 1
	}
	to := args[slices.Index(args, "-o")+1]
	if err := copySelf(to); err != nil {
		return complain(err.Error())
	}
	return complain("some/package") - 1
}

func copySelf(to string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	program, err := os.ReadFile(self)
	if err != nil {
		return err
	}
	return os.WriteFile(to, program, 0o755)
}

// fakeJaeger answers as Jaeger does until it is interrupted or asked to /quit.
func fakeJaeger(mode string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	fakeLog([]string{"jaeger", "starts"})
	switch mode {
	case "mute":
		<-ctx.Done()
		return 0
	case "port taken":
		// The second one finds its port free.
		if first, err := os.OpenFile(os.Getenv("FAKE_LOG")+".taken", os.O_CREATE|os.O_EXCL, 0o644); err == nil {
			first.Close()
			return complain("Error: listen tcp 127.0.0.1:4318: bind: address already in use")
		}
	case "stubborn":
		signal.Ignore(os.Interrupt)
	}
	ctx, quit := context.WithCancel(ctx)
	failed := false
	mux := fakeMux()
	mux.HandleFunc("POST /quit", func(http.ResponseWriter, *http.Request) { quit() })
	mux.HandleFunc("POST /die", func(http.ResponseWriter, *http.Request) { failed = true; quit() })
	for _, k := range known {
		l, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv(k.Env))
		if err != nil {
			return complain(err.Error())
		}
		go http.Serve(l, mux)
	}
	<-ctx.Done()
	if failed {
		return complain("the sky fell")
	}
	return 0
}

// fakeMux answers what a look at Jaeger's ports asks for.
func fakeMux() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/services", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"data":null,"total":0,"limit":0,"offset":0,"errors":null}`)
	})
	mux.HandleFunc("POST /v1/traces", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", protobuf)
	})
	mux.HandleFunc("GET /status", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<title>Jaeger UI</title>") })
	return mux
}

func complain(text string) int {
	fmt.Fprintln(os.Stderr, text)
	return 1
}

// fakeLog adds a line to the file that FAKE_LOG names.
func fakeLog(words []string) {
	f, err := os.OpenFile(os.Getenv("FAKE_LOG"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return
	}
	defer f.Close()
	fmt.Fprintln(f, strings.Join(words, " "))
}

// fakes is the set-up of a test that starts fakes.
type fakes struct {
	t   *testing.T
	log string
	Options
	out *webtest.Buffer
}

// newFakes makes Options whose docker and go are fakes, whose cache is empty and
// whose release is not there, until the test says otherwise.
func newFakes(t *testing.T) *fakes {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	nothing := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(nothing.Close)
	f := &fakes{t: t, log: filepath.Join(t.TempDir(), "log"), out: &webtest.Buffer{}}
	f.Options = Options{
		Root: repo(t), FreePorts: true, CacheDir: t.TempDir(), ReleaseURL: nothing.URL,
		Out: f.out, docker: self, podman: "no-such-podman", goCommand: self,
		dockerPatience: time.Minute, // a busy machine is no reason to fail
		pinned:         map[string]string{},
	}
	t.Setenv("PLAQUE_TEST_FAKES", "1")
	t.Setenv("FAKE_LOG", f.log)
	t.Setenv("GORACE", "atexit_sleep_ms=0") // or each fake takes a second to end under -race
	return f
}

// complete is f.Options with what is used where they say nothing.
func (f *fakes) complete() Options {
	f.t.Helper()
	o, err := f.withDefaults()
	if err != nil {
		f.t.Fatal(err)
	}
	return o
}

// start starts a Jaeger. When the test ends it is stopped, and must be gone.
func (f *fakes) start() *Server {
	f.t.Helper()
	s, err := Start(f.t.Context(), f.Options)
	if err != nil {
		f.t.Fatalf("%v\n%s", err, f.out)
	}
	f.t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			f.t.Error(err)
		}
		mustBeGone(f.t, s)
	})
	return s
}

// logged is what the fakes were asked for.
func (f *fakes) logged() string {
	text, err := os.ReadFile(f.log)
	if err != nil && !os.IsNotExist(err) {
		f.t.Fatal(err)
	}
	return string(text)
}

// releaseIs offers a release whose binary is program.
func (f *fakes) releaseIs(program []byte) *standIn {
	s := newStandIn(f.t, program)
	f.ReleaseURL = s.URL
	return s
}

// mustBeGone fails unless nobody answers at s's ports any more.
func mustBeGone(t *testing.T, s *Server) {
	t.Helper()
	select {
	case <-s.child.done:
	default:
		t.Error("the program still runs")
	}
	for i := range s.ports {
		l, err := net.Listen("tcp", s.ports.addr(i))
		if err != nil {
			t.Errorf("somebody is left behind: %v", err)
			continue
		}
		l.Close()
	}
}

// mustHold fails unless dir holds only the files that are named.
func mustHold(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s holds %q, want %q", dir, got, want)
	}
}

// mustFail ends the test unless there is an error, which must say all that is wanted.
func mustFail(t *testing.T, err error, want ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("there is no error, want one that says %q", want)
	}
	mustSay(t, "the error", err.Error(), want...)
}

func mustSay(t *testing.T, what, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("%s says\n%s\nand not %q", what, text, w)
		}
	}
}

// waitFor returns once what the test reads has this text.
func waitFor(read func() string, text string) {
	for !strings.Contains(read(), text) {
		time.Sleep(5 * time.Millisecond)
	}
}

func repo(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", "..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	return root
}
