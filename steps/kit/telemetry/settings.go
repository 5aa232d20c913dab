package telemetry

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/textproto"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// settings are what the environment asks for.
type settings struct {
	exporters  []exporter
	endpoint   *url.URL // where spans are posted
	shown      string   // endpoint, as the variable writes it
	named      string   // the variable that gave endpoint; "" for DefaultEndpoint
	queue      int      // spans
	batch      int      // spans, at most queue
	delay      time.Duration
	export     time.Duration // bounds one delivery
	timeout    time.Duration // bounds one request
	sampler    sdktrace.Sampler
	never      bool // the sampler is always_off
	propagator propagation.TextMapPropagator
	limits     limits // of what leaves the process
}

func defaults() settings {
	u, err := url.Parse(DefaultEndpoint + tracesPath)
	if err != nil {
		panic(err) // a constant
	}
	return settings{
		exporters:  []exporter{{name: "otlp"}},
		endpoint:   u,
		shown:      DefaultEndpoint,
		queue:      queueSize,
		batch:      batchSize,
		delay:      batchDelay,
		export:     exportTimeout,
		timeout:    exportTimeout,
		sampler:    sdktrace.ParentBased(sdktrace.AlwaysSample()),
		propagator: propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}),
		limits: limits{
			AttributeValueLengthLimit:   sdktrace.DefaultAttributeValueLengthLimit,
			AttributeValueDepthLimit:    sdktrace.DefaultAttributeValueDepthLimit,
			AttributeCountLimit:         sdktrace.DefaultAttributeCountLimit,
			EventCountLimit:             sdktrace.DefaultEventCountLimit,
			LinkCountLimit:              sdktrace.DefaultLinkCountLimit,
			AttributePerEventCountLimit: sdktrace.DefaultAttributePerEventCountLimit,
			AttributePerLinkCountLimit:  sdktrace.DefaultAttributePerLinkCountLimit,
		},
	}
}

// tracesPath is what a collector's base URL lacks.
const tracesPath = "/v1/traces"

// Variable is a setting that a step reads or refuses.
type Variable struct {
	Name string // of the environment variable
	May  string // what it can be; for one that is refused, what to do in its place
	// Ours is the value without the variable where that is not the
	// specification's default.
	Ours    string
	Refused bool // whatever its value

	secret bool // the value is not printed
	// read takes the value, which is not empty, into s. Its error says what is
	// wrong with it, and may be empty. nil means that a library reads it.
	read func(s *settings, value string) error
}

const (
	otlpGeneral = "OTEL_EXPORTER_OTLP_"
	otlpTraces  = "OTEL_EXPORTER_OTLP_TRACES_"
	aNumber     = "a number of milliseconds from 1 to 600000"
	aLimit      = "a number from 0 up, or -1 for no limit"
	samplers    = "always_on, always_off, traceidratio, parentbased_always_on, parentbased_always_off or parentbased_traceidratio"
	aFile       = "the path of a file in PEM format"
)

// errBare is for a value whose May says enough.
var errBare = errors.New("")

// verbatim is an error that is put behind the variable's name as it is.
type verbatim string

func (v verbatim) Error() string { return string(v) }

