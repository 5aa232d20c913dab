package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	startWithin = 30 * time.Second // a busy machine is slow to start: 10 s were too few once
	stopWithin  = 15 * time.Second // a step stops within 2 s and flushes within 2 s
	keptLines   = 60               // of a server's log, for when it fails
)

// Server is a step's process.
type Server struct {
	URL   string // http://127.0.0.1:PORT
	Debug string // the debug pages' URL

	cmd    *exec.Cmd
	stdin  io.Closer
	exited chan struct{} // closed when the process has ended
	err    error         // set before exited is closed

	mu  sync.Mutex // protects log
	log []string   // the last lines that it wrote
}

// StartServer starts a step's binary on free ports. collector is where its
// spans go, feed is its FEED_URL; "" leaves the step to start a feed itself.
func StartServer(ctx context.Context, bin string, args []string, collector, feed string) (*Server, error) {
	s := &Server{exited: make(chan struct{})}
	s.cmd = exec.Command(bin, args...)
	s.cmd.Env = append(environ(), "ADDR=127.0.0.1:0", "OTEL_EXPORTER_OTLP_ENDPOINT="+collector)
	if feed != "" {
		s.cmd.Env = append(s.cmd.Env, "FEED_URL="+feed)
	}
	// The child ends when its standard input does, so it cannot outlive us.
	stdin, err := s.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	s.stdin = stdin
	// A pipe of our own: Wait must not close it before the last line is read.
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	s.cmd.Stdout, s.cmd.Stderr = write, write
	if err := s.cmd.Start(); err != nil {
		return nil, errors.Join(err, read.Close(), write.Close())
	}
	_ = write.Close()

	found := make(chan struct{})
	drained := make(chan struct{})
	go func() { s.read(read, found); close(drained) }()
	go func() {
		s.err = s.cmd.Wait()
		<-drained
		close(s.exited)
	}()
	timer := time.NewTimer(startWithin)
	defer timer.Stop()
	select {
	case <-found:
		return s, nil
	case <-s.exited:
		return nil, fmt.Errorf("the server ended before it listened: %v\n%s", s.err, s.Log())
	case <-timer.C:
		s.Stop()
		return nil, fmt.Errorf("the server did not listen within %v\n%s", startWithin, s.Log())
	case <-ctx.Done():
		s.Stop()
		return nil, context.Cause(ctx)
	}
}

// environ is our environment without what would change a step.
func environ() []string {
	return slices.DeleteFunc(os.Environ(), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return strings.HasPrefix(name, "OTEL_") || slices.Contains([]string{"ADDR", "FEED_URL", "LOG_LEVEL"}, name)
	})
}

var (
	listening = regexp.MustCompile(`msg=listening url=(\S+)`)
	debugging = regexp.MustCompile(`msg="debug pages" url=(\S+)`)
)

// read keeps the log's tail, and finds in it where the server listens.
func (s *Server) read(r io.ReadCloser, found chan<- struct{}) {
	defer r.Close()
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		if line = strings.TrimRight(line, "\r\n"); line != "" {
			s.mu.Lock()
			s.log = append(s.log, line)
			s.log = s.log[max(0, len(s.log)-keptLines):]
			s.mu.Unlock()
			if m := debugging.FindStringSubmatch(line); m != nil {
				s.Debug = m[1]
			}
			if m := listening.FindStringSubmatch(line); m != nil && s.URL == "" {
				s.URL = m[1]
				close(found)
			}
		}
		if err != nil {
			return
		}
	}
}

// Log is the tail of what the server has written.
func (s *Server) Log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.log, "\n")
}

// Dead reports whether the process has ended by itself.
func (s *Server) Dead() bool {
	select {
	case <-s.exited:
		return true
	default:
		return false
	}
}

// Stop ends the server, which flushes its spans, and waits for it. A server
// that does not end in time is killed, and the error says so.
func (s *Server) Stop() error {
	_ = s.stdin.Close()
	timer := time.NewTimer(stopWithin)
	defer timer.Stop()
	select {
	case <-s.exited:
		return s.err
	case <-timer.C:
		_ = s.cmd.Process.Kill()
		<-s.exited
		return fmt.Errorf("the server did not stop within %v and was killed", stopWithin)
	}
}

// profile fetches a pprof profile as text.
func (s *Server) profile(ctx context.Context, name string, debug int) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/debug/pprof/%s?debug=%d", s.Debug, name, debug), nil)
	if err != nil {
		return "", err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 64<<20))
	return string(b), err
}

var total = regexp.MustCompile(`total (\d+)`)

// count is how many goroutines, or how many threads ("threadcreate"), the
// server has.
func (s *Server) count(ctx context.Context, profile string) (int, error) {
	text, err := s.profile(ctx, profile, 1)
	if err != nil {
		return 0, err
	}
	m := total.FindStringSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("the profile %s has no total", profile)
	}
	return strconv.Atoi(m[1])
}

var (
	inGet  = regexp.MustCompile(`/cache\.\(\*Cache\[[^\n]*\]\)\.[gG]et\(`)
	parked = regexp.MustCompile(`^goroutine \d+ (gp=\S+ m=\S+ )?\[([^,\]]+)`)
)

// inCache is how many callers are parked inside the step's cache: in Get,
// waiting for a lock, a flight or a load.
func (s *Server) inCache(ctx context.Context) (int, error) {
	text, err := s.profile(ctx, "goroutine", 2)
	if err != nil {
		return 0, err
	}
	n := 0
	for stack := range strings.SplitSeq(text, "\n\n") {
		m := parked.FindStringSubmatch(stack)
		if m != nil && m[2] != "running" && m[2] != "runnable" && inGet.MatchString(stack) {
			n++
		}
	}
	return n, nil
}
