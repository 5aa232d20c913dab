// Package server starts a server, reads its log, looks into it, and stops it with
// all that it has started.
package server

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"plaque/steps/kit/debug"
	"plaque/steps/kit/terminal"
)

const (
	startWithin = 30 * time.Second // a busy machine is slow to start: 10 s were too few once
	keptLines   = 60               // of a server's log, for when it fails
	longestLine = 64 << 10         // bytes of a line of it; the rest is left out
	drainWithin = time.Second      // what an ended server has written is read, even if another process holds its output
)

// StopWithin is how long a server has to end when it is told to: a step stops within
// 2 s and flushes within 2 s.
const StopWithin = 15 * time.Second

// ErrKilled is in the error of a Stop that had to kill the server.
var ErrKilled = errors.New("killed")

// Server is a process that answers at URL: a step, or anybody's server.
type Server struct {
	URL   string // http://127.0.0.1:PORT
	Debug string // the debug pages' URL; "" where its log does not tell

	cmd    *exec.Cmd
	stdin  io.Closer
	exited chan struct{} // closed when the process has ended
	err    error         // set before exited is closed

	mu  sync.Mutex // protects log
	log []string   // the last lines that it wrote
}

// Launch says which server to start, and what it is told.
type Launch struct {
	Command []string // the program and its arguments
	// Addr is its ADDR. It is up when somebody listens there. "" lets a step
	// choose free ports; then it is up when its log says where.
	Addr      string
	Collector string   // where its spans go: a base URL
	Feed      string   // its FEED_URL; "" leaves a step to start a feed itself
	Env       []string // NAME=value: more for its environment
}

// StartServer starts a server and waits until it is up.
func StartServer(ctx context.Context, l Launch) (*Server, error) {
	s := &Server{exited: make(chan struct{})}
	s.cmd = exec.Command(l.Command[0], l.Command[1:]...)
	s.cmd.Env = append(environ(), "ADDR="+cmp.Or(l.Addr, "127.0.0.1:0"), "OTEL_EXPORTER_OTLP_ENDPOINT="+l.Collector,
		// What a step does by itself; other servers wait 5 s, or speak gRPC.
		"OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf", "OTEL_BSP_SCHEDULE_DELAY=200")
	if l.Feed != "" {
		s.cmd.Env = append(s.cmd.Env, "FEED_URL="+l.Feed)
	}
	s.cmd.Env = append(s.cmd.Env, l.Env...)
	ownGroup(s.cmd)
	// The child ends when its standard input does, so it cannot outlive us. Wait
	// closes our end.
	var err error
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	// A pipe that we make: Wait must not close it before the last line is read.
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	s.cmd.Stdout, s.cmd.Stderr = write, write
	if err := s.cmd.Start(); err != nil {
		return nil, errors.Join(err, read.Close(), write.Close())
	}
	_ = write.Close()

	up := make(chan struct{}) // closed by knock, or by read where the log says the address
	drained := make(chan struct{})
	if l.Addr != "" {
		s.URL = "http://" + l.Addr
		go s.knock(l.Addr, up)
	}
	go func() { s.read(read, up); close(drained) }()
	go func() {
		s.err = s.cmd.Wait()
		// The processes that it has started end with it. One that has left its
		// group may hold the output for as long as it likes.
		s.killRest()
		select {
		case <-drained:
		case <-time.After(drainWithin):
			_ = read.Close()
		}
		close(s.exited)
	}()
	select {
	case <-up:
		return s, nil
	case <-s.exited:
		why := s.Ended()
		if s.err == nil {
			why += ". A server must stay in the foreground until it is told to end"
		}
		return nil, fmt.Errorf("%s ended before it listened%s: %s\n%s", terminal.Shell(l.Command...), at(l.Addr), why, s.Log())
	case <-time.After(startWithin):
		_ = s.Stop()
		return nil, fmt.Errorf("%s did not listen%s within %v\n%s", terminal.Shell(l.Command...), at(l.Addr), startWithin, s.Log())
	case <-ctx.Done():
		_ = s.Stop()
		return nil, context.Cause(ctx)
	}
}

