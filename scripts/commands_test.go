package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"plaque/scripts/internal/jaeger/jaegertest"
	"plaque/scripts/internal/lesson"
	"plaque/scripts/internal/otlp"
	"plaque/steps/kit/need"
	"plaque/steps/kit/ports"
	"plaque/steps/kit/web/webtest"
)

const (
	commandWithin = 5 * time.Minute  // a command that ends; most take seconds, and one compiles Go's library anew
	listenWithin  = time.Minute      // a command that stays, until it listens
	stopCommand   = 30 * time.Second // a command that stays, from Ctrl-C to its end
)

// shell runs the commands of pages as a reader would, from the workshop's folder.
//
// A step listens on ports of the test's: ADDR moves it, its feed and its debug
// pages, and `load` and `feed` read ADDR too. Where a command spells the usual
// addresses out, they are replaced. So a test disturbs nobody's step.
type shell struct {
	root    string
	scripts string // this program, built: stands for `go run ./scripts`
	gate    string // what .ci/run does
	lessons []*lesson.Lesson
	otlp    string // where spans go
}

// newShell is a shell for one test.
func newShell(t *testing.T) *shell {
	t.Helper()
	root := workshop(t)
	gate, err := os.ReadFile(filepath.Join(root, ".ci", "run"))
	if err != nil {
		t.Fatal(err)
	}
	spans, err := otlp.Listen(otlp.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = spans.Close() })
	return &shell{root: root, scripts: scriptsProgram(t), gate: string(gate), lessons: allLessons(t), otlp: spans.URL()}
}

// comment is what stands behind a command for the reader.
var comment = regexp.MustCompile(`(^|\s+)#.*$`)

// try runs a block of commands, and says what does not work. failing is what the
// last of them says when it fails, as it should; "" means that all should work.
func (s *shell) try(ctx context.Context, text, failing string) (err error) {
	addr, err := ports.FreeAddr()
	if err != nil {
		return err
	}
	var staying []*stays
	defer func() {
		for _, c := range slices.Backward(staying) {
			err = errors.Join(err, c.stop())
		}
	}()
	for line := range strings.Lines(strings.TrimSpace(text)) {
		last := !strings.HasSuffix(line, "\n")
		line = strings.TrimSpace(comment.ReplaceAllString(strings.TrimRight(line, "\r\n"), ""))
		if line == "" {
			continue
		}
		if strings.ContainsAny(line, "|&;<>$`\"'\\*~") {
			return fmt.Errorf("%s: it needs a shell, and shells differ: write a command that is the same everywhere", line)
		}
		if known, err := s.inGate(line); err != nil {
			return fmt.Errorf("%s: %w", line, err)
		} else if known {
			continue
		}
		c, up, err := s.command(ctx, line, addr)
		if err != nil {
			return fmt.Errorf("%s: %w", line, err)
		}
		if up.listens == "" {
			err := toTheEnd(c)
			if last && failing != "" {
				err = fails(err, failing)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", line, err)
			}
			continue
		}
		running, err := start(ctx, c, up)
		if running != nil {
			staying = append(staying, running)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", line, err)
		}
	}
	return nil
}

// fails is nil for a command that failed with these words.
func fails(err error, words string) error {
	switch {
	case err == nil:
		return errors.New("it worked, and the page says that it fails")
	case !strings.Contains(err.Error(), words):
		return fmt.Errorf("it fails, but does not say %q: %w", words, err)
	}
	return nil
}

