package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"plaque/steps/kit/web/webtest"
)

const request = "GET / HTTP/1.1\r\nHost: plaque\r\n\r\n"

// A connection is in the trace that its request names, and its spans last as long as
// it did: from the connection on, though they are made when the header is there.
func TestTraceparent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		recorder := webtest.Record(t)
		l := webtest.Listen()
		start(t, l)
		conn := dial(t, l)
		time.Sleep(time.Second)
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nTraceParent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n")
		if err := answer(conn); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for _, name := range []string{"handle_connection", "read_http_request", "write_http_response"} {
			spans := named(recorder, name)
			if len(spans) != 1 || spans[0].SpanContext().TraceID().String() != "0af7651916cd43dd8448eb211c80319c" {
				t.Fatalf("%s: %v, want one in the caller's trace", name, spans)
			}
			if took := spans[0].EndTime().Sub(spans[0].StartTime()); name != "write_http_response" && took != time.Second {
				t.Errorf("%s took %s, want the second that the client was silent", name, took)
			}
		}
		if handle := named(recorder, "handle_connection")[0]; handle.Parent().SpanID().String() != "b7ad6b7169203331" {
			t.Errorf("handle_connection is below %s, want the caller's span", handle.Parent().SpanID())
		}
		if accept := named(recorder, "accept"); len(accept) != 1 || accept[0].Parent().IsValid() {
			t.Errorf("accept: %v, want the root of a separate trace: it began before anybody called", accept)
		}
	})
}

// The tests are rude, and the server says so.
func init() { slog.SetDefault(slog.New(slog.DiscardHandler)) }

// capture collects what is logged until the test ends.
func capture(t *testing.T) *bytes.Buffer {
	t.Helper()
	var log bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	t.Cleanup(func() { slog.SetDefault(before) })
	return &log
}

// start serves on l until the test ends or stop is called. What serve returns
// comes out of done.
func start(t *testing.T, l net.Listener) (stop context.CancelFunc, done <-chan error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	ended := make(chan struct{})
	go func() {
		result <- serve(ctx, l)
		close(ended)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return cancel, result
}

func dial(t *testing.T, l *webtest.Listener) net.Conn {
	t.Helper()
	conn, err := l.Dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// ask sends a request and reads the answer and the end of the connection.
func ask(conn net.Conn) error {
	if _, err := io.WriteString(conn, request); err != nil {
		return fmt.Errorf("asking: %w", err)
	}
	return answer(conn)
}

func answer(conn net.Conn) error {
	got, err := io.ReadAll(conn)
	if err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	res, err := http.ReadResponse(bufio.NewReader(strings.NewReader(string(got))), nil)
	if err != nil {
		return fmt.Errorf("the answer %q: %w", got, err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil || string(body) != "Hello from plaque!\n" || res.StatusCode != 200 || !res.Close ||
		res.ContentLength != int64(len(body)) || res.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
		return fmt.Errorf("the answer is %q", got)
	}
	return nil
}

func named(recorder *tracetest.SpanRecorder, name string) []sdktrace.ReadOnlySpan {
	return slices.DeleteFunc(recorder.Ended(), func(s sdktrace.ReadOnlySpan) bool { return s.Name() != name })
}

// Real sockets, real resets: each of the rude clients is followed by requests
// that are answered.
func TestOverTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stop, done := start(t, l)
	client := &http.Client{Timeout: 30 * time.Second}
	defer client.CloseIdleConnections()

	for _, rude := range []struct {
		says string
		does func(net.Conn)
	}{
		{"nothing before", func(net.Conn) {}},
		{"hangs up", func(c net.Conn) { _ = c.Close() }},
		{"hangs up with a reset", func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0); _ = c.Close() }},
		{"sends rubbish", func(c net.Conn) { _, _ = c.Write([]byte("\x16\x03\x01\x00\xff rubbish")) }},
		{"sends rubbish with a blank line and a body", func(c net.Conn) { _, _ = c.Write([]byte("\x00\n\n\xff\xff\xff")) }},
		{"sends a header that never ends", func(c net.Conn) {
			for err := error(nil); err == nil; {
				_, err = io.WriteString(c, "X-Header: that never ends\r\n")
			}
		}},
	} {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		rude.does(conn)
		_ = conn.Close()
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				res, err := client.Get("http://" + l.Addr().String())
				if err != nil {
					t.Errorf("after a client that %s: %v", rude.says, err)
					return
				}
				defer res.Body.Close()
				if body, err := io.ReadAll(res.Body); err != nil || string(body) != "Hello from plaque!\n" {
					t.Errorf("after a client that %s: %q, %v", rude.says, body, err)
				}
			})
		}
		wg.Wait()
	}
	stop()
	if err := <-done; err != nil {
		t.Errorf("serve: %v", err)
	}
}

