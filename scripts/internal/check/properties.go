package check

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"plaque/scripts/internal/caller"
	"plaque/scripts/internal/lab"
	"plaque/scripts/internal/otlp"
	"plaque/scripts/internal/property"
	"plaque/scripts/internal/say"
	"plaque/steps/kit/origin"
)

// property is how one property is measured, and what to tell of it.
type measured struct {
	property.Property
	done, expected string
	likely         string   // the usual cause where a server has it not
	hand           []string // lines for a shell that show the same, with a step's usual ports
	shows          string   // a regular expression for the last line that they print where a server has it

	// One of them is set. once measures a single time: it asks for three keys at
	// once, where one would wait long. spans measures by the spans that a burst
	// leaves.
	round func(context.Context, *subject) seen
	once  func(context.Context, *subject) seen
	spans func(context.Context, *subject) (seen, func([]otlp.Span) seen)
}

// seen is what came of a measurement.
type seen struct {
	held bool
	what string
}

func yes(format string, args ...any) seen { return seen{true, fmt.Sprintf(format, args...)} }
func no(format string, args ...any) seen  { return seen{false, fmt.Sprintf(format, args...)} }

// is is a measurement that holds if what came out is what was expected.
func is(held bool, format string, args ...any) seen { return seen{held, fmt.Sprintf(format, args...)} }

// measure takes all rounds of a property, up to the first bad one. later, where
// it is not nil, judges them by their spans, once those have come.
func (p measured) measure(ctx context.Context, s *subject) (result seen, later func([]otlp.Span) seen) {
	var judges []func([]otlp.Span) seen
	for s.round = range rounds {
		var judge func([]otlp.Span) seen
		onTime(func() {
			switch {
			case p.once != nil:
				result = p.once(ctx, s)
			case p.round != nil:
				result = p.round(ctx, s)
			default:
				result, judge = p.spans(ctx, s)
			}
		})
		if !result.held {
			return result, nil
		}
		if p.once != nil {
			break
		}
		if judge != nil {
			judges = append(judges, judge)
		}
	}
	if judges == nil {
		return result, nil
	}
	return result, func(spans []otlp.Span) (result seen) {
		for _, judge := range judges {
			if result = judge(spans); !result.held {
				break
			}
		}
		return result
	}
}

// onTime runs a measurement again if this machine stood still meanwhile, as a
// laptop's does that was closed, or a virtual one's that had to wait for its
// host: a bound that passes then says nothing of the server. It tries 3 times.
func onTime(measure func()) {
	for tries := 3; tries > 0; tries-- {
		done := make(chan struct{})
		longest := make(chan time.Duration)
		began := time.Now() // here, because the goroutine may be late
		go func() { longest <- gap(began, done) }()
		measure()
		close(done)
		if <-longest < stoodStill {
			return
		}
	}
}

// gap is the longest time for which this process did not run, from began until
// done.
func gap(began time.Time, done <-chan struct{}) time.Duration {
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	longest, last := time.Duration(0), began
	for {
		select {
		case <-ticker.C:
			longest, last = max(longest, time.Since(last)), time.Now()
		case <-done:
			return max(longest, time.Since(last))
		}
	}
}

const (
	beat       = 20 * time.Millisecond
	stoodStill = 500 * time.Millisecond // half of the shortest bound
)