// Variables is every OTEL_ variable about traces that the specification, the SDK
// and the exporter know. Those of the first kind that are not here have no effect,
// and Start logs their names.
func Variables() []Variable {
	all := []Variable{
		{Name: "OTEL_SDK_DISABLED", May: "true or false", read: func(s *settings, v string) error {
			off, err := boolean(v)
			if off {
				s.exporters = []exporter{{name: "none"}}
			}
			return err
		}},
		{Name: "OTEL_SERVICE_NAME", May: "any name", Ours: "plaque"},
		{Name: "OTEL_RESOURCE_ATTRIBUTES", May: "key=value,key=value"},
		{Name: "OTEL_TRACES_EXPORTER", May: "otlp, console, json, chrome:FILE or none, and several of them with commas between, as in otlp,chrome:trace.json",
			read: func(s *settings, v string) error {
				off := slices.Contains(s.exporters, exporter{name: "none"})
				all, err := parseExporters(v)
				if !off { // OTEL_SDK_DISABLED has been read
					s.exporters = all
				}
				return err
			}},
		{Name: "OTEL_PROPAGATORS", May: "tracecontext, baggage or none, with commas between", read: readPropagators},
		{Name: "OTEL_TRACES_SAMPLER", May: samplers, read: func(s *settings, v string) error {
			v = strings.ToLower(v)
			ratio, _ := ratioArg() // an error is the next variable's
			s.never = v == "always_off"
			switch v {
			case "always_on":
				s.sampler = sdktrace.AlwaysSample()
			case "always_off":
				s.sampler = sdktrace.NeverSample()
			case "traceidratio":
				s.sampler = sdktrace.TraceIDRatioBased(ratio)
			case "parentbased_always_on":
			case "parentbased_always_off":
				s.sampler = sdktrace.ParentBased(sdktrace.NeverSample())
			case "parentbased_traceidratio":
				s.sampler = sdktrace.ParentBased(sdktrace.TraceIDRatioBased(ratio))
			default:
				return errBare
			}
			return nil
		}},
		{Name: "OTEL_TRACES_SAMPLER_ARG", May: "a share from 0 to 1, with OTEL_TRACES_SAMPLER=traceidratio or parentbased_traceidratio", read: func(_ *settings, v string) error {
			if sampler := trimmed("OTEL_TRACES_SAMPLER"); !strings.HasSuffix(strings.ToLower(sampler), "traceidratio") {
				return fmt.Errorf("OTEL_TRACES_SAMPLER=%q takes no argument", sampler)
			}
			_, err := ratioArg()
			return err
		}},
		{Name: "OTEL_BSP_SCHEDULE_DELAY", May: aNumber, Ours: strconv.FormatInt(batchDelay.Milliseconds(), 10), read: func(s *settings, v string) (err error) {
			s.delay, err = millis(v)
			return err
		}},
		{Name: "OTEL_BSP_EXPORT_TIMEOUT", May: aNumber, Ours: strconv.FormatInt(exportTimeout.Milliseconds(), 10), read: func(s *settings, v string) (err error) {
			s.export, err = millis(v)
			return err
		}},
		{Name: "OTEL_BSP_MAX_QUEUE_SIZE", May: fmt.Sprintf("a number of spans that may wait to be sent, from 1 to %d", 1<<20), Ours: strconv.Itoa(queueSize), read: func(s *settings, v string) (err error) {
			s.queue, err = number(v, 1, 1<<20)
			return err
		}},
		{Name: "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", May: "a number of spans that are sent at once, from 1 to OTEL_BSP_MAX_QUEUE_SIZE", read: func(s *settings, v string) (err error) {
			s.batch, err = number(v, 1, s.queue)
			return err
		}},
		{Name: "OTEL_SEMCONV_STABILITY_OPT_IN", May: "http, since a step writes the stable names of HTTP and no others", read: func(_ *settings, v string) error {
			if v != "http" {
				return errBare
			}
			return nil
		}},
		{Name: "OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS", Refused: true, May: "look for methods that are not in RFC 9110 under _OTHER"},
		{Name: "OTEL_GO_X_OBSERVABILITY", May: "true or false", read: readBoolean},
		{Name: "OTEL_GO_X_SELF_OBSERVABILITY", May: "true or false", read: readBoolean},
		{Name: "OTEL_GO_X_RESOURCE", May: "true or false", read: readBoolean},
		{Name: "OTEL_LOG_LEVEL", Refused: true, May: "set LOG_LEVEL"},
		{Name: "OTEL_CONFIG_FILE", Refused: true, May: "set variables, since no file of settings is read"},
		{Name: "OTEL_EXPERIMENTAL_CONFIG_FILE", Refused: true, May: "set variables, since no file of settings is read"},
		{Name: "OTEL_ENTITIES", Refused: true, May: "set OTEL_RESOURCE_ATTRIBUTES"},
		{Name: "OTEL_EXPORTER_OTLP_SPAN_INSECURE", Refused: true, May: "write http:// or https:// in OTEL_EXPORTER_OTLP_ENDPOINT"},
	}
	for _, limit := range []struct {
		names []string // the later one wins
		of    func(*limits) *int
	}{
		{[]string{"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT"}, func(l *limits) *int { return &l.AttributeValueLengthLimit }},
		{[]string{"OTEL_ATTRIBUTE_COUNT_LIMIT", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT"}, func(l *limits) *int { return &l.AttributeCountLimit }},
		{[]string{"OTEL_SPAN_ATTRIBUTE_VALUE_DEPTH_LIMIT"}, func(l *limits) *int { return &l.AttributeValueDepthLimit }},
		{[]string{"OTEL_SPAN_EVENT_COUNT_LIMIT"}, func(l *limits) *int { return &l.EventCountLimit }},
		{[]string{"OTEL_SPAN_LINK_COUNT_LIMIT"}, func(l *limits) *int { return &l.LinkCountLimit }},
		{[]string{"OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT"}, func(l *limits) *int { return &l.AttributePerEventCountLimit }},
		{[]string{"OTEL_LINK_ATTRIBUTE_COUNT_LIMIT"}, func(l *limits) *int { return &l.AttributePerLinkCountLimit }},
	} {
		for _, name := range limit.names {
			all = append(all, Variable{Name: name, May: aLimit, read: func(s *settings, v string) (err error) {
				*limit.of(&s.limits), err = number(v, -1, 1<<31-1)
				return err
			}})
		}
	}
	// The endpoints first: what is said of TLS is compared with them.
	for _, prefix := range []string{otlpGeneral, otlpTraces} {
		example := DefaultEndpoint
		if prefix == otlpTraces {
			example += tracesPath
		}
		all = append(all, Variable{Name: prefix + "ENDPOINT", May: "a URL such as " + example, Ours: map[string]string{otlpGeneral: DefaultEndpoint}[prefix],
			read: func(s *settings, v string) error { return readEndpoint(s, prefix, v, example) }})
	}
	for _, prefix := range []string{otlpGeneral, otlpTraces} {
		all = append(all, otlpVariables(prefix)...)
	}
	for _, retired := range []string{"AGENT_HOST", "AGENT_PORT", "ENDPOINT", "PROTOCOL", "TIMEOUT", "USER", "PASSWORD"} {
		all = append(all, Variable{Name: "OTEL_EXPORTER_JAEGER_" + retired, Refused: true, secret: retired == "PASSWORD", May: "set OTEL_EXPORTER_OTLP_ENDPOINT, since Jaeger takes OTLP"})
	}
	for _, other := range []string{"ENDPOINT", "TIMEOUT", "PROTOCOL"} {
		all = append(all, Variable{Name: "OTEL_EXPORTER_ZIPKIN_" + other, Refused: true, May: "set OTEL_EXPORTER_OTLP_ENDPOINT: spans are sent as OTLP only"})
	}
	return all
}

// otlpVariables are those of the exporter; the ones for traces alone win.
func otlpVariables(prefix string) []Variable {
	return []Variable{
		{Name: prefix + "PROTOCOL", May: "http/protobuf", read: func(_ *settings, v string) error {
			if v != "http/protobuf" {
				return errors.New("this program speaks http/protobuf only (Jaeger's port 4318)")
			}
			return nil
		}},
		{Name: prefix + "INSECURE", May: "true where the endpoint begins with http://, false where with https://", read: func(s *settings, v string) error {
			insecure, err := boolean(v)
			if err == nil && insecure != (s.endpoint.Scheme == "http") {
				err = fmt.Errorf("the endpoint begins with %s://", s.endpoint.Scheme)
			}
			return err
		}},
		{Name: prefix + "HEADERS", May: "key=value,key=value with values in percent-encoding", secret: true, read: func(_ *settings, v string) error { return checkHeaders(v) }},
		{Name: prefix + "COMPRESSION", May: "gzip or none", read: func(_ *settings, v string) error {
			if v != "gzip" && v != "none" {
				return errBare
			}
			return nil
		}},
		{Name: prefix + "TIMEOUT", May: aNumber, read: func(s *settings, v string) (err error) {
			s.timeout, err = millis(v)
			if os.Getenv("OTEL_BSP_EXPORT_TIMEOUT") == "" {
				s.export = max(s.export, s.timeout)
			}
			return err
		}},
		{Name: prefix + "CERTIFICATE", May: aFile + " with the certificates to trust, for an endpoint that begins with https://", read: func(s *settings, v string) error {
			pem, err := readFile(s, v)
			if err == nil && !x509.NewCertPool().AppendCertsFromPEM(pem) {
				err = errors.New("there is no certificate in it")
			}
			return err
		}},
		{Name: prefix + "CLIENT_CERTIFICATE", May: aFile + ", with the key in " + prefix + "CLIENT_KEY, for an endpoint that begins with https://", read: func(s *settings, v string) error {
			key := trimmed(prefix + "CLIENT_KEY")
			if key == "" {
				return fmt.Errorf("%sCLIENT_KEY is not set", prefix)
			}
			cert, err := readFile(s, v)
			secret, kerr := readFile(s, key)
			if err = errors.Join(err, kerr); err == nil {
				_, err = tls.X509KeyPair(cert, secret)
			}
			return err
		}},
		{Name: prefix + "CLIENT_KEY", May: aFile + ", with the certificate in " + prefix + "CLIENT_CERTIFICATE", read: func(*settings, string) error {
			if trimmed(prefix+"CLIENT_CERTIFICATE") == "" {
				return fmt.Errorf("%sCLIENT_CERTIFICATE is not set", prefix)
			}
			return nil
		}},
	}
}

// readSettings reads the environment. The error names each variable that makes no
// sense, with what it may be.
func readSettings() (settings, error) {
	s := defaults()
	var errs []error
	for _, v := range Variables() {
		value := trimmed(v.Name)
		if value == "" || overruled(v.Name) {
			continue
		}
		shown := v.Name
		if !v.secret {
			shown += fmt.Sprintf("=%q", value)
		}
		if v.Refused {
			errs = append(errs, fmt.Errorf("%s is not read here: unset it, and %s", shown, v.May))
			continue
		}
		if v.read == nil {
			continue
		}
		var all verbatim
		switch err := v.read(&s, value); {
		case errors.As(err, &all):
			errs = append(errs, errors.New(v.Name+all.Error()))
		case errors.Is(err, errBare):
			errs = append(errs, fmt.Errorf("%s: it can be %s", shown, v.May))
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %w: it can be %s", shown, err, v.May))
		}
	}
	s.batch = min(s.batch, s.queue)
	return s, errors.Join(errs...)
}

// overruled reports whether a more special variable is set, which wins: then this
// one may be meant for another program. Headers are checked all the same: the
// exporter would print what it cannot read of them, passwords too.
func overruled(name string) bool {
	special := map[string]string{
		"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
		"OTEL_ATTRIBUTE_COUNT_LIMIT":        "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
	}[name]
	if rest, ok := strings.CutPrefix(name, otlpGeneral); ok && !strings.HasPrefix(name, otlpTraces) && rest != "HEADERS" {
		special = otlpTraces + rest
	}
	return special != "" && trimmed(special) != ""
}

// WithoutEffect is the names of the OTEL_ variables that are set and not in the
// table: those of metrics and logs, which a step does not send, and misspelt ones.
func WithoutEffect() []string {
	var names []string
	known := Variables()
	for _, pair := range os.Environ() {
		name, value, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, "OTEL_") || strings.TrimSpace(value) == "" ||
			slices.ContainsFunc(known, func(v Variable) bool { return v.Name == name }) {
			continue
		}
		if (name == "OTEL_METRICS_EXPORTER" || name == "OTEL_LOGS_EXPORTER") && value == "none" {
			continue // none are sent
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func trimmed(name string) string { return strings.TrimSpace(os.Getenv(name)) }

func boolean(v string) (bool, error) {
	switch strings.ToLower(v) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, errBare
}

func readBoolean(_ *settings, v string) error {
	_, err := boolean(v)
	return err
}

func number(v string, least, most int) (int, error) {
	n, err := strconv.Atoi(v)
	if err != nil || n < least || n > most {
		return max(least, 0), errBare
	}
	return n, nil
}

func millis(v string) (time.Duration, error) {
	n, err := number(v, 1, 600_000)
	return time.Duration(n) * time.Millisecond, err
}

func ratioArg() (float64, error) {
	v := cmp.Or(trimmed("OTEL_TRACES_SAMPLER_ARG"), "1")
	f, err := strconv.ParseFloat(v, 64)
	if err != nil || !(f >= 0 && f <= 1) { // NaN is neither
		return 1, errBare
	}
	return f, nil
}

func readPropagators(s *settings, v string) error {
	var all []propagation.TextMapPropagator
	names := strings.Split(v, ",")
	for i, name := range names {
		name = strings.TrimSpace(name)
		names[i] = name
		switch name {
		case "tracecontext":
			all = append(all, propagation.TraceContext{})
		case "baggage":
			all = append(all, propagation.Baggage{})
		case "none":
		default:
			return fmt.Errorf("there is no propagator %q here", name)
		}
	}
	if len(names) > 1 && slices.Contains(names, "none") {
		return errors.New("none goes with no other")
	}
	s.propagator = propagation.NewCompositeTextMapPropagator(all...)
	return nil
}

// readEndpoint takes the URL of a collector: its base, or the whole of it. The
// error prints it only where it can have no password.
func readEndpoint(s *settings, prefix, v, example string) error {
	u, err := url.Parse(v)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		// Without a scheme the exporter would fall back to https and talk TLS
		// to Jaeger's plain port.
		shown := fmt.Sprintf("=%q", v)
		if strings.Contains(v, "@") {
			shown = ""
		}
		return verbatim(fmt.Sprintf("%s is not a URL with a scheme: write it like %s", shown, example))
	case u.User != nil:
		return verbatim(fmt.Sprintf(": the user before %s is not sent: take that out, and set %sHEADERS", u.Host, prefix))
	case u.RawQuery != "" || u.Fragment != "":
		return verbatim(fmt.Sprintf(": what follows the path %q is not sent: take that out", u.Path))
	}
	s.named, s.shown = prefix+"ENDPOINT", v
	switch {
	case prefix == otlpGeneral:
		u = u.JoinPath(tracesPath)
	case u.Path == "": // as the specification has it; the exporter would add a path
		u.Path = "/"
	}
	s.endpoint = u
	return nil
}

// checkHeaders names no value in its errors, because the values are passwords.
func checkHeaders(v string) error {
	for i, pair := range strings.Split(v, ",") {
		name, value, found := strings.Cut(pair, "=")
		name = strings.TrimSpace(name)
		plain, err := url.PathUnescape(strings.TrimSpace(value))
		switch {
		case !found:
			return fmt.Errorf("entry %d has no =", i+1)
		case name == "" || strings.ContainsFunc(name, func(r rune) bool { return !isToken(r) }):
			return fmt.Errorf("entry %d names no header", i+1)
		case err != nil || strings.ContainsAny(plain, "\r\n\x00"):
			return fmt.Errorf("entry %d, %s, has a value that is not in percent-encoding", i+1, textproto.CanonicalMIMEHeaderKey(name))
		}
	}
	return nil
}

// isToken reports whether r may stand in a header's name.
func isToken(r rune) bool {
	return r < 0x7f && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r))
}

// readFile reads a file that TLS needs. It looks before it opens: to open a FIFO is
// to wait for a writer.
func readFile(s *settings, path string) ([]byte, error) {
	if s.endpoint.Scheme == "http" { // the exporter would refuse it, and name nothing
		return nil, errors.New("the endpoint begins with http://")
	}
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is no regular file")
	}
	if err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

// exporter is one view of the spans.
type exporter struct {
	name string
	file string // for chrome
}

// parseExporters reads OTEL_TRACES_EXPORTER.
func parseExporters(setting string) ([]exporter, error) {
	var all []exporter
	for entry := range strings.SplitSeq(setting, ",") {
		// The first colon only: a path on Windows has one too.
		name, file, given := strings.Cut(strings.TrimSpace(entry), ":")
		switch {
		case name == "":
			return nil, errors.New("an entry is empty")
		case !slices.Contains([]string{"otlp", "console", "json", "chrome", "none"}, name):
			return nil, fmt.Errorf("there is no exporter %q", name)
		case name == "chrome" && file == "":
			return nil, errors.New("chrome needs a file")
		case name != "chrome" && given:
			return nil, fmt.Errorf("%s takes no %q", name, file)
		case slices.ContainsFunc(all, func(e exporter) bool { return e.name == name }):
			return nil, fmt.Errorf("%s is there twice", name)
		}
		all = append(all, exporter{name, file})
	}
	if len(all) > 1 && slices.Contains(all, exporter{name: "none"}) {
		return nil, errors.New("none goes with no other")
	}
	return all, nil
}
