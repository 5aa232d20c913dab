package check

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"plaque/scripts/internal/build"
	"plaque/steps/kit/need"
)

// A server of people who know the contract alone is not blamed: one in Go without
// our packages, and one in Node with OpenTelemetry's SDK for it.
func TestServersOfOthers(t *testing.T) {
	need.Gate(t, "judging both takes a minute of a core")
	for name, command := range map[string]func(t *testing.T) []string{
		"Go": func(t *testing.T) []string {
			bin := build.Exe(filepath.Join(t.TempDir(), "server"))
			if err := build.Build(t.Context(), filepath.Join("testdata", "server"), ".", bin, ""); err != nil {
				t.Fatal(err)
			}
			return []string{bin}
		},
		"Node": func(t *testing.T) []string {
			node := need.Program(t, "install Node.js 20 or later", "node")
			npm := need.Program(t, "it comes with Node.js", "npm")
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "node"))); err != nil {
				t.Fatal(err)
			}
			install := exec.CommandContext(t.Context(), npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts")
			install.Dir = dir
			if out, err := install.CombinedOutput(); err != nil {
				need.Missing(t, "OpenTelemetry JS", "npm ci must reach a registry; it says: "+plain(string(out)))
			}
			return []string{node, filepath.Join(dir, "server.mjs")}
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := Options{Command: command(t)} // before anything is judged
			t.Parallel()
			verdicts := judged(t, o)
			if got := lacks(verdicts); len(got) > 0 {
				t.Errorf("it lacks %q\n%s", got, transcript(verdicts))
			}
			if has, _, notJudged := Count(verdicts); notJudged != 1 { // it is one machine
				t.Errorf("%d properties were found and %d not judged, want all but the one about machines", has, notJudged)
			}
		})
	}
}
