package report

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace/noop"

	"plaque/scripts/internal/caller"
	"plaque/scripts/internal/lesson"
	"plaque/scripts/internal/server"
	"plaque/steps/kit/origin"
)

// DoomedAnswers starts a step, lets five callers share a load that panics, and
// returns what they are told.
func DoomedAnswers(ctx context.Context, command ...string) (answers []string, err error) {
	err = scripted(ctx, origin.Script{Next: []string{origin.Doom}, Gate: true}, command, func(ctx context.Context, feed *origin.Feed, server *server.Server) error {
		answers = make([]string, 5)
		var callers sync.WaitGroup
		for i := range answers {
			callers.Go(func() { answers[i] = told(ctx, server.URL) })
		}
		defer callers.Wait()
		defer feed.Open()
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			s, err := server.Inside().State(ctx)
			if err == nil && len(s.Flights) == 1 && s.Flights[0].Waiters == len(answers)-1 {
				return nil
			}
			if time.Now().After(end) {
				return fmt.Errorf("%d callers did not meet in one flight: %+v, %v\n%s", len(answers), s, err, server.Log())
			}
		}
	})
	if err != nil {
		return nil, err
	}
	return answers, nil
}

// FailedAnswer starts a step whose feed answers 500 once, and returns what the
// caller of that load is told.
func FailedAnswer(ctx context.Context, command ...string) (answer string, err error) {
	err = scripted(ctx, origin.Script{Next: []string{"500"}}, command, func(ctx context.Context, _ *origin.Feed, server *server.Server) error {
		answer = told(ctx, server.URL)
		return nil
	})
	return answer, err
}

// scripted starts a step whose feed answers as script says, lets call use both,
// and stops them.
func scripted(ctx context.Context, script origin.Script, command []string, call func(context.Context, *origin.Feed, *server.Server) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	feed := origin.New(noop.NewTracerProvider())
	base, err := feed.Serve(ctx, "127.0.0.1:0")
	if err != nil {
		return err
	}
	if err := feed.Set(script); err != nil {
		return err
	}
	// Nobody takes its spans; it knows them all the same.
	s, err := server.StartServer(ctx, server.Launch{Command: command, Collector: "http://127.0.0.1:1", Feed: base + origin.Path})
	if err != nil {
		return err
	}
	defer func() { _ = s.Stop() }()
	return call(ctx, feed, s)
}

// told asks the server at url once, over a new connection, and is its answer's
// status and body.
func told(ctx context.Context, url string) string {
	c := caller.Caller(10 * time.Second)
	defer c.CloseIdleConnections()
	a := caller.Ask(ctx, c, http.MethodGet, url, "")
	return fmt.Sprintf("%v %s", a, a.Body)
}

var traceIDs = regexp.MustCompile(`"[0-9a-f]{32}"`)

// errorPathBlock is what a caller is told by s under -error-path, in lines that
// fit a page: of a panic where the step makes that an error, and otherwise of a
// feed that answers 500.
func errorPathBlock(ctx context.Context, s *lesson.Lesson, bin string) (answer string, err error) {
	if s.Fingerprint["clean-500"] == "yes" {
		var answers []string
		if answers, err = DoomedAnswers(ctx, bin, "-error-path"); err == nil {
			answer = answers[0]
		}
	} else {
		answer, err = FailedAnswer(ctx, bin, "-error-path")
	}
	if err != nil {
		return "", err
	}
	text := traceIDs.ReplaceAllString(strings.TrimSpace(answer), `"…"`)
	text = strings.NewReplacer(`,"path":[`, ",\n\"path\":[\n  ", `},{`, "},\n  {", `],"trace_id"`, "],\n\"trace_id\"").Replace(text)
	return "```text\n" + text + "\n```", nil
}
