package doctor

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"plaque/steps/kit/telemetry"
)

// message is what the doctor says when something is not as it should be.
// Both texts have {placeholders}.
type message struct {
	id     string
	state  State
	asks   string // the README's question that it answers; "" keeps it off that page
	found  string
	advice string
}

// The README's questions, in its order.
const (
	isItUp       = "Is Jaeger up?"
	doesItSend   = "Does the step send there?"
	isItTaken    = "Is the port taken?"
	isTheSearch  = "Is the search right?"
	startJaeger  = "`go run ./scripts jaeger`"
	unsetMeans   = "With no `OTEL_` variable set, spans go over HTTP to " + telemetry.DefaultEndpoint + "."
	otherWayToBe = startJaeger + " then takes the official release, or builds Jaeger from source (some 4 minutes, once)"
)

var messages = []message{
	{"no-jaeger", Warning, isItUp,
		"nothing listens at {otlp}, where spans go: no Jaeger runs",
		"Start one in a second terminal: `docker compose up`, or " + startJaeger + " where there is no Docker. A step that cannot deliver logs `no spans are delivered` once, with the address that it tried. When it stops, it counts the spans that were lost."},
	{"no-otlp", Failure, isItUp,
		"a Jaeger answers at {api}, but takes no spans at {otlp}: {what}",
		"Stop it, and start one that does both with " + startJaeger + "."},
	{"no-api", Failure, isItUp,
		"{endpoint} took a span, but no Jaeger answers at {api}: {what}",
		"Some other collector takes the spans there. Stop it and start " + startJaeger + ", or look for the spans where that collector sends them."},
	{"swallowed", Failure, isItUp,
		"{endpoint} took a span, but the Jaeger at {api} did not have it {patience} later",
		"What takes the spans there is not that Jaeger. Stop both and start " + startJaeger + ", or look for the spans where the first sends them."},

	{"refused", Failure, doesItSend,
		"{why}",
		"A step refuses to start with that. Correct the variable, or unset it. " + unsetMeans + " Without a scheme an exporter would fall back to TLS, and send it to Jaeger's plain port."},
	{"without-effect", Warning, doesItSend,
		"variables without effect: {names}",
		"They are misspelt, or about what a step does not send, such as metrics and logs. Correct the first kind; the second does no harm."},
	{"not-sent", Warning, doesItSend,
		"no span is sent to Jaeger: {settings}",
		"Unset that to see traces in Jaeger. " + unsetMeans},
	{"unsampled", Warning, doesItSend,
		"the span was thrown away before it was sent: OTEL_TRACES_SAMPLER={sampler}",
		"Unset `OTEL_TRACES_SAMPLER`; then every span is sent."},
	{"with-tls", Failure, doesItSend,
		"spans go to {endpoint}, with TLS, and do not arrive: {why}",
		"Jaeger's port speaks plain HTTP. Set `{set}`."},
	{"path-doubled", Failure, doesItSend,
		"spans are posted to {target}, where the path stands twice, and do not arrive: {why}",
		"The path is added to `OTEL_EXPORTER_OTLP_ENDPOINT`, and not to `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`. Set `{set}`."},
	{"path-missing", Failure, doesItSend,
		"spans are posted to {target} and do not arrive: {why}",
		"`OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` is the whole URL, with its path. Set `{set}`."},
	{"elsewhere", Failure, doesItSend,
		"spans go to {endpoint} and do not arrive ({why}), while a Jaeger takes them at {otlp}",
		"Set `{set}`. " + unsetMeans},
	{"undelivered", Failure, doesItSend,
		"spans go to {endpoint} and do not arrive: {why}",
		"{unset} there what is to take them. " + unsetMeans},

	{"no-collector", Failure, isItTaken,
		"spans go to {otlp}, and what listens there takes none: {what}",
		"Stop that program. Or move Jaeger: start " + startJaeger + " with `JAEGER_OTLP_HTTP_PORT=14318`, and each step with `OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:14318`."},
	{"port-taken", Failure, isItTaken,
		"port {port} ({use}) is in use: {what}{who}",
		"Stop that program, or {move}.{which}"},
	{"jaeger-port-refused", Failure, "",
		"{why}",
		"Correct that variable, or unset it: then Jaeger has its usual ports."},

	{"service", Warning, isTheSearch,
		"spans stand under the service {service}, not under plaque",
		"Choose that service in Jaeger's search, or unset `{variable}`."},
	{"clock-jaeger", Failure, isTheSearch,
		"Jaeger's clock says {its}, this machine's {ours}",
		"Jaeger searches by time, so new traces can lie outside what it shows. Set the clock that is wrong. On macOS and Windows, Docker runs in a virtual machine, and its clock can stop while the computer sleeps: restart Docker."},
	{"clock-files", Warning, isTheSearch,
		"{file} was written {ahead} after now, {ours}",
		"Either this machine's clock is behind, or the file came with a wrong time. A search in Jaeger reaches back from now, so set the clock if it is wrong."},

	{"go-fails", Failure, "",
		"`go env` fails: {why}",
		"Install Go {needs} or newer from https://go.dev/dl/. Go 1.21 and newer can fetch it by themselves, unless GOTOOLCHAIN=local forbids it or the network does."},
	{"go-old", Failure, "",
		"{version}, and go.work needs {needs} (GOTOOLCHAIN={toolchain})",
		"Install Go {needs} or newer from https://go.dev/dl/, or set GOTOOLCHAIN=auto and let Go fetch it."},
	{"step-refused", Failure, "",
		"{why}",
		"A step refuses to start with that. Correct the variable, or unset it."},
	{"disk-low", Warning, "",
		"{free} free for {places}; a first build and its tests take {needs}",
		"Make room there, or move Go's folders to another disk with the environment variables GOCACHE, GOMODCACHE and GOTMPDIR."},
	{"disk-low-for-jaeger", Warning, "",
		"{free} free for {places}: enough for the steps, but a Jaeger built from source would take {needs} in all",
		"Have Jaeger from Docker, or with `go run ./scripts jaeger --from release`; or make room."},
	{"disk-unknown", Warning, "",
		"how much is free in {dir} cannot be told: {why}",
		"See that there are {needs} for a first build."},
	{"memory-low", Warning, "",
		"{available} available of {total}; a first build takes {needs} on two cores",
		"Close other programs for the first build, or let Go do one thing at a time: GOFLAGS=-p=1."},
	{"memory-low-for-jaeger", Warning, "",
		"{available} available of {total}: enough for the steps, but building Jaeger from source takes {needs}",
		"Have Jaeger from Docker, or with `go run ./scripts jaeger --from release`; or build it with GOFLAGS=-p=1."},
	{"memory-unknown", Warning, "",
		"how much memory there is cannot be told: {why}",
		"See that {needs} are free for a first build."},
	{"docker-silent", Warning, "",
		"Docker is here and cannot be used: {why}",
		"For Jaeger from Docker mend that: an engine must run, `docker compose version` must answer, and containers must be able to read the folder jaeger. You need not: " + otherWayToBe + "."},
	{"feed-failed", Failure, "",
		"{feed}: {why}",
		"Unset FEED_URL: then each step starts its own feed. Or name one that answers, such as https://www.youtube.com/feeds/videos.xml."},
	{"feed-doomed", Warning, "",
		"{feed} serves the video on which a load panics",
		"If that is not on purpose, tell that feed to serve another: `go run ./scripts feed ok`."},
	{"stuck", Failure, "",
		"no answer within {patience}",
		"Something that this check asks takes requests and does not answer: a disk of the network, or a program that hangs."},
}

