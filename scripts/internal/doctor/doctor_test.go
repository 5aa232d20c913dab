package doctor

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"plaque/steps/kit/ports"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"go.opentelemetry.io/otel"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace/noop"

	"plaque/scripts/internal/build"
	"plaque/scripts/internal/jaeger"
	"plaque/scripts/internal/jaeger/jaegertest"
	"plaque/steps/kit/need"
	"plaque/steps/kit/origin"
	"plaque/steps/kit/terminal"
	"plaque/steps/kit/web/webtest"
)

// skipped is true once a test could not have the real Jaeger.
var skipped bool

// realJaeger starts one, and the doctor finds it.
func realJaeger(t *testing.T) *jaeger.Server {
	t.Helper()
	skipped = true // a skip does not return
	s := jaegertest.Start(t)
	skipped = false
	for name, url := range map[string]string{"JAEGER_UI_PORT": s.UI, "JAEGER_OTLP_HTTP_PORT": s.OTLP} {
		t.Setenv(name, url[strings.LastIndexByte(url, ':')+1:])
	}
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", s.OTLP)
	return s
}

var jaegerVariables = []string{"JAEGER_UI_PORT", "JAEGER_OTLP_HTTP_PORT", "JAEGER_OTLP_GRPC_PORT", "JAEGER_QUERY_GRPC_PORT", "JAEGER_HEALTH_PORT"}

// clean takes away every variable that a step or Jaeger reads, and moves all
// ports to free ones. Spans go to the port for them, where nobody listens yet.
func clean(t *testing.T) {
	t.Helper()
	for _, pair := range os.Environ() {
		if name, _, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "OTEL_") || name == "FEED_URL" || name == "LOG_LEVEL" {
			t.Setenv(name, "")
		}
	}
	free, err := ports.Free(len(jaegerVariables))
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range jaegerVariables {
		t.Setenv(name, strconv.Itoa(free[i]))
	}
	three, err := ports.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("ADDR", three)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+addr("JAEGER_OTLP_HTTP_PORT"))
}

func port(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }

// addr is where one of Jaeger's variables says.
func addr(variable string) string { return "127.0.0.1:" + os.Getenv(variable) }

// plus is the address n ports behind ADDR.
func plus(n int) string {
	first, _ := strconv.Atoi(port(os.Getenv("ADDR")))
	return fmt.Sprintf("127.0.0.1:%d", first+n)
}

// here are the usual options, in this workshop.
func here(t *testing.T) options { return usual(jaegertest.Root(t)) }

// hasty are options for a test in which something is silent, or is not. A tenth of
// the usual patience is enough to find that nothing comes, and not for an answer on
// a busy machine. TestPatience says what is usual.
func hasty(t *testing.T, silence bool) options {
	o := here(t)
	if silence {
		for _, patience := range []*time.Duration{&o.askPatience, &o.findPatience, &o.dockerPatience, &o.feedPatience} {
			*patience /= 10
		}
	}
	return o
}

// What a reader waits for at most, and what the findings say.
func TestPatience(t *testing.T) {
	o := usual("")
	for name, c := range map[string][2]time.Duration{
		"a port": {o.askPatience, 2 * time.Second}, "a span": {o.findPatience, 3 * time.Second},
		"Docker": {o.dockerPatience, 3 * time.Second}, "a feed": {o.feedPatience, 3 * time.Second},
		"a check": {o.checkPatience, 8 * time.Second}, "all": {o.allPatience, 9 * time.Second},
	} {
		if c[0] != c[1] {
			t.Errorf("%s: %v, want %v", name, c[0], c[1])
		}
	}
}

// look runs the checks of these names and returns what they found.
func look(t *testing.T, o options, names ...string) []Finding {
	t.Helper()
	var some []check
	for _, c := range checks() {
		if slices.Contains(names, c.name) {
			some = append(some, c)
		}
	}
	if len(some) != len(names) {
		t.Fatalf("there are not all checks of %q", names)
	}
	return examine(t.Context(), o, some)
}

// must fails unless found has exactly one finding in that state whose text has
// all of says, found and advice together.
func must(t *testing.T, found []Finding, state State, says ...string) {
	t.Helper()
	for _, f := range found {
		all := f.Found + "\n" + f.Advice
		if f.State == state && !slices.ContainsFunc(says, func(s string) bool { return !strings.Contains(all, s) }) {
			return
		}
	}
	t.Errorf("found\n%s\nand nothing of state %s that says %q", text(found), state, says)
}

