package telemetry

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// specified is every variable about traces in the specification's page of
// environment variables, the exporter's page, and what the SDK reads beside them.
var specified = strings.Fields(`
OTEL_SDK_DISABLED OTEL_ENTITIES OTEL_RESOURCE_ATTRIBUTES OTEL_SERVICE_NAME OTEL_LOG_LEVEL OTEL_PROPAGATORS OTEL_TRACES_SAMPLER OTEL_TRACES_SAMPLER_ARG
OTEL_BSP_SCHEDULE_DELAY OTEL_BSP_EXPORT_TIMEOUT OTEL_BSP_MAX_QUEUE_SIZE OTEL_BSP_MAX_EXPORT_BATCH_SIZE
OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT OTEL_ATTRIBUTE_COUNT_LIMIT OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT OTEL_SPAN_ATTRIBUTE_VALUE_DEPTH_LIMIT
OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT OTEL_SPAN_EVENT_COUNT_LIMIT OTEL_SPAN_LINK_COUNT_LIMIT OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT OTEL_LINK_ATTRIBUTE_COUNT_LIMIT
OTEL_TRACES_EXPORTER OTEL_CONFIG_FILE OTEL_EXPERIMENTAL_CONFIG_FILE
OTEL_EXPORTER_ZIPKIN_ENDPOINT OTEL_EXPORTER_ZIPKIN_TIMEOUT OTEL_EXPORTER_ZIPKIN_PROTOCOL
OTEL_EXPORTER_JAEGER_AGENT_HOST OTEL_EXPORTER_JAEGER_AGENT_PORT OTEL_EXPORTER_JAEGER_ENDPOINT OTEL_EXPORTER_JAEGER_PROTOCOL OTEL_EXPORTER_JAEGER_TIMEOUT
OTEL_EXPORTER_JAEGER_USER OTEL_EXPORTER_JAEGER_PASSWORD OTEL_EXPORTER_OTLP_SPAN_INSECURE
OTEL_EXPORTER_OTLP_ENDPOINT OTEL_EXPORTER_OTLP_INSECURE OTEL_EXPORTER_OTLP_CERTIFICATE OTEL_EXPORTER_OTLP_CLIENT_KEY OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE
OTEL_EXPORTER_OTLP_HEADERS OTEL_EXPORTER_OTLP_COMPRESSION OTEL_EXPORTER_OTLP_TIMEOUT OTEL_EXPORTER_OTLP_PROTOCOL
OTEL_SEMCONV_STABILITY_OPT_IN OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS
OTEL_GO_X_OBSERVABILITY OTEL_GO_X_SELF_OBSERVABILITY OTEL_GO_X_RESOURCE
`)

// ofOthers are variables of metrics and logs that the libraries name. A step sends
// neither, and Start logs the names.
var ofOthers = []string{"OTEL_GO_X_PER_SERIES_START_TIMESTAMPS"}

// The table has each variable that is named in the source of OpenTelemetry's packages
// in a step, in the versions that go.mod pins. Some names are put together there.
func TestTableHasWhatLibrariesRead(t *testing.T) {
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{.ImportPath}}\t{{.Dir}}", "plaque/steps/kit/...")
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	whole := regexp.MustCompile(`OTEL_[A-Z0-9_]+`)
	parts := map[string]*regexp.Regexp{
		"OTEL_GO_X_":          regexp.MustCompile(`newFeature\(\s*\[\]string\{([^}]*)\}`),
		"OTEL_EXPORTER_OTLP_": regexp.MustCompile(`\bWith\w+\(\s*("[A-Z_]+"(?:,\s*"[A-Z_]+")?)`),
	}
	word := regexp.MustCompile(`[A-Z_]+`)
	named := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		pkg, dir, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if !strings.HasPrefix(pkg, "go.opentelemetry.io/") {
			continue
		}
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range whole.FindAllString(string(b), -1) {
				named[name] = true
			}
			for prefix, part := range parts {
				if !strings.Contains(string(b), strings.TrimSuffix(prefix, "_")) {
					continue
				}
				for _, m := range part.FindAllStringSubmatch(string(b), -1) {
					for _, rest := range word.FindAllString(m[1], -1) {
						named[prefix+rest] = true
					}
				}
			}
		}
	}
	for _, prefix := range []string{"OTEL_GO_X_", "OTEL_EXPORTER_OTLP"} {
		if !named[prefix] {
			t.Errorf("nothing is named by its beginning %s any more: mend this test", prefix)
		}
		delete(named, prefix)
	}
	for _, name := range []string{"OTEL_GO_X_SELF_OBSERVABILITY", "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_TRACES_SAMPLER", "OTEL_RESOURCE_ATTRIBUTES"} {
		if !named[name] {
			t.Errorf("%s is not found in the sources: mend this test", name)
		}
	}
	for name := range named {
		if slices.ContainsFunc(Variables(), func(v Variable) bool { return v.Name == name }) {
			continue
		}
		setenv(t, name+"=1")
		if !slices.Contains(ofOthers, name) || !slices.Contains(WithoutEffect(), name) {
			t.Errorf("a library names %s, and the table has no row for it", name)
		}
	}
}

