package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"

	"plaque/scripts/internal/jaeger"
	"plaque/steps/kit/telemetry"
)

const (
	// findPatience is how long Jaeger may take to have a span that it took. It
	// batches nothing, so it has it at once; a busy machine takes longer.
	findPatience = 3 * time.Second
	// clockSlack is how much two clocks may differ. Jaeger's answer is in whole
	// seconds, and nobody searches for a minute.
	clockSlack = time.Minute
	// service is the doctor's own, so that its spans are in no step's search.
	service = "doctor"
)

// span looks at the settings of telemetry, and sends one span to Jaeger and
// looks for it there.
func (x *exam) span(ctx context.Context) []Finding {
	var log bytes.Buffer // what a step would log is in the findings
	tel, err := telemetry.Start(ctx, telemetry.Config{Service: service, Version: service, Out: &log})
	if err != nil {
		return []Finding{
			say("settings", "refused", "why", err.Error()),
			note("span", "not sent: see the settings"),
		}
	}
	endpoint := tel.Endpoint()
	if endpoint == "" {
		_ = tel.Stop()
		return []Finding{
			say("settings", "not-sent", "settings", strings.Join(set("OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER"), " ")),
			note("span", "not sent: see the settings"),
		}
	}
	settings := "no OTEL_ variable is set"
	if names := otelNames(); names != nil {
		settings = strings.Join(names, ", ") + " set"
	}
	return []Finding{
		ok("settings", fmt.Sprintf("spans go to %s (%s)", endpoint, settings)),
		x.roundTrip(ctx, tel, endpoint),
	}
}

// set are the variables that are set, with their values.
func set(names ...string) []string {
	var out []string
	for _, name := range names {
		if v := os.Getenv(name); v != "" {
			out = append(out, name+"="+v)
		}
	}
	return out
}

// otelNames are the OTEL_ variables that are set, without their values: one is
// for passwords.
func otelNames() []string {
	var names []string
	for _, pair := range os.Environ() {
		if name, value, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "OTEL_") && value != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// roundTrip sends a span through tel as a step does, and asks Jaeger for it.
func (x *exam) roundTrip(ctx context.Context, tel *telemetry.Telemetry, endpoint string) Finding {
	_, span := tel.Provider().Tracer("plaque/scripts/internal/doctor").Start(context.Background(), "doctor", trace.WithNewRoot())
	sent := time.Now()
	span.End()
	lost := tel.Stop()
	if !span.SpanContext().IsSampled() {
		return say("span", "unsampled", "sampler", os.Getenv("OTEL_TRACES_SAMPLER"))
	}
	survey, err := x.survey()
	if err != nil {
		return note("span", "not looked for: see Jaeger's ports")
	}
	if lost != nil {
		return undelivered(survey, endpoint, lost)
	}
	s := survey.Server
	if !survey.UI().Ours {
		return say("span", "no-api", "endpoint", endpoint, "api", s.API, "what", survey.UI().Text)
	}
	id := span.SpanContext().TraceID().String()
	found, took, err := x.wait(ctx, s, id, sent)
	if err != nil {
		return say("span", "swallowed", "endpoint", endpoint, "api", s.API, "patience", x.findPatience.String())
	}
	if got := found.Spans[0].Service; got != service {
		return say("span", "service", "service", got)
	}
	where := s.API + "/traces/" + id
	if s.Pages {
		where = s.TraceURL(id)
	}
	return ok("span", fmt.Sprintf("one went to %s, and Jaeger had it %v later: %s", endpoint, took.Round(time.Millisecond), where))
}

// wait asks Jaeger for a trace until it has it, and says how long that was after
// sent.
func (x *exam) wait(ctx context.Context, s *jaeger.Server, id string, sent time.Time) (*jaeger.Trace, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, x.findPatience)
	defer cancel()
	for {
		t, err := s.Trace(ctx, id)
		if err == nil && len(t.Spans) > 0 {
			return t, time.Since(sent), nil
		}
		select {
		case <-ctx.Done():
			return nil, 0, errors.Join(ctx.Err(), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// undelivered says why a span was lost on its way to endpoint.
func undelivered(survey jaeger.Survey, endpoint string, lost error) Finding {
	s, ui, otlp := survey.Server, survey.UI(), survey.OTLP()
	why := flat(lost.Error())
	u, err := url.Parse(endpoint)
	switch {
	case err == nil && u.Scheme == "https":
		return say("span", "with-tls", "endpoint", endpoint, "why", why, "otlp", s.OTLP)
	case err != nil || !same(u.Host, s.OTLP):
		if ui.Ours && otlp.Ours {
			return say("span", "elsewhere", "endpoint", endpoint, "why", why, "otlp", s.OTLP)
		}
		return say("span", "undelivered", "endpoint", endpoint, "why", why)
	case ui.Ours && !otlp.Ours:
		return say("span", "no-otlp", "api", s.API, "otlp", s.OTLP, "what", otlp.Text)
	case otlp.Free:
		return say("span", "no-jaeger", "otlp", s.OTLP)
	case !otlp.Ours:
		return say("span", "no-collector", "otlp", s.OTLP, "what", otlp.Text)
	}
	// It takes no spans from us, and yet it took none from a look: the path in
	// the variable is wrong, or it has just come or gone.
	return say("span", "undelivered", "endpoint", endpoint, "why", why)
}

// same tells whether host is where base is, on this machine.
func same(host, base string) bool {
	if port, local := strings.CutPrefix(host, "localhost:"); local {
		host = "127.0.0.1:" + port
	}
	return "http://"+host == base
}

// clock compares this machine's clock with Jaeger's, or else with the newest of
// the workshop's files, which cannot be newer than now.
func (x *exam) clock(ctx context.Context) []Finding {
	if survey, err := x.survey(); err == nil && survey.UI().Ours {
		if its, err := survey.Server.Clock(ctx); err == nil {
			now := x.now()
			if now.Sub(its).Abs() > clockSlack {
				return []Finding{say("clock", "clock-jaeger", "its", stamp(its), "ours", stamp(now))}
			}
			return []Finding{ok("clock", "the same as Jaeger's")}
		}
	}
	file, at, err := newest(ctx, x.Root)
	if err != nil {
		return []Finding{note("clock", "nothing to compare it with: "+err.Error())}
	}
	now := x.now()
	if ahead := at.Sub(now); ahead > clockSlack {
		return []Finding{say("clock", "clock-files", "file", file, "ahead", ahead.Round(time.Second).String(), "ours", stamp(now))}
	}
	return []Finding{ok("clock", "not behind the workshop's files; no Jaeger to compare it with")}
}

func stamp(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05 MST") }

// newest is the file below root that was written last, as a path from there.
func newest(ctx context.Context, root string) (name string, at time.Time, err error) {
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case d.IsDir() && d.Name() == ".git":
			return filepath.SkipDir
		case !d.Type().IsRegular():
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return nil // it has just been removed
		}
		if info.ModTime().After(at) {
			name, at = path, info.ModTime()
		}
		return nil
	})
	if rel, rerr := filepath.Rel(root, name); rerr == nil {
		name = rel
	}
	return name, at, err
}