func text(found []Finding) string {
	var b strings.Builder
	for _, f := range found {
		fmt.Fprintf(&b, "%s %s: %s\n    %s\n", f.State.Mark(), f.Name, f.Found, f.Advice)
	}
	return b.String()
}

// strangers are what may listen at a port of ours, and what is said of them.
var strangers = map[string]struct {
	put  func(t testing.TB, at string)
	says string
}{
	"HTTP":   {func(t testing.TB, at string) { webtest.Serve(t, at, http.NotFoundHandler()) }, "HTTP 404 from a server without a name"},
	"silent": {func(t testing.TB, at string) { webtest.Connect(t, at, silent) }, "it takes connections and does not answer within 200ms"},
	"rubbish": {func(t testing.TB, at string) {
		webtest.Connect(t, at, func(c net.Conn) {
			_, _ = io.WriteString(c, "220 mail.example.com\r\n")
			c.Close()
		})
	}, "it takes connections and speaks no HTTP"},
}

func silent(net.Conn) {}

// collector takes spans as OTLP has it, and keeps none.
var collector = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/v1/traces" {
		http.NotFound(w, r)
		return
	}
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "application/x-protobuf")
})

// emptyAPI answers as a Jaeger does that has no trace.
var emptyAPI = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if r.URL.Path == "/api/services" {
		_, _ = io.WriteString(w, `{"data":null,"total":0,"limit":0,"offset":0,"errors":null}`)
		return
	}
	w.WriteHeader(http.StatusNotFound)
	_, _ = io.WriteString(w, `{"data":null,"total":0,"limit":0,"offset":0,"errors":[{"code":404,"msg":"trace not found"}]}`)
})

// me is how the doctor names this program where the system tells.
func me() string {
	if runtime.GOOS != "linux" {
		return ""
	}
	return fmt.Sprintf("(%s, pid %d)", filepath.Base(os.Args[0]), os.Getpid())
}

// A machine on which all is well, with the real Jaeger.
func TestHealthy(t *testing.T) {
	clean(t)
	s := realJaeger(t)
	o := here(t)
	o.youtube = "http://127.0.0.1:1/"
	found := examine(t.Context(), o, checks())
	for _, f := range found {
		if f.State == Failure || (f.State == Warning && !slices.Contains([]string{"disk", "memory", "docker"}, f.Name)) {
			t.Errorf("%s %s: %s", f.State.Mark(), f.Name, f.Found)
		}
	}
	must(t, found, OK, "go.work needs 1.26.0")
	must(t, found, OK, port(plus(0))+", "+port(plus(1))+", "+port(plus(2))+" are free")
	must(t, found, OK, "a Jaeger answers at "+s.UI)
	must(t, found, OK, "spans go to "+s.OTLP+" (OTEL_EXPORTER_OTLP_ENDPOINT set)")
	must(t, found, OK, "one went to "+s.OTLP, "Jaeger had it", "later: "+s.API+"/traces/")
	must(t, found, OK, "the same as Jaeger's")
	must(t, found, OK, "each step starts its own")
	must(t, found, Note, "the real feed cannot be read from here, and nothing needs it", "refused")

	// The span is there, once, and is the doctor's.
	ids, err := jaegertest.Search(t.Context(), s, "/search?service=doctor")
	if err != nil || len(ids) != 1 {
		t.Fatalf("Jaeger has the traces %q, %v; want the doctor's one", ids, err)
	}
	if trace, err := s.Trace(t.Context(), ids[0]); err != nil || len(trace.Spans) != 1 || trace.Spans[0].Name != "doctor" {
		t.Errorf("Jaeger has %+v, %v; want the doctor's one span", trace, err)
	}
	if names := jaegertest.Services(t, s); len(names) != 1 {
		t.Errorf("Jaeger has the services %v; want the doctor alone", names)
	}
}

func TestServiceIsRenamed(t *testing.T) {
	clean(t)
	realJaeger(t)
	t.Setenv("OTEL_SERVICE_NAME", "shop")
	must(t, look(t, here(t), "span"), Warning, "the service shop, not under plaque", "OTEL_SERVICE_NAME")
}