// Nonsense in a variable is an error that names it and says what it may be, or what
// to set instead.
func TestNonsense(t *testing.T) {
	names := slices.Clone(specified)
	for _, name := range specified {
		if rest, ok := strings.CutPrefix(name, otlpGeneral); ok && rest != "SPAN_INSECURE" {
			names = append(names, otlpTraces+rest)
		}
	}
	var known []string
	for _, v := range Variables() {
		known = append(known, v.Name)
		if v.May == "" {
			t.Errorf("%s: nothing says what it may be", v.Name)
		}
	}
	slices.Sort(known)
	slices.Sort(names)
	if !slices.Equal(known, names) {
		t.Errorf("the table has %q, want %q", known, names)
	}
	for _, v := range Variables() {
		if slices.Contains([]string{"OTEL_SERVICE_NAME"}, v.Name) {
			continue // any text is one
		}
		setenv(t, v.Name+"=%zz nonsense")
		_, err := New(t.Context(), Config{Out: io.Discard})
		if err == nil || !strings.HasPrefix(err.Error(), v.Name) {
			t.Errorf("%s: %v", v.Name, err)
		}
		if v.Name != "OTEL_RESOURCE_ATTRIBUTES" && !strings.HasSuffix(v.Name, "ENDPOINT") && !strings.Contains(err.Error(), v.May) {
			t.Errorf("%s does not say what it may be: %v", v.Name, err)
		}
	}
}