// Five clients take a second each to send their request: all are answered after
// one second.
func TestAllAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		recorder := webtest.Record(t)
		l := webtest.Listen()
		start(t, l)
		began := time.Now()
		var wg sync.WaitGroup
		for range 5 {
			conn := dial(t, l)
			wg.Go(func() {
				_, _ = io.WriteString(conn, request[:10])
				time.Sleep(time.Second)
				_, _ = io.WriteString(conn, request[10:])
				if err := answer(conn); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if took := time.Since(began); took != time.Second {
			t.Errorf("all were answered after %s, want 1s", took)
		}
		spans := named(recorder, "handle_connection")
		if len(spans) != 5 {
			t.Fatalf("%d handle_connection spans, want 5", len(spans))
		}
		for i, s := range spans {
			if !s.StartTime().Equal(began) || s.EndTime().Sub(began) != time.Second {
				t.Errorf("connection %d began at %s and ended at %s", i, s.StartTime().Sub(began), s.EndTime().Sub(began))
			}
		}
	})
}

// The lesson: an idle client is kept for as long as it stays, and harms nobody.
func TestSilentClientHarmsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := webtest.Listen()
		start(t, l)
		began := time.Now()
		silent := dial(t, l)
		for range 10 {
			if err := ask(dial(t, l)); err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("ten callers beside a silent one waited %s", took)
		}
		time.Sleep(24 * time.Hour)
		_ = silent.SetReadDeadline(time.Now())
		if _, err := silent.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the idle client after a day: %v, want that it is still connected", err)
		}
	})
}

// A thousand idle clients on real sockets: their reads wait in the runtime's
// poller, and no thread waits with them. See threads_test.go for reads that do
// wait in the kernel.
func TestThousandSilentClients(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	start(t, l)
	for i := range 1000 {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatalf("idle client %d: %v (both ends are in this process, so it needs 2100 file descriptors: see ulimit -n)", i+1, err)
		}
		defer conn.Close()
	}
	oneEach := func() {
		t.Helper()
		for began := time.Now(); reading(t) != 1000; time.Sleep(10 * time.Millisecond) {
			if time.Since(began) > 30*time.Second {
				t.Fatalf("%d goroutines read after 30 s, want one for each of 1000 clients", reading(t))
			}
		}
	}
	oneEach()
	for range 10 {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if err := ask(conn); err != nil {
			t.Errorf("beside 1000 idle clients: %v", err)
		}
		_ = conn.Close()
	}
	oneEach() // those of the callers that were answered end a moment later
	if n := pprof.Lookup("threadcreate").Count(); n > 100 {
		t.Errorf("%d threads for 1000 clients, want at most 100", n)
	}
}

// reading counts the goroutines that handle a connection.
func reading(t *testing.T) int {
	t.Helper()
	var stacks bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&stacks, 2); err != nil {
		t.Fatal(err)
	}
	return strings.Count(stacks.String(), ".handleConnection(")
}

func TestAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		recorder := webtest.Record(t)
		l := webtest.Listen()
		stop, done := start(t, l)
		for range 2 {
			time.Sleep(time.Second)
			if err := ask(dial(t, l)); err != nil {
				t.Fatal(err)
			}
		}
		stop()
		if err := <-done; err != nil {
			t.Fatal(err)
		}

		spans := map[string][]sdktrace.ReadOnlySpan{}
		for _, s := range recorder.Ended() {
			spans[s.Name()] = append(spans[s.Name()], s)
			if s.Status().Code == codes.Error {
				t.Errorf("%s is an error: %s", s.Name(), s.Status().Description)
			}
		}
		for _, name := range []string{"accept", "handle_connection", "read_http_request", "write_http_response"} {
			if len(spans[name]) != 2 {
				t.Fatalf("%d %s spans, want 2 of each: %v", len(spans[name]), name, spans)
			}
		}
		if len(spans) != 4 {
			t.Errorf("other spans than these four: %v", spans)
		}
		for i := range 2 {
			accept, handle := spans["accept"][i], spans["handle_connection"][i]
			if accept.Parent().IsValid() || handle.Parent().IsValid() || accept.SpanContext().TraceID() == handle.SpanContext().TraceID() {
				t.Error("accept and handle_connection are not the roots of two traces")
			}
			if took := accept.EndTime().Sub(accept.StartTime()); took != time.Second {
				t.Errorf("accept took %s, want the second that the client was away", took)
			}
			if links := handle.Links(); len(links) != 1 || links[0].SpanContext.SpanID() != accept.SpanContext().SpanID() {
				t.Errorf("handle_connection has the links %v, want one to its accept", links)
			}
			attributes(t, handle,
				attribute.String("network.peer.address", "192.0.2.2"),
				attribute.Int("network.peer.port", 50001+i))
			read, write := spans["read_http_request"][i], spans["write_http_response"][i]
			for _, child := range []sdktrace.ReadOnlySpan{read, write} {
				if child.Parent().SpanID() != handle.SpanContext().SpanID() {
					t.Errorf("%s is no child of handle_connection", child.Name())
				}
			}
			attributes(t, read, attribute.Int("http.request.size", len(request)))
			attributes(t, write, attribute.Int("http.response.size", 99+len("Hello from plaque!\n")))
		}
	})
}

func attributes(t *testing.T, s sdktrace.ReadOnlySpan, want ...attribute.KeyValue) {
	t.Helper()
	if got := s.Attributes(); !slices.Equal(got, want) {
		t.Errorf("%s has the attributes %v, want %v", s.Name(), got, want)
	}
}