func TestGo(t *testing.T) {
	clean(t)
	root := t.TempDir()
	must(t, look(t, usual(root), "go"), Failure, "go.work", "https://go.dev/dl/")

	if err := os.WriteFile(filepath.Join(root, "go.work"), []byte("// comment\n\ngo 1.99.0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOWORK", "")
	t.Setenv("GOTOOLCHAIN", "local")
	must(t, look(t, usual(root), "go"), Failure, "go.work needs 1.99.0 (GOTOOLCHAIN=local)", "Install Go 1.99.0 or newer", "GOTOOLCHAIN=auto")

	t.Setenv("GOTOOLCHAIN", "nonsense")
	must(t, look(t, usual(root), "go", "disk"), Failure, "`go env` fails:", "nonsense", "Install Go 1.99.0")
}

// Whatever is at a step's port, it is said what that is, who, and what to do.
func TestStepPorts(t *testing.T) {
	for name, c := range map[string]struct {
		at  int
		use string
	}{"HTTP": {0, "a step"}, "rubbish": {1, "its feed"}, "silent": {2, "its debug pages"}} {
		t.Run(name, func(t *testing.T) {
			clean(t)
			strangers[name].put(t, plus(c.at))
			found := look(t, hasty(t, name == "silent"), "ports")
			must(t, found, Failure, fmt.Sprintf("port %s (%s) is in use: %s", port(plus(c.at)), c.use, strangers[name].says), me(), "Stop that program, or start each step with ADDR=")
			if len(found) != 1 {
				t.Errorf("found\n%s", text(found))
			}
		})
	}
	t.Run("the feed's port on IPv6 alone", func(t *testing.T) {
		clean(t)
		l, err := net.Listen("tcp", "[::1]:"+port(plus(1)))
		if err != nil {
			t.Skip("this machine has no IPv6 loopback")
		}
		defer l.Close()
		must(t, look(t, hasty(t, true), "ports"), Failure, "port "+port(plus(1))+" (its feed)")
	})
	t.Run("free ports are asked for", func(t *testing.T) {
		clean(t)
		t.Setenv("ADDR", "127.0.0.1:0")
		must(t, look(t, here(t), "ports"), OK, "free ones")
	})
	t.Run("ADDR is none", func(t *testing.T) {
		clean(t)
		t.Setenv("ADDR", "5000")
		found := look(t, here(t), "ports", "feed")
		must(t, found, Failure, `ADDR="5000" is not an address`, "Correct the variable")
		must(t, found, Note, "not looked at")
	})
}

// A step that runs is no failure; and looking at it loads nothing.
func TestStepRuns(t *testing.T) {
	clean(t)
	bin := filepath.Join(t.TempDir(), "05-naive-cache")
	if runtime.GOOS == "windows" {
		bin += ".exe"
	}
	if err := build.Build(t.Context(), filepath.Join(jaegertest.Root(t), "steps", "05-naive-cache"), ".", bin, ""); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin)
	cmd.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer stdin.Close() // the step ends with it
	until := time.Now().Add(30 * time.Second)
	for free(plus(0)) || free(plus(1)) || free(plus(2)) {
		if time.Now().After(until) {
			t.Fatal("the step does not start")
		}
		time.Sleep(10 * time.Millisecond)
	}
	found := look(t, here(t), "ports")
	who := ""
	if runtime.GOOS == "linux" {
		who = fmt.Sprintf("(05-naive-cache, pid %d)", cmd.Process.Pid)
	}
	must(t, found, OK, "05-naive-cache runs at "+plus(0), who)
	if len(found) != 1 {
		t.Errorf("found\n%s", text(found))
	}
	seen, err := origin.Remote{Base: "http://" + plus(1), Client: http.DefaultClient}.Stats(t.Context())
	if err != nil || seen.Requests != 0 {
		t.Errorf("the feed was asked %d times, %v", seen.Requests, err)
	}
}

