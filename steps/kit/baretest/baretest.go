// Package baretest is what servers promise that read and write their connections
// themselves, and answer one request on each. A step whose server is one runs it as
// its tests.
package baretest

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

// Request is what a client sends.
const Request = "GET / HTTP/1.1\r\nHost: plaque\r\n\r\n"

// patience is how long a server waits for a client that does not take its answer,
// and after a failed accept.
const patience = 2 * time.Second

// Subject serves the clients of a listener until the context ends, then closes it.
type Subject func(context.Context, net.Listener) error

// Start serves on l until the test ends or stop is called. What serving returns
// comes out of done.
func (serve Subject) Start(t *testing.T, l net.Listener) (stop context.CancelFunc, done <-chan error) {
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

// Dial connects a client, which hangs up when the test ends.
func Dial(t *testing.T, l *webtest.Listener) net.Conn {
	t.Helper()
	conn, err := l.Dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// Ask sends a request and reads the answer and the end of the connection.
func Ask(conn net.Conn) error {
	if _, err := io.WriteString(conn, Request); err != nil {
		return fmt.Errorf("asking: %w", err)
	}
	return Answer(conn)
}

// Answer reads the answer and the end of the connection.
func Answer(conn net.Conn) error {
	got, err := io.ReadAll(conn)
	if err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(got)), nil)
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

// Silent fails the test unless a client that sends nothing is still connected after
// a day.
func Silent(t *testing.T, client net.Conn) {
	t.Helper()
	time.Sleep(24 * time.Hour)
	_ = client.SetReadDeadline(time.Now())
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the idle client after a day: %v, want that it is still connected", err)
	}
}

