package lab

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/attribute"
	oteltrace "go.opentelemetry.io/otel/trace"

	"plaque/scripts/internal/caller"
	"plaque/scripts/internal/lesson"
)

const (
	slowFor = time.Second // how long a slow caller takes to say its request
	// slowMost is the longest that it takes: 03 gives a header 2 s.
	slowMost = 1800 * time.Millisecond
	// quickAfter is when the quick caller comes behind the slow ones: late enough
	// for a server to have begun with them, early enough to be answered before
	// they have spoken.
	quickAfter = slowFor / 4
)

var _ = does((*scene).slow)

// slow has callers who take a second to say their request, on one clock, and a
// quick one who comes when all of them speak. The kernel accepts connections in
// order, so a server that serves them in order comes to the quick one last.
func (s *scene) slow(ctx context.Context, slow lesson.Slow, out *Outcome) error {
	n := int(slow)
	ctx, end := s.burst(ctx, out, n+1, n+1)
	defer end()
	callers := make([]*slowCaller, n)
	for i := range callers {
		c, err := s.startSlow(ctx)
		if err != nil {
			return fmt.Errorf("slow client %d of %d: %w", i+1, n, err)
		}
		defer c.close()
		callers[i] = c
	}
	began := time.Now()
	// From outside, nothing shows when a server has begun to listen to all of them.
	if err := pause(ctx, quickAfter); err != nil {
		return err
	}
	quick := make(chan caller.Answer, 1)
	go func() {
		ctx, span := s.tracer.Start(ctx, askSpan)
		got := ask(ctx, s.server.URL)
		span.SetAttributes(attribute.String("answer", got.String()))
		span.End()
		quick <- got
	}()
	// On a busy machine a quick answer may be late. The slow ones go on for as long
	// as they may where the quick one is said to need nobody's end.
	bound := slowFor
	if out.Act.Expect.Quick == lesson.AtOnce {
		bound = slowMost
	}
	select {
	case got := <-quick:
		out.quick = lesson.AtOnce
		out.answered(got)
	case <-time.After(time.Until(began.Add(bound))):
		out.quick = lesson.AfterSlow
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := pause(ctx, time.Until(began.Add(slowFor))); err != nil {
		return err
	}
	// All have the rest of their requests sent before one of them waits.
	for _, c := range callers {
		c.finish()
	}
	for _, c := range callers {
		out.Answers[c.answer()]++
	}
	if out.quick == lesson.AfterSlow {
		out.answered(<-quick)
	}
	return nil
}

// The spans of callers whom a picture shows beside the server, which may read no
// headers and then cannot say whom it kept waiting.
const (
	askSpan     = "ask"
	askSlowSpan = "ask slowly"
)

// slowCaller is a client that has said half of its request.
type slowCaller struct {
	conn net.Conn
	span oteltrace.Span
	rest string
	err  error // the first one that came up
}

// startSlow connects and says the first half of a request.
func (s *scene) startSlow(ctx context.Context) (*slowCaller, error) {
	conn, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(slowFor + callFor))
	ctx, span := s.tracer.Start(ctx, askSlowSpan)
	header := fmt.Sprintf("GET / HTTP/1.1\r\nHost: %s\r\nUser-Agent: plaque\r\nConnection: close\r\ntraceparent: %s\r\n\r\n", s.host(), Traceparent(ctx))
	half := len(header) / 2
	c := &slowCaller{conn: conn, span: span, rest: header[half:]}
	_, c.err = conn.Write([]byte(header[:half]))
	return c, nil
}

// finish says the rest of the request.
func (c *slowCaller) finish() {
	if c.err == nil {
		_, c.err = c.conn.Write([]byte(c.rest))
	}
}

// answer reads the answer and says how the request ended, as a caller.Answer does.
func (c *slowCaller) answer() string {
	answer := ""
	if c.err == nil {
		var res *http.Response
		if res, c.err = http.ReadResponse(bufio.NewReader(c.conn), nil); c.err == nil {
			_, c.err = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<20))
			answer = fmt.Sprint(res.StatusCode)
			_ = res.Body.Close()
		}
	}
	if c.err != nil {
		answer = caller.Classify(c.err.Error())
	}
	c.span.SetAttributes(attribute.String("answer", answer))
	c.span.End()
	return answer
}

// close ends the caller, wherever it is.
func (c *slowCaller) close() {
	_ = c.conn.Close()
	c.span.End()
}
