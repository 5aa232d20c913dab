//go:build unix

package telemetry

import (
	"io"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A FIFO in place of a file is refused, and nobody waits for its other end.
func TestFIFO(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, env := range []string{
		"OTEL_TRACES_EXPORTER=chrome:" + fifo,
		"OTEL_EXPORTER_OTLP_CERTIFICATE=" + fifo,
		"OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE=" + fifo + " OTEL_EXPORTER_OTLP_CLIENT_KEY=" + fifo,
	} {
		setenv(t, append(strings.Fields(env), "OTEL_EXPORTER_OTLP_ENDPOINT=https://example.com")...)
		done := make(chan error, 1)
		go func() {
			_, err := New(t.Context(), Config{Out: io.Discard})
			done <- err
		}()
		select {
		case err := <-done:
			if err == nil || !strings.Contains(err.Error(), "it is no regular file") {
				t.Errorf("%s: %v", env, err)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%s: it waits", env)
		}
	}
}
