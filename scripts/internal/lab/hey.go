package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"plaque/scripts/internal/caller"
	"plaque/scripts/internal/lesson"
	"plaque/steps/kit/terminal"
)

// Load has hey load the server at url under one root span of tp's. It writes the
// call and hey's report to w, and returns the id of the burst's trace.
func Load(ctx context.Context, tp trace.TracerProvider, bin, step string, h lesson.Hey, url string, w io.Writer) (id string, err error) {
	ctx, burst := startBurst(ctx, tp.Tracer(tracerName), step, h.Requests, h.Concurrency)
	defer burst.End()
	parent := Traceparent(ctx)
	fmt.Fprintf(w, "$ hey %s\n\n", terminal.Shell(heyArgs(h, parent, url)...))
	report, answers, err := runHey(ctx, bin, h, parent, url)
	if err != nil {
		burst.SetStatus(codes.Error, err.Error())
	}
	burst.SetAttributes(attribute.String("answers", Answers(answers)))
	fmt.Fprint(w, report)
	return burst.SpanContext().TraceID().String(), err
}

// heyArgs are hey's arguments for a burst.
func heyArgs(h lesson.Hey, traceparent, url string) []string {
	much := []string{"-n", strconv.Itoa(h.Requests)}
	if h.For > 0 {
		much = []string{"-z", strconv.Itoa(h.For) + "s", "-q", strconv.Itoa(h.Rate)}
	}
	return append(much, "-c", strconv.Itoa(h.Concurrency), "-t", strconv.Itoa(h.Seconds()),
		"-H", "traceparent: "+traceparent, url)
}

// runHey runs hey and returns what it printed, and the answers by status.
//
// hey exits with 0 whatever happens, so its report is read. Its own timeout
// bounds each request; ours bounds the whole, in case that it hangs.
func runHey(ctx context.Context, bin string, h lesson.Hey, traceparent, url string) (string, map[string]int, error) {
	longest := h.For + h.Seconds()
	if h.For == 0 {
		longest = h.Requests / h.Concurrency * h.Seconds()
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(longest+10)*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin, heyArgs(h, traceparent, url)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return "", nil, fmt.Errorf("hey: %w\n%s", err, out.String())
	}
	text := tidy(out.String())
	answers, err := parseHey(text)
	if err != nil {
		return "", nil, err
	}
	return text, answers, nil
}

var (
	statusLine  = regexp.MustCompile(`(?m)^[ \t]+\[(\d{3})\][ \t]+(\d+) responses\r?$`)
	slowestLine = regexp.MustCompile(`(?m)^\s+Slowest:\s+([0-9.]+) secs$`)
	errorLine   = regexp.MustCompile(`(?m)^[ \t]+\[(\d+)\][ \t]+(.+)$`)
)

// parseHey reads the two distributions at the end of hey's report.
func parseHey(text string) (map[string]int, error) {
	_, text, ok := strings.Cut(text, "Status code distribution:")
	if !ok {
		return nil, fmt.Errorf("hey's report has no status codes:\n%s", text)
	}
	codes, failures, _ := strings.Cut(text, "\nError distribution:")
	answers := map[string]int{}
	var err error
	count := func(what, number string) {
		n, no := strconv.ParseInt(number, 10, 32)
		if no != nil {
			err = fmt.Errorf("hey's report counts %.40q answers", number)
		}
		answers[what] += int(n)
	}
	for _, m := range statusLine.FindAllStringSubmatch(codes, -1) {
		count(m[1], m[2])
	}
	for _, m := range errorLine.FindAllStringSubmatch(failures, -1) {
		count(caller.Classify(m[2]), m[1])
	}
	if err != nil {
		return nil, err
	}
	return answers, nil
}

// tidy mends two blemishes of hey's report, 10%% and runs of empty lines, and
// changes no figure.
func tidy(text string) string {
	text = strings.ReplaceAll(text, "%%", "%")
	return strings.Trim(regexp.MustCompile(`\n[\s\n]*\n`).ReplaceAllString(text, "\n\n"), "\n") + "\n"
}

// Slowest is the time of the slowest answer in hey's report, in seconds.
func Slowest(report string) (float64, error) {
	m := slowestLine.FindStringSubmatch(report)
	if m == nil {
		return 0, errors.New("hey's report does not say how long the slowest answer took")
	}
	return strconv.ParseFloat(m[1], 64)
}

// Histogram is the part of hey's report that shows how long answers took.
func Histogram(report string) string {
	_, rest, ok := strings.Cut(report, "Response time histogram:\n")
	if !ok {
		return ""
	}
	bars, _, _ := strings.Cut(rest, "\n\n")
	if !strings.Contains(bars, "[") {
		return "" // nobody was answered
	}
	return bars
}