// say makes a finding of a message. values are pairs of a placeholder's name and
// what stands for it. An unknown id or a placeholder without a value panics:
// both are bugs of this package.
func say(name, id string, values ...string) Finding {
	for _, m := range messages {
		if m.id == id {
			said(id)
			return Finding{Name: name, State: m.state, Found: fill(m.found, values), Advice: fill(m.advice, values)}
		}
	}
	panic("doctor: no message " + id)
}

// said is told of each message that is used; the tests see that all are.
var said = func(id string) {}

var placeholder = regexp.MustCompile(`\{[a-z]+\}`)

// fill puts values in. Of two for one name the first counts.
func fill(template string, values []string) string {
	return placeholder.ReplaceAllStringFunc(template, func(p string) string {
		for i := 0; i < len(values); i += 2 {
			if p == "{"+values[i]+"}" {
				return values[i+1]
			}
		}
		panic(fmt.Sprintf("doctor: %q has no value for %s", template, p))
	})
}

// examples stand for the placeholders on the page.
var examples = []string{
	"otlp", telemetry.DefaultEndpoint,
	"endpoint", telemetry.DefaultEndpoint,
	"api", "http://127.0.0.1:16686/api",
	"what", "…", "why", "…", "file", "…", "who", "",
	"settings", "OTEL_TRACES_EXPORTER=none",
	"names", "OTEL_TRACE_EXPORTER",
	"variable", baseVariable, "set", baseVariable + "=" + telemetry.DefaultEndpoint,
	"unset", "Unset `" + baseVariable + "`, or start",
	"sampler", "always_off",
	"port", "4318", "use", "spans, OTLP over HTTP",
	"move", "set `JAEGER_OTLP_HTTP_PORT` to another port; " + "a step is moved by `ADDR`",
	"which", "",
	"service", "…", "its", "…", "ours", "…", "ahead", "…",
	"patience", findPatience.String(),
}

// exampleOf are examples for one message, before the others.
var exampleOf = map[string][]string{
	"refused":      {"why", `OTEL_EXPORTER_OTLP_ENDPOINT="127.0.0.1:4318" is not a URL with a scheme: write it like ` + telemetry.DefaultEndpoint},
	"with-tls":     {"endpoint", "https://127.0.0.1:4318"},
	"elsewhere":    {"endpoint", "http://127.0.0.1:4317"},
	"path-doubled": {"target", telemetry.DefaultEndpoint + tracesPath + tracesPath},
	"path-missing": {"target", telemetry.DefaultEndpoint + "/", "set", wholeVariable + "=" + telemetry.DefaultEndpoint + tracesPath},
	"service":      {"variable", "OTEL_SERVICE_NAME"},
}

// NoTraces is the README's list of what the doctor says of traces that do not
// show up, and what to do then.
func NoTraces() string {
	var b strings.Builder
	for _, question := range []string{isItUp, doesItSend, isItTaken, isTheSearch} {
		fmt.Fprintf(&b, "**%s**\n\n", question)
		for _, m := range messages {
			if m.asks != question {
				continue
			}
			values := slices.Concat(exampleOf[m.id], examples)
			fmt.Fprintf(&b, "- %s `%s`  \n  %s\n", m.state.Mark(), fill(m.found, values), fill(m.advice, values))
		}
		b.WriteString("\n")
	}
	return b.String()
}
