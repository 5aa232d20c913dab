package jaeger_test

import (
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
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"plaque/scripts/internal/jaeger"
	"plaque/scripts/internal/jaeger/jaegertest"
)

// burst is a small trace such as step NN leaves, as OTLP's JSON: the load's root,
// and a cache.get of the step that joined the flight of another trace.
func burst(n int, step string, start time.Time) (traceID, body string) {
	traceID = fmt.Sprintf("%016x%016x", n, n)
	at := func(d time.Duration) string { return fmt.Sprint(start.Add(d).UnixNano()) }
	type m = map[string]any
	tag := func(key, value string) m { return m{"key": key, "value": m{"stringValue": value}} }
	resource := func(service string, span m, attributes ...m) m {
		return m{
			"resource":   m{"attributes": append(attributes, tag("service.name", service))},
			"scopeSpans": []m{{"spans": []m{span}}},
		}
	}
	root, joined := fmt.Sprintf("%016x", 2*n), fmt.Sprintf("%016x", 2*n+1)
	text, err := json.Marshal(m{"resourceSpans": []m{
		resource("load", m{
			"traceId": traceID, "spanId": root, "name": "burst", "kind": 1,
			"startTimeUnixNano": at(0), "endTimeUnixNano": at(60 * time.Millisecond),
			"attributes": []m{tag("step", step), {"key": "requests", "value": m{"intValue": "10"}}},
		}),
		resource("plaque", m{
			"traceId": traceID, "spanId": joined, "parentSpanId": root, "name": "cache.get", "kind": 1,
			"startTimeUnixNano": at(time.Millisecond), "endTimeUnixNano": at(51 * time.Millisecond),
			"attributes": []m{tag("cache.key", "UC1"), tag("cache.result", "joined")},
			"links":      []m{{"traceId": strings.Repeat("f", 32), "spanId": strings.Repeat("e", 16)}},
			"events":     []m{{"name": "exception", "timeUnixNano": at(2 * time.Millisecond), "attributes": []m{tag("exception.message", "boom")}}},
			"status":     m{"code": 2, "message": "boom"},
		}, tag("service.version", step)),
	}})
	if err != nil {
		panic(err)
	}
	return traceID, string(text)
}

func send(t *testing.T, s *jaeger.Server, body string) {
	t.Helper()
	resp, err := http.Post(s.OTLP+"/v1/traces", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if answer, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
		t.Fatalf("OTLP answers %s: %s", resp.Status, answer)
	}
}

// The real Jaeger with the repo's configuration takes spans and stops cleanly.
// What the menu and the links of its pages ask for finds those spans.
func TestRealJaeger(t *testing.T) {
	s := jaegertest.Start(t)
	if s.From != jaeger.FromSource || s.Pages {
		t.Errorf("From %q, Pages %v; a build from source has no pages", s.From, s.Pages)
	}
	if names := jaegertest.Services(t, s); len(names) != 0 {
		t.Errorf("an empty Jaeger has the services %v: does it trace itself?", names)
	}

	steps := []string{"05-naive-cache", "07-inflight"}
	start := time.Now().Truncate(time.Microsecond)
	var ids []string
	for i, step := range steps {
		id, body := burst(i+1, step, start)
		if _, err := s.Trace(t.Context(), id); !errors.Is(err, jaeger.ErrNotFound) {
			t.Errorf("before it was sent: %v", err)
		}
		send(t, s, body)
		ids = append(ids, id)
	}

	// Nothing is batched: what was delivered is found at once.
	trace, err := s.Trace(t.Context(), ids[1])
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(trace.Spans, func(a, b jaeger.Span) int { return strings.Compare(a.Name, b.Name) })
	if len(trace.Spans) != 2 || trace.ID != ids[1] {
		t.Fatalf("the trace is %+v", trace)
	}
	root, joined := trace.Spans[0], trace.Spans[1]
	if root.Name != "burst" || root.Service != "load" || jaegertest.Parent(root) != "" || root.Tags["requests"] != json.Number("10") || jaegertest.Failed(root) {
		t.Errorf("the root is %+v", root)
	}
	link := []jaeger.Reference{{Type: "FOLLOWS_FROM", TraceID: strings.Repeat("f", 32), SpanID: strings.Repeat("e", 16)}}
	if joined.Name != "cache.get" || joined.Service != "plaque" || jaegertest.Parent(joined) != root.ID || !jaegertest.Failed(joined) ||
		joined.Process["service.version"] != "07-inflight" || joined.Tags["cache.result"] != "joined" || !slices.Equal(jaegertest.Links(joined), link) ||
		joined.StartTime != start.Add(time.Millisecond).UnixMicro() || joined.Duration != 50_000 ||
		len(joined.Logs) != 1 || joined.Logs[0].Fields["event"] != "exception" || len(joined.Warnings) != 0 {
		t.Errorf("the span is %+v", joined)
	}

	if names := jaegertest.Services(t, s); !slices.Equal(names, []string{"load", "plaque"}) {
		t.Errorf("services: %v", names)
	}
	second := func(from time.Time) string {
		return fmt.Sprintf("&lookback=custom&start=%d&end=%d", from.UnixMicro(), from.Add(time.Second).UnixMicro())
	}
	for _, c := range []struct {
		query string
		found []string
	}{
		{`service=plaque&limit=20&tags={"service.version":"05-naive-cache"}`, ids[:1]},
		{`service=plaque&limit=20&tags={"service.version":"07-inflight"}`, ids[1:]},
		{`service=load&operation=burst&limit=20&tags={"step":"05-naive-cache"}`, ids[:1]},
		{`service=load&operation=burst&limit=20&tags={"step":"07-inflight"}`, ids[1:]},
		{`service=plaque&limit=20000&tags={"service.version":"05-naive-cache","cache.key":"UC1"}` + second(start), ids[:1]},
		{`service=plaque&limit=20000&tags={"service.version":"07-inflight","cache.key":"UC1"}` + second(start), ids[1:]},
		{`service=plaque&limit=20&tags={"service.version":"06-mutex-cache"}`, nil},
		{`service=plaque&limit=20` + second(start.Add(time.Second)), nil},
	} {
		if found := linkFinds(t, s, "/search?"+c.query); !slices.Equal(found, c.found) {
			t.Errorf("%s finds %q, want %q", c.query, found, c.found)
		}
	}
	if _, err := jaegertest.Search(t.Context(), s, "/search?service=plaque&limit=20001"); err == nil {
		t.Error("max_traces is not 20000")
	}

	// The menu's own queries, as the pages send them.
	menu := jaegertest.ReadPages(t)
	for _, group := range []string{"Steps", "Bursts"} {
		if found := linkFinds(t, s, menu.Group(t, group).Item(t, "07").URL); !slices.Equal(found, ids[1:]) {
			t.Errorf("07 under %s finds %v, want %v", group, found, ids[1:])
		}
	}
	if found := linkFinds(t, s, menu.Group(t, "Bursts").Item(t, "every burst").URL); len(found) != 2 {
		t.Errorf("the menu's every burst finds %v", found)
	}

	began := time.Now()
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
	t.Logf("stopped within %v", time.Since(began))
	if state := s.Command().ProcessState; runtime.GOOS != "windows" && !state.Success() {
		t.Errorf("Jaeger did not stop cleanly: %v", state)
	}
	for _, base := range []string{s.UI, s.OTLP} {
		if conn, err := net.Dial("tcp", strings.TrimPrefix(base, "http://")); err == nil {
			conn.Close()
			t.Errorf("somebody still answers at %s", base)
		}
	}
}

