package need

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// ended is a test that records how it was ended, and ends nothing.
type ended struct {
	testing.TB
	how []string
}

func (e *ended) Helper() {}

func (e *ended) Skipf(format string, args ...any) {
	e.how = append(e.how, "skipped: "+fmt.Sprintf(format, args...))
}

func (e *ended) Fatalf(format string, args ...any) {
	e.how = append(e.how, "failed: "+fmt.Sprintf(format, args...))
}

func TestNeeds(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", filepath.Dir(self))
	self = filepath.Base(self)
	missing := func(tb testing.TB) { Program(tb, "apt install nothing", "nothing", "nought") }
	for _, c := range []struct {
		name, ci string
		need     func(testing.TB)
		want     string
	}{
		{"a program that is there", "", func(tb testing.TB) { Program(tb, "no way", "nothing", self) }, ""},
		{"a missing program", "", missing, "skipped: needs nothing: apt install nothing"},
		{"a missing program, CI=false", "false", missing, "skipped: needs nothing"},
		{"a missing program on CI", "true", missing, "failed: CI must have what this test needs, nothing: apt install nothing"},
		{"a missing program on another CI", "1", missing, "failed: "},
		{"only for CI", "", func(tb testing.TB) { Gate(tb, "it builds Go") }, "skipped: runs with CI=true in the environment: it builds Go"},
		{"only for CI, on CI", "true", func(tb testing.TB) { Gate(tb, "it builds Go") }, ""},
	} {
		t.Setenv("CI", c.ci)
		e := &ended{TB: t}
		c.need(e)
		// The first end is the one that counts.
		if how := strings.Join(e.how, "\n"); !strings.HasPrefix(how, c.want) || c.want == "" && how != "" {
			t.Errorf("%s: %q, want %q", c.name, how, c.want)
		}
	}
}