// FiveSlow lets five clients take a second each to send their request, and returns
// when they began and the spans of their connections. It ends with the last answer.
func (serve Subject) FiveSlow(t *testing.T) (began time.Time, spans []sdktrace.ReadOnlySpan) {
	t.Helper()
	recorder := webtest.Record(t)
	l := webtest.Listen()
	serve.Start(t, l)
	began = time.Now()
	var wg sync.WaitGroup
	for range 5 {
		conn := Dial(t, l)
		wg.Go(func() {
			_, _ = io.WriteString(conn, Request[:10])
			time.Sleep(time.Second)
			_, _ = io.WriteString(conn, Request[10:])
			if err := Answer(conn); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if spans = named(recorder, "handle_connection"); len(spans) != 5 {
		t.Fatalf("%d handle_connection spans, want 5", len(spans))
	}
	return began, spans
}

func named(recorder *tracetest.SpanRecorder, name string) []sdktrace.ReadOnlySpan {
	return slices.DeleteFunc(recorder.Ended(), func(s sdktrace.ReadOnlySpan) bool { return s.Name() != name })
}

// capture collects what is logged until the test ends.
func capture(t *testing.T) *bytes.Buffer {
	t.Helper()
	var log bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	t.Cleanup(func() { slog.SetDefault(before) })
	return &log
}

// A connection is in the trace that its request names, and its spans last as long as
// it did: from the connection on, though they are made when the header is there.
func (serve Subject) Traceparent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		recorder := webtest.Record(t)
		l := webtest.Listen()
		serve.Start(t, l)
		conn := Dial(t, l)
		time.Sleep(time.Second)
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nTraceParent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n")
		if err := Answer(conn); err != nil {
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

// endless sends the same text until nobody takes it any more.
func endless(text string) func(net.Conn) {
	return func(c net.Conn) {
		for err := error(nil); err == nil; {
			_, err = io.WriteString(c, text)
		}
	}
}

// Real sockets, real resets: each of the rude clients is followed by requests
// that are answered.
func (serve Subject) OverTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stop, done := serve.Start(t, l)
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
		{"sends a header that never ends", endless("X-Header: that never ends\r\n")},
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

func (serve Subject) Answered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		recorder := webtest.Record(t)
		l := webtest.Listen()
		stop, done := serve.Start(t, l)
		for range 2 {
			time.Sleep(time.Second)
			if err := Ask(Dial(t, l)); err != nil {
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
			attributes(t, read, attribute.Int("http.request.size", len(Request)))
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
func (serve Subject) RudeClients(t *testing.T) {
	for _, test := range []struct {
		says string
		does func(net.Conn)
		span string // the span that is an error, beside handle_connection
		want string
	}{
		{"hangs up", func(c net.Conn) { _ = c.Close() },
			"read_http_request", "no request in 0 of at most 65536 bytes: EOF"},
		{"hangs up in the middle", func(c net.Conn) { _, _ = io.WriteString(c, Request[:20]); _ = c.Close() },
			"read_http_request", `no request in 20 of at most 65536 bytes: malformed MIME header: missing colon: "Host"`},
		{"hangs up in the last line", func(c net.Conn) { _, _ = io.WriteString(c, Request[:len(Request)-1]); _ = c.Close() },
			"read_http_request", fmt.Sprintf(`no request in %d of at most 65536 bytes: malformed MIME header: missing colon: "\r"`, len(Request)-1)},
		{"sends rubbish", func(c net.Conn) { _, _ = io.WriteString(c, "\x16\x03\x01\x00\r\r\n \n\xff"); _ = c.Close() },
			"read_http_request", `no request in 10 of at most 65536 bytes: malformed MIME header initial line: " "`},
		{"sends lines without end", endless("X-Header: that never ends\r\n"),
			"read_http_request", `no request in 65536 of at most 65536 bytes: malformed MIME header: missing colon: "X-Heade"`},
		{"sends one line without end", endless(strings.Repeat("x", 5000)),
			"read_http_request", "no request in 65536 of at most 65536 bytes: EOF"},
		{"leaves before the answer", func(c net.Conn) { _, _ = io.WriteString(c, Request); _ = c.Close() },
			"write_http_response", "io: read/write on closed pipe"},
		{"does not take its answer", func(c net.Conn) { _, _ = io.WriteString(c, Request); time.Sleep(2 * time.Second) },
			"write_http_response", "write pipe: i/o timeout"},
	} {
		t.Run(test.says, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				recorder := webtest.Record(t)
				log := capture(t)
				l := webtest.Listen()
				serve.Start(t, l)
				test.does(Dial(t, l))
				if err := Ask(Dial(t, l)); err != nil {
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
func (serve Subject) Limit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := webtest.Listen()
		serve.Start(t, l)
		long := strings.Replace(Request, "plaque", strings.Repeat("x", 64<<10-len(Request)+len("plaque")), 1)
		conn := Dial(t, l)
		_, _ = io.WriteString(conn, long)
		if err := Answer(conn); err != nil {
			t.Errorf("%d bytes: %v", len(long), err)
		}
		conn = Dial(t, l)
		_, _ = io.WriteString(conn, "G"+long)
		if got, err := io.ReadAll(conn); err != nil || len(got) > 0 {
			t.Errorf("%d bytes: answered with %q, %v", len(long)+1, got, err)
		}
	})
}

// A stop waits for nobody who is silent.
func (serve Subject) Stop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		recorder := webtest.Record(t)
		l := webtest.Listen()
		stop, done := serve.Start(t, l)
		silent := Dial(t, l)
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
func (serve Subject) StopWaitsForAnswers(t *testing.T) {
	for _, takes := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			l := webtest.Listen()
			stop, done := serve.Start(t, l)
			conn := Dial(t, l)
			_, _ = io.WriteString(conn, Request)
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
				if err := Answer(conn); err != nil {
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
func (serve Subject) AcceptFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		recorder := webtest.Record(t)
		log := capture(t)
		l := &failing{Listener: webtest.Listen()}
		serve.Start(t, l)
		began := time.Now()
		if err := Ask(Dial(t, l.Listener)); err != nil {
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
func (serve Subject) StopInAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop, done := serve.Start(t, &failing{Listener: webtest.Listen()})
		synctest.Wait()
		began := time.Now()
		stop()
		if err := <-done; err != nil || time.Since(began) > 0 {
			t.Errorf("serve returned %v after %s, want nil at once", err, time.Since(began))
		}
	})
}