// properties are all of them, in the order of property.All.
func properties() []measured {
	const (
		many = 30 // callers who miss at once
		few  = 5
	)
	byName := map[string]measured{
		"silent-client": {
			done:     fmt.Sprintf("10 clients connect and say nothing; then one more connects and asks, and waits %v", answerFor),
			expected: "an answer",
			likely:   "connections are handled one after the other, or in a bounded number of places that a silent client can take",
			hand: []string{
				"for i in 1 2 3; do timeout 3 nc -d 127.0.0.1 3779 & done; sleep 0.2",
				"curl -s -m 1 -o /dev/null -w '%{http_code}\\n' http://127.0.0.1:3779/",
			},
			shows: "^200$",
			round: silentClient,
		},
		"silent-ends": {
			done:     fmt.Sprintf("a client connects and says nothing, for %v", ttl),
			expected: "the server ends the connection",
			likely:   "the header is read without a deadline (in Go: http.Server.ReadHeaderTimeout, whose zero value means none)",
			hand:     []string{"timeout 5 nc -d 127.0.0.1 3779; echo $? # 0: closed, 124: still open"},
			shows:    "^0$",
			round:    silentEnds,
		},
		"keep-alive": {
			done:     "one client asks twice, on one connection",
			expected: "two answers",
			likely:   "the server closes each connection when it has answered",
			hand:     []string{"curl -s -o /dev/null -o /dev/null -w '%{num_connects}\\n' http://127.0.0.1:3779/ http://127.0.0.1:3779/"},
			shows:    "^0$",
			round:    keepAlive,
		},
		"not-found": {
			done:     "GET /nope, and POST /",
			expected: "404 and 405",
			likely:   "the path and the method are not looked at",
			hand: []string{
				"curl -s -o /dev/null -w '%{http_code} ' http://127.0.0.1:3779/nope",
				"curl -s -o /dev/null -w '%{http_code}\\n' -X POST http://127.0.0.1:3779/",
			},
			shows: "^404 405$",
			round: notFound,
		},
		"malformed": {
			done:     "GET /?channel=nonsense",
			expected: "400, no load",
			likely:   "what a stranger sends goes to the feed, and into the cache, as it is",
			hand:     []string{"curl -s -o /dev/null -w '%{http_code}\\n' 'http://127.0.0.1:3779/?channel=nonsense'"},
			shows:    "^400$",
			round:    malformed,
		},
		"remembers": {
			done:     "three channels, each asked for, again at once, and again 4 s later",
			expected: "3 loads",
			likely:   "nothing is kept, or for less than 5 s",
			hand: []string{
				setScript(`{}`), get(keyA), get(keyA), count,
			},
			shows: `"requests":1\b`,
			once:  remembers,
		},
		"expires": {
			done:     fmt.Sprintf("three channels, each asked for, and again %v later", ttl+time.Second),
			expected: "6 loads",
			likely:   "what is kept is kept for ever, or every hit prolongs it",
			hand: []string{
				setScript(`{}`), get(keyA), "sleep 6", get(keyA), "sleep 1", count,
			},
			shows: `"requests":2\b`,
			once:  expires,
		},
		"one-load": {
			done:     fmt.Sprintf("%d callers ask for one new channel while the feed holds its answer, for %v", many, joinFor),
			expected: fmt.Sprintf("1 load, %d×200", many),
			likely:   "whoever misses loads: nothing says that a load is in the air, or the look and the note of it are two steps with a gap between them",
			hand: []string{
				setScript(`{"hold":5}`), getAll(keyC, few), count,
			},
			shows: `"requests":1\b`,
			round: func(ctx context.Context, s *subject) seen { return oneLoad(ctx, s, many) },
		},
		"own-answer": {
			done:     fmt.Sprintf("%d callers ask for each of two new channels while the feed holds both answers, for %v", few, joinFor),
			expected: "10×200, each with the video of its own channel",
			likely:   "loads are shared by callers of different keys",
			hand: []string{
				setScript(`{"hold":2}`), getAll(keyA, 1), get(keyB),
			},
			shows: `"` + origin.VideoID(keyB) + `"`,
			round: func(ctx context.Context, s *subject) seen { return ownAnswer(ctx, s, few) },
		},
		"other-key": {
			done:     fmt.Sprintf("B is remembered; A's load is held; a caller asks for B, and waits %v", answerFor),
			expected: "an answer while A is held",
			likely:   "a lock is held across the load",
			hand: []string{
				get(keyB), setScript(`{"hold":2,"channel":"` + keyA + `"}`),
				"curl -s -o /dev/null 'http://127.0.0.1:3779/?channel=" + keyA + "' & sleep 0.3",
				"curl -s -m 1 -o /dev/null -w '%{http_code}\\n' 'http://127.0.0.1:3779/?channel=" + keyB + "'",
			},
			shows: "^200$",
			round: otherKey,
		},
		"failure-told": {
			done:     "one caller asks for a new channel, and the feed answers 500",
			expected: "502, after 1 load",
			likely:   "the failure is hidden from the caller, or the feed is asked again at once, which a feed in trouble does not need",
			hand: []string{
				setScript(`{"next":["500"]}`),
				"curl -s -o /dev/null -w '%{http_code}\\n' 'http://127.0.0.1:3779/?channel=" + keyA + "'",
			},
			shows: "^502$",
			round: failureTold,
		},
		"failure-forgotten": {
			done:     fmt.Sprintf("the feed answers 500; then another caller asks for the same channel, after the first's Retry-After if that is at most %v", comeAgainFor),
			expected: "200, after a second load",
			likely:   "errors are kept like answers, or the failed load has left something behind",
			hand: []string{
				setScript(`{"next":["500"]}`), get(keyA),
				"curl -s -m 2 -o /dev/null -w '%{http_code}\\n' 'http://127.0.0.1:3779/?channel=" + keyA + "'",
			},
			shows: "^200$",
			round: failureForgotten,
		},
		"heals": {
			done:     fmt.Sprintf("%d callers share a load on which the feed serves doom; when they have ended, or %v later, one more asks", few, doomFor),
			expected: "an answer or an end for each of the first, 200 for the last",
			likely:   "what follows a load (store, clear, wake) does not run when the load panics",
			hand: []string{
				setScript(`{"next":["doom"]}`),
				"curl -s -m 3 -o /dev/null 'http://127.0.0.1:3779/?channel=" + keyA + "'",
				"curl -s -m 3 -o /dev/null -w '%{http_code}\\n' 'http://127.0.0.1:3779/?channel=" + keyA + "'",
			},
			shows: "^200$",
			round: func(ctx context.Context, s *subject) seen {
				ended, next := doomed(ctx, s, few)
				return is(ended["no answer"] == 0 && next == served, "%s; then %s", lab.Answers(ended), next)
			},
		},
		"bounded": {
			done:     fmt.Sprintf("%d callers ask for one new channel, whose feed never answers, or begins to and never ends; they wait %v", few, boundFor),
			expected: fmt.Sprintf("%d×504 within %v", few, 2*timeout),
			likely:   "a load has no timeout, or those who wait for it try it themselves, one after the other",
			hand: []string{
				setScript(`{"next":["hang","hang","hang","hang","hang"]}`),
				"curl -sZ -m 7 -o /dev/null -w '%{http_code}\\n' 'http://127.0.0.1:3779/?channel=" + keyA + "&n=[1-5]' | sort | uniq -c",
			},
			shows: `5 504$`,
			round: func(ctx context.Context, s *subject) seen { return bounded(ctx, s, few) },
		},
		"first-leaves": {
			done:     fmt.Sprintf("a caller's load is held; 4 more ask for the same channel; %v later the first hangs up, and %v after that the feed answers", joinFor, joinFor),
			expected: "4×200",
			likely:   "the load runs under the context of the caller who came first",
			hand: []string{
				setScript(`{"hold":9,"hold_for":"2s"}`),
				"curl -s -m 1 -o /dev/null 'http://127.0.0.1:3779/?channel=" + keyA + "' & sleep 0.5",
				"curl -sZ -o /dev/null -w '%{http_code}\\n' 'http://127.0.0.1:3779/?channel=" + keyA + "&n=[1-4]' | sort | uniq -c",
			},
			shows: `4 200$`,
			round: firstLeaves,
		},
		"clean-500": {
			done:     fmt.Sprintf("%d callers share a load on which the feed serves doom; when they have ended, or %v later, one more asks", few, doomFor),
			expected: "500 for those who have the doomed load, 200 for the others, nothing else",
			likely:   "the panic goes through to the server, which closes the connection, or ends the process",
			hand: []string{
				setScript(`{"next":["doom"]}`),
				"curl -s -o /dev/null -w '%{http_code}\\n' 'http://127.0.0.1:3779/?channel=" + keyA + "'",
			},
			shows: "^500$",
			round: func(ctx context.Context, s *subject) seen {
				ended, next := doomed(ctx, s, few)
				return is(ended["500"] >= 1 && ended["500"]+ended[served] == few && next == served, "%s; then %s", lab.Answers(ended), next)
			},
		},
		"serves-old": {
			done:     fmt.Sprintf("three channels, each asked for; %v later each is asked for again while the feed holds its answers; the callers wait %v", ttl+time.Second, answerFor),
			expected: "3×200, and 3 loads",
			likely:   "what has expired is thrown away, or not looked at",
			hand: []string{
				get(keyA), "sleep 6", setScript(`{"hold":9}`),
				"curl -s -m 1 -o /dev/null -w '%{http_code}\\n' 'http://127.0.0.1:3779/?channel=" + keyA + "'",
			},
			shows: "^200$",
			once:  servesOld,
		},
		"stale-if-error": {
			done:     fmt.Sprintf("three channels, each asked for; %v later the feed answers 500 to all, and each is asked for again", ttl+time.Second),
			expected: "3×200, and the feed is asked again",
			likely:   "what has expired is thrown away before there is something new",
			hand: []string{
				get(keyA), "sleep 6", setScript(`{"next":["500"]}`),
				"curl -s -o /dev/null -w '%{http_code}\\n' 'http://127.0.0.1:3779/?channel=" + keyA + "'",
			},
			shows: "^200$",
			once:  staleIfError,
		},
		"failure-spared": {
			done:     "the feed answers 500 to all; one caller after another asks for one new channel, four in all",
			expected: "1 load, and 4×502 with Retry-After",
			likely:   "each caller loads again, so a feed in trouble gets all the requests that a cache should keep from it",
			hand: []string{
				setScript(`{"next":["500","500","500"]}`), get(keyA), get(keyA), get(keyA), count,
			},
			shows: `"requests":1\b`,
			round: failureSpared,
		},
		"sheds-load": {
			done:     fmt.Sprintf("%d callers ask for a new channel each while the feed holds its answers", manyKeys),
			expected: fmt.Sprintf("at most %d loads; 503 with Retry-After for the others while those are held, and 200 for them afterwards", maxLoads),
			likely:   "each miss starts a load, however many there are already, so a crowd's questions all go on to the feed",
			hand: []string{
				setScript(`{"hold":150}`),
				"curl -sZ --parallel-max 150 --parallel-immediate -o /dev/null -w '%{http_code}\\n' 'http://127.0.0.1:3779/?channel=UCAAAAAAAAAAAAAAAAAAA[100-249]' | sort | uniq -c",
			},
			shows: `50 503$`,
			round: shedsLoad,
		},
		"trace-requests": {
			done:     "3 callers ask, each with a traceparent of its own",
			expected: "3 spans that are children of the callers'",
			likely:   "the header traceparent is not read, or requests have no spans",
			hand:     []string{"curl -s " + withTrace + " http://127.0.0.1:3779/ # then look for that trace in Jaeger"},
			spans:    traceRequests,
		},
		"trace-loads": {
			done:     "3 callers, of whom two ask for new channels and one for a channel whose feed fails",
			expected: "3 loads, each with a traceparent that names a span in its caller's trace",
			likely:   "the load has no span, or does not hand its traceparent to the feed",
			hand:     []string{"curl -s " + withTrace + " http://127.0.0.1:3779/ # then look for that trace in Jaeger"},
			spans:    traceLoads,
		},
		"trace-joined": {
			done:     fmt.Sprintf("%d callers ask for one new channel while the feed holds its answer, for %v", many, joinFor),
			expected: fmt.Sprintf("1 load, and %d callers whose spans link to it", many-1),
			likely:   "a caller who waits for another's load leaves no link to it, so the time it spends is not explained",
			hand:     []string{"curl -sZ " + withTrace + " 'http://127.0.0.1:3779/?n=[1-5]' # then look for that trace in Jaeger"},
			spans: func(ctx context.Context, s *subject) (seen, func([]otlp.Span) seen) {
				return traceJoined(ctx, s, many)
			},
		},
		"trace-errors": {
			done:     fmt.Sprintf("%d callers share a load on which the feed serves doom", few),
			expected: "an error among the spans from the load up to its caller",
			likely:   "the panic passes the spans by: they end as if all were well, or are never sent",
			hand: []string{
				setScript(`{"next":["doom"]}`),
				"curl -s " + withTrace + " 'http://127.0.0.1:3779/?channel=" + keyA + "' # then look for that trace in Jaeger",
			},
			spans: func(ctx context.Context, s *subject) (seen, func([]otlp.Span) seen) {
				return traceErrors(ctx, s, few)
			},
		},
		"let-go": {
			done:     fmt.Sprintf("a caller's load is held; another asks for the same channel; %v later it hangs up, and %v after that the feed answers", joinFor, joinFor),
			expected: "its span ends before the feed answers",
			likely:   "who waits for a lock or a flight does not look whether its own caller is still there",
			hand: []string{
				setScript(`{"hold":9,"hold_for":"2s"}`),
				"curl -s -o /dev/null 'http://127.0.0.1:3779/?channel=" + keyA + "' & sleep 0.3",
				"curl -s -m 1 -o /dev/null " + withTrace + " 'http://127.0.0.1:3779/?channel=" + keyA + "' # it hangs up after 1 s; look how long its span is, in that trace in Jaeger",
			},
			spans: letGo,
		},
		"fleet-one-load": {
			done:     fmt.Sprintf("%d callers ask for one new channel, of whom each of several machines gets some, while the feed holds its answer, for %v; then one caller after another asks, until each machine has answered again", many, joinFor),
			expected: fmt.Sprintf("1 load, %d×200 from more than one machine", many),
			likely:   "each machine coalesces for itself: what one loads or has loaded, the others do not know of",
			hand: []string{
				setScript(`{"hold":5}`), getAll(keyC, few), count,
			},
			shows: `"requests":1\b`,
			round: func(ctx context.Context, s *subject) seen { return fleetOneLoad(ctx, s, many) },
		},
	}
	var all []measured
	for _, p := range property.All {
		m := byName[p.Name]
		m.Property = p
		all = append(all, m)
	}
	return all
}

