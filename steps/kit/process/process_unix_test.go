//go:build unix

package process

import (
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"plaque/steps/kit/web/webtest"
)

func TestStopsOnASignal(t *testing.T) {
	// Under nohup a child would be born deaf to SIGHUP. What is caught here is not
	// ignored there.
	hangUps := make(chan os.Signal, 1)
	signal.Notify(hangUps, syscall.SIGHUP)
	defer signal.Stop(hangUps)
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		c := begin(t, command(t)) // without a pipe
		webtest.Get(t, c.urls["listening"]+"/")
		if err := c.cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
		if code := c.wait(t); code != 0 {
			t.Errorf("%v: exit code %d after a clean stop:\n%s", s, code, c.log.String())
		}
	}
}

// A second Ctrl-C ends the step without waiting for requests in the air.
func TestSecondSignal(t *testing.T) {
	c := begin(t, command(t))
	res, err := http.Get(c.urls["listening"] + "/hang")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	for ended := false; !ended; {
		_ = c.cmd.Process.Signal(os.Interrupt)
		select {
		case <-c.drained:
			ended = true
		case <-time.After(10 * time.Millisecond):
		}
	}
	c.wait(t)
	if status, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !status.Signaled() {
		t.Errorf("it waited for the request: %v", c.cmd.ProcessState)
	}
}
