package telemetry

import (
	"bytes"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
)

func TestLogLevel(t *testing.T) {
	const all = "debug info warn error"
	for _, c := range []struct {
		setting   string
		telemetry string // what this package logs
		others    string
	}{
		{"", "info warn error", "info warn error"},
		{" ", "info warn error", "info warn error"},
		{"debug", all, all},
		{"INFO", "info warn error", "info warn error"},
		{"warn", "warn error", "warn error"},
		{"error", "error", "error"},
		{"warn,telemetry=debug", all, "warn error"},
		{"telemetry=debug,warn", all, "warn error"},
		{" warn , telemetry = Debug ", all, "warn error"},
		{"telemetry=debug", all, "info warn error"},
		{"telemetry=error", "error", "info warn error"},
		{"debug,telemetry=error", "error", all},
		{"error,nobody=debug", "error", "error"},
		{"youtube=debug,telemetry=warn,error", "warn error", "error"},
	} {
		out := new(bytes.Buffer)
		logger, err := newLogger(out, c.setting)
		if err != nil {
			t.Fatal(err)
		}
		for name, l := range levelNames {
			logger.Log(t.Context(), l, name, "by", "telemetry")
			// One who has no place in the code is one of the others.
			r := slog.NewRecord(time.Now(), l, name, 0)
			r.Add("by", "others")
			if logger.Enabled(t.Context(), l) {
				_ = logger.Handler().Handle(t.Context(), r)
			}
		}
		for by, want := range map[string]string{"telemetry": c.telemetry, "others": c.others} {
			var got []string
			for _, level := range strings.Fields(all) {
				if strings.Contains(out.String(), "msg="+level+" by="+by) {
					got = append(got, level)
				}
			}
			if strings.Join(got, " ") != want {
				t.Errorf("LOG_LEVEL=%q: %s logs %q, want %q", c.setting, by, got, want)
			}
		}
	}
}

func TestLogLevelMalformed(t *testing.T) {
	for setting, says := range map[string]string{
		"loud":                       `"loud" is no level`,
		"warn,":                      `"" is no level`,
		",":                          `"" is no level`,
		"warn,youtube":               `"youtube" is no level`,
		"youtube=":                   `"" is no level`,
		"youtube=loud":               `"loud" is no level`,
		"youtube=debug=info":         `"debug=info" is no level`,
		"=debug":                     `"=debug" names no package`,
		"plaque/steps/kit/web=debug": `names no package by the last word of its path`,
		"warn,info":                  `"info" comes second`,
		"web=warn,info,web=debug":    `"web=debug" comes second`,
		"warn;youtube=debug":         `names no package`,
		"warn youtube=debug":         `names no package`,
	} {
		_, err := newLogger(new(bytes.Buffer), setting)
		if err == nil || !strings.HasPrefix(err.Error(), fmt.Sprintf("LOG_LEVEL=%q: ", setting)) || !strings.Contains(err.Error(), says) ||
			!strings.HasSuffix(err.Error(), "it can be debug, info, warn or error, and target=level for the lines of one package, with commas between: warn,youtube=debug") {
			t.Errorf("%q: %v; want %s", setting, err, says)
		}
	}
}

func TestTargets(t *testing.T) {
	for function, want := range map[string]string{
		"plaque/steps/kit/youtube.(*Client).LatestVideo":           "youtube",
		"plaque/steps/09-panic-safe/cache.(*Cache[...]).fly.func1": "cache",
		"plaque/steps/x/cache.New[go.shape.string,a.b/c.T]":        "cache",
		"main.run.func1":         "main",
		"main.main":              "main",
		"net/http.(*conn).serve": "http",
		"log.Print":              "log",
		"":                       "",
	} {
		if got := packageOf(function); got != want {
			t.Errorf("%s: %q, want %q", function, got, want)
		}
	}
	pc, _, _, _ := runtime.Caller(0)
	for range 2 { // looked up, and remembered
		if got := targetOf(pc); got != "telemetry" {
			t.Errorf("this is %q", got)
		}
	}
}

// A reader who sets LOG_LEVEL sees what the targets are called. A line that is
// not written is no event of its span either.
func TestLogTargets(t *testing.T) {
	c := newCollector(t)
	setenv(t, "LOG_LEVEL=error,telemetry=debug,web=info", "OTEL_EXPORTER_OTLP_ENDPOINT="+c.URL)
	_, out := start(t, Config{})
	ctx, s := otel.Tracer("test").Start(t.Context(), "span")
	slog.DebugContext(ctx, "load begins", "channel", "UC")
	slog.With("step", "05").WithGroup("g").InfoContext(ctx, "second", "n", 1)
	pc := elsewhere()
	r := slog.NewRecord(time.Now(), slog.LevelWarn, "not asked for", pc)
	if err := slog.Default().Handler().Handle(ctx, r); err != nil {
		t.Error(err)
	}
	s.End()
	id := s.SpanContext().TraceID().String()
	all := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(all) != 2 || !strings.HasSuffix(all[0], `level=DEBUG msg="load begins" channel=UC target=telemetry trace_id=`+id) ||
		!strings.HasSuffix(all[1], `level=INFO msg=second step=05 g.n=1 g.target=telemetry g.trace_id=`+id) {
		t.Errorf("logged\n%s", out)
	}
	if events := c.next(t).Events; len(events) != 2 || events[0].Name != "load begins" || events[1].Name != "second" {
		t.Errorf("the span's events: %v", events)
	}
}

// elsewhere is a pc in another package: one that calls us back.
func elsewhere() (pc uintptr) {
	slices.SortFunc([]int{1, 2}, func(int, int) int {
		pcs := make([]uintptr, 1)
		runtime.Callers(2, pcs)
		pc = pcs[0]
		return 0
	})
	return pc
}
