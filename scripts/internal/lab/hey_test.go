package lab

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/trace/noop"

	"plaque/scripts/internal/lesson"
	"plaque/steps/kit/terminal"
)

// What load prints can be copied, and moves no cursor, whatever the URL has in it and
// the server answers.
func TestLoadIsPlain(t *testing.T) {
	hey, err := heyBinary()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 4096))
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\x1b[2JEVIL\u009b7m\r\n\r\n")
			_ = conn.Close()
		}
	}()
	var out bytes.Buffer
	url := "http://" + l.Addr().String() + "/?a=it's&b=c"
	if _, err := Load(t.Context(), noop.NewTracerProvider(), hey, "05", lesson.Hey{Requests: 1, Concurrency: 1}, url, &out); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); strings.ContainsAny(got, "\x1b\u009b") || !strings.Contains(got, "EVIL") {
		t.Errorf("it prints %q", got)
	}
	line, _, _ := strings.Cut(out.String(), "\n")
	if want := terminal.Shell(url); !strings.HasPrefix(line, "$ hey -n 1 -c 1 -t 2 -H 'traceparent: ") || !strings.HasSuffix(line, " "+want) || want == url {
		t.Errorf("the line is %s", line)
	}
}

// FuzzHey: whatever hey prints, there is a count for each kind of answer, or an
// error.
func FuzzHey(f *testing.F) {
	f.Add("Summary:\n  Slowest:\t0.0500 secs\n\nResponse time histogram:\n  0.050 [1]\t|■■\n\n\nStatus code distribution:\n  [200]\t5 responses\n  [502]\t1 responses\n")
	f.Add("Status code distribution:\n\nError distribution:\n  [5]\tGet \"http://127.0.0.1:1/\": EOF\n")
	f.Add("  Slowest:\tNaN secs\n10%% in NaN secs\nStatus code distribution:\n")
	f.Add("Status code distribution:\n  [200]\t99999999999999999999 responses\n")
	f.Fuzz(func(t *testing.T, report string) {
		text := tidy(report)
		if strings.Contains(text, "\n\n\n") {
			t.Errorf("it is not tidy: %q", text)
		}
		answers, err := parseHey(text)
		if err != nil && answers != nil || err == nil && answers == nil {
			t.Errorf("%v, %v", answers, err)
		}
		for what, n := range answers {
			if what == "" || n < 0 {
				t.Errorf("%d times %q", n, what)
			}
		}
		if seconds, err := Slowest(text); err == nil && !(seconds >= 0) {
			t.Errorf("the slowest took %v s", seconds)
		}
		if h := Histogram(text); h != "" && !strings.Contains(text, h) {
			t.Errorf("the histogram is not in the report: %q", h)
		}
	})
}