// A step without a feed, and another program where the next step's would be.
func TestStrangerBesideStep(t *testing.T) {
	clean(t)
	webtest.Serve(t, plus(1), http.NotFoundHandler())
	root := t.TempDir()
	webtest.Serve(t, plus(2), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"step":"01-blocking-tcp"}`)
	}))
	if err := os.MkdirAll(filepath.Join(root, "steps", "01-blocking-tcp"), 0o755); err != nil {
		t.Fatal(err)
	}
	must(t, look(t, usual(root), "ports"), Failure, "port "+port(plus(2))) // no such step there
	if err := os.WriteFile(filepath.Join(root, "steps", "01-blocking-tcp", "lesson.yaml"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	found := look(t, usual(root), "ports")
	must(t, found, OK, "01-blocking-tcp runs at "+plus(0))
	must(t, found, Failure, "port "+port(plus(1))+" (its feed) is in use: HTTP 404")
}

func TestJaegerPorts(t *testing.T) {
	t.Run("free", func(t *testing.T) {
		clean(t)
		found := look(t, here(t), "Jaeger's ports", "span", "clock")
		must(t, found, OK, os.Getenv("JAEGER_UI_PORT")+", ", "are free")
		must(t, found, Warning, "nothing listens at http://"+addr("JAEGER_OTLP_HTTP_PORT"), "docker compose up", "go run ./scripts jaeger")
		must(t, found, OK, "not behind the workshop's files")
		for _, f := range found {
			if f.State == Failure {
				t.Errorf("no Jaeger is no failure: %s", f.Found)
			}
		}
	})
	t.Run("no port", func(t *testing.T) {
		clean(t)
		t.Setenv("JAEGER_UI_PORT", "abc")
		found := look(t, here(t), "Jaeger's ports", "span")
		must(t, found, Failure, `JAEGER_UI_PORT="abc" is not a port`, "usual ports")
		must(t, found, Note, "not looked for")
	})
	for name, stranger := range strangers {
		for _, variable := range []string{"JAEGER_OTLP_HTTP_PORT", "JAEGER_UI_PORT"} {
			t.Run(name+" at "+variable, func(t *testing.T) {
				clean(t)
				stranger.put(t, addr(variable))
				found := look(t, hasty(t, name == "silent"), "Jaeger's ports", "span")
				must(t, found, Failure, "port "+os.Getenv(variable), "is in use", stranger.says, me(), "set "+variable+" to another port")
				if variable == "JAEGER_OTLP_HTTP_PORT" {
					must(t, found, Failure, "what listens there takes none: ", stranger.says, "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:14318")
				}
			})
		}
	}
}

// Each way that a span can get lost has its own words.
func TestLostSpans(t *testing.T) {
	const ui, otlp, both = 1, 2, 3
	for name, c := range map[string]struct {
		listen       int
		base, traces string // OTEL_EXPORTER_OTLP_ENDPOINT and _TRACES_ENDPOINT, with AT for the port for spans
		says         []string
	}{
		"swallowed": {both, "", "", []string{"did not have it 300ms later", "Stop both"}},
		"no API":    {otlp, "", "", []string{"took a span, but no Jaeger answers at http://", "nothing listens there", "Some other collector"}},
		"no OTLP":   {ui, "", "", []string{"a Jaeger answers at http://", "takes no spans at http://", "nothing listens there"}},
		"a refusing collector elsewhere": {both, "http://127.0.0.1:1", "",
			[]string{"spans go to http://127.0.0.1:1 and do not arrive", "refused", "while a Jaeger takes them at http://"}},
		"nothing elsewhere": {0, "http://127.0.0.1:1", "",
			[]string{"spans go to http://127.0.0.1:1 and do not arrive", "refused", "Unset `OTEL_EXPORTER_OTLP_ENDPOINT`"}},
		"another path": {both, "", "http://localhost:AT/",
			[]string{"/ and do not arrive", "404", "`OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` is the whole URL", "Set `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://localhost:", "/v1/traces`"}},
		"a variable that loses": {both, "", "http://127.0.0.1:1/v1/traces",
			[]string{"while a Jaeger takes them at http://", "Set `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://127.0.0.1:", "/v1/traces`. "}},
		"nothing elsewhere, by the variable that wins": {0, "", "http://127.0.0.1:1/v1/traces",
			[]string{"Unset `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, or start there"}},
		"a doubled path": {both, "http://127.0.0.1:AT/v1/traces", "",
			[]string{"/v1/traces/v1/traces, where the path stands twice", "404", "Set `OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:"}},
		"a doubled path of a prefix": {both, "", "http://127.0.0.1:AT/v1/traces/v1/traces",
			[]string{"where the path stands twice", "Set `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://127.0.0.1:", "/v1/traces`."}},
		"a doubled path that a shell would change": {both, "http://127.0.0.1:AT/it's/a&b/v1/traces/v1/traces", "",
			[]string{"where the path stands twice", "Set `" + terminal.Shell("OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:AT/it%27s/a&b") + "`."}},
		"TLS by the variable that wins": {otlp, "", "https://127.0.0.1:AT/v1/traces",
			[]string{"with TLS, and do not arrive", "Set `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://127.0.0.1:", "/v1/traces`."}},
		"TLS to a plain port": {both, "https://127.0.0.1:AT", "",
			[]string{"with TLS, and do not arrive", "HTTP response to HTTPS client", "speaks plain HTTP"}},
	} {
		t.Run(name, func(t *testing.T) {
			clean(t)
			if c.listen&ui != 0 {
				webtest.Serve(t, addr("JAEGER_UI_PORT"), emptyAPI)
			}
			if c.listen&otlp != 0 {
				webtest.Serve(t, addr("JAEGER_OTLP_HTTP_PORT"), collector)
			}
			for variable, value := range map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": c.base, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": c.traces} {
				if value != "" {
					t.Setenv(variable, strings.Replace(value, "AT", os.Getenv("JAEGER_OTLP_HTTP_PORT"), 1))
				}
			}
			for i := range c.says {
				c.says[i] = strings.Replace(c.says[i], "AT", os.Getenv("JAEGER_OTLP_HTTP_PORT"), 1)
			}
			o := here(t)
			if name == "swallowed" { // the ports answer; the span alone is waited for in vain
				o.findPatience /= 10
			}
			must(t, look(t, o, "span"), Failure, c.says...)
		})
	}
}