// inGate reports whether .ci/run runs this command, so that it need not run here
// once more: the tests of all modules, and the tour. The tour of all steps, with
// what it can leave, is also a tour of each, and one that leaves less.
func (s *shell) inGate(line string) (bool, error) {
	words := strings.Fields(line)
	var run *regexp.Regexp
	switch {
	case line == "go test work":
		run = regexp.MustCompile(`(?m)^\.ci/bare\b`) // which runs the commands with which the README begins
	case len(words) >= 4 && slices.Equal(words[:4], []string{"go", "run", "./scripts", "tour"}):
		run = regexp.MustCompile(`(?m)^go run ./scripts tour --report \S.* --slides$`)
		names := words[4:]
		if i := slices.Index(names, "--report"); i >= 0 {
			if i+1 == len(names) {
				return false, nil // the folder is missing, and the tour says so
			}
			names = slices.Delete(names, i, i+2)
		}
		for _, name := range slices.DeleteFunc(names, func(w string) bool { return w == "--slides" }) {
			if strings.HasPrefix(name, "-") {
				return false, nil // another tour than the gate's
			}
			if _, err := lesson.Find(s.lessons, name); err != nil {
				return false, err
			}
		}
	case len(words) == 6 && slices.Equal(words[:5], []string{"go", "run", "./scripts", "check", "--exercise"}) && words[5] != "03":
		// TestExercises judges each of them, unsolved and solved.
		_, err := lesson.Find(s.lessons, words[5])
		return err == nil, err
	default:
		return false, nil
	}
	if !run.MatchString(s.gate) {
		return false, errors.New(".ci/run does not run it, so nobody does")
	}
	return true, nil
}

// up is how a command that stays is seen to be up: it listens, and has said this.
// For a command that ends, listens is "".
type up struct{ listens, said string }

// command makes a line of a page ready to run.
func (s *shell) command(ctx context.Context, line, addr string) (c *exec.Cmd, u up, err error) {
	words := strings.Fields(line)
	for i, usual := range []string{"127.0.0.1:3779", "127.0.0.1:3780", "127.0.0.1:3781"} {
		for j := range words {
			words[j] = strings.ReplaceAll(words[j], usual, behind(addr, i))
		}
	}
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		// Without GOWORK, which the gate sets for each module by itself: a reader is
		// in the workspace.
		return strings.HasPrefix(name, "OTEL_") || slices.Contains([]string{"FEED_URL", "LOG_LEVEL", "GOWORK"}, name)
	})
	env = append(env, "ADDR="+addr, "OTEL_EXPORTER_OTLP_ENDPOINT="+s.otlp)
	if rest := words[min(3, len(words)):]; len(rest) > 0 && slices.Equal(words[:3], []string{"go", "run", "./scripts"}) {
		words = append([]string{s.scripts}, rest...)
		switch rest[0] {
		case "run":
			u.listens = addr
		case "jaeger":
			// The other two ways need Docker or the network, and have separate
			// tests.
			words = append(words, "--from", "source")
			u.said = "Ctrl-C stops it"
			free, err := ports.Free(len(jaegerVariables))
			if err != nil {
				return nil, up{}, err
			}
			for i, name := range jaegerVariables {
				u.listens = "127.0.0.1:" + strconv.Itoa(free[i])
				env = append(env, name+"="+strconv.Itoa(free[i]))
			}
		}
	}
	c = exec.CommandContext(ctx, words[0], words[1:]...)
	c.Dir, c.Env = s.root, env
	return c, u, nil
}

