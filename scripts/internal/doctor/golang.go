package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/version"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// goPatience bounds `go env`, which may want to download another Go first.
const goPatience = 6 * time.Second

// goEnv is what the go command says of itself.
type goEnv struct {
	GOVERSION, GOTOOLCHAIN        string
	GOCACHE, GOMODCACHE, GOTMPDIR string
}

// readGoEnv asks the go command that a step would be built with.
func readGoEnv(ctx context.Context, root string) (goEnv, error) {
	bounded, cancel := context.WithTimeout(ctx, goPatience)
	defer cancel()
	cmd := exec.CommandContext(bounded, "go", "env", "-json", "GOVERSION", "GOTOOLCHAIN", "GOCACHE", "GOMODCACHE", "GOTMPDIR")
	cmd.Dir = root
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	var e goEnv
	failed, exited := errors.AsType[*exec.ExitError](err)
	switch {
	case err == nil:
		return e, json.Unmarshal(out, &e)
	case errors.Is(bounded.Err(), context.DeadlineExceeded):
		return e, fmt.Errorf("no answer within %v", goPatience)
	case exited && flat(string(failed.Stderr)) != "":
		return e, errors.New(flat(string(failed.Stderr)))
	}
	return e, err
}

// goNeeds is the version that go.work asks for, such as 1.26.0.
func goNeeds(root string) (string, error) {
	path := filepath.Join(root, "go.work")
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == "go" {
			return f[1], nil
		}
	}
	return "", fmt.Errorf("%s names no version of Go", path)
}

func (x *exam) goVersion(context.Context) []Finding {
	needs, err := goNeeds(x.root)
	if err != nil {
		return []Finding{say("go", "go-fails", "why", err.Error(), "needs", "1.26")}
	}
	e, err := x.goEnv()
	if err != nil {
		return []Finding{say("go", "go-fails", "why", err.Error(), "needs", needs)}
	}
	// A version can have experiments behind it; one from a repository compares
	// as older than everything, and its builder knows what it is.
	v, _, _ := strings.Cut(e.GOVERSION, " ")
	if version.IsValid(v) && version.Compare(v, "go"+needs) < 0 {
		return []Finding{say("go", "go-old", "version", v, "needs", needs, "toolchain", e.GOTOOLCHAIN)}
	}
	return []Finding{ok("go", fmt.Sprintf("%s, and go.work needs %s (GOTOOLCHAIN=%s)", e.GOVERSION, needs, e.GOTOOLCHAIN))}
}

// flat puts a text on one line.
func flat(s string) string { return strings.Join(strings.Fields(s), " ") }