// at says where a server should have listened.
func at(addr string) string {
	if addr == "" {
		return ""
	}
	return " at ADDR=" + addr
}

// knock closes up once the server listens at addr, unless the process ends.
// Another program that listens there does not count, if the system can tell: the
// process will log that its address is taken, and end.
func (s *Server) knock(addr string, up chan<- struct{}) {
	_, text, _ := net.SplitHostPort(addr)
	port, _ := strconv.Atoi(text)
	for !s.Dead() {
		if conn, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
			_ = conn.Close()
			if !foreign(port, s.cmd.Process.Pid) {
				close(up)
				return
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// environ is our environment without what would change a step. The queue of its
// spans is left to the reader, who may want to see it overflow.
func environ() []string {
	return slices.DeleteFunc(os.Environ(), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		if name == "OTEL_BSP_MAX_QUEUE_SIZE" {
			return false
		}
		return strings.HasPrefix(name, "OTEL_") || slices.Contains([]string{"ADDR", "FEED_URL", "LOG_LEVEL", "PEERS", "SELF", "PEER_SECRET"}, name)
	})
}

// spansLost is what a step's log says at the stop when spans have not arrived.
var spansLost = regexp.MustCompile(`msg="spans lost" lost=(\d+) of=(\d+).*`)

// Lost says how many spans a step that has stopped did not deliver, and why if
// its log says so; "" for none.
func (s *Server) Lost() string {
	m := spansLost.FindStringSubmatch(s.Log())
	if m == nil {
		return ""
	}
	says := fmt.Sprintf("%s of %s lost", m[1], m[2])
	if _, why, ok := strings.Cut(m[0], ` why="`); ok {
		says += ": " + strings.TrimSuffix(why, `"`)
	}
	return says
}

var (
	listening = regexp.MustCompile(`msg=listening url=(\S+)`)
	debugging = regexp.MustCompile(`msg="debug pages" url=(\S+)`)
)

// read keeps the log's tail. It finds in it where the server listens, unless URL says
// so, and closes up.
func (s *Server) read(r io.ReadCloser, up chan<- struct{}) {
	defer r.Close()
	lines := bufio.NewReaderSize(r, longestLine)
	rest := false // of a line whose beginning is kept
	for {
		b, err := lines.ReadSlice('\n')
		line := strings.TrimRight(string(b), "\r\n")
		if rest {
			line = ""
		}
		if rest = err == bufio.ErrBufferFull; rest {
			err = nil
		}
		if line != "" {
			s.mu.Lock()
			s.log = append(s.log, line)
			s.log = s.log[max(0, len(s.log)-keptLines):]
			s.mu.Unlock()
			if m := debugging.FindStringSubmatch(line); m != nil {
				s.Debug = m[1]
			}
			if m := listening.FindStringSubmatch(line); m != nil && s.URL == "" {
				s.URL = m[1]
				close(up)
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

// WaitDead reports whether the process ends by itself within so long.
func (s *Server) WaitDead(most time.Duration) bool {
	select {
	case <-s.exited:
		return true
	case <-time.After(most):
		return false
	}
}

// Ended says how the process ended, once Dead.
func (s *Server) Ended() string {
	if s.err != nil {
		return s.err.Error()
	}
	return "exit status 0"
}

// Stop asks the server to end, which then flushes its spans, and waits for it. A
// server that does not end in time is killed, with all that it has started, and
// the error says so.
func (s *Server) Stop() error {
	s.terminate()
	select {
	case <-s.exited:
		return s.err
	case <-time.After(StopWithin):
		s.Kill()
		return fmt.Errorf("the server did not stop within %v and was %w", StopWithin, ErrKilled)
	}
}

// Inside asks the debug pages of a step, which may be busy.
func (s *Server) Inside() debug.Client {
	return debug.Client{Base: s.Debug, Timeout: 5 * time.Second}
}

// Kill ends the process at once, with all that it has started: no span of its is
// flushed.
func (s *Server) Kill() {
	s.kill()
	<-s.exited
}
