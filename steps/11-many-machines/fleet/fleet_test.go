package fleet

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang/groupcache/consistenthash"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"

	"plaque/steps/10-resilient/cache"
	"plaque/steps/kit/ports"
	"plaque/steps/kit/web/webtest"
)

const (
	self    = "http://self.test:80"
	secret  = "sixteen letters."
	timeout = 2 * time.Second // between peers, here
)

// pair is a fleet of two: ours, and a peer that each test writes itself. There is
// one for all tests, because a process can have one pool.
type pair struct {
	*Fleet
	other string

	mu     sync.Mutex // protects what follows
	load   func(context.Context, string) (string, error)
	peer   http.HandlerFunc
	loads  atomic.Int64
	asked  atomic.Int64
	serial int
}

var fleet *pair

func TestMain(m *testing.M) {
	otel.SetTextMapPropagator(propagation.TraceContext{})
	p := &pair{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.asked.Add(1)
		p.mu.Lock()
		peer := p.peer
		p.mu.Unlock()
		peer(w, r)
	}))
	p.other = server.URL
	var err error
	p.Fleet, err = New(Config{Self: "HTTP://Self.test/", Peers: []string{server.URL + "/", "http://SELF.test:80"}, Secret: secret, Timeout: timeout, Key: func(key string) error {
		if !strings.HasPrefix(key, "UC") {
			return errors.New("no channel")
		}
		return nil
	}}, time.Minute, func(ctx context.Context, key string) (string, error) {
		p.loads.Add(1)
		p.mu.Lock()
		load := p.load
		p.mu.Unlock()
		return load(ctx, key)
	}, cache.WithTimeout(time.Minute))
	if err != nil {
		panic(err)
	}
	fleet = p
	code := m.Run()
	server.CloseClientConnections()
	os.Exit(code)
}

// begin sets what a load and the peer do, and counts anew.
func (p *pair) begin(load func(context.Context, string) (string, error), peer http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.load, p.peer = load, peer
	p.loads.Store(0)
	p.asked.Store(0)
}

// key is one that nobody has asked for, owned by us or by the peer.
func (p *pair) key(ours bool) string {
	ring := consistenthash.New(replicas, hash)
	ring.Add(p.Peers...)
	for {
		p.serial++
		key := fmt.Sprintf("UC%022d", p.serial)
		if (ring.Get(key) == self) == ours {
			return key
		}
	}
}

// seen fails unless there were so many loads here and questions to the peer.
func (p *pair) seen(t *testing.T, loads, asked int64) {
	t.Helper()
	if l, a := p.loads.Load(), p.asked.Load(); l != loads || a != asked {
		t.Errorf("%d loads, %d questions to the peer; want %d and %d", l, a, loads, asked)
	}
}

func value(_ context.Context, key string) (string, error) { return "here " + key, nil }

// says is a peer that answers so: groupcache's message has one field for it.
func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(append(binary.AppendUvarint([]byte{1<<3 | 2}, uint64(len(text))), text...))
	}
}

func never(t *testing.T) http.HandlerFunc {
	return func(http.ResponseWriter, *http.Request) { t.Error("the peer was asked") }
}

// get asks, and waits no longer than a test should.
func get(t *testing.T, key string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	return fleet.Get(ctx, key)
}

// outcome is what one caller got.
type outcome struct {
	value string
	err   error
}

// crowd has n callers ask at once, and opens the gate when all of them wait.
func crowd(t *testing.T, n int, key string, open func()) (got []outcome) {
	t.Helper()
	ended := make(chan outcome, n)
	var came sync.WaitGroup
	for range n {
		came.Add(1)
		go func() {
			came.Done()
			v, err := get(t, key)
			ended <- outcome{v, err}
		}()
	}
	came.Wait()
	for deadline := time.Now().Add(10 * time.Second); fleet.loads.Load()+fleet.asked.Load() == 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	open()
	for range n {
		got = append(got, <-ended)
	}
	return got
}

