package check

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// The tests' own server meets the contract, except for the one fault that it is
// told. It is this test's binary, started again with this and the fault.
const faultPrefix = "fault="

func faultyServer(fault string) []string { return []string{os.Args[0], faultPrefix + fault} }

// faults are the ways in which the server can be wrong, each with the
// properties that it then lacks.
var faults = map[string][]string{
	// connections
	"one connection at a time": {"silent-client", "other-key", "sheds-load"},
	"idle clients stay":        {"silent-ends"},
	"closes after each answer": {"keep-alive"},
	"closes after 20 answers":  {"keep-alive"},

	// keys
	"takes any channel":          {"malformed"},
	"looks at an id's beginning": {"malformed"},
	"the query is the key":       {"remembers"},
	"the key is in lower case":   {"own-answer"},
	"the key is a prefix":        {"own-answer"},

	// time
	"a hit prolongs":                      {"expires"},
	"remembers nothing":                   {"remembers", "serves-old", "stale-if-error", "sheds-load"},
	"remembers forever":                   {"expires", "serves-old", "stale-if-error"},
	"forgets one in ten":                  {"remembers"},
	"the time begins with the load":       {"remembers"},
	"refreshes when nobody asks":          {"expires", "serves-old", "stale-if-error"},
	"an answer for each connection alone": {"remembers", "one-load", "serves-old", "stale-if-error", "failure-spared", "sheds-load"},

	// crowd
	"does not coalesce":                   {"one-load", "sheds-load"},
	"a late caller loads":                 {"one-load"},
	"40 callers join":                     {"one-load"},
	"one flight for all keys":             {"own-answer", "other-key", "sheds-load"},
	"one marker for all keys":             {"other-key", "sheds-load"},
	"a lock across the load":              {"other-key", "sheds-load"},
	"the leader's hang-up is all's":       {"first-leaves"},
	"the leader's hang-up is all's later": {"first-leaves"},
	"a follower's hang-up is all's":       {"first-leaves"},

	// a load that fails
	"takes rubbish for a video":     {"failure-told"},
	"rubbish is a 500":              {"failure-told"},
	"takes half a feed":             {"failure-told"},
	"one waiter is told":            {"failure-told"},
	"waiters load again":            {"bounded", "failure-spared"},
	"retries in silence":            {"failure-told", "failure-spared"},
	"a load has no timeout":         {"bounded", "serves-old"},
	"a load has 5.5 s":              {"bounded"},
	"a timeout is a 502":            {"bounded"},
	"hangs after a doomed load":     {"heals", "clean-500", "serves-old"},
	"dies of a doomed load":         {"heals", "clean-500", "serves-old"},
	"passes the panic on":           {"clean-500"},
	"a doomed load keeps its place": {"heals"},
	"200 to everything":             {"not-found", "malformed", "failure-told", "failure-forgotten", "heals", "bounded", "clean-500", "failure-spared", "sheds-load"},
	"remembers errors":              {"failure-forgotten", "failure-spared"},
	"Retry-After in words":          {"failure-forgotten", "failure-spared"},
	"Retry-After is a lie":          {"failure-forgotten"},

	// old values
	"serves nothing old":               {"serves-old", "stale-if-error"},
	"callers wait for a refresh":       {"serves-old"},
	"each caller refreshes":            {"serves-old"},
	"a refresh has no timeout":         {"serves-old"},
	"a doomed refresh keeps the key":   {"serves-old"},
	"an old answer that failed is new": {"serves-old", "stale-if-error"},

	// what the feed is spared
	"a failure is forgotten at once": {"failure-spared"},
	"a breaker for all keys":         {"failure-spared"},
	"any number of loads":            {"sheds-load"},
	"waits for a place":              {"sheds-load"},
	"sheds hits":                     {"sheds-load"},
	"sheds callers that join":        {"sheds-load"},
	"503 comes late":                 {"sheds-load"},
}

