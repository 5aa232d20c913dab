package process

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"plaque/steps/kit/origin"
	"plaque/steps/kit/ports"
	"plaque/steps/kit/web"
	"plaque/steps/kit/web/webtest"
)

// TestMain lets the test binary be a step, in a separate process.
func TestMain(m *testing.M) {
	if os.Getenv("PLAQUE_TEST_STEP") != "" {
		Main("00-test-step", step)
		return
	}
	os.Exit(m.Run())
}

var errTold = errors.New("told to fail")

// step answers where its feed is. Asked for /fail it ends with errTold; /hang
// has no answer.
func step(ctx context.Context, p *Process) error {
	feed, err := p.Feed(ctx)
	if err != nil {
		return err
	}
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, feed) })
	mux.HandleFunc("GET /fail", func(http.ResponseWriter, *http.Request) { fail(errTold) })
	mux.HandleFunc("GET /hang", func(w http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(w).Flush() // the caller knows that it hangs
		select {}
	})
	if err := web.Serve(ctx, p.Addr, mux); err != nil {
		return err
	}
	if context.Cause(ctx) == errTold {
		return errTold
	}
	return nil
}

// What a step does not understand it does not ignore.
func TestArguments(t *testing.T) {
	for arg, says := range map[string]string{"something": `00-test-step takes flags only, not ["something"]`, "-nothing": "flag provided but not defined: -nothing"} {
		cmd := command(t)
		cmd.Args = append(cmd.Args, arg)
		out, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != 2 || !strings.Contains(string(out), says) || !strings.Contains(string(out), "-error-path") {
			t.Errorf("%s: exit %d\n%s", arg, code, out)
		}
	}
}

func TestSettings(t *testing.T) {
	for _, c := range []struct {
		addr, feedURL             string
		listens, feedAt, debugsAt string
		says                      string // the error
	}{
		{"", "", "127.0.0.1:3779", "127.0.0.1:3780", "127.0.0.1:3781", ""},
		{"127.0.0.1:5000", "", "127.0.0.1:5000", "127.0.0.1:5001", "127.0.0.1:5002", ""},
		{"localhost:5000", "", "localhost:5000", "127.0.0.1:5001", "127.0.0.1:5002", ""},
		{"[::1]:5000", "", "[::1]:5000", "127.0.0.1:5001", "127.0.0.1:5002", ""},
		{"0.0.0.0:5000", "", "0.0.0.0:5000", "127.0.0.1:5001", "127.0.0.1:5002", ""},
		{"127.0.0.1:65533", "", "127.0.0.1:65533", "127.0.0.1:65534", "127.0.0.1:65535", ""},
		{"127.0.0.1:0", "", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", ""},
		{"", "http://127.0.0.1:1/feeds", "127.0.0.1:3779", "127.0.0.1:3780", "127.0.0.1:3781", ""},
		{"", "https://www.youtube.com/feeds/videos.xml", "127.0.0.1:3779", "127.0.0.1:3780", "127.0.0.1:3781", ""},

		{addr: ":5000", says: `ADDR=":5000" would listen on every interface: write 127.0.0.1:5000, or 0.0.0.0:5000 if you mean it`},
		{addr: "5000", says: `ADDR="5000" is not an address: write it like 127.0.0.1:3779`},
		{addr: "127.0.0.1", says: `ADDR="127.0.0.1" is not an address`},
		{addr: "127.0.0.1:http", says: "is not an address"},
		{addr: "127.0.0.1:-1", says: "is not an address"},
		{addr: "127.0.0.1:65534", says: "with a port up to 65533"},
		{addr: "::1:5000", says: "is not an address"},
		{addr: "http://127.0.0.1:5000", says: "is not an address"},
		{feedURL: "www.youtube.com/feeds/videos.xml", says: `FEED_URL="www.youtube.com/feeds/videos.xml" is not an http or https URL: write it like https://www.youtube.com/feeds/videos.xml`},
		{feedURL: "ftp://example.com/", says: "is not an http or https URL"},
		{feedURL: "http://", says: "is not an http or https URL"},
		{feedURL: "http://:80/", says: "is not an http or https URL"},
		{feedURL: "http://%zz", says: "is not an http or https URL"},
		{feedURL: "https:example.com", says: "is not an http or https URL"},
	} {
		p, err := settings(c.addr, c.feedURL)
		switch {
		case c.says != "":
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("ADDR=%q FEED_URL=%q: %v, want %q", c.addr, c.feedURL, err, c.says)
			}
		case err != nil:
			t.Errorf("ADDR=%q FEED_URL=%q: %v", c.addr, c.feedURL, err)
		case p.Addr != c.listens || p.FeedAddr != c.feedAt || p.DebugAddr != c.debugsAt || p.FeedURL != c.feedURL:
			t.Errorf("ADDR=%q FEED_URL=%q: %+v", c.addr, c.feedURL, p)
		}
	}
}

