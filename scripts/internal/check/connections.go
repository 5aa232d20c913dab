package check

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"plaque/scripts/internal/caller"
	"plaque/scripts/internal/property"
	"plaque/scripts/internal/say"
	"time"
)

// connections are what a server does before it reads anything: whom it answers, and
// for how long it keeps a connection.
var connections = []measured{
	{
		Property: property.SilentClient,
		done:     fmt.Sprintf("10 clients connect and send nothing; then one more connects and asks, and waits %v", answerFor),
		expected: "an answer",
		likely:   "connections are handled one after the other, or in a bounded number of places that an idle client can take",
		hand: []string{
			"for i in 1 2 3; do timeout 3 nc -d 127.0.0.1 3779 & done; sleep 0.2",
			"curl -s -m 1 -o /dev/null -w '%{http_code}\\n' http://127.0.0.1:3779/",
		},
		shows: "^200$",
		take:  silentClient,
	},
	{
		Property: property.SilentEnds,
		done:     fmt.Sprintf("a client connects and sends nothing, for %v", ttl),
		expected: "the server ends the connection",
		likely:   "the header is read without a deadline (in Go: http.Server.ReadHeaderTimeout, whose zero value means none)",
		hand:     []string{"timeout 5 nc -d 127.0.0.1 3779; echo $? # 0: closed, 124: still open"},
		shows:    "^0$",
		take:     silentEnds,
	},
	{
		Property: property.KeepAlive,
		done:     fmt.Sprintf("one client asks %d times, on one connection", asksOnOne),
		expected: fmt.Sprintf("%d answers", asksOnOne),
		likely:   "the server closes a connection when it has answered, or after some answers",
		hand:     []string{"curl -s -o /dev/null -o /dev/null -w '%{num_connects}\\n' http://127.0.0.1:3779/ http://127.0.0.1:3779/"},
		shows:    "^0$",
		take:     keepAlive,
	},
	{
		Property: property.NotFound,
		done:     "GET /nope, and POST /",
		expected: "404 and 405",
		likely:   "the path and the method are not looked at",
		hand: []string{
			"curl -s -o /dev/null -w '%{http_code} ' http://127.0.0.1:3779/nope",
			"curl -s -o /dev/null -w '%{http_code}\\n' -X POST http://127.0.0.1:3779/",
		},
		shows: "^404 405$",
		take:  notFound,
	},
}

func silentClient(ctx context.Context, s *subject) seen {
	for range 10 {
		conn, err := s.connect(ctx)
		if err != nil {
			return no("it takes no connection: %v", err)
		}
		defer conn.Close()
	}
	// The connection opened last speaks first: a server that handles one at a
	// time waits for the first.
	a := newBurst(ctx, s).ask(newChannel()).wait(answerFor)
	switch {
	case a.Status == http.StatusOK && a.Failed == "":
		return yes("answered beside them")
	case a.Failed == "timeout":
		return no("no answer within %v", answerFor)
	}
	return no("%s", a)
}

func silentEnds(ctx context.Context, s *subject) seen {
	conn, err := s.connect(ctx)
	if err != nil {
		return no("it takes no connection: %v", err)
	}
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(ttl))
	_, err = io.Copy(io.Discard, io.LimitReader(conn, 1<<20))
	if timed, ok := err.(net.Error); ok && timed.Timeout() {
		return no("the connection is still open after %v", ttl)
	}
	return yes("the server ended the connection")
}

// keepAlive speaks HTTP itself: Go's client gives a connection up where the machine
// is busy and its write is noted later than the answer.
func keepAlive(ctx context.Context, s *subject) seen {
	conn, err := s.connect(ctx)
	if err != nil {
		return no("it takes no connection: %v", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/?channel="+newChannel(), nil)
	if err != nil {
		return no("%v", err)
	}
	limited := &io.LimitedReader{R: conn}
	answers := bufio.NewReader(limited)
	for n := range asksOnOne {
		limited.N = maxOnOne
		switch status, err := askOn(conn, answers, req); {
		case err != nil:
			what := caller.Classify(err.Error())
			result := no("%s, then %s", say.Plural(n, "answer"), what)
			result.sure = what == "lost" && n > 0
			return result
		case status != http.StatusOK:
			return no("%s, then %d", say.Plural(n, "answer"), status)
		}
	}
	return yes("%d answers", asksOnOne)
}

// askOn makes a request on a connection, which it closes where the answer says so.
func askOn(conn net.Conn, answers *bufio.Reader, req *http.Request) (status int, err error) {
	_ = conn.SetDeadline(time.Now().Add(answerFor))
	if err := req.Write(conn); err != nil {
		return 0, err
	}
	for {
		res, err := http.ReadResponse(answers, req)
		if err != nil {
			return 0, err
		}
		if res.StatusCode < 200 { // more follows
			continue
		}
		_, err = io.Copy(io.Discard, res.Body)
		if res.Close {
			_ = conn.Close()
		}
		return res.StatusCode, err
	}
}

const maxOnOne = 1 << 20 // bytes of an answer, its header included

// asksOnOne is more than a server answers that closes a connection now and then.
const asksOnOne = 25

func notFound(ctx context.Context, s *subject) seen {
	b := newBurst(ctx, s)
	nope := b.request(http.MethodGet, "/nope", "").wait(answerFor)
	post := b.request(http.MethodPost, "/", "").wait(answerFor)
	return is(nope.Status == http.StatusNotFound && post.Status == http.StatusMethodNotAllowed, "%s and %s", nope, post)
}