// linkFinds are the traces behind a link to the pages' search: it asks the API
// what the pages ask.
func linkFinds(t *testing.T, s *jaeger.Server, link string) []string {
	t.Helper()
	found, err := jaegertest.Search(t.Context(), s, link)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// `jaeger validate` accepts the configuration, and does look at it.
func TestValidate(t *testing.T) {
	binary := jaegertest.Binary(t)
	config := filepath.Join(jaegertest.Root(t), "jaeger", "config.yaml")
	validate := func(path string) (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		out, err := exec.CommandContext(ctx, binary, "validate", "--config", path).CombinedOutput()
		return string(out), err
	}
	if out, err := validate(config); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	broken := filepath.Join(t.TempDir(), "broken.yaml")
	if err := os.WriteFile(broken, []byte(strings.ReplaceAll(string(text), "max_traces:", "max_tracks:")), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := validate(broken); err == nil {
		t.Errorf("a setting that does not exist is accepted:\n%s", out)
	}
}

// Two at once do not meet, and a cancelled start leaves nothing.
func TestRealJaegerTwice(t *testing.T) {
	a, b := jaegertest.Start(t), jaegertest.Start(t)
	id, body := burst(1, "05-naive-cache", time.Now())
	send(t, a, body)
	if _, err := b.Trace(t.Context(), id); !errors.Is(err, jaeger.ErrNotFound) {
		t.Errorf("the other Jaeger has it too: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := jaeger.Start(ctx, jaeger.Options{Root: jaegertest.Root(t), From: jaeger.FromSource, FreePorts: true})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled Start returns %v", err)
	}
}

// Jaeger opens the five ports of its configuration on 127.0.0.1, and no other.
func TestRealJaegerOpensNoOtherPort(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc, which is Linux's")
	}
	s := jaegertest.Start(t)
	proc := fmt.Sprintf("/proc/%d", s.Command().Process.Pid)
	fds, err := os.ReadDir(proc + "/fd")
	if err != nil {
		t.Fatal(err)
	}
	sockets := map[string]bool{} // by inode
	for _, fd := range fds {
		if to, err := os.Readlink(proc + "/fd/" + fd.Name()); err == nil {
			sockets[strings.TrimSuffix(strings.TrimPrefix(to, "socket:["), "]")] = true
		}
	}
	var listens []string
	for _, table := range []string{"/net/tcp", "/net/tcp6", "/net/udp", "/net/udp6"} {
		text, err := os.ReadFile(proc + table)
		if err != nil {
			continue // a machine without IPv6
		}
		for _, line := range strings.Split(string(text), "\n") {
			// Of a line: 1 is the local address in hex, 3 the state, 9 the inode.
			const listen, unconnected = "0A", "07"
			f := strings.Fields(line)
			if len(f) > 9 && sockets[f[9]] && (f[3] == listen || f[3] == unconnected) {
				listens = append(listens, f[1])
			}
		}
	}
	local := slices.DeleteFunc(slices.Clone(listens), func(a string) bool { return !strings.HasPrefix(a, "0100007F:") })
	if len(listens) != 5 || len(local) != 5 {
		t.Errorf("Jaeger listens at %q, want five ports of 0100007F, which is 127.0.0.1", listens)
	}
}