// child is the step in a separate process.
type child struct {
	cmd     *exec.Cmd
	urls    map[string]string // by the message that told of them
	log     strings.Builder   // may be read after wait
	drained chan struct{}
}

// command is the step, not started yet. Where no variable says otherwise its
// ports are free ones.
func command(t *testing.T, env ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // a child that should have ended
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), "PLAQUE_TEST_STEP=1", "OTEL_TRACES_EXPORTER=none", "LOG_LEVEL=info", "ADDR=127.0.0.1:0", "FEED_URL=")
	cmd.Env = append(cmd.Env, env...)
	return cmd
}

var told = regexp.MustCompile(`msg="?([a-z ]+)"? url=(\S+)`)

// leashed is a step that listens, and stops when its input is closed.
func leashed(t *testing.T, env ...string) (*child, io.WriteCloser) {
	t.Helper()
	cmd := command(t, env...)
	leash, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	return begin(t, cmd), leash
}

// begin starts cmd and waits until it listens.
func begin(t *testing.T, cmd *exec.Cmd) *child {
	t.Helper()
	c := &child{cmd: cmd, urls: map[string]string{}, drained: make(chan struct{})}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stderr)
	for c.urls["listening"] == "" && lines.Scan() {
		c.log.WriteString(lines.Text() + "\n")
		if m := told.FindStringSubmatch(lines.Text()); m != nil {
			c.urls[m[1]] = m[2]
		}
	}
	go func() {
		defer close(c.drained)
		for lines.Scan() {
			c.log.WriteString(lines.Text() + "\n")
		}
	}()
	if c.urls["listening"] == "" {
		t.Fatalf("it did not listen, but ended with %d, %v:\n%s", c.wait(t), lines.Err(), c.log.String())
	}
	return c
}

// wait returns the exit code.
func (c *child) wait(t *testing.T) int {
	t.Helper()
	select {
	case <-c.drained:
	case <-time.After(20 * time.Second):
		_ = c.cmd.Process.Kill()
		<-c.drained
		t.Error("it does not stop")
	}
	_ = c.cmd.Wait()
	return c.cmd.ProcessState.ExitCode()
}

// A step starts its own feed and its debug pages, and stops when its standard
// input does: a parent can stop its child so on every system.
func TestStopsWhenItsInputEnds(t *testing.T) {
	c, leash := leashed(t)
	_, _ = io.WriteString(leash, "what is written does not matter\n")
	feed := webtest.Get(t, c.urls["listening"]+"/")
	if want := c.urls["feed"] + origin.Path; feed != want {
		t.Errorf("its feed is at %s, want %s", feed, want)
	}
	if !strings.Contains(webtest.Get(t, feed+"?channel_id=x"), "<feed") {
		t.Error("the feed is none")
	}
	if !strings.Contains(webtest.Get(t, c.urls["debug pages"]+"/debug/pprof/goroutine?debug=1"), "goroutine profile") {
		t.Error("the debug pages are none")
	}
	_ = leash.Close()
	if code := c.wait(t); code != 0 {
		t.Errorf("exit code %d after a clean stop:\n%s", code, c.log.String())
	}
}