// rights are ways in which the server meets the contract, each with the properties
// for which it could be blamed.
var rights = map[string][]string{
	"none":                       {"remembers", "expires", "other-key", "failure-told", "heals", "first-leaves", "serves-old", "stale-if-error", "failure-spared", "sheds-load"},
	"a load has 2 s":             {"one-load", "own-answer", "other-key", "failure-told", "bounded", "first-leaves", "serves-old"},
	"a tenth too early":          {"remembers", "expires"},
	"slow to say 502":            {"failure-spared", "failure-forgotten"},
	"slow to begin a load":       {"sheds-load"},
	"20 loads at once":           {"sheds-load", "heals", "one-load"},
	"remembers failures for 5 s": {"failure-told", "failure-forgotten", "heals", "clean-500", "stale-if-error"},
}

type faulty struct {
	fault string
	feed  *url.URL

	serial sync.Mutex // held across what is done one at a time where that is the fault
	places chan struct{}

	mu      sync.Mutex // protects what follows
	entries map[string]*entry
	flights map[string]*flying
	loads   int // in the air
	stored  int
	failed  int       // loads in a row
	opened  time.Time // until then the breaker is open
}

// entry is what is known of a key.
type entry struct {
	value string // "" for none
	until time.Time
	err   error // of the last load
	spare time.Time
	timer *time.Timer // of a refresh that waits until nobody asks
}

type flying struct {
	done    chan struct{}
	cancel  context.CancelFunc
	began   time.Time
	callers int
	value   string
	err     error
}

// statusError is an error with the status to answer.
type statusError struct {
	status int
	text   string
	again  time.Duration // after which to come again
}

func (e *statusError) Error() string { return e.text }

// serveFaulty is the server's main.
func serveFaulty(fault string) error {
	feed, err := url.Parse(os.Getenv("FEED_URL"))
	if err != nil {
		return err
	}
	f := &faulty{fault: fault, feed: feed, entries: map[string]*entry{}, flights: map[string]*flying{}, places: make(chan struct{}, maxLoads)}
	l, err := net.Listen("tcp", os.Getenv("ADDR"))
	if err != nil {
		return err
	}
	for spoil := spoilt[fault]; spoil != nil; {
		conn, err := l.Accept()
		if err == nil {
			err = spoil(conn)
		}
		if err != nil {
			return err
		}
	}
	server := &http.Server{ReadHeaderTimeout: 2 * time.Second}
	mux := http.NewServeMux()
	pattern := "GET /{$}"
	switch fault {
	case "deaf":
		signal.Ignore(syscall.SIGTERM)
	case "200 to everything":
		pattern = "/"
	case "one connection at a time":
		l = &oneByOne{Listener: l, free: make(chan struct{}, 1)}
	case "idle clients stay":
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
			began := time.Now()
			f.answer(w, r)
			go export(os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT"), request{r.Header.Get("traceparent"), began, time.Now()})
		})
	}
	server.Handler = mux
	return server.Serve(l)
}

// request is one that has been answered.
type request struct {
	caller       string // its traceparent
	began, ended time.Time
}

// exports are ways to send a request's span, given the collector's base URL.
var exports = map[string]func(base string, r request){
	"sends its spans after 5 s, not when it is told to end": func(base string, r request) {
		time.Sleep(5 * time.Second)
		export(base+"/v1/traces", r)
	},
	"sends its spans to the base URL":                     export,
	"sends spans that are no OTLP":                        func(base string, _ request) { post(base+"/v1/traces", "rubbish") },
	"its clock is 3 s slow":                               func(base string, r request) { export(base+"/v1/traces", r.shifted(-3*time.Second)) },
	"its clock is 3 s fast":                               func(base string, r request) { export(base+"/v1/traces", r.shifted(3*time.Second)) },
	"stays when callers leave, and its clock is 3 s slow": func(base string, r request) { export(base+"/v1/traces", r.shifted(-3*time.Second)) },
}