func TestOursIsLoadedOnce(t *testing.T) {
	gate := make(chan struct{})
	fleet.begin(func(_ context.Context, key string) (string, error) { <-gate; return key, nil }, never(t))
	key := fleet.key(true)
	for _, o := range crowd(t, 30, key, func() { close(gate) }) {
		if o.value != key || o.err != nil {
			t.Errorf("got %q, %v", o.value, o.err)
		}
	}
	fleet.seen(t, 1, 0)
	if v, err := get(t, key); v != key || err != nil {
		t.Errorf("afterwards: %q, %v", v, err)
	}
	fleet.seen(t, 1, 0)
}

func TestTheOwnerIsAsked(t *testing.T) {
	var header http.Header
	var path string
	gate := make(chan struct{})
	fleet.begin(value, func(w http.ResponseWriter, r *http.Request) {
		header, path = r.Header, r.URL.Path
		<-gate
		says(answer{Value: []byte("there"), From: "x"}.encode2())(w, r)
	})
	recorder := webtest.Record(t)
	key := fleet.key(false)
	for _, o := range crowd(t, 30, key, func() { close(gate) }) {
		if o.value != "there" || o.err != nil {
			t.Errorf("got %q, %v", o.value, o.err)
		}
	}
	if n := fleet.asked.Load(); n > 30 || fleet.loads.Load() != 0 {
		t.Errorf("%d questions, %d loads", n, fleet.loads.Load())
	}
	// The Transport is ours: Set copies it, and later it would be too late.
	if header.Get("Authorization") != "Bearer "+secret || header.Get("traceparent") == "" || path != Path+keys+"/"+key {
		t.Errorf("asked at %s with %v", path, header)
	}
	asks := 0
	for _, s := range recorder.Ended() {
		if s.Name() == "ask owner" {
			asks++
		}
	}
	if n := fleet.asked.Load(); int64(asks) != n {
		t.Errorf("%d spans for %d questions", asks, n)
	}
	// What another machine keeps, this one does not.
	before := fleet.asked.Load()
	if v, err := get(t, key); v != "there" || err != nil || fleet.asked.Load() != before+1 {
		t.Errorf("afterwards: %q, %v, %d questions", v, err, fleet.asked.Load()-before)
	}
}

func (a answer) encode2() string { return string(a.encode()) }

// A peer that says no, nonsense, too much or nothing counts as dead: one load
// here, and all are served.
func TestAPeerThatIsNoGood(t *testing.T) {
	for name, peer := range map[string]http.HandlerFunc{
		"an error":      func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"a closed door": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"silence":       func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"a drip":        drip,
		"too much":      says(answer{Value: []byte("v")}.encode2() + strings.Repeat(" ", MaxAnswer)),
		"an endless answer": func(w http.ResponseWriter, r *http.Request) {
			for line := make([]byte, 4096); r.Context().Err() == nil; {
				_, _ = w.Write(line)
			}
		},
		"no message":         func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "\xff\xff\xff") },
		"nothing":            func(http.ResponseWriter, *http.Request) {},
		"no JSON":            says("<html>"),
		"another protocol":   handshake,
		"a refusal":          func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) },
		"no base64":          says(`{"value":"x"}`),
		"a null":             says(`null`),
		"a long name":        says(answer{Value: []byte("v"), From: strings.Repeat("x", 301)}.encode2()),
		"no value":           says(`{"from":"x"}`),
		"a long value":       says(answer{Value: []byte(strings.Repeat("x", MaxValue+1))}.encode2()),
		"a value and error":  says(`{"value":"eA==","error":{"text":"e","status":500}}`),
		"a status that lies": says(`{"error":{"text":"e","status":200}}`),
		"a status too high":  says(`{"error":{"text":"e","status":1000}}`),
		"a wait without end": says(fmt.Sprintf(`{"error":{"text":"e","status":503,"wait":%d}}`, time.Hour)),
		"a wait in the past": says(`{"error":{"text":"e","status":503,"wait":-1}}`),
		"a long error":       says(fmt.Sprintf(`{"error":{"text":%q,"status":503}}`, strings.Repeat("x", 3000))),
		"a long header":      func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X", strings.Repeat("x", 2*MaxAnswer)) },
		"elsewhere":          func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusFound) },
	} {
		t.Run(name, func(t *testing.T) {
			fleet.begin(value, peer)
			key := fleet.key(false)
			began := time.Now()
			for range 2 { // the second time it is found here
				if v, err := get(t, key); v != "here "+key || err != nil {
					t.Errorf("got %q, %v", v, err)
				}
			}
			took := time.Since(began)
			if took > timeout+5*time.Second || (name == "an endless answer" || name == "another protocol") && took > timeout {
				t.Errorf("it took %v", took)
			}
			if n := fleet.loads.Load(); n != 1 {
				t.Errorf("%d loads, want 1", n)
			}
			if fleet.asked.Load() == 0 {
				t.Error("the peer was not asked")
			}
		})
	}
}

