package telemetry

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"plaque/steps/kit/web/webtest"
	"runtime"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/trace"
)

// A file that cannot be written is an error at the start, and so is one that is
// no file.
func TestChromeCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{dir, filepath.Join(dir, "none", "trace.json"), os.DevNull} {
		setenv(t, "OTEL_TRACES_EXPORTER=console,chrome:"+path)
		_, err := Start(t.Context(), Config{Out: new(webtest.Buffer)})
		if err == nil || !strings.HasPrefix(err.Error(), "OTEL_TRACES_EXPORTER: chrome cannot write "+path+": ") || strings.Count(err.Error(), path) != 1 {
			t.Errorf("%s: %v", path, err)
		}
	}
	// Another setting that is wrong leaves what is there alone.
	path := filepath.Join(dir, "trace.json")
	if err := os.WriteFile(path, []byte("precious"), 0o644); err != nil {
		t.Fatal(err)
	}
	setenv(t, "OTEL_TRACES_EXPORTER=chrome:"+path+",otlp", "OTEL_EXPORTER_OTLP_PROTOCOL=grpc")
	if _, err := Start(t.Context(), Config{Out: new(webtest.Buffer)}); err == nil {
		t.Error("no error")
	}
	if b, err := os.ReadFile(path); string(b) != "precious" || err != nil {
		t.Errorf("the file is now %q, %v", b, err)
	}
}

// Several at once: each gets every span, and the collector too.
func TestSeveral(t *testing.T) {
	collector := newCollector(t)
	path := filepath.Join(t.TempDir(), "a:trace.json") // a path on Windows has a colon as well
	if runtime.GOOS == "windows" {
		path = filepath.Join(t.TempDir(), "trace.json")
	}
	setenv(t, "OTEL_TRACES_EXPORTER=otlp, console ,json,chrome:"+path, "OTEL_EXPORTER_OTLP_ENDPOINT="+collector.URL)
	stdout := new(webtest.Buffer)
	tel, out := start(t, Config{JSON: stdout})
	for i, p := range []trace.TracerProvider{tel.Provider(), tel.For("feed")} {
		emit(t, p, fmt.Sprint("span", i))
	}
	if err := tel.Stop(); err != nil {
		t.Error(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		TraceEvents []struct{ Name, PH string }
	}
	if err := json.Unmarshal(b, &file); err != nil {
		t.Errorf("chrome's file: %v", err)
	}
	var drawn []string
	for _, e := range file.TraceEvents {
		if e.PH == "X" {
			drawn = append(drawn, e.Name)
		}
	}
	if fmt.Sprint(drawn) != "[span0 span1]" {
		t.Errorf("chrome has %q", drawn)
	}
	if got := []string{collector.next(t).Name, collector.next(t).Name}; !slices.Contains(got, "span0") || !slices.Contains(got, "span1") {
		t.Errorf("the collector has %q", got)
	}
	if strings.Count(out.String(), "  span0\n") != 1 || strings.Count(out.String(), "  span1 (feed)\n") != 1 {
		t.Errorf("the console has\n%s", out)
	}
	// Nothing but JSON in there.
	all := strings.Split(strings.TrimSuffix(stdout.String(), "\n"), "\n")
	for i, line := range all {
		var s struct{ Name string }
		if err := json.Unmarshal([]byte(line), &s); err != nil || s.Name != fmt.Sprint("span", i) {
			t.Errorf("line %d: %v: %s", i, err, line)
		}
	}
	if len(all) != 2 {
		t.Errorf("%d lines of JSON", len(all))
	}
}

func TestExporters(t *testing.T) {
	for setting, want := range map[string]string{
		"otlp":                                 "[{otlp }]",
		"console,otlp":                         "[{console } {otlp }]",
		`chrome:C:\Users\a b\trace.json, json`: `[{chrome C:\Users\a b\trace.json} {json }]`,
		"chrome:/data/a=b:c":                   "[{chrome /data/a=b:c}]",
		"none":                                 "[{none }]",
	} {
		if got, err := parseExporters(setting); err != nil || fmt.Sprint(got) != want {
			t.Errorf("%s: %v, %v; want %s", setting, got, err, want)
		}
	}
}
