package jaeger

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"time"
)

const (
	// stopPatience is how long a program may take to end once it was asked to.
	// Jaeger takes 20 ms.
	stopPatience = 10 * time.Second
	// lastWords is how much of a program's output is kept for an error.
	lastWords = 2 << 10
)

// errTaken is in the error of a Jaeger that found its port taken.
var errTaken = errors.New("another program took a port first")

// child is a program that runs for us.
type child struct {
	cmd      *exec.Cmd
	tail     tail
	done     chan struct{} // closed when the program has ended
	err      error         // what cmd.Wait returned; to be read once done is closed
	patience time.Duration // of end, once it has asked
	end      func() error  // endBy, once
}

// startChild starts cmd, whose output goes to out as well as to the tail.
// stop asks it to end; nil means an interrupt.
func startChild(cmd *exec.Cmd, stop func() error, out io.Writer) (*child, error) {
	if stop == nil {
		stop = func() error { return interrupt(cmd.Process) }
	}
	c := &child{cmd: cmd, patience: stopPatience, done: make(chan struct{})}
	c.end = sync.OnceValue(func() error { return c.endBy(stop) })
	cmd.Stdout = io.MultiWriter(&c.tail, out)
	cmd.Stderr = cmd.Stdout
	// A grandchild that keeps the pipe open must not keep us.
	cmd.WaitDelay = 2 * time.Second
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		c.err = cmd.Wait()
		close(c.done)
	}()
	return c, nil
}

// endBy asks the program to end, waits for that, and kills it when asking does not
// help. It asks even when the program has ended already, since a container can
// outlive the command that shows it.
func (c *child) endBy(stop func() error) error {
	err := stop()
	select {
	case <-c.done:
		return err
	case <-time.After(c.patience):
	}
	_ = c.cmd.Process.Kill()
	<-c.done
	return errors.Join(err, fmt.Errorf("%s did not stop within %v and was killed", c.cmd.Path, c.patience))
}

// interrupt asks p to end. Windows has no interrupt for one process alone, so
// there p is killed.
func interrupt(p *os.Process) error {
	signal := os.Interrupt
	if runtime.GOOS == "windows" {
		signal = os.Kill
	}
	if err := p.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// ended waits for the end of the program and says how it ended, with its own
// last words.
func (c *child) ended() error {
	<-c.done
	err := c.err
	if err == nil {
		err = errors.New("it ended without an error")
	}
	words := c.tail.String()
	// The second is how Windows puts it.
	if strings.Contains(words, "address already in use") || strings.Contains(words, "Only one usage of each socket address") {
		err = fmt.Errorf("%w: %w", errTaken, err)
	}
	return withWords(err, words)
}

// withWords adds to err what a program printed last.
func withWords(err error, words string) error {
	if words == "" {
		return err
	}
	return fmt.Errorf("%w, after it printed\n    %s", err, strings.ReplaceAll(words, "\n", "\n    "))
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex // protects text
	text []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if cut := len(t.text) - lastWords; cut > 0 {
		t.text = append(t.text[:0], t.text[cut:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.text))
}

// lockedWriter lets a child and this program write to one place.
type lockedWriter struct {
	mu sync.Mutex // held for each write to w
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
