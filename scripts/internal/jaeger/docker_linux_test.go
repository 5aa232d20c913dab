package jaeger

import (
	"os"
	"path/filepath"
	"testing"
)

// A clone that only its owner can read is named before a container fails on it.
func TestContainerReads(t *testing.T) {
	f := newFakes(t)
	f.Root = t.TempDir()
	f.From = FromDocker
	if err := os.Mkdir(filepath.Join(f.Root, "jaeger"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"config.yaml", "ui-config.json"} {
		if err := os.WriteFile(filepath.Join(f.Root, "jaeger", name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err := Start(t.Context(), f.Options)
	mustFail(t, err, "config.yaml has the mode 0600", "chmod o+r")
	if err := os.Chmod(filepath.Join(f.Root, "jaeger", "config.yaml"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := f.containerReads(); err == nil {
		t.Error("the second file is not looked at")
	}
}
