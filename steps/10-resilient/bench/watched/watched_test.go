// Package watched measures what it costs to watch 10: a hit of its cache, and
// the whole answer of a server over connections that are kept.
//
// A process is watched in one way, as the flags and OpenTelemetry's variables
// have it: a global TracerProvider reaches a tracer once. `go run ./scripts bench
// --watched` starts one for each way.
package watched

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"testing"
	"time"

	"go.opentelemetry.io/otel"

	"plaque/steps/10-resilient/cache"
	"plaque/steps/kit/debug"
	"plaque/steps/kit/telemetry"
	"plaque/steps/kit/web"
	"plaque/steps/kit/youtube"
)

var (
	started = flag.Bool("started", false, "start what a step's process starts: telemetry and the debug pages")
	read    = flag.Bool("read", false, "with -started, read the debug pages all the while")
)

// readEvery is how long somebody who reads waits between two looks: as little as
// the top command can be told to.
const readEvery = 100 * time.Millisecond

func TestMain(m *testing.M) {
	flag.Parse()
	if err := run(m); err != nil {
		fmt.Fprintln(os.Stderr, "watched:", err)
		os.Exit(1)
	}
}

func run(m *testing.M) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	looked := make(chan error, 1)
	if *read && !*started {
		return errors.New("-read needs -started: there are no debug pages to read")
	}
	if *started {
		var log bytes.Buffer // read before there is a span that somebody could complain about
		t, err := telemetry.Start(ctx, telemetry.Config{Version: "10-resilient", Out: &log})
		if err != nil {
			return err
		}
		defer func() { _ = t.Stop() }() // spans that were too many to send are no failure
		pages := debug.New("10-resilient")
		for _, see := range pages.Processors() {
			t.Watch(see)
		}
		if err := pages.Serve(ctx, "127.0.0.1:0"); err != nil {
			return err
		}
		url := regexp.MustCompile(`"debug pages" url=(http://\S+)`).FindStringSubmatch(log.String())
		if url == nil {
			return fmt.Errorf("the log does not say where the debug pages are; is LOG_LEVEL set? %s", log.String())
		}
		if *read {
			go func() { looked <- look(ctx, url[1]) }()
		}
	}
	if m.Run() != 0 {
		return errors.New("a benchmark failed")
	}
	if *read {
		cancel()
		return <-looked
	}
	return nil
}

// look reads the debug pages until ctx ends.
func look(ctx context.Context, pages string) error {
	for tick := time.Tick(readEvery); ; {
		for _, page := range []string{"/debug/flights", "/debug/spans", "/debug/tracez"} {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, pages+page, nil)
			if err != nil {
				return err
			}
			res, err := http.DefaultClient.Do(req)
			if err == nil {
				_, err = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
			}
			switch {
			case ctx.Err() != nil:
				return nil
			case err != nil:
				return err
			case res.StatusCode != http.StatusOK:
				return fmt.Errorf("%s: %s", page, res.Status)
			}
		}
		select {
		case <-tick:
		case <-ctx.Done():
			return nil
		}
	}
}

// videos is a cache that remembers each channel's answer for longer than a
// benchmark runs.
func videos() *cache.Cache[string, string] {
	return cache.New(time.Hour, func(context.Context, string) (string, error) { return "ABCDEFGHIJK", nil })
}

// BenchmarkHit is Get alone, for one caller who has a request's span: how two
// cores share the counter of the hits would hide the rest.
func BenchmarkHit(b *testing.B) {
	ctx, span := otel.Tracer("bench").Start(b.Context(), "request")
	defer span.End()
	c := videos()
	if _, err := c.Get(ctx, youtube.DefaultChannel); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Get(ctx, youtube.DefaultChannel); err != nil {
			b.Fatal(err)
		}
	}
	if s := c.Stats(); s.Loads != 1 {
		b.Errorf("%d loads: those were not hits", s.Loads)
	}
}

// BenchmarkAnswer is the way of a request through 10's server and back. What its
// caller does is measured with it, and so it does next to nothing.
func BenchmarkAnswer(b *testing.B) {
	c := videos()
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", web.Handler(func(w http.ResponseWriter, r *http.Request) error { // as in 10's main
		channel, err := youtube.Channel(r)
		if err != nil {
			return err
		}
		id, err := c.Get(r.Context(), channel)
		if err != nil {
			return err
		}
		return web.JSON(w, map[string]string{"video_id": id})
	}))
	var handler http.Handler = mux
	if *started {
		handler = web.Trace(mux)
	}
	l, err := web.Listen("127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := web.NewServer(handler)
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		if err := ask(l.Addr().String(), pb.Next); err != nil {
			b.Error(err)
		}
	})
}

// ask sends one request after the other on one connection, for as long as next
// wants another. All answers are as long as the first one, which it reads with
// care.
func ask(addr string, next func() bool) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	request := []byte("GET / HTTP/1.1\r\nHost: " + addr + "\r\n\r\n")
	if _, err := conn.Write(request); err != nil {
		return err
	}
	var text bytes.Buffer
	res, err := http.ReadResponse(bufio.NewReader(io.TeeReader(conn, &text)), nil)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if want := `{"video_id":"ABCDEFGHIJK"}` + "\n"; res.StatusCode != http.StatusOK || string(body) != want {
		return fmt.Errorf("the answer is %s %q, want 200 %q", res.Status, body, want)
	}
	answer := make([]byte, text.Len())
	for next() {
		if _, err := conn.Write(request); err != nil {
			return err
		}
		if _, err := io.ReadFull(conn, answer); err != nil {
			return err
		}
		if !bytes.HasPrefix(answer, []byte("HTTP/1.1 200 OK\r\n")) || !bytes.HasSuffix(answer, body) {
			return fmt.Errorf("an answer is not as the first one: %q", answer)
		}
	}
	return nil
}