func TestRefused(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cert, key := certificate(t, dir)
	for _, c := range []struct {
		env  string
		says string // the error; "" for none
	}{
		{"OTEL_SDK_DISABLED=false", ""},
		{"OTEL_SDK_DISABLED=TRUE", ""},
		{"OTEL_SDK_DISABLED=1", `OTEL_SDK_DISABLED="1": it can be true or false`},
		{"OTEL_TRACES_SAMPLER=parentbased_traceidratio OTEL_TRACES_SAMPLER_ARG=0.5", ""},
		{"OTEL_TRACES_SAMPLER=traceidratio", ""},
		{"OTEL_TRACES_SAMPLER=Always_On", ""},
		{"OTEL_TRACES_SAMPLER=jaeger_remote", "it can be always_on, "},
		{"OTEL_TRACES_SAMPLER=traceidratio OTEL_TRACES_SAMPLER_ARG=abc", `OTEL_TRACES_SAMPLER_ARG="abc": it can be a share from 0 to 1`},
		{"OTEL_TRACES_SAMPLER=traceidratio OTEL_TRACES_SAMPLER_ARG=1.5", "OTEL_TRACES_SAMPLER_ARG="},
		{"OTEL_TRACES_SAMPLER=traceidratio OTEL_TRACES_SAMPLER_ARG=NaN", "OTEL_TRACES_SAMPLER_ARG="},
		{"OTEL_TRACES_SAMPLER_ARG=0.5", `OTEL_TRACES_SAMPLER="" takes no argument`},
		{"OTEL_TRACES_SAMPLER=always_on OTEL_TRACES_SAMPLER_ARG=0.5", `OTEL_TRACES_SAMPLER="always_on" takes no argument`},
		{"OTEL_PROPAGATORS=baggage", ""},
		{"OTEL_PROPAGATORS=none", ""},
		{"OTEL_PROPAGATORS=tracecontext,b3", `there is no propagator "b3" here`},
		{"OTEL_PROPAGATORS=tracecontext,", `there is no propagator "" here`},
		{"OTEL_PROPAGATORS=none,baggage", "none goes with no other"},
		{"OTEL_BSP_SCHEDULE_DELAY=0", "OTEL_BSP_SCHEDULE_DELAY="},
		{"OTEL_BSP_SCHEDULE_DELAY=5s", "it can be a number of milliseconds from 1 to 600000"},
		{"OTEL_BSP_MAX_QUEUE_SIZE=10 OTEL_BSP_MAX_EXPORT_BATCH_SIZE=11", `OTEL_BSP_MAX_EXPORT_BATCH_SIZE="11": it can be a number of spans`},
		{"OTEL_BSP_MAX_QUEUE_SIZE=10 OTEL_BSP_MAX_EXPORT_BATCH_SIZE=10", ""},
		{"OTEL_SPAN_LINK_COUNT_LIMIT=-1", ""},
		{"OTEL_SPAN_LINK_COUNT_LIMIT=-2", "or -1 for no limit"},
		{"OTEL_ATTRIBUTE_COUNT_LIMIT=abc OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT=1", ""}, // it loses
		{"OTEL_EXPORTER_OTLP_HEADERS=api-key=a%20b,x=", ""},
		{"OTEL_EXPORTER_OTLP_HEADERS=api-key", "OTEL_EXPORTER_OTLP_HEADERS: entry 1 has no =: it can be key=value,key=value"},
		{"OTEL_EXPORTER_OTLP_HEADERS=a=b,k=100%", "entry 2, K, has a value that is not in percent-encoding"},
		{"OTEL_EXPORTER_OTLP_HEADERS=k=a%0d%0ab", "entry 1, K, has a value"},
		{"OTEL_EXPORTER_OTLP_HEADERS==b", "entry 1 names no header"},
		{"OTEL_EXPORTER_OTLP_HEADERS=hunter2 OTEL_EXPORTER_OTLP_TRACES_HEADERS=k=v", "entry 1 has no ="},
		{"OTEL_EXPORTER_OTLP_COMPRESSION=gzip", ""},
		{"OTEL_EXPORTER_OTLP_COMPRESSION=none", ""},
		{"OTEL_EXPORTER_OTLP_COMPRESSION=zstd", `OTEL_EXPORTER_OTLP_COMPRESSION="zstd": it can be gzip or none`},
		{"OTEL_EXPORTER_OTLP_COMPRESSION=GZIP", "it can be gzip or none"}, // the exporter would send it as it is
		{"OTEL_EXPORTER_OTLP_INSECURE=true", ""},
		{"OTEL_EXPORTER_OTLP_INSECURE=false", "the endpoint begins with http://"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=https://example.com OTEL_EXPORTER_OTLP_TRACES_INSECURE=true", "the endpoint begins with https://"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=http://me:hunter2@example.com", "the user before example.com is not sent: take that out, and set OTEL_EXPORTER_OTLP_HEADERS"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=me:hunter2@example.com", "OTEL_EXPORTER_OTLP_ENDPOINT is not a URL with a scheme"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=http://example.com/a?token=hunter2", `what follows the path "/a" is not sent`},
		{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=example.com", "write it like http://127.0.0.1:4318/v1/traces"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=https://example.com OTEL_EXPORTER_OTLP_CERTIFICATE=" + cert, ""},
		{"OTEL_EXPORTER_OTLP_CERTIFICATE=" + cert, "the endpoint begins with http://"},
		{"OTEL_EXPORTER_OTLP_CERTIFICATE=" + cert + " OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=https://example.com/v1/traces", ""},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=https://example.com OTEL_EXPORTER_OTLP_CERTIFICATE=/nope.pem", "OTEL_EXPORTER_OTLP_CERTIFICATE="},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=https://example.com OTEL_EXPORTER_OTLP_CERTIFICATE=" + dir, "it is no regular file"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=https://example.com OTEL_EXPORTER_OTLP_CERTIFICATE=" + empty, "there is no certificate in it"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=https://example.com OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE=" + cert + " OTEL_EXPORTER_OTLP_CLIENT_KEY=" + key, ""},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=https://example.com OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE=" + cert + " OTEL_EXPORTER_OTLP_CLIENT_KEY=" + cert, "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE="},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=https://example.com OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE=" + cert, "OTEL_EXPORTER_OTLP_CLIENT_KEY is not set"},
		{"OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY=" + key, "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE is not set"},
		{"OTEL_EXPORTER_JAEGER_ENDPOINT=http://127.0.0.1:14268/api/traces", "is not read here: unset it, and set OTEL_EXPORTER_OTLP_ENDPOINT, since Jaeger takes OTLP"},
		{"OTEL_EXPORTER_JAEGER_PASSWORD=hunter2", "OTEL_EXPORTER_JAEGER_PASSWORD is not read here"},
		{"OTEL_LOG_LEVEL=debug", "set LOG_LEVEL"},
		{"OTEL_SEMCONV_STABILITY_OPT_IN=http", ""},
		{"OTEL_SEMCONV_STABILITY_OPT_IN=http/dup", "it can be http, since"},
		{"OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS=GET", "unset it, and look for methods"},
		{"OTEL_GO_X_SELF_OBSERVABILITY=1", "it can be true or false"},
		{"OTEL_TRACES_SAMPLER=no OTEL_PROPAGATORS=no", "OTEL_PROPAGATORS="}, // each is told of
		{"OTEL_TRACES_SAMPLER=no OTEL_PROPAGATORS=no", "OTEL_TRACES_SAMPLER="},
	} {
		t.Run(c.env, func(t *testing.T) {
			setenv(t, strings.Fields(c.env)...)
			tel, err := New(t.Context(), Config{Out: io.Discard})
			if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("got %v, want %q", err, c.says)
			}
			if err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "100%")) {
				t.Errorf("a password is printed: %v", err)
			}
			if err == nil {
				_ = tel.Stop()
			}
		})
	}
}