func TestSettings(t *testing.T) {
	for _, c := range []struct {
		name, value string
		state       State
		says        []string
	}{
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "127.0.0.1:4318", Failure, []string{"is not a URL with a scheme", "Without a scheme an exporter would fall back to TLS"}},
		{"OTEL_TRACES_EXPORTER", "zipkin", Failure, []string{`OTEL_TRACES_EXPORTER="zipkin": there is no exporter`, "it can be otlp, console, json, chrome:FILE or none"}},
		{"OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", Failure, []string{"speaks http/protobuf only"}},
		{"OTEL_TRACES_SAMPLER", "nonsense", Failure, []string{`OTEL_TRACES_SAMPLER="nonsense": it can be always_on`, "Correct the variable"}},
		{"OTEL_TRACE_EXPORTER", "console", Warning, []string{"variables without effect: OTEL_TRACE_EXPORTER", "misspelt"}},
		{"LOG_LEVEL", "loud", Failure, []string{`LOG_LEVEL="loud"`}},
		{"OTEL_TRACES_EXPORTER", "none", Warning, []string{"no span is sent to Jaeger: OTEL_TRACES_EXPORTER=none"}},
		{"OTEL_TRACES_EXPORTER", "console", Warning, []string{"no span is sent to Jaeger: OTEL_TRACES_EXPORTER=console"}},
		{"OTEL_SDK_DISABLED", "true", Warning, []string{"no span is sent to Jaeger: OTEL_SDK_DISABLED=true"}},
		{"OTEL_TRACES_SAMPLER", "always_off", Warning, []string{"thrown away before it was sent: OTEL_TRACES_SAMPLER=always_off"}},
	} {
		t.Run(c.name+"="+c.value, func(t *testing.T) {
			clean(t)
			webtest.Serve(t, addr("JAEGER_UI_PORT"), emptyAPI)
			webtest.Serve(t, addr("JAEGER_OTLP_HTTP_PORT"), collector)
			t.Setenv(c.name, c.value)
			must(t, look(t, hasty(t, c.name == "OTEL_TRACE_EXPORTER"), "span"), c.state, c.says...)
		})
	}
	t.Run("each variable is a finding", func(t *testing.T) {
		clean(t)
		t.Setenv("OTEL_TRACES_SAMPLER", "nonsense")
		t.Setenv("OTEL_PROPAGATORS", "b3")
		found := look(t, here(t), "span")
		must(t, found, Failure, `OTEL_TRACES_SAMPLER="nonsense"`)
		must(t, found, Failure, `OTEL_PROPAGATORS="b3": there is no propagator "b3" here`)
		if len(found) != 3 {
			t.Errorf("found\n%s", text(found))
		}
	})
	t.Run("passwords are not printed", func(t *testing.T) {
		clean(t)
		t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=hunter2")
		found := look(t, here(t), "span")
		must(t, found, OK, "OTEL_EXPORTER_OTLP_HEADERS")
		if strings.Contains(text(found), "hunter2") {
			t.Errorf("found\n%s", text(found))
		}
	})
}