// toTheEnd runs a command that must end well within the bound.
func toTheEnd(c *exec.Cmd) error {
	c.WaitDelay = time.Second
	timer := time.AfterFunc(commandWithin, func() { _ = c.Process.Kill() })
	defer timer.Stop()
	out, err := c.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

// stays is a command that runs until it is told to stop.
type stays struct {
	cmd   *exec.Cmd
	out   *webtest.Buffer
	ended chan struct{}
	err   error // set before ended is closed
}

// start starts a command that stays and waits until it is up. What it returns must
// be stopped, also with an error.
func start(ctx context.Context, c *exec.Cmd, u up) (*stays, error) {
	if conn, err := net.DialTimeout("tcp", u.listens, time.Second); err == nil {
		_ = conn.Close()
		return nil, fmt.Errorf("something listens on %s already", u.listens)
	}
	s := &stays{cmd: c, out: new(webtest.Buffer), ended: make(chan struct{})}
	c.Stdout, c.Stderr = s.out, s.out
	c.WaitDelay = time.Second
	if err := c.Start(); err != nil {
		return nil, err
	}
	go func() {
		s.err = c.Wait()
		close(s.ended)
	}()
	ctx, cancel := context.WithTimeout(ctx, listenWithin)
	defer cancel()
	for {
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", u.listens)
		if err == nil {
			_ = conn.Close()
			if strings.Contains(s.out.String(), u.said) {
				return s, nil
			}
		}
		select {
		case <-s.ended:
			return nil, fmt.Errorf("it ended before it listened: %v\n%s", s.err, s.out)
		case <-ctx.Done():
			return s, fmt.Errorf("it does not listen on %s within %v\n%s", u.listens, listenWithin, s.out)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// stop is Ctrl-C: the command must end by itself, and well.
func (s *stays) stop() error {
	select {
	case <-s.ended:
		return fmt.Errorf("%s ended before its time: %v\n%s", s.cmd, s.err, s.out)
	default:
	}
	interrupted := runtime.GOOS != "windows" // there nobody can send another program Ctrl-C
	if interrupted {
		_ = s.cmd.Process.Signal(os.Interrupt)
	} else {
		_ = s.cmd.Process.Kill()
	}
	select {
	case <-s.ended:
		if interrupted && s.err != nil {
			return fmt.Errorf("%s, after Ctrl-C: %w\n%s", s.cmd, s.err, s.out)
		}
		return nil
	case <-time.After(stopCommand):
		_ = s.cmd.Process.Kill()
		<-s.ended
		return fmt.Errorf("%s did not end within %v of Ctrl-C\n%s", s.cmd, stopCommand, s.out)
	}
}

// behind is the address n ports behind this one.
func behind(addr string, n int) string {
	host, text, _ := net.SplitHostPort(addr)
	port, _ := strconv.Atoi(text)
	return net.JoinHostPort(host, strconv.Itoa(port+n))
}

// jaegerVariables say where Jaeger listens, its UI last.
var jaegerVariables = []string{"JAEGER_OTLP_HTTP_PORT", "JAEGER_OTLP_GRPC_PORT", "JAEGER_QUERY_GRPC_PORT", "JAEGER_HEALTH_PORT", "JAEGER_UI_PORT"}

const (
	notRun = "not run: "
	failed = "fails: "
)

// What a block needs is seen from how its lines begin.
var (
	startsJaeger = regexp.MustCompile(`(?m)^go run ./scripts jaeger\b`)
	startsCurl   = regexp.MustCompile(`(?m)^curl\b`)
	startsLong   = regexp.MustCompile(`(?m)^go (test (-\S+ )*\./|run \./scripts (bench|check|load \d+ -z)\b)`)
)

// needs skips a block that needs more than Go, or much time.
func needs(t *testing.T, block string) {
	t.Helper()
	if startsJaeger.MatchString(block) {
		jaegertest.Binary(t)
	}
	if startsCurl.MatchString(block) {
		need.Program(t, "apt install curl", "curl")
	}
	if startsLong.MatchString(block) {
		need.Gate(t, "it measures or judges, or builds tests once more: half a minute and longer")
	}
}

// sampled are the steps whose pages' commands run where the gate does not.
var sampled = regexp.MustCompile(`^steps/(02|05|09)-`)

// Every command of every page works. Where it should fail the page says above its
// block with what words, <!-- fails: WORDS -->; and where nobody has tried, why:
// <!-- not run: REASON -->.
func TestCommands(t *testing.T) {
	s := newShell(t)
	tried := map[string]bool{} // blocks that stand on several pages
	for _, m := range allMarkdown(t) {
		for _, b := range m.blocks() {
			reason, excused := strings.CutPrefix(b.comment, notRun)
			switch {
			case b.language != "sh":
				if excused {
					t.Errorf("%s: it is said why it is not run, and it is no block of commands", b.at)
				}
				continue
			case excused:
				if len(strings.Fields(reason)) < 3 {
					t.Errorf("%s: %q is no reason", b.at, reason)
				}
				continue
			case strings.TrimSpace(b.text) == "":
				t.Errorf("%s: there is no command in it", b.at)
				continue
			case tried[b.text]:
				continue
			}
			tried[b.text] = true
			failing, fails := strings.CutPrefix(b.comment, failed)
			if !fails {
				failing = ""
			}
			t.Run(b.at, func(t *testing.T) {
				t.Parallel()
				needs(t, b.text)
				if strings.HasPrefix(b.at, "steps/") && !sampled.MatchString(b.at) {
					need.Gate(t, "the commands of all pages take a minute and more")
				}
				if err := s.try(t.Context(), b.text, failing); err != nil {
					t.Errorf("%s: %v", b.at, err)
				}
			})
		}
	}
	if len(tried) < 15 {
		t.Errorf("only %d blocks of commands found", len(tried))
	}
}

// What does not work is found.
func TestBrokenCommandsAreFound(t *testing.T) {
	s := newShell(t)
	gateless := *s
	gateless.gate = strings.ReplaceAll(strings.ReplaceAll(s.gate, ".ci/bare", "# .ci/bare"), "go run ./scripts tour", "go run ./scripts tours")
	slideless := *s
	slideless.gate = strings.ReplaceAll(s.gate, " --slides\n", "\n")
	for _, c := range []struct {
		name, text, want string
		shell            *shell
		failing          string
	}{
		{"all is well", "go run ./scripts diff --code 06 # what changed\n\ngo run ./scripts help\n", "", s, ""},
		{"run by the gate", "go test work\ngo run ./scripts tour\ngo run ./scripts tour 05 06   # two steps\ngo run ./scripts tour --report out 05\ngo run ./scripts tour --report out --slides\n", "", s, ""},
		{"a report without a folder", "go run ./scripts tour 05 --report", "flag needs an argument", s, ""},
		{"an unknown command", "go run ./scripts turo", "no command \"turo\"", s, ""},
		{"an unknown program", "plaqued 05", "plaqued", s, ""},
		{"a command that fails", "go run ./scripts load 05", "nothing listens", s, ""},
		{"the second one fails", "go run ./scripts help\ngo run ./scripts diff 01", "first step", s, ""},
		{"a flag that is gone", "go run ./scripts diff --colour 06", "flag provided but not defined", s, ""},
		{"a tour of a step that is not there", "go run ./scripts tour 99", "no step \"99\"", s, ""},
		{"a test that is not there", "go test ./steps/02-gophers", "directory not found", s, ""},
		{"it stays, and cannot start", "go run ./scripts run 99", "ended before it listened", s, ""},
		{"it needs a shell", "go run ./scripts load 05 | less", "needs a shell", s, ""},
		{"the gate lost its tests", "go test work", ".ci/run does not run it", &gateless, ""},
		{"the gate lost its tour", "go run ./scripts tour 05", ".ci/run does not run it", &gateless, ""},
		{"the gate lost its slides", "go run ./scripts tour --report out --slides", ".ci/run does not run it", &slideless, ""},
		{"it fails as the page says", "go run ./scripts help\ngo run ./scripts load 05\n", "", s, "nothing listens"},
		{"it fails otherwise", "go run ./scripts load 05", "does not say", s, "something listens"},
		{"it works, and should fail", "go run ./scripts help", "it worked", s, "nothing listens"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			err := c.shell.try(t.Context(), c.text, c.failing)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%q: %v; want %q", c.text, err, c.want)
			}
		})
	}
}

// A command that ends before its block does has not done what the page says.
func TestCommandThatDiesIsFound(t *testing.T) {
	s := newShell(t)
	addr, err := ports.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	c, u, err := s.command(t.Context(), "go run ./scripts run 01", addr)
	if err != nil {
		t.Fatal(err)
	}
	running, err := start(t.Context(), c, u)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-running.ended
	if err := running.stop(); err == nil || !strings.Contains(err.Error(), "ended before its time") {
		t.Errorf("a dead command is stopped with %v", err)
	}
}