// Without a pipe, as in a terminal or under a service manager, the end of the
// input means nothing.
func TestRunsWithoutInput(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	cmd := command(t)
	cmd.Stdin = null
	c := begin(t, cmd)
	for range 50 {
		webtest.Get(t, c.urls["listening"]+"/")
	}
	webtest.Get(t, c.urls["listening"]+"/fail")
	if code := c.wait(t); code != 1 || !strings.Contains(c.log.String(), "00-test-step: told to fail") {
		t.Errorf("exit code %d, want 1 with the step's own error:\n%s", code, c.log.String())
	}
}

// What ended last is delivered too, and says which step it comes from.
func TestSpansAreFlushed(t *testing.T) {
	bodies := make(chan []byte, 10)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		bodies <- b
	}))
	defer collector.Close()
	c, leash := leashed(t, "OTEL_TRACES_EXPORTER=otlp", "OTEL_EXPORTER_OTLP_ENDPOINT="+collector.URL)
	webtest.Get(t, webtest.Get(t, c.urls["listening"]+"/")+"?channel_id=x") // the feed's span
	_ = leash.Close()
	c.wait(t)
	close(bodies)
	all := ""
	for b := range bodies {
		all += string(b)
	}
	// In protobuf a text of four letters comes behind a 4.
	for _, want := range []string{"GET " + origin.Path, "00-test-step", "\x04feed"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in what was delivered: %q", want, all)
		}
	}
}

func TestFeedElsewhere(t *testing.T) {
	c, leash := leashed(t, "FEED_URL=http://127.0.0.1:1/theirs")
	if got := webtest.Get(t, c.urls["listening"]+"/"); got != "http://127.0.0.1:1/theirs" || c.urls["feed"] != "" {
		t.Errorf("it reads %q, and started %q", got, c.urls["feed"])
	}
	_ = leash.Close()
	c.wait(t)
}

func TestMessages(t *testing.T) {
	free, err := ports.Free(3)
	if err != nil {
		t.Fatal(err)
	}
	at := func(n int) string { return fmt.Sprintf("127.0.0.1:%d", free[n]) }
	for _, c := range []struct {
		env   string
		taken string
		says  string
	}{
		{"ADDR=nonsense", "", `00-test-step: ADDR="nonsense" is not an address`},
		{"FEED_URL=nonsense", "", `00-test-step: FEED_URL="nonsense" is not an http or https URL`},
		{"OTEL_TRACES_EXPORTER=nonsense", "", "it can be otlp, console, json, chrome:FILE or none"},
		{"LOG_LEVEL=nonsense", "", "it can be debug, info, warn or error"},
		{"ADDR=" + at(0), at(0), "00-test-step: cannot listen on " + at(0)},
		{"ADDR=" + at(0), at(1), "00-test-step: cannot listen on " + at(1)},
		{"ADDR=" + at(0), at(2), "00-test-step: cannot listen on " + at(2)},
	} {
		var taken io.Closer = io.NopCloser(nil)
		if c.taken != "" {
			l, err := net.Listen("tcp", c.taken)
			if err != nil {
				t.Fatal(err)
			}
			taken = l
		}
		cmd := command(t, c.env)
		out, _ := cmd.CombinedOutput()
		_ = taken.Close()
		if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(string(out), c.says) {
			t.Errorf("%s, taken %q: exit code %d, and it says\n%s\nwant 1 and %q", c.env, c.taken, code, out, c.says)
		}
	}
}

// A start that hangs is left behind when the step is told to stop.
func TestLeave(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	began, hangs := make(chan struct{}), make(chan struct{})
	defer close(hangs)
	left := make(chan error, 1)
	go func() { left <- leave(ctx, func() error { close(began); <-hangs; return nil }) }()
	<-began
	select {
	case err := <-left:
		t.Errorf("it left early: %v", err)
	default:
	}
	cancel()
	select {
	case err := <-left:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("it left with %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it waits")
	}
	if err := leave(t.Context(), func() error { return io.EOF }); err != io.EOF {
		t.Errorf("the error of what ended: %v", err)
	}
}