func TestClock(t *testing.T) {
	clean(t)
	root := t.TempDir()
	path := filepath.Join(root, "go.work")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	must(t, look(t, usual(root), "clock"), OK, "not behind")
	ahead := time.Now().Add(2 * time.Hour)
	if err := os.Chtimes(path, ahead, ahead); err != nil {
		t.Fatal(err)
	}
	must(t, look(t, usual(root), "clock"), Warning, "go.work was written", "after now", "set the clock")

	webtest.Serve(t, addr("JAEGER_UI_PORT"), emptyAPI)
	must(t, look(t, usual(root), "clock"), OK, "the same as Jaeger's")
	for _, wrong := range []time.Duration{-2 * time.Hour, -61*time.Second - clockSlack, 2 * time.Hour} {
		o := usual(root)
		o.now = func() time.Time { return time.Now().Add(wrong) }
		must(t, look(t, o, "clock"), Failure, "Jaeger's clock says", "this machine's "+o.now().Local().Format("2006-01-02 15:"), "Set the clock that is wrong")
	}
}

// workshopWithoutJaeger are the options in one whose Jaeger has not been built.
func workshopWithoutJaeger(t *testing.T) options {
	t.Helper()
	root := t.TempDir()
	if err := os.CopyFS(filepath.Join(root, "jaeger"), os.DirFS(filepath.Join(jaegertest.Root(t), "jaeger"))); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "jaeger", "go.sum"), []byte("another\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return usual(root)
}

func TestDisk(t *testing.T) {
	clean(t)
	o := workshopWithoutJaeger(t)
	for name, c := range map[string]struct {
		free  uint64
		state State
		says  []string
	}{
		"full":   {849 * mb, Warning, []string{"849 MB free for GOCACHE, GOMODCACHE, ", "take 850 MB", "GOMODCACHE and GOTMPDIR"}},
		"scarce": {850 * mb, Warning, []string{"850 MB free for ", "5.3 GB in all", "--from release"}},
		"enough": {6000 * mb, OK, []string{"5.9 GB free for GOCACHE, GOMODCACHE, ", ", Jaeger; "}},
	} {
		t.Run(name, func(t *testing.T) {
			o.disk = func(context.Context, string) (volume, error) { return volume{c.free, 1 << 40}, nil }
			must(t, look(t, o, "disk"), c.state, c.says...)
		})
	}
	t.Run("two disks", func(t *testing.T) {
		t.Setenv("GOTMPDIR", t.TempDir())
		o.disk = func(_ context.Context, dir string) (volume, error) {
			if dir == os.Getenv("GOTMPDIR") {
				return volume{299 * mb, 1 << 30}, nil
			}
			return volume{1 << 40, 1 << 41}, nil
		}
		found := look(t, o, "disk")
		must(t, found, Warning, "299 MB free for GOTMPDIR; ", "take 300 MB")
		must(t, found, OK, "1024.0 GB free for GOCACHE, GOMODCACHE, Jaeger; ")
	})
	t.Run("unknown", func(t *testing.T) {
		o.disk = func(context.Context, string) (volume, error) { return volume{}, errors.New("no such disk") }
		must(t, look(t, o, "disk"), Warning, "cannot be told: no such disk", "850 MB")
	})
	t.Run("this machine's", func(t *testing.T) {
		v, err := diskOf(t.Context(), filepath.Join(o.root, "not", "there", "yet"))
		if err != nil || v.free == 0 || v.free > v.total {
			t.Errorf("%+v, %v", v, err)
		}
	})
}