// handshake answers 101, whose body is the connection.
func handshake(w http.ResponseWriter, r *http.Request) {
	c, _, _ := w.(http.Hijacker).Hijack()
	_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
	_, _ = io.Copy(io.Discard, c) // until the other side closes
	_ = c.Close()
}

// drip answers so slowly that the header comes in time and the end does not.
func drip(w http.ResponseWriter, r *http.Request) {
	for r.Context().Err() == nil {
		_, _ = io.WriteString(w, "x")
		_ = http.NewResponseController(w).Flush()
		time.Sleep(10 * time.Millisecond)
	}
}

// What was loaded here in a dead owner's place is found here: the owner is not
// tried again by each caller.
func TestFreshFirst(t *testing.T) {
	fleet.begin(value, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	key := fleet.key(false)
	if _, err := get(t, key); err != nil {
		t.Fatal(err)
	}
	fleet.begin(value, never(t))
	if v, err := get(t, key); v != "here "+key || err != nil {
		t.Errorf("got %q, %v", v, err)
	}
	fleet.seen(t, 0, 0)
}

type coded struct {
	status int
	wait   time.Duration
}

func (c coded) Error() string             { return "it is coded" }
func (c coded) StatusCode() int           { return c.status }
func (c coded) RetryAfter() time.Duration { return c.wait }

// hasty is an error with a method that panics.
type hasty struct{}

func (hasty) Error() string             { return "hasty" }
func (hasty) RetryAfter() time.Duration { panic("no header") }

// An error goes to all who ask, wherever they ask, and nobody loads again.
func TestErrorsAreAnswers(t *testing.T) {
	t.Run("the owner's", func(t *testing.T) {
		fleet.begin(value, says(`{"error":{"text":"no such channel","status":404,"wait":2000000000},"from":"x"}`))
		_, err := get(t, fleet.key(false))
		var e *Error
		if !errors.As(err, &e) || e.Error() != "no such channel" || e.StatusCode() != 404 || e.RetryAfter() != 2*time.Second {
			t.Errorf("got %v", err)
		}
		fleet.seen(t, 0, 1)
	})
	for name, c := range map[string]struct {
		load   func(context.Context, string) (string, error)
		status int
		wait   time.Duration
		says   string
	}{
		"with a status": {func(context.Context, string) (string, error) { return "", coded{429, time.Second} }, 429, time.Second, "it is coded"},
		"a long wait":   {func(context.Context, string) (string, error) { return "", coded{503, time.Hour} }, 503, cache.MaxRetryAfter, "it is coded"},
		"a wait behind": {func(context.Context, string) (string, error) { return "", coded{503, -time.Hour} }, 503, 0, "it is coded"},
		"too late": {func(context.Context, string) (string, error) {
			return "", fmt.Errorf("slow: %w", context.DeadlineExceeded)
		}, 504, 0,
			"slow: context deadline exceeded"},
		"any other":         {func(context.Context, string) (string, error) { return "", errors.New("broken") }, 500, 0, "broken"},
		"a long one":        {func(context.Context, string) (string, error) { return "", errors.New(strings.Repeat("é", 1000)) }, 500, 0, strings.Repeat("é", 498) + "..."},
		"a panic of a 404":  {func(context.Context, string) (string, error) { panic(coded{404, time.Minute}) }, 500, 0, "the load panicked: it is coded"},
		"a panic, canceled": {func(context.Context, string) (string, error) { panic(context.Canceled) }, 500, 0, "the load panicked: context canceled"},
		"a panic, too late": {func(context.Context, string) (string, error) { panic(context.DeadlineExceeded) }, 500, 0, "the load panicked: context deadline exceeded"},
		"status 0":          {func(context.Context, string) (string, error) { return "", coded{0, 0} }, 500, 0, "it is coded"},
		"status 200":        {func(context.Context, string) (string, error) { return "", coded{200, 0} }, 500, 0, "it is coded"},
		"status 999":        {func(context.Context, string) (string, error) { return "", coded{999, 0} }, 500, 0, "it is coded"},
		"no UTF-8":          {func(context.Context, string) (string, error) { return "", errors.New("a\xffb") }, 500, 0, "a\uFFFDb"},
		"a long value": {func(context.Context, string) (string, error) { return strings.Repeat("x", MaxValue+1), nil }, 500, 0,
			"the load returned 32769 bytes: peers take 32768"},
		"no wait": {func(context.Context, string) (string, error) { return "", hasty{} }, 500, 0, "hasty"},
		"a panic": {func(context.Context, string) (string, error) { panic("doom") }, 500, 0, "the load panicked: doom"},
	} {
		t.Run(name, func(t *testing.T) {
			fleet.begin(c.load, never(t))
			res := ask(t, fleet.key(true), "Bearer "+secret)
			a, err := decode(message(t, res.Body.Bytes()))
			if err != nil || res.Code != http.StatusOK {
				t.Fatalf("%d, %v: a peer would try it by itself", res.Code, err)
			}
			if e := a.Error; e == nil || e.Status != c.status || e.Wait != c.wait || e.Text != c.says {
				t.Errorf("got %+v", e)
			}
			fleet.seen(t, 1, 0)
		})
	}
}

// A panic costs all who wait an error. groupcache's own flight would keep them
// forever, so nothing that it calls may panic.
func TestPanic(t *testing.T) {
	gate := make(chan struct{})
	fleet.begin(func(context.Context, string) (string, error) { <-gate; panic("doom") }, never(t))
	key := fleet.key(true)
	for _, o := range crowd(t, 30, key, func() { close(gate) }) {
		if o.err == nil || o.err.Error() != "the load panicked: doom" {
			t.Errorf("got %q, %v", o.value, o.err)
		}
	}
	fleet.begin(value, never(t))
	if v, err := get(t, key); v != "here "+key || err != nil {
		t.Errorf("afterwards: %q, %v", v, err)
	}
}

// ask is a peer's question.
func ask(t *testing.T, key, authorization string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, Path+keys+"/"+key, nil)
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	w := httptest.NewRecorder()
	fleet.Handler().ServeHTTP(w, r)
	return w
}

