// Package jaegertest gives a test a real Jaeger.
package jaegertest

import (
	"testing"

	"plaque/scripts/internal/build"
	"plaque/scripts/internal/jaeger"
	"plaque/steps/kit/need"
)

// Root is the workshop's folder, seen from any package in it.
func Root(tb testing.TB) string {
	tb.Helper()
	root, err := build.Root(".")
	if err != nil {
		tb.Fatal(err)
	}
	return root
}

// Binary is the path of the source-built Jaeger, which the test needs.
func Binary(tb testing.TB) string {
	tb.Helper()
	path, built, err := jaeger.SourceBinary(Root(tb))
	if err != nil {
		tb.Fatal(err)
	}
	if !built {
		need.Missing(tb, "the real Jaeger", "go run ./scripts jaeger --build (some 4 minutes, once)")
	}
	return path
}

// Start starts that Jaeger on free ports, empty, and stops it when the test ends.
func Start(tb testing.TB) *jaeger.Server {
	tb.Helper()
	Binary(tb)
	s, err := jaeger.Start(tb.Context(), jaeger.Options{Root: Root(tb), From: jaeger.FromSource, FreePorts: true})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Stop(); err != nil {
			tb.Error(err)
		}
	})
	return s
}
