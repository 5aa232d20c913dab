package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"plaque/scripts/internal/jaeger/jaegertest"
	"plaque/steps/kit/telemetry"
)

// used are the messages that the tests have led to.
var used = struct {
	sync.Mutex
	ids map[string]bool
}{ids: map[string]bool{}}

// TestMain runs the tests, and after all of them fails if the doctor could say
// something that no test has made it say. It also is the docker of some tests.
func TestMain(m *testing.M) {
	if mode := os.Getenv("FAKE_DOCKER"); mode != "" && len(os.Args) > 1 && (os.Args[1] == "compose" || os.Args[1] == "info") {
		os.Exit(fakeDocker(mode, os.Args[1]))
	}
	said = func(id string) {
		used.Lock()
		defer used.Unlock()
		used.ids[id] = true
	}
	code := m.Run()
	if code == 0 && everyTestRan() {
		for _, m := range messages {
			if !used.ids[m.id] {
				fmt.Printf("no test makes the doctor say %q\n", m.id)
				code = 1
			}
		}
	}
	os.Exit(code)
}

// everyTestRan is false where somebody asked for some tests only, or where the
// real Jaeger is not there.
func everyTestRan() bool {
	for _, a := range os.Args[1:] {
		if strings.HasPrefix(a, "-test.run") || strings.HasPrefix(a, "-test.skip") || strings.HasPrefix(a, "-test.list") {
			return false
		}
	}
	return !skipped
}

// All of what jaeger/README.md says is filled in. That it says it, the runner's
// TestOverview knows.
func TestPage(t *testing.T) {
	if page := NoTraces(); strings.ContainsAny(page, "{}") {
		t.Errorf("a placeholder is left in\n%s", page)
	}
}

// The page names each variable whose default is ours, with that value.
func TestPageNamesOurDefaults(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(jaegertest.Root(t), "scripts", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, v := range telemetry.Variables() {
		if v.Ours == "" {
			continue
		}
		n++
		if !strings.Contains(string(page), v.Name) || !strings.Contains(string(page), v.Ours) {
			t.Errorf("README.md does not say that %s is %s by default", v.Name, v.Ours)
		}
	}
	if n != 5 {
		t.Errorf("%d defaults are ours, want 5", n)
	}
}

// The page shows a message of telemetry's as an example. It is the real one.
func TestExampleIsReal(t *testing.T) {
	clean(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "127.0.0.1:4318")
	_, err := telemetry.Start(t.Context(), telemetry.Config{})
	if want := exampleOf["refused"][1]; err == nil || err.Error() != want {
		t.Errorf("telemetry says %v, the page %s", err, want)
	}
}

// Each message that is no success says what to do, and has a unique id.
func TestMessages(t *testing.T) {
	var ids []string
	for _, m := range messages {
		if m.state != Warning && m.state != Failure || m.found == "" || m.advice == "" {
			t.Errorf("%s: %+v", m.id, m)
		}
		if slices.Contains(ids, m.id) {
			t.Errorf("%s stands twice", m.id)
		}
		ids = append(ids, m.id)
	}
}

func TestSay(t *testing.T) {
	// A value is put in as it is, also one that looks like a placeholder.
	f := say("name", "refused", "why", "a {why} and a {what}")
	if f.Name != "name" || f.State != Failure || f.Found != "a {why} and a {what}" || !strings.HasPrefix(f.Advice, "A step refuses") {
		t.Errorf("said %+v", f)
	}
	for what, call := range map[string]func(){
		"an unknown message": func() { say("name", "nonsense") },
		"a missing value":    func() { say("name", "refused", "what", "x") },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", what)
				}
			}()
			call()
		}()
	}
}