// certificate writes a certificate that signs itself, and its key.
func certificate(t *testing.T, dir string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
}

// What is honoured has its effect, also where a value of ours stands beside the
// specification's.
func TestHonoured(t *testing.T) {
	setenv(t)
	s, err := readSettings()
	if err != nil || s.delay != 200*time.Millisecond || s.queue != 32768 || s.batch != 512 || s.export != 10*time.Second || s.timeout != 10*time.Second {
		t.Errorf("with no variable: %+v, %v", s, err)
	}
	setenv(t, "OTEL_BSP_SCHEDULE_DELAY=1", "OTEL_BSP_MAX_QUEUE_SIZE=20", "OTEL_BSP_EXPORT_TIMEOUT=3", "OTEL_EXPORTER_OTLP_TIMEOUT=4", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT=5")
	s, err = readSettings()
	if err != nil || s.delay != time.Millisecond || s.queue != 20 || s.batch != 20 || s.export != 3*time.Millisecond || s.timeout != 5*time.Millisecond {
		t.Errorf("with variables: %+v, %v", s, err)
	}
	setenv(t, "OTEL_EXPORTER_OTLP_TIMEOUT=20000")
	if s, err = readSettings(); err != nil || s.export != 20*time.Second { // else the batcher would cut it short
		t.Errorf("with a long timeout: %+v, %v", s, err)
	}
}

// A request ends when OTEL_EXPORTER_OTLP_TIMEOUT says, and a delivery when
// OTEL_BSP_EXPORT_TIMEOUT does.
func TestTimeouts(t *testing.T) {
	release := make(chan struct{})
	hangs := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer hangs.Close()
	defer close(release)
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_BSP_EXPORT_TIMEOUT"} {
		setenv(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+hangs.URL, name+"=10")
		tel, log := start(t, Config{})
		emit(t, tel.Provider(), "span")
		begin := time.Now()
		_ = tel.Flush(t.Context())
		if took := time.Since(begin); took > exportTimeout/2 || !strings.Contains(log.String(), "no spans are delivered") {
			t.Errorf("%s: after %v the log is %s", name, took, log)
		}
	}
}