// Whatever a client does, the next one is answered, and the spans say what it
// was.
func TestRudeClients(t *testing.T) {
	for _, test := range []struct {
		says string
		does func(net.Conn)
		span string // the span that is an error, beside handle_connection
		want string
	}{
		{"hangs up", func(c net.Conn) { _ = c.Close() },
			"read_http_request", "no request in 0 of at most 65536 bytes: EOF"},
		{"hangs up in the middle", func(c net.Conn) { _, _ = io.WriteString(c, request[:20]); _ = c.Close() },
			"read_http_request", `no request in 20 of at most 65536 bytes: malformed MIME header: missing colon: "Host"`},
		{"hangs up in the last line", func(c net.Conn) { _, _ = io.WriteString(c, request[:len(request)-1]); _ = c.Close() },
			"read_http_request", fmt.Sprintf(`no request in %d of at most 65536 bytes: malformed MIME header: missing colon: "\r"`, len(request)-1)},
		{"sends rubbish", func(c net.Conn) { _, _ = io.WriteString(c, "\x16\x03\x01\x00\r\r\n \n\xff"); _ = c.Close() },
			"read_http_request", `no request in 10 of at most 65536 bytes: malformed MIME header initial line: " "`},
		{"sends lines without end", func(c net.Conn) {
			for err := error(nil); err == nil; {
				_, err = io.WriteString(c, "X-Header: that never ends\r\n")
			}
		}, "read_http_request", `no request in 65536 of at most 65536 bytes: malformed MIME header: missing colon: "X-Heade"`},
		{"sends one line without end", func(c net.Conn) {
			for err := error(nil); err == nil; {
				_, err = io.WriteString(c, strings.Repeat("x", 5000))
			}
		}, "read_http_request", "no request in 65536 of at most 65536 bytes: EOF"},
		{"leaves before the answer", func(c net.Conn) { _, _ = io.WriteString(c, request); _ = c.Close() },
			"write_http_response", "io: read/write on closed pipe"},
		{"does not take its answer", func(c net.Conn) { _, _ = io.WriteString(c, request); time.Sleep(2 * time.Second) },
			"write_http_response", "write pipe: i/o timeout"},
	} {
		t.Run(test.says, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				recorder := webtest.Record(t)
				log := capture(t)
				l := webtest.Listen()
				start(t, l)
				test.does(dial(t, l))
				if err := ask(dial(t, l)); err != nil {
					t.Errorf("the next client: %v", err)
				}
				synctest.Wait()
				failed := map[string]string{}
				for _, s := range recorder.Ended() {
					if s.Status().Code == codes.Error {
						failed[s.Name()] = s.Status().Description
					}
				}
				if len(failed) != 2 || failed[test.span] != test.want || failed["handle_connection"] != test.want {
					t.Errorf("the errors are %q, want %s and handle_connection to say %q", failed, test.span, test.want)
				}
				if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(strings.ReplaceAll(strings.ReplaceAll(log.String(), `\\`, `\`), `\"`, `"`), test.want) {
					t.Errorf("the log is %q, want one line that says %q", log, test.want)
				}
			})
		})
	}
}

// The longest header that is answered, and one byte more.
func TestLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := webtest.Listen()
		start(t, l)
		long := strings.Replace(request, "plaque", strings.Repeat("x", 64<<10-len(request)+len("plaque")), 1)
		conn := dial(t, l)
		_, _ = io.WriteString(conn, long)
		if err := answer(conn); err != nil {
			t.Errorf("%d bytes: %v", len(long), err)
		}
		conn = dial(t, l)
		_, _ = io.WriteString(conn, "G"+long)
		if got, err := io.ReadAll(conn); err != nil || len(got) > 0 {
			t.Errorf("%d bytes: answered with %q, %v", len(long)+1, got, err)
		}
	})
}

// A stop waits for nobody who is silent.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		recorder := webtest.Record(t)
		l := webtest.Listen()
		stop, done := start(t, l)
		silent := dial(t, l)
		synctest.Wait()
		began := time.Now()
		stop()
		if _, err := silent.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("the idle client got %v, want EOF", err)
		}
		if err := <-done; err != nil || time.Since(began) > 0 {
			t.Errorf("serve returned %v after %s, want nil at once", err, time.Since(began))
		}
		if _, err := l.Dial(); err == nil {
			t.Error("the listener is still open")
		}
		want := "no request in 0 of at most 65536 bytes: read pipe: i/o timeout"
		if s := named(recorder, "read_http_request"); len(s) != 1 || s[0].Status().Description != want {
			t.Errorf("the spans are %v, want one that says %q", s, want)
		}
	})
}

// A stop waits for an answer that is being sent, but not without end.
func TestStopWaitsForAnswers(t *testing.T) {
	for _, takes := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			l := webtest.Listen()
			stop, done := start(t, l)
			conn := dial(t, l)
			_, _ = io.WriteString(conn, request)
			synctest.Wait() // the server is writing
			began := time.Now()
			stop()
			synctest.Wait()
			select {
			case err := <-done:
				t.Fatalf("serve returned %v with an answer on its way", err)
			default:
			}
			want := 2 * time.Second
			if takes {
				want = 0
				if err := answer(conn); err != nil {
					t.Error(err)
				}
			}
			if err := <-done; err != nil || time.Since(began) != want {
				t.Errorf("serve returned %v after %s, want nil after %s", err, time.Since(began), want)
			}
		})
	}
}

// failing is a listener whose first accept fails.
type failing struct {
	*webtest.Listener
	once sync.Once
}

var errNoFiles = errors.New("too many open files")

func (f *failing) Accept() (conn net.Conn, err error) {
	f.once.Do(func() { err = errNoFiles })
	if err != nil {
		return nil, err
	}
	return f.Listener.Accept()
}

// An accept that fails is an error of its span and of nothing else.
func TestAcceptFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		recorder := webtest.Record(t)
		log := capture(t)
		l := &failing{Listener: webtest.Listen()}
		start(t, l)
		began := time.Now()
		if err := ask(dial(t, l.Listener)); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took != patience {
			t.Errorf("answered after %s, want %s", took, patience)
		}
		synctest.Wait()
		spans := named(recorder, "accept")
		if len(spans) != 2 || spans[0].Status().Description != errNoFiles.Error() || spans[1].Status().Code == codes.Error {
			t.Errorf("the accept spans are %v, want one that failed and one that did not", spans)
		}
		if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), errNoFiles.Error()) {
			t.Errorf("the log is %q, want one line that says %q", log, errNoFiles)
		}
	})
}

// A stop does not wait until a pause is over.
func TestStopInAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop, done := start(t, &failing{Listener: webtest.Listen()})
		synctest.Wait()
		began := time.Now()
		stop()
		if err := <-done; err != nil || time.Since(began) > 0 {
			t.Errorf("serve returned %v after %s, want nil at once", err, time.Since(began))
		}
	})
}