func TestMemory(t *testing.T) {
	clean(t)
	o := workshopWithoutJaeger(t)
	for name, c := range map[string]struct {
		available uint64
		err       error
		state     State
		says      []string
	}{
		"none":    {100 * mb, nil, Warning, []string{"100 MB available of 8.0 GB", "takes 1.0 GB", "GOFLAGS=-p=1"}},
		"little":  {2048 * mb, nil, Warning, []string{"2.0 GB available of 8.0 GB", "Jaeger from source takes 3.5 GB", "--from release"}},
		"enough":  {4096 * mb, nil, OK, []string{"4.0 GB available of 8.0 GB"}},
		"unknown": {0, errors.New("no such file"), Warning, []string{"cannot be told: no such file", "1.0 GB"}},
	} {
		t.Run(name, func(t *testing.T) {
			o.memory = func(context.Context) (uint64, uint64, error) { return c.available, 8 << 30, c.err }
			must(t, look(t, o, "memory"), c.state, c.says...)
		})
	}
	t.Run("this machine's", func(t *testing.T) {
		if available, total, err := memoryOf(t.Context()); err != nil || available == 0 || available > total {
			t.Errorf("%d of %d, %v", available, total, err)
		}
	})
}

func fakeDocker(mode, what string) int {
	switch {
	case mode == "no engine" && what == "info":
		fmt.Fprintln(os.Stderr, "Cannot connect to the Docker daemon")
		return 1
	case mode == "hangs" && what == "info":
		time.Sleep(time.Hour)
	}
	return 0
}

func TestDocker(t *testing.T) {
	clean(t)
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	must(t, look(t, here(t), "docker"), Note, "not installed, and not needed", "official release")

	name := "docker"
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	self, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), self, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	hangs := 2 * time.Second // docker compose has to answer first
	if need.CI() {           // where the machine is busy
		hangs = 5 * time.Second
	}
	for mode, c := range map[string]struct {
		state State
		says  []string
	}{
		"an engine": {OK, []string{"an engine answers", "docker compose up"}},
		"no engine": {Warning, []string{"cannot be used: `docker info` fails", "Cannot connect to the Docker daemon", "You need not"}},
		"hangs":     {Warning, []string{"`docker info` fails: no answer within " + hangs.String()}},
	} {
		t.Run(mode, func(t *testing.T) {
			t.Setenv("FAKE_DOCKER", mode)
			o := here(t)
			if mode == "hangs" {
				o.dockerPatience = hangs
			}
			must(t, look(t, o, "docker"), c.state, c.says...)
		})
	}
}

func TestFeed(t *testing.T) {
	clean(t)
	feed := origin.New(noop.NewTracerProvider())
	base, err := feed.Serve(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := base + origin.Path
	for name, c := range map[string]struct {
		url, answer string
		state       State
		says        []string
	}{
		"refuses":       {"http://127.0.0.1:1/", "ok", Failure, []string{"FEED_URL=http://127.0.0.1:1/: the feed failed", "refused", "Unset FEED_URL"}},
		"rubbish":       {url, "rubbish", Failure, []string{"it is no feed that we can read"}},
		"fine":          {url, "ok", OK, []string{url + " answers: its newest video is "}},
		"doomed":        {url, "doom", Warning, []string{"serves the video on which a load panics", "go run ./scripts feed ok"}},
		"never answers": {url, "hang", Failure, []string{"the feed took too long"}},
	} {
		t.Run(name, func(t *testing.T) {
			if err := feed.Set(origin.Script{Next: []string{c.answer}}); err != nil {
				t.Fatal(err)
			}
			t.Setenv("FEED_URL", c.url)
			must(t, look(t, hasty(t, name == "never answers"), "feed"), c.state, c.says...)
		})
	}
	t.Run("no URL", func(t *testing.T) {
		t.Setenv("FEED_URL", "www.youtube.com")
		must(t, look(t, here(t), "ports", "feed"), Failure, `FEED_URL="www.youtube.com" is not an http or https URL`)
	})
	t.Run("the real one", func(t *testing.T) {
		o := here(t)
		o.youtube = url
		must(t, look(t, o, "youtube"), Note, "the real feed answers", "FEED_URL="+url)
		o.youtube = "http://127.0.0.1:1/"
		must(t, look(t, o, "youtube"), Note, "nothing needs it", "refused")
	})
}

// What the doctor asks of a feed is no trace of the workshop's.
func TestFeedIsNotTraced(t *testing.T) {
	clean(t)
	recorder := tracetest.NewSpanRecorder()
	before := otel.GetTracerProvider()
	otel.SetTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder)))
	defer otel.SetTracerProvider(before)
	base, err := origin.New(noop.NewTracerProvider()).Serve(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	x := &exam{options: usual("")}
	if _, _, err := x.read(t.Context(), base+origin.Path); err != nil {
		t.Fatal(err)
	}
	if spans := recorder.Started(); len(spans) != 0 {
		t.Errorf("%d spans, the first is %s", len(spans), spans[0].Name())
	}
}