const (
	doomFor = 4 * time.Second // for a doomed burst to end: the feed serves doom 500 ms late
	// comeAgainFor is the longest Retry-After that a caller of ours waits for.
	comeAgainFor = 5 * time.Second
	asksEach     = 12  // so that a round robin of up to so many comes round
	maxLoads     = 100 // at once: the contract's
	manyKeys     = 150
	boundFor     = 2*timeout + time.Second // for callers of a load that hangs; what comes in the last second is too late, and told
)

// What stands in the lines to try by hand.
const (
	keyA = "UCAAAAAAAAAAAAAAAAAAAAAA"
	keyB = "UCBBBBBBBBBBBBBBBBBBBBBB"
	keyC = "UCCCCCCCCCCCCCCCCCCCCCCC"
	// A trace of which one knows the id.
	withTrace = "-H 'traceparent: 00-11111111111111111111111111111111-2222222222222222-01'"

	count = "curl -s http://127.0.0.1:3780/script"
)

func setScript(json string) string {
	return "curl -s -o /dev/null -X PUT -d '" + json + "' http://127.0.0.1:3780/script"
}

func get(key string) string { return "curl -s 'http://127.0.0.1:3779/?channel=" + key + "'" }

func getAll(key string, n int) string {
	return fmt.Sprintf("curl -sZ 'http://127.0.0.1:3779/?channel=%s&n=[1-%d]'", key, n)
}

