package telemetry

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// newLogger writes text lines at the levels that LOG_LEVEL names.
func newLogger(w io.Writer, setting string) (*slog.Logger, error) {
	l, err := parseLevels(setting)
	if err != nil {
		return nil, err
	}
	// The levels decide below, where it is known who logs.
	text := slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.Level(-1 << 20)})
	return slog.New(spanHandler{text, l, setting != ""}), nil
}

// levels say what is logged.
type levels struct {
	others  slog.Level            // for targets that are not named
	targets map[string]slog.Level // the target of a line is the package that logs it
	least   slog.Level            // of all these
}

var levelNames = map[string]slog.Level{
	"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
}

// parseLevels reads LOG_LEVEL: a level, and target=level for packages that have
// another, with commas between; "" means info. A target that there is not is no
// error, because it may be one of another step.
func parseLevels(setting string) (levels, error) {
	l := levels{others: slog.LevelInfo, targets: map[string]slog.Level{}}
	bad := func(entry, what string) (levels, error) {
		return levels{}, fmt.Errorf("LOG_LEVEL=%q: %q %s: it can be debug, info, warn or error, and target=level for the lines of one package, with commas between: warn,youtube=debug",
			setting, entry, what)
	}
	if strings.TrimSpace(setting) == "" {
		setting = "info"
	}
	given := false // the default level
	for entry := range strings.SplitSeq(setting, ",") {
		entry = strings.TrimSpace(entry)
		target, name, targeted := strings.Cut(entry, "=")
		if !targeted {
			target, name = "", entry
		}
		target, name = strings.TrimSpace(target), strings.TrimSpace(name)
		level, known := levelNames[strings.ToLower(name)]
		_, twice := l.targets[target]
		switch {
		case !known:
			return bad(name, "is no level")
		case targeted && (target == "" || strings.ContainsAny(target, "=/;: ")):
			return bad(entry, "names no package by the last word of its path")
		case twice || !targeted && given:
			return bad(entry, "comes second")
		case targeted:
			l.targets[target] = level
		default:
			l.others, given = level, true
		}
	}
	l.least = l.others
	for _, level := range l.targets {
		l.least = min(l.least, level)
	}
	return l, nil
}

func (l levels) enabled(target string, level slog.Level) bool {
	if least, named := l.targets[target]; named {
		return level >= least
	}
	return level >= l.others
}

// targets are what targetOf has found, by pc.
var targets sync.Map

// targetOf is the package in which the code at pc stands: the last element of
// its path. "" when there is no pc.
func targetOf(pc uintptr) string {
	if pc == 0 {
		return ""
	}
	if t, ok := targets.Load(pc); ok {
		return t.(string)
	}
	frame, _ := runtime.CallersFrames([]uintptr{pc}).Next()
	t := packageOf(frame.Function)
	targets.Store(pc, t)
	return t
}

// packageOf makes youtube of plaque/steps/kit/youtube.(*Client).LatestVideo.
func packageOf(function string) string {
	function, _, _ = strings.Cut(function, "[") // type arguments have paths, too
	name, _, _ := strings.Cut(function[strings.LastIndexByte(function, '/')+1:], ".")
	return name
}

// spanHandler decides which lines are written and says who writes them. It ties
// a line to the span in whose context it is logged: the line gets the trace's
// id, and the span gets the line as an event.
type spanHandler struct {
	slog.Handler
	levels levels
	names  bool // lines name their target: who chooses levels wants to know; else a line stays short
}

// Enabled lets through what any target wants: who logs is not known yet.
func (h spanHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.levels.least
}

func (h spanHandler) Handle(ctx context.Context, r slog.Record) error {
	target := targetOf(r.PC)
	if !h.levels.enabled(target, r.Level) {
		return nil
	}
	span := trace.SpanFromContext(ctx)
	if span.IsRecording() {
		attrs := []attribute.KeyValue{attribute.String("level", r.Level.String())}
		r.Attrs(func(a slog.Attr) bool {
			attrs = append(attrs, attribute.String(a.Key, a.Value.String()))
			return true
		})
		span.AddEvent(r.Message, trace.WithAttributes(attrs...))
	}
	r = r.Clone()
	if h.names && target != "" {
		r.AddAttrs(slog.String("target", target))
	}
	if sc := span.SpanContext(); sc.HasTraceID() {
		r.AddAttrs(slog.String("trace_id", sc.TraceID().String()))
	}
	return h.Handler.Handle(ctx, r)
}

func (h spanHandler) WithAttrs(a []slog.Attr) slog.Handler {
	return spanHandler{h.Handler.WithAttrs(a), h.levels, h.names}
}

func (h spanHandler) WithGroup(name string) slog.Handler {
	return spanHandler{h.Handler.WithGroup(name), h.levels, h.names}
}