// All ports take connections and never answer, and so do both feeds: the whole
// ends within its bound.
func TestAllHang(t *testing.T) {
	clean(t)
	for _, v := range jaegerVariables {
		webtest.Connect(t, addr(v), silent)
	}
	for n := range 3 {
		webtest.Connect(t, plus(n), silent)
	}
	t.Setenv("FEED_URL", "http://"+plus(0)+"/")
	o := hasty(t, os.Getenv("CI") == "") // on CI the whole of it: 6 s
	o.youtube = "http://" + plus(0) + "/"
	began := time.Now()
	found := examine(t.Context(), o, checks())
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	must(t, found, Failure, "what listens there takes none: it takes connections and does not answer")
	must(t, found, Failure, "FEED_URL=http://", "the feed took too long")
	for _, f := range found {
		if strings.HasPrefix(f.Found, "no answer within 9s") {
			t.Errorf("%s did not keep its own bound", f.Name)
		}
	}
}

// What other programs say is printed, and moves no cursor: a server's status and
// name, the body of its answer, a variable, a step's name, a service.
func TestPlain(t *testing.T) {
	const evil = "\x1b]0;EVIL\a\x1b[2J\u009b7m\r\n"
	clean(t)
	reply := func(body string) func(net.Conn) {
		return func(c net.Conn) {
			_, _ = http.ReadRequest(bufio.NewReader(c))
			_, _ = fmt.Fprintf(c, "HTTP/1.1 500 \x1b[2JEVIL\u009b7m\r\nServer: EVIL\u009b7m\x1b[2J\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			c.Close()
		}
	}
	webtest.Connect(t, plus(0), reply(evil))
	webtest.Serve(t, plus(2), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{"step": evil})
	}))
	webtest.Connect(t, addr("JAEGER_OTLP_HTTP_PORT"), reply(evil))
	t.Setenv("FEED_URL", "http://"+plus(0)+"/?"+"EVIL\u009b7m")
	t.Setenv("OTEL_EVIL\u009b7m", evil)
	o := here(t)
	o.youtube = "http://" + plus(0)
	found := look(t, o, "ports", "Jaeger's ports", "span", "feed", "youtube")
	if n := strings.Count(text(found), "EVIL"); n < 4 {
		t.Errorf("they speak %d times only:\n%s", n, text(found))
	}
	t.Setenv("OTEL_TRACES_EXPORTER", evil)
	for _, f := range append(found, look(t, here(t), "span")...) {
		if all := f.Found + f.Advice; strings.ContainsFunc(all, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%s: %q", f.Name, all)
		}
	}
}

// A check that hangs where no context reaches is left behind, and hides no other.
func TestStuck(t *testing.T) {
	never := make(chan struct{})
	defer close(never)
	var ended sync.WaitGroup
	ended.Add(1)
	found := examine(t.Context(), options{checkPatience: time.Minute, allPatience: 200 * time.Millisecond}, []check{
		{"hangs", func(*exam, context.Context) []Finding { <-never; return nil }},
		{"ends", func(*exam, context.Context) []Finding { defer ended.Done(); return []Finding{ok("ends", "well")} }},
	})
	ended.Wait()
	if len(found) != 2 || found[0].Name != "hangs" || found[0].State != Failure || found[0].Found != "no answer within 200ms" || found[1].Found != "well" {
		t.Errorf("found\n%s", text(found))
	}
}

func TestTool(t *testing.T) {
	for system, want := range map[string]string{"linux": "ss -ltnp sport = :4318", "darwin": "lsof -nP -iTCP:4318 -sTCP:LISTEN", "windows": "netstat -ano | findstr :4318"} {
		if got := tool(system, "4318"); got != want {
			t.Errorf("%s: %s", system, got)
		}
	}
}
