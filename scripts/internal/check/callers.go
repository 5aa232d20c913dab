package check

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"time"

	"plaque/scripts/internal/caller"
	"plaque/steps/kit/origin"
)

// burst is callers of one trace.
type burst struct {
	ctx     context.Context
	subject *subject
	trace   string // its id
}

func newBurst(ctx context.Context, s *subject) *burst {
	return &burst{ctx, s, randomHex(16)}
}

func randomHex(bytes int) string {
	b := make([]byte, bytes)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// newChannel is a key that no cache knows.
func newChannel() string { return "UC" + rand.Text()[:22] }

// call is one request, on a new connection.
type call struct {
	channel string
	span    string          // the caller's id in the traceparent
	sent    <-chan struct{} // closed when the request is written, or has failed
	done    <-chan struct{} // closed when answer is set
	answer  caller.Answer
	hangUp  context.CancelFunc
}

// ask begins a request for a channel.
func (b *burst) ask(channel string) *call {
	return b.request(http.MethodGet, "/?channel="+channel, channel)
}

// request begins a request for any path.
func (b *burst) request(method, path, channel string) *call {
	sent, done := make(chan struct{}), make(chan struct{})
	c := &call{channel: channel, span: randomHex(8), sent: sent, done: done}
	ctx, cancel := context.WithCancel(b.ctx)
	c.hangUp = cancel
	wrote := sync.OnceFunc(func() { close(sent) })
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { wrote() }})
	go func() {
		defer close(done)
		defer wrote()
		defer cancel()
		client := caller.Caller(callFor)
		defer client.CloseIdleConnections()
		c.answer = caller.Ask(ctx, client, method, b.subject.url+path, fmt.Sprintf("00-%s-%s-01", b.trace, c.span))
	}()
	return c
}

// askAll begins n requests for a channel, and returns when all are written.
func (b *burst) askAll(n int, channel string) []*call {
	calls := make([]*call, n)
	for i := range calls {
		calls[i] = b.ask(channel)
	}
	for _, c := range calls {
		<-c.sent
	}
	return calls
}

// askNew begins a request for each of n new channels.
func (b *burst) askNew(n int) []*call {
	calls := make([]*call, n)
	for i := range calls {
		calls[i] = b.ask(newChannel())
	}
	return calls
}

// wait takes the answer, for which it waits at most so long. Then it hangs up.
func (c *call) wait(most time.Duration) caller.Answer {
	select {
	case <-c.done:
		return c.answer
	case <-time.After(most):
		select {
		case <-c.done: // both were ready
			return c.answer
		default:
		}
		c.hangUp()
		<-c.done
		return caller.Answer{Failed: "timeout"}
	}
}

// what says what became of the call, in a word: served, when it got the answer
// of its channel.
func (c *call) what(most time.Duration) string {
	a := c.wait(most)
	switch {
	case a.Failed == "timeout":
		return "no answer"
	case a.Failed != "":
		return a.Failed
	case a.Status == http.StatusOK:
		if id, ok := videoID(a.Body); !ok || id != origin.VideoID(c.channel) {
			return "a wrong answer"
		}
		return served
	}
	return a.String()
}

const served = "200"

// tally waits for all calls, together at most so long, and counts what became of
// them.
func tally(calls []*call, most time.Duration) map[string]int {
	deadline := time.Now().Add(most)
	counts := map[string]int{}
	for _, c := range calls {
		counts[c.what(max(0, time.Until(deadline)))]++
	}
	return counts
}

// videoID reads the contract's answer.
func videoID(body string) (string, bool) {
	var answer struct {
		VideoID *string `json:"video_id"`
	}
	if json.Unmarshal([]byte(body), &answer) != nil || answer.VideoID == nil {
		return "", false
	}
	return *answer.VideoID, true
}

// pause waits, unless the check is over.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// loads is how many loads the feed has counted for these keys.
func (s *subject) loads(keys ...string) (n int) {
	stats := s.feed.Stats()
	for _, key := range keys {
		n += stats.Channels[key]
	}
	return n
}

// until waits until the feed has counted more than so many loads of a key, at most
// so long, and reports whether it has.
func (s *subject) until(ctx context.Context, most time.Duration, key string, loads int) bool {
	deadline := time.Now().Add(most)
	for s.loads(key) <= loads {
		if time.Now().After(deadline) || ctx.Err() != nil {
			return false
		}
		pause(ctx, 2*time.Millisecond)
	}
	return true
}

// connect opens a connection that sends nothing. A server that has just been
// restarted by its supervisor may refuse the first ones.
func (s *subject) connect(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, answerFor)
	defer cancel()
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", strings.TrimPrefix(s.url, "http://"))
		if err == nil || ctx.Err() != nil || s.owned != nil && s.owned.Dead() {
			return conn, err
		}
		pause(ctx, 50*time.Millisecond)
	}
}
