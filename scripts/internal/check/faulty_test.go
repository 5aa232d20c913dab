package check

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// The tests' own server meets the contract, except for the one fault that it is
// told. It is this test's binary, started again with this and the fault.
const faultPrefix = "fault="

// faults are the ways in which the server can be wrong, each with the
// properties that it then lacks, besides onlyTen, which it never has.
var faults = map[string][]string{
	"none":                          {},
	"one connection at a time":      {"silent-client", "other-key", "bounded"},
	"silent clients stay":           {"silent-ends"},
	"closes after each answer":      {"keep-alive"},
	"takes any channel":             {"malformed"},
	"looks at an id's beginning":    {"malformed"},
	"closes after 20 answers":       {"keep-alive"},
	"the query is the key":          {"remembers"},
	"the key is in lower case":      {"own-answer"},
	"the key is a prefix":           {"own-answer"},
	"a hit prolongs":                {"expires"},
	"a late caller loads":           {"one-load"},
	"takes rubbish for a video":     {"failure-told"},
	"takes half a feed":             {"failure-told"},
	"a load has 5.5 s":              {"bounded"},
	"Retry-After in words":          {"failure-forgotten"},
	"Retry-After is a lie":          {"failure-forgotten"},
	"remembers nothing":             {"remembers"},
	"remembers forever":             {"expires"},
	"does not coalesce":             {"one-load"},
	"one flight for all keys":       {"own-answer"},
	"a lock across the load":        {"other-key", "bounded"},
	"retries in silence":            {"failure-told"},
	"remembers errors":              {"failure-forgotten"},
	"hangs after a doomed load":     {"heals", "clean-500"},
	"dies of a doomed load":         {"heals", "clean-500"},
	"a load has no timeout":         {"bounded"},
	"the leader's hang-up is all's": {"first-leaves"},
	"passes the panic on":           {"clean-500"},
	"200 to everything":             {"not-found", "malformed", "failure-told", "bounded", "clean-500"},
}

type faulty struct {
	fault string
	feed  *url.URL

	lied    sync.Map   // channels whose callers were told when to come again
	load    sync.Mutex // held across a load where that is the fault
	mu      sync.Mutex // protects entries and flights
	entries map[string]kept
	flights map[string]*flying
}

type kept struct {
	value string
	err   error
	until time.Time
}

type flying struct {
	done  chan struct{}
	began time.Time
	value string
	err   error
}

// statusError is an error with the status to answer.
type statusError struct {
	status int
	text   string
}

func (e *statusError) Error() string { return e.text }

// serveFaulty is the server's main.
func serveFaulty(fault string) error {
	feed, err := url.Parse(os.Getenv("FEED_URL"))
	if err != nil {
		return err
	}
	f := &faulty{fault: fault, feed: feed, entries: map[string]kept{}, flights: map[string]*flying{}}
	l, err := net.Listen("tcp", os.Getenv("ADDR"))
	if err != nil {
		return err
	}
	if spoil := spoilt[fault]; spoil != nil {
		return spoil(l)
	}
	server := &http.Server{ReadHeaderTimeout: 2 * time.Second}
	mux := http.NewServeMux()
	pattern := "GET /{$}"
	switch fault {
	case "200 to everything":
		pattern = "/"
	case "one connection at a time":
		l = &oneByOne{Listener: l, free: make(chan struct{}, 1)}
	case "silent clients stay":
		server.ReadHeaderTimeout = 0
	case "closes after 20 answers":
		server.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
			return context.WithValue(ctx, answersKey{}, new(atomic.Int64))
		}
	case "closes after each answer":
		server.SetKeepAlivesEnabled(false)
	}
	mux.HandleFunc(pattern, f.answer)
	if export := exports[fault]; export != nil {
		mux = http.NewServeMux()
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			f.answer(w, r)
			go export(os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT"), r.Header.Get("traceparent"))
		})
	}
	server.Handler = mux
	return server.Serve(l)
}

