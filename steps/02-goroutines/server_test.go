package main

import (
	"bytes"
	"log/slog"
	"net"
	"runtime/pprof"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"plaque/steps/kit/baretest"
	"plaque/steps/kit/web/webtest"
)

var subject = baretest.Subject(serve)

// The tests are rude, and the server says so.
func init() { slog.SetDefault(slog.New(slog.DiscardHandler)) }

func TestTraceparent(t *testing.T)         { subject.Traceparent(t) }
func TestOverTCP(t *testing.T)             { subject.OverTCP(t) }
func TestAnswer(t *testing.T)              { subject.Answered(t) }
func TestRudeClients(t *testing.T)         { subject.RudeClients(t) }
func TestLimit(t *testing.T)               { subject.Limit(t) }
func TestStop(t *testing.T)                { subject.Stop(t) }
func TestStopWaitsForAnswers(t *testing.T) { subject.StopWaitsForAnswers(t) }
func TestAcceptFails(t *testing.T)         { subject.AcceptFails(t) }
func TestStopInAPause(t *testing.T)        { subject.StopInAPause(t) }

// Five clients take a second each to send their request: all are answered after
// one second.
func TestAllAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, spans := subject.FiveSlow(t)
		if took := time.Since(began); took != time.Second {
			t.Errorf("all were answered after %s, want 1s", took)
		}
		for i, s := range spans {
			if !s.StartTime().Equal(began) || s.EndTime().Sub(began) != time.Second {
				t.Errorf("connection %d began at %s and ended at %s", i, s.StartTime().Sub(began), s.EndTime().Sub(began))
			}
		}
	})
}

// The lesson: an idle client is kept for as long as it stays, and harms nobody.
func TestSilentClientHarmsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := webtest.Listen()
		subject.Start(t, l)
		began := time.Now()
		silent := baretest.Dial(t, l)
		for range 10 {
			if err := baretest.Ask(baretest.Dial(t, l)); err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("ten callers beside a silent one waited %s", took)
		}
		baretest.Silent(t, silent)
	})
}

// A thousand idle clients on real sockets: their reads wait in the runtime's
// poller, and no thread waits with them. See threads_test.go for reads that do
// wait in the kernel.
func TestThousandSilentClients(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	subject.Start(t, l)
	for i := range 1000 {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatalf("idle client %d: %v (both ends are in this process, so it needs 2100 file descriptors: see ulimit -n)", i+1, err)
		}
		defer conn.Close()
	}
	oneEach := func() {
		t.Helper()
		for began := time.Now(); reading(t) != 1000; time.Sleep(10 * time.Millisecond) {
			if time.Since(began) > 30*time.Second {
				t.Fatalf("%d goroutines read after 30 s, want one for each of 1000 clients", reading(t))
			}
		}
	}
	oneEach()
	for range 10 {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if err := baretest.Ask(conn); err != nil {
			t.Errorf("beside 1000 idle clients: %v", err)
		}
		_ = conn.Close()
	}
	oneEach() // those of the callers that were answered end a moment later
	if n := pprof.Lookup("threadcreate").Count(); n > 100 {
		t.Errorf("%d threads for 1000 clients, want at most 100", n)
	}
}

// reading counts the goroutines that handle a connection.
func reading(t *testing.T) int {
	t.Helper()
	var stacks bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&stacks, 2); err != nil {
		t.Fatal(err)
	}
	return strings.Count(stacks.String(), ".handleConnection(")
}
