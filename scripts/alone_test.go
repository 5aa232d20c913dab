package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"plaque/scripts/internal/build"
	"plaque/scripts/internal/jaeger/jaegertest"
	"plaque/scripts/internal/otlp"
)

const (
	aloneTrace  = "4bf92f3577b34da6a3ce929d0e0e4736"
	aloneParent = "b7ad6b7169203331" // as request says it
)

// askAlone starts the server that is traced without the kit, and makes one
// request that names its parent span. Then it stops the server with the standard
// signal.
func askAlone(t *testing.T, collector string) {
	t.Helper()
	root := workshop(t)
	bin := build.Exe(filepath.Join(t.TempDir(), "alone"))
	if err := build.Build(t.Context(), filepath.Join(root, "steps", "03-net-http"), "./alone", bin, ""); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin)
	cmd.Env = append(os.Environ(), "ADDR=127.0.0.1:0", "OTEL_EXPORTER_OTLP_ENDPOINT="+collector)
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	line, err := bufio.NewReader(log).ReadString('\n')
	_, url, ok := strings.Cut(strings.TrimSpace(line), "listening on ")
	if !ok {
		t.Fatalf("it said %q, %v", line, err)
	}
	if err := request(t.Context(), url, aloneTrace); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Skipf("this system has no signal that asks a process to end: %v", err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
}

// What the pages say of OpenTelemetry in your own project: these 25 lines send a
// request's span, as a child of its caller's, before the process has ended.
func TestAlone(t *testing.T) {
	t.Parallel()
	collector, err := otlp.Listen(otlp.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer collector.Close()
	askAlone(t, collector.URL())
	spans := collector.Spans()
	if len(spans) != 1 {
		t.Fatalf("%d spans came, want 1: %v", len(spans), spans)
	}
	s := spans[0]
	if s.TraceID != aloneTrace || s.Parent != aloneParent || s.Service != "alone" || s.Name != "GET /{$}" || s.Kind != "server" {
		t.Errorf("the span is %+v", s)
	}
}

func TestAloneInJaeger(t *testing.T) {
	t.Parallel()
	server := jaegertest.Start(t)
	askAlone(t, server.OTLP)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		trace, err := server.Trace(t.Context(), aloneTrace)
		if err == nil && len(trace.Spans) == 1 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("Jaeger has %v of the trace, %v", trace, err)
		}
	}
}