// message reads what says writes.
func message(t *testing.T, b []byte) []byte {
	t.Helper()
	if len(b) == 0 || b[0] != 1<<3|2 {
		t.Fatalf("no message: %q", b)
	}
	n, size := binary.Uvarint(b[1:])
	if text := b[1+size:]; uint64(len(text)) == n {
		return text
	}
	t.Fatalf("no message: %q", b)
	return nil
}

func TestHandler(t *testing.T) {
	fleet.begin(value, never(t))
	ours := fleet.key(true)
	for _, c := range []struct {
		key, authorization string
		status             int
	}{
		{ours, "Bearer " + secret, 200},
		{fleet.key(false), "Bearer " + secret, 200}, // the peers do not agree on who owns it: it is not passed on, and loaded here
		{ours, "", 403},
		{ours, secret, 403},
		{ours, "Bearer " + secret + "x", 403},
		{ours, "Bearer " + secret[1:], 403},
		{"nonsense", "Bearer " + secret, 400},
		{"../other/" + ours, "Bearer " + secret, 400},
	} {
		if res := ask(t, c.key, c.authorization); res.Code != c.status {
			t.Errorf("%s with %q: %d, want %d", c.key, c.authorization, res.Code, c.status)
		}
	}
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, Path+"other/"+ours, nil)
	r.Header.Set("Authorization", "Bearer "+secret)
	if fleet.Handler().ServeHTTP(w, r); w.Code != http.StatusBadRequest {
		t.Errorf("another group: %d", w.Code)
	}
	fleet.seen(t, 2, 0)
}