// shifted is the request by another clock.
func (r request) shifted(by time.Duration) request {
	return request{r.caller, r.began.Add(by), r.ended.Add(by)}
}

func export(url string, r request) {
	id := strings.Split(r.caller, "-")
	if len(id) != 4 {
		return
	}
	post(url, fmt.Sprintf(`{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":%q,"spanId":%q,"parentSpanId":%q,"name":"GET","startTimeUnixNano":"%d","endTimeUnixNano":"%d"}]}]}]}`,
		id[1], randomHex(8), id[2], r.began.UnixNano(), r.ended.UnixNano()))
}

func post(url, body string) {
	if res, err := http.Post(url, "application/json", strings.NewReader(body)); err == nil {
		_ = res.Body.Close()
	}
}

// spoilt are servers that cannot be judged at all, by what each does with a
// connection. Its error ends it.
var spoilt = map[string]func(net.Conn) error{
	"dies when it is asked": func(conn net.Conn) error {
		if n, _ := conn.Read(make([]byte, 1)); n > 0 {
			return errors.New("it was asked")
		}
		return nil
	},
	"speaks rubbish": func(conn net.Conn) error {
		_, _ = conn.Read(make([]byte, 4096))
		_, _ = io.WriteString(conn, "220 mail.example ESMTP\r\n")
		return conn.Close()
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
	case "an answer for each connection alone":
		key += r.RemoteAddr
	}
	ctx := r.Context()
	if strings.HasPrefix(f.fault, "stays when callers leave") {
		ctx = context.WithoutCancel(ctx)
	}
	value, err := f.get(ctx, key, channel)
	if err != nil && f.fault != "200 to everything" {
		code, again := http.StatusInternalServerError, time.Duration(0)
		var coded *statusError
		if errors.As(err, &coded) {
			code, again = coded.status, coded.again
		}
		switch {
		case f.fault == "Retry-After in words" && code != http.StatusServiceUnavailable:
			w.Header().Set("Retry-After", "soon")
		case f.fault == "Retry-After is a lie" && again > 0:
			w.Header().Set("Retry-After", "1")
		case f.fault == "remembers errors" && code == http.StatusBadGateway:
		case again > 0:
			w.Header().Set("Retry-After", fmt.Sprint(int(math.Ceil(again.Seconds()))))
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

// spareFor is how long a feed is left alone that has failed.
func (f *faulty) spareFor() time.Duration {
	switch f.fault {
	case "a failure is forgotten at once", "waiters load again":
		return 0
	case "remembers failures for 5 s", "remembers errors", "Retry-After is a lie":
		return 5 * time.Second
	}
	return time.Second
}

// get is the answer of key, which the load for channel gives.
func (f *faulty) get(ctx context.Context, key, channel string) (string, error) {
	switch f.fault {
	case "a lock across the load":
		f.serial.Lock()
		defer f.serial.Unlock()
	case "waits for a place":
		f.places <- struct{}{}
		defer func() { <-f.places }()
	}
	f.mu.Lock()
	e := f.entries[key]
	if e == nil {
		e = &entry{}
		f.entries[key] = e
	}
	now, full := time.Now(), f.loads >= f.most()
	if f.fault == "sheds hits" && full {
		f.mu.Unlock()
		return "", shed
	}
	if e.value != "" && now.Before(e.until) {
		if f.fault == "a hit prolongs" {
			e.until = now.Add(ttl)
		}
		defer f.mu.Unlock()
		return e.value, nil
	}
	flight := key
	if f.fault == "one flight for all keys" {
		flight = "all"
	}
	fl := f.flights[flight]
	spared := now.Before(e.spare) || now.Before(f.opened)
	if e.value != "" && f.fault != "serves nothing old" && f.fault != "callers wait for a refresh" {
		defer f.mu.Unlock()
		f.refresh(e, fl, flight, key, channel, spared || full)
		return e.value, nil
	}
	switch {
	case fl != nil && f.fault == "a late caller loads" && !full && now.Sub(fl.began) > waveFor/2,
		fl != nil && f.fault == "40 callers join" && fl.callers >= 40,
		f.fault == "does not coalesce":
		fl = nil
	case fl != nil && f.fault == "sheds callers that join" && full:
		f.mu.Unlock()
		return "", shed
	case fl == nil && f.fault == "one marker for all keys" && len(f.flights) > 0:
		for _, other := range f.flights {
			fl = other
		}
		f.mu.Unlock()
		select {
		case <-fl.done:
			return f.get(ctx, key, channel)
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	if fl == nil && spared {
		err, wait := e.err, time.Until(e.spare)
		if now.Before(f.opened) {
			err, wait = &statusError{http.StatusServiceUnavailable, "the breaker is open", 0}, time.Until(f.opened)
		}
		f.mu.Unlock()
		if f.fault == "slow to say 502" {
			time.Sleep(400 * time.Millisecond)
		}
		return e.value, later(err, wait)
	}
	leads := fl == nil
	if leads {
		if full {
			f.mu.Unlock()
			if f.fault == "503 comes late" {
				time.Sleep(time.Second)
			}
			return "", shed
		}
		if f.fault == "slow to begin a load" {
			f.mu.Unlock()
			f.serial.Lock()
			time.Sleep(15 * time.Millisecond)
			f.serial.Unlock()
			f.mu.Lock()
			fl = f.flights[flight]
			leads = fl == nil
			if leads && f.loads >= f.most() {
				f.mu.Unlock()
				return "", shed
			}
		}
	}
	if fl == nil {
		fl = f.begin(flight, key, channel)
	}
	fl.callers++
	f.mu.Unlock()
	select {
	case <-fl.done:
	case <-ctx.Done():
		switch {
		case leads && f.fault == "the leader's hang-up is all's", !leads && f.fault == "a follower's hang-up is all's":
			fl.cancel()
		case leads && f.fault == "the leader's hang-up is all's later":
			time.AfterFunc(time.Second, fl.cancel)
		}
		return "", ctx.Err()
	}
	switch coded, _ := fl.err.(*statusError); {
	case fl.err == nil:
		return fl.value, nil
	case f.fault == "passes the panic on" && strings.Contains(fl.err.Error(), "doom"):
		panic(http.ErrAbortHandler)
	case f.fault == "one waiter is told" && !leads && coded != nil && coded.status == http.StatusBadGateway:
		return "", nil
	case f.fault == "waiters load again" && !leads:
		return f.get(ctx, key, channel)
	case f.fault == "callers wait for a refresh" && e.value != "":
		return e.value, nil
	}
	return "", later(fl.err, f.spareFor())
}

// most is how many loads there may be at once.
func (f *faulty) most() int {
	switch f.fault {
	case "any number of loads":
		return math.MaxInt
	case "20 loads at once":
		return 20
	}
	return maxLoads
}

var shed = &statusError{http.StatusServiceUnavailable, "too many loads", time.Second}

// later is an error with the time after which to come again.
func later(err error, wait time.Duration) error {
	coded := &statusError{http.StatusInternalServerError, err.Error(), wait}
	if c, ok := err.(*statusError); ok {
		coded.status = c.status
	}
	return coded
}

// refresh sees to it that an old value is loaded again. The lock is held.
func (f *faulty) refresh(e *entry, fl *flying, flight, key, channel string, spared bool) {
	switch {
	case f.fault == "refreshes when nobody asks":
		if e.timer != nil {
			e.timer.Stop()
		}
		e.timer = time.AfterFunc(1500*time.Millisecond, func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			if !time.Now().Before(e.until) {
				f.begin(flight, key, channel)
			}
		})
	case !spared && (fl == nil || f.fault == "each caller refreshes"):
		f.begin(flight, key, channel)
	}
}

// begin begins a load. The lock is held.
func (f *faulty) begin(flight, key, channel string) *flying {
	most, refreshes := timeout, f.entries[key].value != ""
	switch {
	case f.fault == "a load has 2 s":
		most = 2 * time.Second
	case f.fault == "a load has 5.5 s":
		most = 5500 * time.Millisecond
	case f.fault == "a load has no timeout", f.fault == "a refresh has no timeout" && refreshes:
		most = time.Hour
	}
	ctx, cancel := context.WithTimeout(context.Background(), most)
	fl := &flying{done: make(chan struct{}), cancel: cancel, began: time.Now()}
	f.flights[flight] = fl
	f.loads++
	go f.fly(ctx, flight, key, channel, fl, refreshes)
	return fl
}

func (f *faulty) fly(ctx context.Context, flight, key, channel string, fl *flying, refreshes bool) {
	defer fl.cancel()
	doomed := true
	defer func() {
		if p := recover(); p != nil {
			if f.fault == "dies of a doomed load" {
				panic(p)
			}
			if f.fault == "hangs after a doomed load" || f.fault == "a doomed refresh keeps the key" && refreshes {
				return
			}
			fl.err = fmt.Errorf("the load panicked: %v", p)
		}
		f.mu.Lock()
		defer close(fl.done)
		defer f.mu.Unlock()
		f.land(f.entries[key], fl)
		if f.flights[flight] == fl {
			delete(f.flights, flight)
		}
		if !doomed || f.fault != "a doomed load keeps its place" {
			f.loads--
		}
	}()
	fl.value, fl.err = f.read(ctx, channel)
	if fl.err != nil && f.fault == "retries in silence" && ctx.Err() == nil {
		fl.value, fl.err = f.read(ctx, channel)
	}
	doomed = false
}

// land stores what came of a load. The lock is held.
func (f *faulty) land(e *entry, fl *flying) {
	now := time.Now()
	if fl.err != nil {
		e.err, e.spare = fl.err, now.Add(f.spareFor())
		if _, told := fl.err.(*statusError); !told && f.fault == "remembers errors" {
			e.spare = now.Add(time.Second)
		}
		if f.failed++; f.failed >= 3 && f.fault == "a breaker for all keys" {
			f.opened = now.Add(2 * time.Second)
		}
		if f.fault == "an old answer that failed is new" {
			e.until = now.Add(time.Hour)
		}
		return
	}
	f.failed = 0
	f.stored++
	if f.fault == "remembers nothing" || f.fault == "forgets one in ten" && f.stored%10 == 0 {
		return
	}
	e.value, e.until = fl.value, now.Add(ttl)
	switch f.fault {
	case "remembers forever":
		e.until = now.Add(time.Hour)
	case "a tenth too early":
		e.until = now.Add(ttl - ttl/10)
	case "the time begins with the load":
		e.until = fl.began.Add(ttl)
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
		return "", f.failure(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	m := video.FindSubmatch(b)
	switch {
	case err != nil && f.fault == "takes half a feed" && ctx.Err() == nil:
		return "half", nil
	case err != nil:
		return "", f.failure(err)
	case res.StatusCode != http.StatusOK || m == nil && !strings.Contains(f.fault, "rubbish"):
		return "", f.failure(fmt.Errorf("the feed answered %s", res.Status))
	case m == nil && f.fault == "rubbish is a 500":
		return "", errors.New("no video in it")
	case m == nil: // it takes rubbish for a video
		return "none", nil
	case string(m[1]) == "doom":
		panic("doom")
	}
	return string(m[1]), nil
}

func (f *faulty) failure(err error) error {
	if errors.Is(err, context.DeadlineExceeded) && f.fault != "a timeout is a 502" {
		return &statusError{http.StatusGatewayTimeout, err.Error(), 0}
	}
	return &statusError{http.StatusBadGateway, err.Error(), 0}
}
