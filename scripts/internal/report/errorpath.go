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
	"plaque/scripts/internal/look"
	"plaque/scripts/internal/server"
	"plaque/steps/kit/origin"
)

// DoomedAnswers starts a step, lets five callers share a load that panics, and
// returns what they are told.
func DoomedAnswers(ctx context.Context, command ...string) (answers []string, err error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	feed := origin.New(noop.NewTracerProvider())
	base, err := feed.Serve(ctx, "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	if err := feed.Set(origin.Script{Next: []string{origin.Doom}, Gate: true}); err != nil {
		return nil, err
	}
	// Nobody takes its spans; it knows them all the same.
	server, err := server.StartServer(ctx, server.Launch{Command: command, Collector: "http://127.0.0.1:1", Feed: base + origin.Path})
	if err != nil {
		return nil, err
	}
	defer func() { _ = server.Stop() }()
	answers = make([]string, 5)
	var callers sync.WaitGroup
	for i := range answers {
		callers.Go(func() {
			c := caller.Caller(10 * time.Second)
			defer c.CloseIdleConnections()
			a := caller.Ask(ctx, c, http.MethodGet, server.URL, "")
			answers[i] = fmt.Sprintf("%v %s", a, a.Body)
		})
	}
	defer callers.Wait()
	defer feed.Open()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		s, err := look.State(ctx, server.Debug)
		if err == nil && len(s.Flights) == 1 && s.Flights[0].Waiters == len(answers)-1 {
			return answers, nil
		}
		if time.Now().After(end) {
			return nil, fmt.Errorf("%d callers did not meet in one flight: %+v, %v\n%s", len(answers), s, err, server.Log())
		}
	}
}

var traceIDs = regexp.MustCompile(`"[0-9a-f]{32}"`)

// errorPathBlock is what a caller of the doomed flight is told by 09 under
// -error-path, in lines that fit a page.
func errorPathBlock(ctx context.Context, bin string) (string, error) {
	answers, err := DoomedAnswers(ctx, bin, "-error-path")
	if err != nil {
		return "", err
	}
	text := traceIDs.ReplaceAllString(strings.TrimSpace(answers[0]), `"…"`)
	text = strings.NewReplacer(`,"path":[`, ",\n\"path\":[\n  ", `},{`, "},\n  {", `],"trace_id"`, "],\n\"trace_id\"").Replace(text)
	return "```text\n" + text + "\n```", nil
}