func silentClient(ctx context.Context, s *subject) seen {
	host := strings.TrimPrefix(s.url, "http://")
	for range 10 {
		conn, err := (&net.Dialer{Timeout: answerFor}).DialContext(ctx, "tcp", host)
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
	host := strings.TrimPrefix(s.url, "http://")
	conn, err := (&net.Dialer{Timeout: answerFor}).DialContext(ctx, "tcp", host)
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

func keepAlive(ctx context.Context, s *subject) seen {
	client := caller.Caller(answerFor)
	defer client.CloseIdleConnections()
	var got []string
	for range 2 {
		got = append(got, caller.Ask(ctx, client, http.MethodGet, s.url+"/?channel="+newChannel(), "").String())
	}
	return is(got[0] == served && got[1] == served, "%s and %s", got[0], got[1])
}

func notFound(ctx context.Context, s *subject) seen {
	b := newBurst(ctx, s)
	nope := b.request(http.MethodGet, "/nope", "").wait(answerFor)
	post := b.request(http.MethodPost, "/", "").wait(answerFor)
	return is(nope.Status == http.StatusNotFound && post.Status == http.StatusMethodNotAllowed, "%s and %s", nope, post)
}

func malformed(ctx context.Context, s *subject) seen {
	_ = s.feed.Set(origin.Script{})
	a := newBurst(ctx, s).request(http.MethodGet, "/?channel=nonsense", "").wait(answerFor)
	loads := s.feed.Stats().Requests
	return is(a.Status == http.StatusBadRequest && loads == 0, "%s, %s", a, say.Plural(loads, "load"))
}

// threeKeys asks for three new channels.
func threeKeys(ctx context.Context, s *subject) (keys []string, ask func() map[string]int) {
	_ = s.feed.Set(origin.Script{})
	for range rounds {
		keys = append(keys, newChannel())
	}
	b := newBurst(ctx, s)
	return keys, func() map[string]int {
		got := map[string]int{}
		for _, key := range keys { // one after the other: what is done to two at once is another property
			got[b.ask(key).what(answerFor)]++
		}
		return got
	}
}

// loadsOf is how many loads the feed has counted for these keys.
func loadsOf(stats origin.Stats, keys []string) int {
	n := 0
	for _, key := range keys {
		n += stats.Channels[key]
	}
	return n
}

func remembers(ctx context.Context, s *subject) (result seen) {
	// Where all this took longer than the answers are good for, it says nothing.
	for range rounds {
		began := time.Now()
		keys, ask := threeKeys(ctx, s)
		result = seen{held: true}
		for _, wait := range []time.Duration{0, 0, 4 * time.Second} {
			pause(ctx, wait)
			if got := ask(); got[served] != rounds && result.held {
				result = no("%s", lab.Answers(got))
			}
		}
		if result.held {
			n := loadsOf(s.feed.Stats(), keys)
			result = is(n == rounds, "%s", say.Plural(n, "load"))
		}
		if time.Since(began) < ttl {
			break
		}
	}
	return result
}

func expires(ctx context.Context, s *subject) seen {
	keys, ask := threeKeys(ctx, s)
	for _, wait := range []time.Duration{0, ttl + time.Second} {
		pause(ctx, wait)
		if got := ask(); got[served] != rounds {
			return no("%s", lab.Answers(got))
		}
	}
	// A server that serves the old value meanwhile may load a little later.
	held := s.until(ctx, answerFor, func(st origin.Stats) bool { return loadsOf(st, keys) >= 2*rounds })
	return is(held, "%s", say.Plural(loadsOf(s.feed.Stats(), keys), "load"))
}

func oneLoad(ctx context.Context, s *subject, callers int) seen {
	key := newChannel()
	got, loads, _ := coalesced(ctx, s, key, callers)
	return is(loads == 1 && got[served] == callers, "%s, %s", say.Plural(loads, "load"), lab.Answers(got))
}

// coalesced has callers miss one key at once. The feed holds the load until all
// have sent their requests and had a second to join it.
func coalesced(ctx context.Context, s *subject, key string, callers int) (got map[string]int, loads int, calls []*call) {
	_ = s.feed.Set(origin.Script{Channel: key, Gate: true})
	calls = newBurst(ctx, s).askAll(callers, key)
	pause(ctx, joinFor)
	s.feed.Open()
	got = tally(calls, callFor)
	return got, s.feed.Stats().Channels[key], calls
}

// machines asks for a channel again and again, and returns the names that the
// answers give in X-Served-By. Whose first answer names none is one machine.
func machines(b *burst, channel string, first caller.Answer) map[string]bool {
	names := map[string]bool{}
	if first.ServedBy == "" {
		return names
	}
	names[first.ServedBy] = true
	for range asksEach {
		if a := b.ask(channel).wait(answerFor); a.ServedBy != "" {
			names[a.ServedBy] = true
		}
	}
	return names
}

func fleetOneLoad(ctx context.Context, s *subject, callers int) seen {
	key := newChannel()
	got, loads, calls := coalesced(ctx, s, key, callers)
	names := map[string]bool{}
	for _, c := range calls {
		if c.answer.ServedBy != "" {
			names[c.answer.ServedBy] = true
		}
	}
	if loads != 1 || got[served] != callers || len(names) < 2 {
		return no("%s, %s from %s", say.Plural(loads, "load"), lab.Answers(got), say.Plural(len(names), "machine"))
	}
	// Each has the value, or asks the one that has.
	for n := range machines(newBurst(ctx, s), key, calls[0].answer) {
		delete(names, n)
	}
	loads = s.feed.Stats().Channels[key]
	return is(loads == 1 && len(names) == 0, "%s, %s from more than one machine", say.Plural(loads, "load"), lab.Answers(got))
}

func ownAnswer(ctx context.Context, s *subject, callers int) seen {
	_ = s.feed.Set(origin.Script{Gate: true})
	b := newBurst(ctx, s)
	calls := append(b.askAll(callers, newChannel()), b.askAll(callers, newChannel())...)
	pause(ctx, joinFor)
	s.feed.Open()
	got := tally(calls, callFor)
	return is(got[served] == 2*callers, "%s", lab.Answers(got))
}

func otherKey(ctx context.Context, s *subject) seen {
	a, b := newChannel(), newChannel()
	burst := newBurst(ctx, s)
	_ = s.feed.Set(origin.Script{Channel: a, Gate: true})
	if got := burst.ask(b).what(answerFor); got != served {
		return no("B, before A is asked for: %s", got)
	}
	first := burst.ask(a)
	if !s.until(ctx, answerFor, func(st origin.Stats) bool { return st.Channels[a] > 0 }) {
		return no("A was not loaded")
	}
	got := burst.ask(b).what(answerFor)
	s.feed.Open()
	first.wait(callFor)
	return is(got == served, "%s while A was held", got)
}

func failureTold(ctx context.Context, s *subject) seen {
	key := newChannel()
	_ = s.feed.Set(origin.Script{Channel: key, Next: []string{"500"}})
	got := newBurst(ctx, s).ask(key).what(callFor)
	loads := s.feed.Stats().Channels[key]
	return is(got == "502" && loads == 1, "%s, after %s", got, say.Plural(loads, "load"))
}

func failureForgotten(ctx context.Context, s *subject) seen {
	key := newChannel()
	_ = s.feed.Set(origin.Script{Channel: key, Next: []string{"500"}})
	b := newBurst(ctx, s)
	first := b.ask(key)
	first.wait(callFor)
	comeAgain(ctx, first)
	got := b.ask(key).what(answerFor)
	loads := s.feed.Stats().Channels[key]
	return is(got == served && loads >= 2, "%s, after %s in all", got, say.Plural(loads, "load"))
}

// comeAgain waits as long as the answers to these calls ask for. The calls have
// ended.
func comeAgain(ctx context.Context, calls ...*call) {
	longest := 0
	for _, c := range calls {
		if n, err := strconv.Atoi(c.answer.RetryAfter); err == nil {
			longest = max(longest, n)
		}
	}
	pause(ctx, min(time.Duration(longest)*time.Second, comeAgainFor))
}

// doomed has callers share a load on which the server panics, and one more ask
// when that is over.
func doomed(ctx context.Context, s *subject, callers int) (ended map[string]int, next string) {
	key := newChannel()
	_ = s.feed.Set(origin.Script{Channel: key, Gate: true, Next: []string{"doom"}})
	b := newBurst(ctx, s)
	calls := b.askAll(callers, key)
	pause(ctx, joinFor)
	s.feed.Open()
	ended = tally(calls, doomFor)
	comeAgain(ctx, calls...)
	if next = b.ask(key).what(answerFor); next == "refused" {
		next = "lost" // which of the two a process that dies gives is chance
	}
	return ended, next
}

func bounded(ctx context.Context, s *subject, callers int) seen {
	key := newChannel()
	script := origin.Script{Channel: key}
	// A timeout that covers the header alone is not enough, so in every other
	// round the feed begins to answer and never ends.
	script.Next = slices.Repeat([]string{[]string{"hang", "drip"}[s.round%2]}, callers)
	_ = s.feed.Set(script)
	began := time.Now()
	got := tally(newBurst(ctx, s).askAll(callers, key), boundFor)
	if took := time.Since(began); got["504"] == callers && took > 2*timeout {
		return no("%s, the last after %v", lab.Answers(got), took.Round(100*time.Millisecond))
	}
	return is(got["504"] == callers, "%s", lab.Answers(got))
}

func firstLeaves(ctx context.Context, s *subject) seen {
	key := newChannel()
	_ = s.feed.Set(origin.Script{Channel: key, Gate: true})
	b := newBurst(ctx, s)
	first := b.ask(key)
	if !s.until(ctx, answerFor, func(st origin.Stats) bool { return st.Channels[key] > 0 }) {
		return no("it was not loaded")
	}
	others := b.askAll(4, key)
	pause(ctx, joinFor)
	first.hangUp()
	<-first.done
	pause(ctx, joinFor)
	s.feed.Open()
	got := tally(others, callFor)
	return is(got[served] == len(others), "%s", lab.Answers(got))
}

func servesOld(ctx context.Context, s *subject) seen {
	keys, ask := threeKeys(ctx, s)
	if got := ask(); got[served] != rounds {
		return no("%s", lab.Answers(got))
	}
	pause(ctx, ttl+time.Second)
	_ = s.feed.Set(origin.Script{Gate: true})
	b := newBurst(ctx, s)
	var calls []*call
	for _, key := range keys {
		calls = append(calls, b.ask(key))
	}
	got := tally(calls, answerFor)
	loading := s.until(ctx, answerFor, func(st origin.Stats) bool { return loadsOf(st, keys) == rounds })
	s.feed.Open()
	if got[served] == rounds && !loading {
		return no("%s, and the feed was not asked again", lab.Answers(got))
	}
	return is(got[served] == rounds, "%s", lab.Answers(got))
}

func staleIfError(ctx context.Context, s *subject) seen {
	keys, ask := threeKeys(ctx, s)
	if got := ask(); got[served] != rounds {
		return no("%s", lab.Answers(got))
	}
	pause(ctx, ttl+time.Second)
	_ = s.feed.Set(origin.Script{Next: slices.Repeat([]string{"500"}, 2*rounds)})
	got := ask()
	// Where nobody waits for the loads, they come a little later.
	loading := s.until(ctx, answerFor, func(st origin.Stats) bool { return loadsOf(st, keys) >= rounds })
	if got[served] == rounds && !loading {
		return no("%s, and the feed was not asked again", lab.Answers(got))
	}
	return is(got[served] == rounds, "%s", lab.Answers(got))
}

func failureSpared(ctx context.Context, s *subject) seen {
	const callers = 4
	key := newChannel()
	_ = s.feed.Set(origin.Script{Channel: key, Next: slices.Repeat([]string{"500"}, callers)})
	b := newBurst(ctx, s)
	got, told := map[string]int{}, 0
	for range callers {
		c := b.ask(key)
		got[c.what(answerFor)]++
		if c.answer.RetryAfter != "" {
			told++
		}
	}
	loads := s.feed.Stats().Channels[key]
	return is(loads == 1 && got["502"] == callers && told == callers, "%s, %s, of which %d say when to come again",
		say.Plural(loads, "load"), lab.Answers(got), told)
}

func shedsLoad(ctx context.Context, s *subject) seen {
	_ = s.feed.Set(origin.Script{Gate: true})
	b := newBurst(ctx, s)
	calls := make([]*call, manyKeys)
	for i := range calls {
		calls[i] = b.ask(newChannel())
	}
	defer func() {
		for _, c := range calls {
			c.hangUp()
		}
	}()
	defer s.feed.Open()
	atOnce := func() (n int) {
		for _, c := range calls {
			select {
			case <-c.done:
				n++
			default:
			}
		}
		return n
	}
	// All are answered soon, or wait at the feed: before a load's timeout.
	settled := s.until(ctx, answerFor, func(st origin.Stats) bool { return st.Waiting > maxLoads || st.Waiting+atOnce() == manyKeys })
	loads := s.feed.Stats().Waiting
	switch {
	case loads > maxLoads:
		return no("more than %d loads at once", maxLoads)
	case !settled:
		return no("callers are neither loaded for nor sent away")
	}
	s.feed.Open()
	got, told := tally(calls, callFor), 0
	for _, c := range calls {
		if c.answer.Status == http.StatusServiceUnavailable && c.answer.RetryAfter != "" {
			told++
		}
	}
	if got[served] == loads && told == manyKeys-loads {
		// How many exactly depends, where several machines share the bound.
		return yes("at most %d loads, and all others get a 503 that says when to come again", maxLoads)
	}
	return no("%s, %s, of which %d say when to come again", say.Plural(loads, "load"), lab.Answers(got), told)
}

// inTrace are a trace's spans, by id.
func inTrace(spans []otlp.Span, id string) map[string]otlp.Span {
	byID := map[string]otlp.Span{}
	for _, s := range spans {
		if s.TraceID == id {
			byID[s.ID] = s
		}
	}
	return byID
}

// answering are the spans of a trace that are children of the callers, by the
// caller's id.
func answering(spans map[string]otlp.Span, calls []*call) map[string]otlp.Span {
	found := map[string]otlp.Span{}
	for _, c := range calls {
		for _, s := range spans {
			if s.Parent == c.span {
				found[c.span] = s
			}
		}
	}
	return found
}

// parentOf reads the span's id from a traceparent of that trace, or "".
func parentOf(traceparent, traceID string) string {
	parts := strings.Split(traceparent, "-")
	if len(parts) != 4 || parts[1] != traceID {
		return ""
	}
	return parts[2]
}

// above are a span and those above it in its trace, by id.
func above(spans map[string]otlp.Span, id string) map[string]otlp.Span {
	way := map[string]otlp.Span{}
	for {
		s, ok := spans[id]
		if _, twice := way[id]; !ok || twice {
			return way
		}
		way[id], id = s, s.Parent
	}
}

func traceRequests(ctx context.Context, s *subject) (seen, func([]otlp.Span) seen) {
	b := newBurst(ctx, s)
	var calls []*call
	for range 3 {
		calls = append(calls, b.ask(newChannel()))
	}
	for _, c := range calls {
		if a := c.wait(callFor); a.Status != http.StatusOK {
			return no("%s", a), nil
		}
	}
	return yes(""), func(spans []otlp.Span) seen {
		roots := answering(inTrace(spans, b.trace), calls)
		return is(len(roots) == len(calls), "%d of %d requests have a span in their caller's trace", len(roots), len(calls))
	}
}

func traceLoads(ctx context.Context, s *subject) (seen, func([]otlp.Span) seen) {
	keys := []string{newChannel(), newChannel(), newChannel()}
	_ = s.feed.Set(origin.Script{Channel: keys[2], Next: []string{"500"}})
	b := newBurst(ctx, s)
	var calls []*call
	for _, key := range keys {
		calls = append(calls, b.ask(key))
	}
	got := tally(calls, callFor)
	stats := s.feed.Stats()
	loads := loadsOf(stats, keys)
	if loads == 0 {
		return no("%s, no load", lab.Answers(got)), nil
	}
	return yes(""), func(spans []otlp.Span) seen {
		mine := inTrace(spans, b.trace)
		n := 0
		for _, key := range keys {
			for _, tp := range stats.Traceparents[key] {
				if _, ok := mine[parentOf(tp, b.trace)]; ok {
					n++
				}
			}
		}
		return is(n == loads, "%d of %s named a span in its caller's trace", n, say.Plural(loads, "load"))
	}
}

func traceJoined(ctx context.Context, s *subject, callers int) (seen, func([]otlp.Span) seen) {
	key := newChannel()
	got, loads, calls := coalesced(ctx, s, key, callers)
	if loads != 1 || got[served] != callers {
		return no("%s, %s", say.Plural(loads, "load"), lab.Answers(got)), nil
	}
	traceparent, traceID := s.feed.Stats().Traceparents[key][0], calls[0].trace
	return yes(""), func(spans []otlp.Span) seen {
		mine := inTrace(spans, traceID)
		roots := answering(mine, calls)
		load := above(mine, parentOf(traceparent, traceID))
		for _, root := range roots { // of a caller, not of the load
			delete(load, root.ID)
		}
		if len(load) == 0 {
			return no("1 load, and no span for it in its caller's trace")
		}
		linked := 0
		for _, c := range calls {
			if linksTo(mine, roots[c.span].ID, load) {
				linked++
			}
		}
		return is(linked == callers-1, "1 load, and %d of the %d others link to its span", linked, callers-1)
	}
}

// linksTo reports whether a span at or below root links to one of those.
func linksTo(spans map[string]otlp.Span, root string, those map[string]otlp.Span) bool {
	for _, s := range spans {
		for _, l := range s.Links {
			if _, ok := those[l.ID]; !ok {
				continue
			}
			if _, below := above(spans, s.ID)[root]; below {
				return true
			}
		}
	}
	return false
}

func traceErrors(ctx context.Context, s *subject, callers int) (seen, func([]otlp.Span) seen) {
	key := newChannel()
	_ = s.feed.Set(origin.Script{Channel: key, Gate: true, Next: []string{"doom"}})
	b := newBurst(ctx, s)
	calls := b.askAll(callers, key)
	pause(ctx, joinFor)
	s.feed.Open()
	got := tally(calls, doomFor)
	traceparents := s.feed.Stats().Traceparents[key]
	if len(traceparents) == 0 {
		return no("%s, no load", lab.Answers(got)), nil
	}
	// The first to come had doom.
	return yes(""), func(spans []otlp.Span) seen {
		way := above(inTrace(spans, b.trace), parentOf(traceparents[0], b.trace))
		for s := range maps.Values(way) {
			if s.Status == "error" {
				return yes("an error on the way from the load up to its caller")
			}
		}
		if len(way) == 0 {
			return no("the load has no span in its caller's trace")
		}
		return no("no error among the %s from the load up to its caller", say.Plural(len(way), "span"))
	}
}

func letGo(ctx context.Context, s *subject) (seen, func([]otlp.Span) seen) {
	key := newChannel()
	_ = s.feed.Set(origin.Script{Channel: key, Gate: true})
	b := newBurst(ctx, s)
	first := b.ask(key)
	if !s.until(ctx, answerFor, func(st origin.Stats) bool { return st.Channels[key] > 0 }) {
		return no("it was not loaded"), nil
	}
	second := b.askAll(1, key)[0]
	pause(ctx, joinFor)
	second.hangUp()
	<-second.done
	pause(ctx, joinFor)
	opened := time.Now()
	s.feed.Open()
	if got := first.what(callFor); got != served {
		return no("the first caller: %s", got), nil
	}
	return yes(""), func(spans []otlp.Span) seen {
		span, ok := answering(inTrace(spans, b.trace), []*call{second})[second.span]
		switch {
		case !ok:
			return no("the caller who hung up has no span")
		case span.End.After(opened):
			return no("its span ends after the feed has answered")
		}
		return yes("its span ended before the feed answered")
	}
}