// exports are ways to send a request's span, given the collector's base URL and
// the caller's traceparent.
var exports = map[string]func(base, caller string){
	"sends its spans after 5 s, not when it is told to end": func(base, caller string) {
		time.Sleep(5 * time.Second)
		export(base+"/v1/traces", caller)
	},
	"sends its spans to the base URL": func(base, caller string) { export(base, caller) },
	"sends spans that are no OTLP":    func(base, _ string) { post(base+"/v1/traces", "rubbish") },
}

func export(url, caller string) {
	id := strings.Split(caller, "-")
	if len(id) != 4 {
		return
	}
	post(url, fmt.Sprintf(`{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":%q,"spanId":%q,"parentSpanId":%q,"name":"GET"}]}]}]}`,
		id[1], randomHex(8), id[2]))
}

func post(url, body string) {
	if res, err := http.Post(url, "application/json", strings.NewReader(body)); err == nil {
		_ = res.Body.Close()
	}
}

// spoilt are servers that cannot be judged at all.
var spoilt = map[string]func(net.Listener) error{
	"dies when it is asked": func(l net.Listener) error {
		for {
			conn, err := l.Accept()
			if err != nil {
				return err
			}
			if n, _ := conn.Read(make([]byte, 1)); n > 0 {
				return errors.New("it was asked")
			}
		}
	},
	"speaks rubbish": func(l net.Listener) error {
		for {
			conn, err := l.Accept()
			if err != nil {
				return err
			}
			_, _ = conn.Read(make([]byte, 4096))
			_, _ = io.WriteString(conn, "220 mail.example ESMTP\r\n")
			_ = conn.Close()
		}
	},
}

// oneByOne accepts a connection when the one before is closed.
type oneByOne struct {
	net.Listener
	free chan struct{}
}

func (l *oneByOne) Accept() (net.Conn, error) {
	l.free <- struct{}{}
	conn, err := l.Listener.Accept()
	return &oneByOneConn{Conn: conn, release: sync.OnceFunc(func() { <-l.free })}, err
}

type oneByOneConn struct {
	net.Conn
	release func()
}

func (c *oneByOneConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}

var goodChannel = regexp.MustCompile(`^UC[A-Za-z0-9_-]{22}$`)

func (f *faulty) answer(w http.ResponseWriter, r *http.Request) {
	channel := r.URL.Query().Get("channel")
	if channel == "" {
		channel = keyA
	}
	if f.fault == "looks at an id's beginning" && len(channel) > 24 {
		channel = channel[:24]
	}
	if !goodChannel.MatchString(channel) && f.fault != "takes any channel" && f.fault != "200 to everything" {
		http.Error(w, "no such channel", http.StatusBadRequest)
		return
	}
	key := channel
	switch f.fault {
	case "the query is the key":
		key = r.URL.RawQuery
	case "the key is in lower case":
		key = strings.ToLower(channel)
	case "the key is a prefix":
		key = channel[:len(channel)-1]
	}
	value, err := f.get(r.Context(), key, channel)
	if err != nil && f.fault != "200 to everything" {
		code := http.StatusInternalServerError
		var coded *statusError
		if errors.As(err, &coded) {
			code = coded.status
		}
		switch f.fault {
		case "Retry-After in words":
			w.Header().Set("Retry-After", "soon")
		case "Retry-After is a lie":
			if _, told := f.lied.LoadOrStore(channel, true); !told {
				w.Header().Set("Retry-After", "1")
			}
		}
		http.Error(w, err.Error(), code)
		return
	}
	if f.fault == "closes after 20 answers" && r.Context().Value(answersKey{}).(*atomic.Int64).Add(1) == 20 {
		w.Header().Set("Connection", "close")
	}
	_ = json.NewEncoder(w).Encode(map[string]string{"video_id": value})
}

// answersKey is the context's key for how many answers a connection has had.
type answersKey struct{}

