package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"

	"plaque/scripts/internal/jaeger"
	"plaque/steps/kit/telemetry"
	"plaque/steps/kit/terminal"
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
	tel, err := telemetry.New(ctx, telemetry.Config{Service: service, Version: service, Out: &log})
	if err != nil {
		var found []Finding
		for line := range strings.Lines(err.Error()) { // one for each variable
			found = append(found, say("settings", "refused", "why", strings.TrimSpace(line)))
		}
		return append(found, note("span", "not sent: see the settings"))
	}
	var idle []Finding
	if names := telemetry.WithoutEffect(); names != nil {
		idle = append(idle, say("settings", "without-effect", "names", strings.Join(names, ", ")))
	}
	endpoint := tel.Endpoint()
	if endpoint == "" {
		_ = tel.Stop()
		return append(idle,
			say("settings", "not-sent", "settings", strings.Join(set("OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER"), " ")),
			note("span", "not sent: see the settings"))
	}
	settings := "no OTEL_ variable is set"
	if names := otelNames(); names != nil {
		settings = strings.Join(names, ", ") + " set"
	}
	return append(idle,
		ok("settings", fmt.Sprintf("spans go to %s (%s)", endpoint, settings)),
		x.roundTrip(ctx, tel))
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
func (x *exam) roundTrip(ctx context.Context, tel *telemetry.Telemetry) Finding {
	endpoint := tel.Endpoint()
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
		return undelivered(survey, tel, lost)
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
		variable := "OTEL_SERVICE_NAME" // it wins
		if os.Getenv(variable) == "" {
			variable = "OTEL_RESOURCE_ATTRIBUTES"
		}
		return say("span", "service", "service", got, "variable", variable)
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

const (
	baseVariable  = "OTEL_EXPORTER_OTLP_ENDPOINT"
	wholeVariable = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" // wins, and is the whole URL
	tracesPath    = "/v1/traces"
)

// undelivered says why a span was lost on its way. Its advice is about the
// variable that won.
func undelivered(survey jaeger.Survey, tel *telemetry.Telemetry, lost error) Finding {
	s, ui, otlp := survey.Server, survey.UI(), survey.OTLP()
	endpoint, why := tel.Endpoint(), flat(lost.Error())
	variable, target := tel.EndpointVariable()
	unset := "Unset `" + variable + "`, or start"
	if variable == "" {
		variable, unset = baseVariable, "Start"
	}
	right := s.OTLP
	if variable == wholeVariable {
		right += tracesPath
	}
	u, err := url.Parse(target)
	if err != nil { // it was made from a URL
		panic(err)
	}
	failed, onNet := errors.AsType[*net.OpError](lost)
	reached := !onNet || failed.Op != "dial"
	switch {
	case u.Scheme == "https":
		return say("span", "with-tls", "endpoint", endpoint, "why", why, "set", setting(variable, right))
	case reached && strings.Count(u.Path, tracesPath) > 1:
		u.Path = strings.Replace(u.Path, tracesPath, "", strings.Count(u.Path, tracesPath)-1)
		right = u.String()
		if variable == baseVariable {
			right = strings.TrimSuffix(right, tracesPath)
		}
		return say("span", "path-doubled", "target", target, "why", why, "set", setting(variable, right))
	case reached && variable == wholeVariable && !strings.HasSuffix(u.Path, tracesPath):
		return say("span", "path-missing", "target", target, "why", why, "set", setting(variable, u.JoinPath(tracesPath).String()))
	case !same(u.Host, s.OTLP):
		if ui.Ours && otlp.Ours {
			return say("span", "elsewhere", "endpoint", endpoint, "why", why, "otlp", s.OTLP, "set", setting(variable, right))
		}
		return say("span", "undelivered", "endpoint", endpoint, "why", why, "unset", unset)
	case ui.Ours && !otlp.Ours:
		return say("span", "no-otlp", "api", s.API, "otlp", s.OTLP, "what", otlp.Text)
	case otlp.Free:
		return say("span", "no-jaeger", "otlp", s.OTLP)
	case !otlp.Ours:
		return say("span", "no-collector", "otlp", s.OTLP, "what", otlp.Text)
	}
	// It takes no spans from us, and yet it took none from a look: the path in
	// the variable is wrong, or it has just come or gone.
	return say("span", "undelivered", "endpoint", endpoint, "why", why, "unset", unset)
}

// setting is a variable with its value, to copy into a shell.
func setting(variable, value string) string { return terminal.Shell(variable + "=" + value) }

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
	file, at, err := newest(ctx, x.root)
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
