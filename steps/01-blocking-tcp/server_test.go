package main

import (
	"errors"
	"log/slog"
	"net"
	"os"
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

// Five clients take a second each to send their request: the fifth is answered
// after five seconds.
func TestOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, spans := subject.FiveSlow(t)
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("all were answered after %s, want 5s", took)
		}
		for i, s := range spans {
			if took := s.EndTime().Sub(s.StartTime()); took != time.Second || i > 0 && s.StartTime().Before(spans[i-1].EndTime()) {
				t.Errorf("connection %d took %s and began at %s", i, took, s.StartTime().Sub(began))
			}
		}
	})
}

// The lesson: nine callers wait for one who says nothing, however long.
func TestSilentClientKeepsEverybodyWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := webtest.Listen()
		subject.Start(t, l)
		silent := baretest.Dial(t, l)
		var gaveUp, left []net.Conn
		for range 5 {
			gaveUp = append(gaveUp, baretest.Dial(t, l))
			left = append(left, baretest.Dial(t, l))
		}
		for _, conn := range gaveUp {
			_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
			if err := baretest.Ask(conn); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("a caller behind the silent one: %v, want a timeout", err)
			}
			_ = conn.Close()
		}
		baretest.Silent(t, silent)
		_ = silent.Close()
		for _, conn := range left {
			if err := baretest.Ask(conn); err != nil {
				t.Errorf("after the idle client has left: %v", err)
			}
		}
	})
}