// get is the answer of key, which the load for channel gives.
func (f *faulty) get(ctx context.Context, key, channel string) (string, error) {
	if f.fault == "a lock across the load" {
		f.load.Lock()
		defer f.load.Unlock()
	}
	f.mu.Lock()
	if k, ok := f.entries[key]; ok && time.Now().Before(k.until) {
		if f.fault == "a hit prolongs" {
			k.until = time.Now().Add(ttl)
			f.entries[key] = k
		}
		f.mu.Unlock()
		return k.value, k.err
	}
	entry := key
	if f.fault == "one flight for all keys" {
		key = "all"
	}
	fl := f.flights[key]
	late := fl != nil && f.fault == "a late caller loads" && time.Since(fl.began) > waveFor/2
	if fl == nil || f.fault == "does not coalesce" || late {
		fl = &flying{done: make(chan struct{}), began: time.Now()}
		f.flights[key] = fl
		go f.fly(ctx, key, entry, channel, fl)
	}
	f.mu.Unlock()
	select {
	case <-fl.done:
		if f.fault == "passes the panic on" && fl.err != nil && strings.Contains(fl.err.Error(), "doom") {
			panic(http.ErrAbortHandler)
		}
		return fl.value, fl.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func (f *faulty) fly(ctx context.Context, key, entry, channel string, fl *flying) {
	if f.fault != "the leader's hang-up is all's" {
		ctx = context.WithoutCancel(ctx)
	}
	if f.fault != "a load has no timeout" {
		var cancel context.CancelFunc
		most := timeout
		if f.fault == "a load has 5.5 s" {
			most = 5500 * time.Millisecond
		}
		ctx, cancel = context.WithTimeout(ctx, most)
		defer cancel()
	}
	defer func() {
		if p := recover(); p != nil {
			if f.fault == "dies of a doomed load" {
				panic(p)
			}
			if f.fault == "hangs after a doomed load" {
				return
			}
			fl.err = fmt.Errorf("the load panicked: %v", p)
		}
		f.mu.Lock()
		k := kept{fl.value, fl.err, time.Now().Add(ttl)}
		if f.fault == "remembers forever" {
			k.until = time.Now().Add(time.Hour)
		}
		var coded *statusError
		if f.fault != "remembers nothing" && fl.err == nil || (f.fault == "remembers errors" || f.fault == "Retry-After is a lie") && errors.As(fl.err, &coded) && coded.status == http.StatusBadGateway {
			f.entries[entry] = k
		}
		if f.flights[key] == fl {
			delete(f.flights, key)
		}
		f.mu.Unlock()
		close(fl.done)
	}()
	fl.value, fl.err = f.read(ctx, channel)
	if fl.err != nil && f.fault == "retries in silence" && ctx.Err() == nil {
		fl.value, fl.err = f.read(ctx, channel)
	}
}

var video = regexp.MustCompile(`<id>yt:video:([^<]+)</id>`)

func (f *faulty) read(ctx context.Context, channel string) (string, error) {
	u := *f.feed
	u.RawQuery = url.Values{"channel_id": {channel}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", failed(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil && !(f.fault == "takes half a feed" && ctx.Err() == nil) {
		return "", failed(err)
	}
	if f.fault == "takes half a feed" && err != nil {
		return "half", nil
	}
	if m := video.FindSubmatch(b); f.fault == "takes rubbish for a video" && res.StatusCode == http.StatusOK && m == nil {
		return "none", nil
	}
	m := video.FindSubmatch(b)
	if res.StatusCode != http.StatusOK || m == nil {
		return "", failed(fmt.Errorf("the feed answered %s", res.Status))
	}
	if string(m[1]) == "doom" {
		panic("doom")
	}
	return string(m[1]), nil
}

func failed(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return &statusError{http.StatusGatewayTimeout, err.Error()}
	}
	return &statusError{http.StatusBadGateway, err.Error()}
}