// The batcher sends when the delay is over, and as many at once as it may.
func TestBatches(t *testing.T) {
	c := newCollector(t)
	setenv(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+c.URL, "OTEL_BSP_SCHEDULE_DELAY=600000", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE=3")
	tel, _ := start(t, Config{})
	for i := range 3 { // a whole batch goes at once
		emit(t, tel.Provider(), fmt.Sprint(i))
	}
	for range 3 {
		c.next(t)
	}
	if _, s := tel.Provider().Tracer("test").Start(t.Context(), "waits"); true {
		s.End()
	}
	select {
	case s := <-c.spans:
		t.Errorf("%s did not wait for company", s.Name)
	case <-time.After(2 * batchDelay):
	}
}

func TestPropagators(t *testing.T) {
	for setting, want := range map[string]string{"": "[baggage traceparent tracestate]", "baggage": "[baggage]", "tracecontext, baggage": "[baggage traceparent tracestate]", "none": "[]"} {
		setenv(t, "OTEL_TRACES_EXPORTER=none", "OTEL_PROPAGATORS="+setting)
		start(t, Config{})
		got := otel.GetTextMapPropagator().Fields()
		slices.Sort(got)
		if fmt.Sprint(got) != want {
			t.Errorf("%q carries %q, want %s", setting, got, want)
		}
	}
}

// Each sampler does with roots, and with spans below a caller's, what the
// specification says.
func TestSamplers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		caller := func(sampled bool) trace.SpanContext {
			return trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1}, Remote: true, TraceFlags: trace.TraceFlags(0).WithSampled(sampled)})
		}
		for env, want := range map[string]string{ // a root, below a sampled caller, below one that is not
			"":                              "true true false",
			"always_on":                     "true true true",
			"always_off":                    "false false false",
			"parentbased_always_on":         "true true false",
			"parentbased_always_off":        "false true false",
			"traceidratio 0":                "false false false",
			"traceidratio":                  "true true true",
			"parentbased_traceidratio 0":    "false true false",
			"parentbased_traceidratio 1":    "true true false",
			"parentbased_traceidratio 1e-9": "false true false",
		} {
			sampler, arg, _ := strings.Cut(env, " ")
			setenv(t, "OTEL_TRACES_EXPORTER=json", "OTEL_TRACES_SAMPLER="+sampler, "OTEL_TRACES_SAMPLER_ARG="+arg)
			tel, err := New(t.Context(), Config{Out: io.Discard, JSON: io.Discard})
			if err != nil {
				t.Fatal(err)
			}
			tracer := tel.Provider().Tracer("test")
			_, root := tracer.Start(t.Context(), "root")
			_, yes := tracer.Start(trace.ContextWithRemoteSpanContext(t.Context(), caller(true)), "below")
			_, no := tracer.Start(trace.ContextWithRemoteSpanContext(t.Context(), caller(false)), "below")
			if got := fmt.Sprint(root.SpanContext().IsSampled(), yes.SpanContext().IsSampled(), no.SpanContext().IsSampled()); got != want {
				t.Errorf("%q: %s, want %s", env, got, want)
			}
			_ = tel.Stop()
		}
	})
}

// New leaves what is global alone, so that two can live in one process.
func TestNewIsNotGlobal(t *testing.T) {
	c := newCollector(t)
	setenv(t)
	before := sdktrace.NewTracerProvider()
	otel.SetTracerProvider(before)
	otel.SetTextMapPropagator(propagation.Baggage{})
	for range 2 {
		tel, err := New(t.Context(), Config{Endpoint: c.URL, Out: io.Discard})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = tel.Stop() }()
	}
	if otel.GetTracerProvider() != before || fmt.Sprint(otel.GetTextMapPropagator().Fields()) != "[baggage]" {
		t.Error("New has replaced the global TracerProvider or propagator")
	}
}

// What has no effect is named in the log, once, and is no error.
func TestWithoutEffect(t *testing.T) {
	setenv(t, "OTEL_TRACES_EXPORTER=none", "OTEL_TRACE_EXPORTER=console", "OTEL_METRIC_EXPORT_INTERVAL=abc", "OTEL_METRICS_EXPORTER=none", "OTEL_LOGS_EXPORTER=otlp", "OTEL_BLRP_MAX_QUEUE_SIZE=1")
	_, log := start(t, Config{})
	if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `names="[OTEL_BLRP_MAX_QUEUE_SIZE OTEL_LOGS_EXPORTER OTEL_METRIC_EXPORT_INTERVAL OTEL_TRACE_EXPORTER]"`) {
		t.Errorf("the log: %s", got)
	}
	setenv(t, "OTEL_TRACES_EXPORTER=none")
	if _, log := start(t, Config{}); log.String() != "" {
		t.Errorf("the log: %s", log)
	}
}

// Any bytes in any variable lead to an error or to a set-up that works.
func FuzzSettings(f *testing.F) {
	for i, v := range Variables() {
		f.Add(uint(i), "1")
		f.Add(uint(i), v.May)
		f.Add(uint(i), "a=%zz,\xff")
	}
	f.Fuzz(func(t *testing.T, i uint, value string) {
		all := Variables()
		v := all[i%uint(len(all))]
		if strings.ContainsRune(value, 0) || strings.Contains(value, "chrome") {
			t.Skip("no variable can have a zero byte, and chrome writes a file")
		}
		setenv(t, v.Name+"="+value)
		s, err := readSettings()
		if err != nil && !strings.Contains(err.Error(), v.Name) {
			t.Errorf("%s=%q: %v", v.Name, value, err)
		}
		if err == nil && (s.batch < 1 || s.batch > s.queue || s.delay <= 0 || s.export <= 0 || s.timeout <= 0 || s.endpoint.Host == "" || s.sampler == nil || s.exporters == nil) {
			t.Errorf("%s=%q: %+v", v.Name, value, s)
		}
	})
}