func TestAlone(t *testing.T) {
	loads := 0
	f, err := New(Config{}, time.Minute, func(context.Context, string) (string, error) { loads++; return "v", nil })
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if v, err := f.Get(t.Context(), "UC"); v != "v" || err != nil {
			t.Errorf("got %q, %v", v, err)
		}
	}
	w := httptest.NewRecorder()
	if f.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, Path+keys+"/UC", nil)); w.Code != http.StatusNotFound || loads != 1 {
		t.Errorf("%d, %d loads", w.Code, loads)
	}
}

// A caller that hangs up is let go at once. It takes nothing from callers that
// wait here, nor from those whose machine asked first.
func TestHangUp(t *testing.T) {
	for _, first := range []string{"a caller", "another machine"} {
		t.Run(first, func(t *testing.T) {
			gate, loading := make(chan struct{}), make(chan struct{})
			fleet.begin(func(ctx context.Context, key string) (string, error) {
				close(loading)
				select {
				case <-gate:
					return key, nil
				case <-ctx.Done():
					return "", ctx.Err()
				}
			}, never(t))
			key := fleet.key(true)
			ctx, hangUp := context.WithCancelCause(t.Context())
			gone := make(chan error, 1)
			if first == "a caller" {
				go func() { _, err := fleet.Get(ctx, key); gone <- err }()
			} else {
				go func() {
					r := httptest.NewRequestWithContext(ctx, http.MethodGet, Path+keys+"/"+key, nil)
					r.Header.Set("Authorization", "Bearer "+secret)
					fleet.Handler().ServeHTTP(httptest.NewRecorder(), r)
					gone <- nil
				}()
			}
			<-loading
			bored := errors.New("bored")
			hangUp(bored)
			if first == "a caller" {
				if err := <-gone; err != bored {
					t.Errorf("the caller that hung up: %v", err)
				}
			}
			for _, o := range crowd(t, 5, key, func() { close(gate) }) {
				if o.value != key || o.err != nil {
					t.Errorf("got %q, %v", o.value, o.err)
				}
			}
			if first != "a caller" {
				<-gone
			}
			fleet.seen(t, 1, 0)
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	fleet.begin(value, never(t))
	if _, err := fleet.Get(ctx, fleet.key(true)); !errors.Is(err, context.Canceled) {
		t.Errorf("who had hung up before: %v", err)
	}
	fleet.seen(t, 0, 0)
}

// A caller that did not lead to the load links to its flight, also when another machine
// made it.
func TestLinks(t *testing.T) {
	recorder := webtest.Record(t)
	gate := make(chan struct{})
	fleet.begin(func(_ context.Context, key string) (string, error) { <-gate; return key, nil }, never(t))
	ctx, span := tracer.Start(t.Context(), "caller")
	key := fleet.key(true)
	ended := make(chan error, 5)
	for range 5 {
		go func() { _, err := fleet.Get(ctx, key); ended <- err }()
	}
	for fleet.group.Stats.Gets.Get() == 0 || fleet.loads.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	close(gate)
	for range 5 {
		<-ended
	}
	span.End()
	flight, linked, gets := "", 0, 0
	for _, s := range recorder.Ended() {
		if s.Name() == "flight" {
			flight = s.SpanContext().SpanID().String()
		}
	}
	hits := 0
	for _, s := range recorder.Ended() {
		if s.Name() != "fleet.get" {
			continue
		}
		gets++
		if len(s.Links()) == 1 && s.Links()[0].SpanContext.SpanID().String() == flight {
			linked++
		} else if len(s.Links()) > 0 {
			t.Errorf("links: %v", s.Links())
		}
		for _, kv := range s.Attributes() {
			if kv.Key == "cache.from" && kv.Value.AsString() == "here" {
				hits++ // came when it was over
			}
		}
	}
	if gets != 5 || linked > 4 || linked+hits < 1 || flight == "" {
		t.Errorf("%d of %d link to the flight %q, %d hits", linked, gets, flight, hits)
	}

	// Another machine's: it was somebody else's, or our own.
	const flightSpan = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7"
	for _, own := range []bool{false, true} {
		recorder.Reset()
		fleet.begin(value, func(w http.ResponseWriter, r *http.Request) {
			a := answer{Value: []byte("v"), From: "x", Flight: flightSpan, AskedFor: "somebody"}
			if own {
				a.AskedFor = r.Header.Get(askedFor)
			}
			says(a.encode2())(w, r)
		})
		ctx, span := tracer.Start(t.Context(), "caller")
		if _, err := fleet.Get(ctx, fleet.key(false)); err != nil {
			t.Fatal(err)
		}
		span.End()
		for _, s := range recorder.Ended() {
			if s.Name() == "fleet.get" && (len(s.Links()) == 0) != own {
				t.Errorf("own %v: links %v", own, s.Links())
			}
		}
	}
}

// What a peer sends as a span and is none is no link, and no harm.
func TestParseSpan(t *testing.T) {
	for text, want := range map[string]bool{
		"4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7": true,
		"4bf92f3577b34da6a3ce929d0e0e4736":                  false,
		"-":                                                 false,
		"":                                                  false,
		"00000000000000000000000000000000-0000000000000000": false,
		strings.Repeat("a-", 1000):                          false,
	} {
		if sc, ok := parseSpan(text); ok != want || ok && !sc.IsValid() {
			t.Errorf("%q: %v", text, ok)
		}
	}
}

// Two machines that take each other for the owner wait for each other, no longer
// than Timeout, and both are served.
func TestDisagreement(t *testing.T) {
	var res *httptest.ResponseRecorder
	key := fleet.key(false)
	asked := make(chan struct{})
	fleet.begin(value, func(w http.ResponseWriter, r *http.Request) {
		defer close(asked)
		res = ask(t, key, "Bearer "+secret) // the other machine's own caller came first there
		w.WriteHeader(http.StatusInternalServerError)
	})
	began := time.Now()
	if v, err := get(t, key); v != "here "+key || err != nil {
		t.Errorf("got %q, %v", v, err)
	}
	<-asked
	if a, err := decode(message(t, res.Body.Bytes())); string(a.Value) != "here "+key || err != nil {
		t.Errorf("the other machine got %+v, %v", a, err)
	}
	if took := time.Since(began); took > timeout+5*time.Second {
		t.Errorf("it took %v", took)
	}
	fleet.seen(t, 1, 1)
}

// A dead peer's address refuses, or nobody answers there: callers are served.
func TestNobodyThere(t *testing.T) {
	nobody, err := ports.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	peers := fleet.Peers
	fleet.pool.Set(self, "http://"+nobody)
	defer fleet.pool.Set(peers...)
	fleet.begin(value, never(t))
	for range 20 { // of which some are the dead one's
		key := fleet.key(true)
		if v, err := get(t, key); v != "here "+key || err != nil {
			t.Errorf("got %q, %v", v, err)
		}
	}
	fleet.seen(t, 20, 0)
}
