// Package need says what a test needs that a machine with Go and git may lack, and
// how many tests may wait at once.
//
// Without such a part the test is skipped, and the line says how to have it. Where
// CI is set in the environment it fails instead: there a skip would hide that
// nothing was tested.
package need

import (
	"flag"
	"os"
	"os/exec"
	"strconv"
	"testing"
)

// Program is the path of the first of these programs that is on PATH. how is the
// command that installs it, such as "apt install curl".
func Program(tb testing.TB, how string, names ...string) string {
	tb.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	Missing(tb, names[0], how)
	return ""
}

// Missing ends a test whose machine lacks a part. what names it, and how says
// how to have it. It must be called from the goroutine of the test that tb is, as
// tb.Skip must.
func Missing(tb testing.TB, what, how string) {
	tb.Helper()
	if CI() {
		tb.Fatalf("CI must have what this test needs, %s: %s", what, how)
	}
	tb.Skipf("needs %s: %s", what, how)
}

// Gate skips a test that only CI must run: it takes long and seldom finds what
// the others do not. why says what it takes.
func Gate(tb testing.TB, why string) {
	tb.Helper()
	if !CI() {
		tb.Skipf("runs with CI=true in the environment: %s", why)
	}
}

// CI reports whether CI is set in the environment, as CI services do. false and 0
// count as not set.
func CI() bool {
	switch os.Getenv("CI") {
	case "", "0", "false":
		return false
	}
	return true
}

// Parallel lets up to n tests of a package run at once, however few cores there
// are: tests that wait for other programs leave the cores alone. The flag -parallel
// has precedence. It is called from TestMain, before m.Run.
func Parallel(n int) {
	flag.Parse()
	asked := false
	flag.Visit(func(f *flag.Flag) { asked = asked || f.Name == "test.parallel" })
	if asked {
		return
	}
	if err := flag.Set("test.parallel", strconv.Itoa(n)); err != nil {
		panic(err) // the testing package has renamed its flag
	}
}
