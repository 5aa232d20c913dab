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
	"plaque/scripts/internal/property"
	"plaque/scripts/internal/server"
	"plaque/steps/kit/origin"
)

// DoomedAnswers starts a step, lets five callers share a load that panics, and
// returns what they are told.
func DoomedAnswers(ctx context.Context, command ...string) ([]string, error) {
	return answers(ctx, origin.Script{Next: []string{origin.Doom}, Gate: true}, 5, command)
}

// answers starts a step whose feed answers as script says, and returns what so many
// callers at once are told, each a status and a body. A gate of the feed's opens
// when all of them share one flight.
func answers(ctx context.Context, script origin.Script, n int, command []string) ([]string, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	feed := origin.New(noop.NewTracerProvider())
	base, err := feed.Serve(ctx, "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	if err := feed.Set(script); err != nil {
		return nil, err
	}
	// Nobody takes its spans; it knows them all the same.
	s, err := server.StartServer(ctx, server.Launch{Command: command, Collector: "http://127.0.0.1:1", Feed: base + origin.Path})
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.Stop() }()
	told := make([]string, n)
	var callers sync.WaitGroup
	for i := range told {
		callers.Go(func() {
			c := caller.Caller(10 * time.Second)
			defer c.CloseIdleConnections()
			a := caller.Ask(ctx, c, http.MethodGet, s.URL, "")
			told[i] = fmt.Sprintf("%v %s", a, a.Body)
		})
	}
	if script.Gate {
		err = meet(ctx, s, n)
		feed.Open()
	}
	callers.Wait()
	return told, err
}

// meet waits until all n callers of a step are in one flight.
func meet(ctx context.Context, step *server.Server, n int) error {
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		s, err := step.Inside().State(ctx)
		if err == nil && len(s.Flights) == 1 && s.Flights[0].Waiters == n-1 {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("%d callers did not meet in one flight: %+v, %v\n%s", n, s, err, step.Log())
		}
	}
}

var traceIDs = regexp.MustCompile(`"[0-9a-f]{32}"`)

// errorPathBlock is what a caller is told by s under -error-path, in lines that
// fit a page: of a panic where the step makes that an error, and otherwise of a
// feed that answers 500.
func errorPathBlock(ctx context.Context, s *lesson.Lesson, bin string) (string, error) {
	command := []string{bin, "-error-path"}
	var told []string
	var err error
	if s.Has(property.Clean500) {
		told, err = DoomedAnswers(ctx, command...)
	} else {
		told, err = answers(ctx, origin.Script{Next: []string{"500"}}, 1, command)
	}
	if err != nil {
		return "", err
	}
	text := traceIDs.ReplaceAllString(strings.TrimSpace(told[0]), `"…"`)
	text = strings.NewReplacer(`,"path":[`, ",\n\"path\":[\n  ", `},{`, "},\n  {", `],"trace_id"`, "],\n\"trace_id\"").Replace(text)
	return fence(text), nil
}
