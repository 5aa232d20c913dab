package origin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"plaque/steps/kit/web"
)

func TestMain(m *testing.M) {
	otel.SetTextMapPropagator(propagation.TraceContext{})
	os.Exit(m.Run())
}

func newFeed() *Feed { return New(noop.NewTracerProvider()) }

func set(t *testing.T, f *Feed, s Script) {
	t.Helper()
	if err := f.Set(s); err != nil {
		t.Fatal(err)
	}
}

// scripted runs a test of a feed with a script in fake time.
func scripted(t *testing.T, s Script, test func(*testing.T, *Feed)) {
	synctest.Test(t, func(t *testing.T) {
		f := newFeed()
		set(t, f, s)
		test(t, f)
	})
}

// reply is what a caller got, and how long after it had asked.
type reply struct {
	*httptest.ResponseRecorder
	took time.Duration
}

// ask asks the feed for a channel without a network between them, so that fake
// time moves. It does not wait for the reply, which comes on the channel.
func ask(ctx context.Context, f *Feed, channel string) <-chan reply {
	replies := make(chan reply, 1)
	begin := time.Now()
	go func() {
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, Path+"?channel_id="+url.QueryEscape(channel), nil)
		f.ServeHTTP(w, r)
		replies <- reply{w, time.Since(begin)}
	}()
	return replies
}

// counted is Stats without the maps.
func counted(f *Feed) Stats {
	s := f.Stats()
	s.Channels, s.Agents, s.Traceparents = nil, nil, nil
	return s
}

func TestScriptOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFeed()
		next := []string{"500", "ok", "429"}
		set(t, f, Script{Next: next})
		next[0] = "ok" // the caller's slice is the caller's
		for i, want := range []int{500, 200, 429, 200, 200} {
			if got := <-ask(t.Context(), f, "A"); got.Code != want {
				t.Errorf("answer %d has status %d, want %d", i, got.Code, want)
			}
		}
	})
}

// However many ask at once, each takes one answer.
func TestScriptAtOnce(t *testing.T) {
	scripted(t, Script{Next: []string{"500", "500", "429"}}, func(t *testing.T, f *Feed) {
		var asked []<-chan reply
		for range 10 {
			asked = append(asked, ask(t.Context(), f, "A"))
		}
		got := map[int]int{}
		for _, a := range asked {
			got[(<-a).Code]++
		}
		if want := map[int]int{500: 2, 429: 1, 200: 7}; !maps.Equal(got, want) {
			t.Errorf("answers by status %v, want %v", got, want)
		}
	})
}

// An outage begins when the feed has been up for so long, and fails in each of its
// ways in turn. What Next says goes before it.
func TestOutage(t *testing.T) {
	scripted(t, Script{Next: []string{"429"}, Outage: Duration(10 * time.Second)}, func(t *testing.T, f *Feed) {
		var seen []string
		for range 2 { // of up and down
			for range 3 {
				name, _, _ := f.arrive(t.Context(), "A", nil)
				seen = append(seen, name)
			}
			time.Sleep(10 * time.Second)
			for range 4 {
				name, _, _ := f.arrive(t.Context(), "A", nil)
				seen = append(seen, name)
			}
			time.Sleep(10 * time.Second)
		}
		if got, want := strings.Join(seen, " "), "429 ok ok 500 hangup hang 500 ok ok ok hangup hang 500 hangup"; got != want {
			t.Errorf("it answered\n%s, want\n%s", got, want)
		}
	})
}

// The answer's own time goes before that of its kind, and both before the
// script's.
func TestDelay(t *testing.T) {
	const second = Duration(time.Second)
	for _, c := range []struct {
		script Script
		want   time.Duration
	}{
		{Script{}, DefaultDelay},
		{Script{Delay: second}, time.Second},
		{Script{Next: []string{"ok:20ms"}, Delay: second}, 20 * time.Millisecond},
		{Script{Next: []string{"500"}, Delay: second}, time.Second},
		{Script{Next: []string{"doom"}, Delay: second}, DoomDelay},
		{Script{Next: []string{"doom:1ns"}}, 1},
	} {
		scripted(t, c.script, func(t *testing.T, f *Feed) {
			if got := <-ask(t.Context(), f, "A"); got.took != c.want {
				t.Errorf("%+v: it took %v, want %v", c.script, got.took, c.want)
			}
		})
	}
}

func TestHoldOpensWhenEnoughWait(t *testing.T) {
	scripted(t, Script{Hold: 3}, func(t *testing.T, f *Feed) {
		first := ask(t.Context(), f, "A")
		synctest.Wait()
		second := ask(t.Context(), f, "A")
		time.Sleep(HoldFor - 1)
		synctest.Wait()
		if got, want := counted(f), (Stats{Requests: 2, Waiting: 2, Most: 2}); !reflect.DeepEqual(got, want) {
			t.Errorf("with two of three: %+v, want %+v", got, want)
		}
		third := ask(t.Context(), f, "A")
		for _, c := range []struct {
			asked <-chan reply
			want  time.Duration
		}{{first, HoldFor - 1 + DefaultDelay}, {second, HoldFor - 1 + DefaultDelay}, {third, DefaultDelay}} {
			if got := <-c.asked; got.took != c.want || got.Code != 200 {
				t.Errorf("status %d after %v, want 200 after %v", got.Code, got.took, c.want)
			}
		}
		// From then on nobody is held.
		if got := <-ask(t.Context(), f, "A"); got.took != DefaultDelay {
			t.Errorf("the fourth was held: it took %v", got.took)
		}
		if got, want := counted(f), (Stats{Requests: 4, Most: 3}); !reflect.DeepEqual(got, want) {
			t.Errorf("at the end: %+v, want %+v", got, want)
		}
	})
}

func TestHoldIsBounded(t *testing.T) {
	for _, c := range []struct {
		script Script
		bound  time.Duration
	}{
		{Script{Hold: 3}, HoldFor},
		{Script{Hold: 3, HoldFor: Duration(time.Minute)}, time.Minute},
		{Script{Gate: true}, gateFor},
		{Script{Gate: true, Hold: 1, HoldFor: 1}, gateFor}, // the gate is the stronger
	} {
		scripted(t, c.script, func(t *testing.T, f *Feed) {
			first := ask(t.Context(), f, "A")
			time.Sleep(c.bound / 4)
			second := ask(t.Context(), f, "A")
			if got, want := <-first, c.bound+DefaultDelay; got.took != want || got.Code != 200 {
				t.Errorf("%+v: the first got %d after %v, want 200 after %v", c.script, got.Code, got.took, want)
			}
			if got, want := <-second, c.bound-c.bound/4+DefaultDelay; got.took != want {
				t.Errorf("%+v: the second took %v, want to go with the first, after %v", c.script, got.took, want)
			}
			if got := <-ask(t.Context(), f, "A"); got.took != DefaultDelay {
				t.Errorf("%+v: one that came later was held: it took %v", c.script, got.took)
			}
		})
	}
}

// A caller that has left does not count as company.
func TestHoldForgetsWhoLeaves(t *testing.T) {
	scripted(t, Script{Hold: 2}, func(t *testing.T, f *Feed) {
		ctx, leave := context.WithCancel(t.Context())
		gone := ask(ctx, f, "A")
		synctest.Wait()
		leave()
		if got := <-gone; got.took != 0 || got.Body.Len() != 0 {
			t.Errorf("a caller who left at once was let go after %v, with %q", got.took, got.Body)
		}
		left := ask(t.Context(), f, "A")
		time.Sleep(time.Second)
		if got, want := counted(f), (Stats{Requests: 2, Waiting: 1, Most: 1}); !reflect.DeepEqual(got, want) {
			t.Errorf("one left and one waits: %+v, want %+v", got, want)
		}
		right := ask(t.Context(), f, "A")
		if got := <-left; got.took != time.Second+DefaultDelay {
			t.Errorf("it was answered after %v, want when the next had come, after a second", got.took)
		}
		<-right
	})
}

func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFeed()
		f.Open() // nothing is held: nothing happens
		set(t, f, Script{Gate: true, Next: []string{"500"}})
		held := ask(t.Context(), f, "A")
		time.Sleep(gateFor - 1)
		synctest.Wait()
		if got, want := counted(f), (Stats{Requests: 1, Waiting: 1, Most: 1}); !reflect.DeepEqual(got, want) {
			t.Errorf("behind the gate: %+v, want %+v", got, want)
		}
		f.Open()
		if got, want := <-held, gateFor-1+DefaultDelay; got.took != want || got.Code != 500 {
			t.Errorf("status %d after %v, want 500 after %v", got.Code, got.took, want)
		}
		if got := <-ask(t.Context(), f, "A"); got.took != DefaultDelay {
			t.Errorf("the gate is open, yet one that came later took %v", got.took)
		}
		f.Open()
		if got, want := counted(f), (Stats{Requests: 2, Most: 1}); !reflect.DeepEqual(got, want) {
			t.Errorf("at the end: %+v, want %+v", got, want)
		}
	})
}

// Most is a high-water mark: it stays when the callers leave.
func TestMost(t *testing.T) {
	scripted(t, Script{Gate: true}, func(t *testing.T, f *Feed) {
		ctx, leave := context.WithCancel(t.Context())
		for range 3 {
			ask(ctx, f, "A")
		}
		synctest.Wait()
		leave()
		synctest.Wait()
		last := ask(t.Context(), f, "A")
		synctest.Wait()
		if got, want := counted(f), (Stats{Requests: 4, Waiting: 1, Most: 3}); !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
		f.Open()
		<-last
	})
}

// A script for one channel leaves the others alone, but they are counted.
func TestChannel(t *testing.T) {
	scripted(t, Script{Channel: "A", Gate: true, Next: []string{"500"}, Delay: Duration(time.Second)}, func(t *testing.T, f *Feed) {
		if got := <-ask(t.Context(), f, "B"); got.Code != 200 || got.took != DefaultDelay {
			t.Errorf("B: status %d after %v, want 200 after %v", got.Code, got.took, DefaultDelay)
		}
		a := ask(t.Context(), f, "A")
		synctest.Wait()
		want := Stats{Requests: 2, Waiting: 1, Most: 1, Channels: map[string]int{"A": 1, "B": 1}, Agents: map[string]int{"": 2}, Traceparents: map[string][]string{"A": {""}, "B": {""}}}
		if got := f.Stats(); !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
		f.Open()
		if got := <-a; got.Code != 500 || got.took != time.Second {
			t.Errorf("A: status %d after %v, want 500 after 1s", got.Code, got.took)
		}
	})
}

// A new script lets go whom the old one held, each with the answer that it had
// drawn, and starts the count anew.
func TestSet(t *testing.T) {
	scripted(t, Script{Gate: true, Next: []string{"429", "500"}}, func(t *testing.T, f *Feed) {
		old := ask(t.Context(), f, "A")
		synctest.Wait()
		set(t, f, Script{Gate: true})
		if got := counted(f); !reflect.DeepEqual(got, Stats{}) {
			t.Errorf("after Set: %+v, want nothing", got)
		}
		if got := <-old; got.Code != 429 || got.took != DefaultDelay {
			t.Errorf("the old request: status %d after %v, want 429 after %v", got.Code, got.took, DefaultDelay)
		}
		fresh := ask(t.Context(), f, "B")
		synctest.Wait()
		want := Stats{Requests: 1, Waiting: 1, Most: 1, Channels: map[string]int{"B": 1}, Agents: map[string]int{"": 1}, Traceparents: map[string][]string{"B": {""}}}
		if got := f.Stats(); !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
		// A script that is wrong changes nothing: B still waits.
		if err := f.Set(Script{Next: []string{"ok", "no"}}); err == nil {
			t.Error("an unknown answer was taken")
		}
		synctest.Wait()
		if got := f.Stats(); !reflect.DeepEqual(got, want) || len(fresh) != 0 {
			t.Errorf("after a wrong script: %+v, want %+v", got, want)
		}
		f.Open()
		if got := <-fresh; got.Code != 200 {
			t.Errorf("status %d, want that of the new script", got.Code)
		}
	})
}

func TestStatsIsACopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFeed()
		<-ask(t.Context(), f, "A")
		s := f.Stats()
		s.Channels["A"], s.Agents[""] = 7, 7
		if s := f.Stats(); s.Channels["A"] != 1 || s.Agents[""] != 1 {
			t.Errorf("A was asked for %d times, by %d, want 1", s.Channels["A"], s.Agents[""])
		}
	})
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		script Script
		says   string
	}{
		{Script{Next: []string{"ok", "doom", "ok:20ms"}, Hold: 5}, ""},
		{Script{Next: []string{"ok", "okay"}}, `the feed cannot answer "okay"; it can: 429, 500, doom, drip, empty, endless, hang, hangup, ok, post, rubbish, truncated`},
		{Script{Outage: -1}, "outage: -1ns: it is how long the feed is up"},
		{Script{Next: []string{""}}, `the feed cannot answer ""; it can: 429, `},
		{Script{Next: []string{"ok:soon"}}, `answer "ok:soon": "soon" is not a duration: write it like 500ms or 2s`},
		{Script{Next: []string{"ok:-1s"}}, `answer "ok:-1s": "-1s" is not a duration: write it like 500ms or 2s`},
		{Script{Hold: -1}, "hold: -1: it is how many requests to wait for"},
	} {
		err := c.script.Check()
		if got := fmt.Sprint(err); (err == nil) != (c.says == "") || !strings.Contains(got, c.says) && err != nil {
			t.Errorf("%+v: got %s\nwant %s", c.script, got, c.says)
		}
	}
}

// control sends a request to the remote control.
func control(f *Feed, method, path, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Host, r.RemoteAddr = "127.0.0.1:3780", "127.0.0.1:50000"
	f.ServeHTTP(w, r)
	return w
}

// Another site's page, or another machine, sets no script and opens no gate; what
// the feed is asked is everybody's. The debug pages have the same guard, and a test
// of each of its rules.
func TestControlIsGuarded(t *testing.T) {
	for _, c := range []struct {
		from, host string
		header     []string
		code       int
	}{
		{"127.0.0.1:1", "127.0.0.1:3780", nil, 200},
		{"127.0.0.1:1", "evil.test:3780", nil, 403},
		{"127.0.0.1:1", "127.0.0.1:3780", []string{"Origin", "http://evil.test"}, 403},
		{"192.0.2.1:1", "127.0.0.1:3780", nil, 403},
	} {
		f := newFeed()
		set(t, f, Script{Gate: true})
		for _, control := range []struct{ method, path, body string }{
			{"GET", "/script", ""}, {"POST", "/open", ""}, {"PUT", "/script", `{"next":["500"]}`},
		} {
			r := httptest.NewRequest(control.method, control.path, strings.NewReader(control.body))
			r.RemoteAddr, r.Host = c.from, c.host
			for i := 0; i < len(c.header); i += 2 {
				r.Header.Set(c.header[i], c.header[i+1])
			}
			w := httptest.NewRecorder()
			if f.ServeHTTP(w, r); w.Code != c.code {
				t.Errorf("%s %s with %+v: %d, want %d", control.method, control.path, c, w.Code, c.code)
			}
		}
		if changed := len(f.round.script.Next) > 0 || f.round.gate == nil; changed != (c.code == 200) {
			t.Errorf("%+v: the script has changed: %v", c, changed)
		}
		set(t, f, Script{Delay: Duration(time.Nanosecond)})
		r := httptest.NewRequest("GET", Path+"?channel_id=A", nil)
		r.RemoteAddr, r.Host = c.from, c.host
		w := httptest.NewRecorder()
		if f.ServeHTTP(w, r); w.Code != 200 {
			t.Errorf("the feed itself, with %+v: %d", c, w.Code)
		}
	}
}

// No stranger fills the feed's memory, or makes an answer that nobody can read:
// whatever the names are, they can be asked for and set anew.
func TestNamesAreBounded(t *testing.T) {
	f := newFeed()
	set(t, f, Script{Delay: Duration(time.Nanosecond)})
	load := func(channel, agent, traceparent string) {
		r := httptest.NewRequest(http.MethodGet, Path+"?"+url.Values{"channel_id": {channel}}.Encode(), nil)
		r.Header.Set("User-Agent", agent)
		r.Header.Set("traceparent", traceparent)
		f.ServeHTTP(httptest.NewRecorder(), r)
	}
	long := strings.Repeat("\x01", 60<<10)
	load(long, long, long)
	for i := range 2500 {
		load(fmt.Sprintf("\x01%063d", i), fmt.Sprint("machine ", i, long), long)
	}
	load(fmt.Sprintf("\x01%063d", 0), "machine 0"+long, "")
	s := f.Stats()
	if agent := func(i int) int { return s.Agents[cut(fmt.Sprint("machine ", i, long), 200)] }; len(s.Agents) != 100 || agent(0) != 2 || agent(98) != 1 || agent(99) != 0 {
		t.Errorf("%d names of machines, of the first and the last ones %d, %d, %d", len(s.Agents), agent(0), agent(98), agent(99))
	}
	if s.Requests != 2502 || len(s.Channels) != 1000 || s.Others != 1501 || s.Channels[fmt.Sprintf("\x01%063d", 0)] != 2 {
		t.Errorf("%d requests, %d channels, %d others", s.Requests, len(s.Channels), s.Others)
	}
	size := 0
	for name := range s.Channels {
		size += len(name)
	}
	for name := range s.Agents {
		size += len(name)
	}
	for name, all := range s.Traceparents {
		size += len(name)
		for _, tp := range all {
			size += len(tp)
		}
	}
	if size > 300_000 {
		t.Errorf("the feed keeps %d bytes of names", size)
	}
	remote := Remote{serve(t, f), newClient(t)}
	if got, err := remote.Stats(t.Context()); err != nil || got.Requests != s.Requests || len(got.Channels) != 1000 {
		t.Errorf("%d requests, %d channels, %v", got.Requests, len(got.Channels), err)
	}
	if err := remote.Set(t.Context(), Script{}); err != nil || f.Stats().Requests != 0 {
		t.Errorf("set anew: %v, %+v", err, f.Stats())
	}
}

func TestPutScript(t *testing.T) {
	f := newFeed()
	const good = `{"next":["500"],"delay":"1s","hold":2,"hold_for":"3s","gate":true,"channel":"A"}`
	if w := control(f, "PUT", "/script", good); w.Code != 200 || !strings.Contains(w.Body.String(), `"requests":0`) {
		t.Fatalf("got %d %s, want 200 and the count", w.Code, w.Body)
	}
	want := Script{Next: []string{"500"}, Delay: Duration(time.Second), Hold: 2, HoldFor: Duration(3 * time.Second), Gate: true, Channel: "A"}
	if got := f.round.script; !reflect.DeepEqual(got, want) {
		t.Fatalf("the script is %+v, want %+v", got, want)
	}
	for _, c := range []struct{ body, says string }{
		{`nonsense`, "invalid character"},
		{`{"next":`, "unexpected EOF"},
		{`{"holds":5}`, `unknown field "holds"`},
		{`{"next":["okay"]}`, `the feed cannot answer "okay"; it can: 429, `},
		{`{"delay":"soon"}`, `"soon" is not a duration: write it like 500ms or 2s`},
		{`{"hold":-1}`, "how many requests to wait for"},
		{`{"hold":"five"}`, "cannot unmarshal string"},
		{`{"channel":"` + strings.Repeat("A", 64<<10) + `"}`, "too large"},
	} {
		w := control(f, "PUT", "/script", c.body)
		if w.Code != 400 || !strings.Contains(w.Body.String(), c.says) {
			t.Errorf("%.40s: got %d %s\nwant 400 that says %s", c.body, w.Code, w.Body, c.says)
		}
		if got := f.round.script; !reflect.DeepEqual(got, want) {
			t.Errorf("%.40s: changed the script to %+v", c.body, got)
		}
	}
}

func TestOtherRequests(t *testing.T) {
	f := newFeed()
	for _, c := range []struct {
		method, path string
		want         int
	}{
		{"POST", Path, 405}, {"GET", Path + "/", 404}, {"GET", "/", 404},
		{"DELETE", "/script", 405}, {"GET", "/open", 405},
	} {
		if w := control(f, c.method, c.path, ""); w.Code != c.want {
			t.Errorf("%s %s: got %d, want %d", c.method, c.path, w.Code, c.want)
		}
	}
	if got := counted(f); !reflect.DeepEqual(got, Stats{}) {
		t.Errorf("those are no loads, yet: %+v", got)
	}
}

// serve starts the feed for the length of the test.
func serve(t *testing.T, f *Feed) string {
	t.Helper()
	base, err := f.Serve(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return base
}

// newClient shares no connections.
func newClient(t *testing.T) *http.Client {
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 20 * time.Second}
}

// load reads the feed's answer to its end, so that the connection is kept.
func load(t *testing.T, client *http.Client, base string) {
	t.Helper()
	res, err := client.Get(base + Path + "?channel_id=A")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Error(err)
	}
}

// A connection counts when it brings its first load, and once.
func TestConnections(t *testing.T) {
	f := newFeed()
	base := serve(t, f)
	idle, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	client := newClient(t)
	remote := Remote{base, client}
	expect := func(what string, want int) {
		t.Helper()
		// Over the same connection, which this must not count.
		if s, err := remote.Stats(t.Context()); err != nil || s.Connections != want {
			t.Errorf("%s: %d connections, %v; want %d", what, s.Connections, err, want)
		}
	}
	expect("nobody has loaded", 0)
	load(t, client, base)
	load(t, client, base)
	expect("two loads over one", 1)
	load(t, newClient(t), base)
	expect("another client", 2)
	if err := remote.Set(t.Context(), Script{}); err != nil {
		t.Error(err)
	}
	load(t, client, base)
	expect("after Set, over one that was there", 0)
	load(t, newClient(t), base)
	expect("after Set, over a new one", 1)
}

func TestRemote(t *testing.T) {
	f := newFeed()
	base := serve(t, f)
	remote := Remote{base + "/", newClient(t)}
	want := Script{Next: []string{"500", "ok:20ms"}, Delay: Duration(time.Millisecond), Hold: 1, HoldFor: Duration(3 * time.Second), Gate: true, Channel: "A"}
	if err := remote.Set(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if got := f.round.script; !reflect.DeepEqual(got, want) {
		t.Errorf("the script is %+v, want %+v", got, want)
	}
	if err := remote.Open(t.Context()); err != nil {
		t.Error(err)
	}
	load(t, newClient(t), base) // which a closed gate would hold for 10 s
	if got := f.Stats(); got.Most != 0 {
		t.Errorf("after Open %d waited, want none", got.Most)
	}
	stats := Stats{Requests: 1, Connections: 1, Channels: map[string]int{"A": 1}}
	if got, err := remote.Stats(t.Context()); err != nil || !reflect.DeepEqual(got, stats) {
		t.Errorf("got %+v, %v; want %+v", got, err, stats)
	}
	err := remote.Set(t.Context(), Script{Next: []string{"okay"}})
	if err == nil || !strings.HasPrefix(err.Error(), `the feed says: the feed cannot answer "okay"; it can: 429, `) {
		t.Errorf("an unknown answer: %v", err)
	}
	if err := remote.Set(t.Context(), Script{}); err != nil || f.Stats().Requests != 0 {
		t.Errorf("the empty script: %v, %+v", err, f.Stats())
	}
}

func TestRemoteWithoutFeed(t *testing.T) {
	l, err := web.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	away := "http://" + l.Addr().String()
	_ = l.Close()
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			http.NotFound(w, r)
			return
		}
		_, _ = io.WriteString(w, "<title>Somebody else</title>")
	}))
	defer other.Close()
	for _, c := range []struct{ base, stats, set string }{
		{away, "no feed answers at " + away + ": start a step first (", "no feed answers at " + away + ": start a step first ("},
		{other.URL, other.URL + " does not answer like our feed: ", "the feed says: 404 page not found"},
		{"http://%zz", `invalid URL escape "%zz"`, `invalid URL escape "%zz"`},
	} {
		remote := Remote{c.base, newClient(t)}
		if _, err := remote.Stats(t.Context()); err == nil || !strings.Contains(err.Error(), c.stats) {
			t.Errorf("%s: Stats says %v, want %s", c.base, err, c.stats)
		}
		if err := remote.Set(t.Context(), Script{}); err == nil || !strings.Contains(err.Error(), c.set) {
			t.Errorf("%s: Set says %v, want %s", c.base, err, c.set)
		}
		if err := remote.Open(t.Context()); err == nil || !strings.Contains(err.Error(), c.set) {
			t.Errorf("%s: Open says %v, want %s", c.base, err, c.set)
		}
	}
}

func TestServe(t *testing.T) {
	f := newFeed()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	base, err := f.Serve(ctx, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port, named := strings.CutPrefix(base, "http://localhost:")
	if !named {
		t.Errorf("the URL is %s; want a name to look up", base)
	}
	load(t, newClient(t), base)
	hosts := []string{"127.0.0.1"}
	if probe, err := net.Listen("tcp", "[::1]:0"); err == nil {
		_ = probe.Close()
		hosts = append(hosts, "::1")
	}
	for _, host := range hosts {
		load(t, newClient(t), "http://"+net.JoinHostPort(host, port))
	}
	if _, err := newFeed().Serve(t.Context(), "127.0.0.1:"+port); err == nil || !strings.Contains(err.Error(), "cannot listen on 127.0.0.1:"+port) {
		t.Errorf("a taken port: %v", err)
	}

	// An answer that would never end does not hold the end up.
	set(t, f, Script{Next: []string{"drip"}})
	client := newClient(t)
	client.Timeout = 0
	res, err := client.Get(base + Path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	begin := time.Now()
	stop()
	if _, err := io.Copy(io.Discard, res.Body); err == nil {
		t.Error("the answer ended well, though the feed has stopped")
	}
	if took := time.Since(begin); took > hangFor/2 {
		t.Errorf("the feed stopped after %v", took)
	}
	// The listeners are closed before the connections.
	for _, host := range hosts {
		if c, err := net.Dial("tcp", net.JoinHostPort(host, port)); err == nil {
			_ = c.Close()
			t.Errorf("%s still listens", host)
		}
	}
}

// fakeListener is a listener that only knows its port.
type fakeListener struct {
	net.Listener
	port   int
	closed bool
}

func (l *fakeListener) Addr() net.Addr { return &net.TCPAddr{Port: l.port} }
func (l *fakeListener) Close() error   { l.closed = true; return nil }

// A client of localhost must find the feed, never another program.
func TestListen(t *testing.T) {
	for _, c := range []struct {
		name, addr  string
		taken4      bool // the address asked for is taken
		without6    bool // the machine has no IPv6
		taken6      int  // so many ports in a row are somebody else's on ::1
		open, tries int
	}{
		{"both", "127.0.0.1:0", false, false, 0, 2, 1},
		{"both, a port of one's own", "127.0.0.1:3780", false, false, 0, 2, 1},
		{"no IPv6", "127.0.0.1:0", false, true, 0, 1, 1},
		{"no IPv6, a port of one's own", "127.0.0.1:3780", false, true, 0, 1, 1},
		{"taken on ::1", "127.0.0.1:0", false, false, 9, 2, 10},
		{"taken on ::1 forever", "127.0.0.1:0", false, false, 1000, 0, 10},
		{"a port of one's own is taken on ::1", "127.0.0.1:3780", false, false, 1, 0, 1},
		{"taken", "127.0.0.1:3780", true, false, 0, 0, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var opened []*fakeListener
			tries, taken, port := 0, c.taken6, 5000
			listeners, err := listen(c.addr, func(addr string) (net.Listener, error) {
				host, asked, err := net.SplitHostPort(addr)
				if err != nil {
					return nil, err
				}
				if host == "127.0.0.1" {
					if tries++; c.taken4 {
						return nil, errors.New("taken")
					}
				} else if c.without6 {
					return nil, errors.New("no IPv6")
				} else if asked != "0" && taken > 0 {
					taken--
					return nil, errors.New("taken")
				}
				l := &fakeListener{port: port}
				if port++; asked != "0" {
					_, _ = fmt.Sscan(asked, &l.port)
				}
				opened = append(opened, l)
				return l, nil
			})
			if len(listeners) != c.open || (err == nil) != (c.open > 0) || tries != c.tries {
				t.Fatalf("%d listeners, %v, after %d tries; want %d after %d", len(listeners), err, tries, c.open, c.tries)
			}
			if c.open == 2 && listeners[0].Addr().String() != listeners[1].Addr().String() {
				t.Errorf("the ports are %v and %v; want one", listeners[0].Addr(), listeners[1].Addr())
			}
			for _, l := range opened {
				if slices.Contains(listeners, net.Listener(l)) == l.closed {
					t.Errorf("port %d: closed is %t; want just what is returned to be open", l.port, l.closed)
				}
			}
		})
	}
}

// The feed's span belongs to the provider it was handed, hangs below the
// caller's and says what was asked for.
func TestSpan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		recorder := tracetest.NewSpanRecorder()
		f := New(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder)))
		set(t, f, Script{Next: []string{"doom"}})
		r := httptest.NewRequest(http.MethodGet, Path+"?channel_id=A", nil)
		r.Header.Set("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
		begin := time.Now()
		f.ServeHTTP(httptest.NewRecorder(), r)
		ended := recorder.Ended()
		if len(ended) != 1 {
			t.Fatalf("%d spans, want 1", len(ended))
		}
		s := ended[0]
		if s.Name() != "GET "+Path || s.SpanKind() != trace.SpanKindServer || s.EndTime().Sub(s.StartTime()) != DoomDelay {
			t.Errorf("a span %q, %v, of %v", s.Name(), s.SpanKind(), s.EndTime().Sub(s.StartTime()))
		}
		if p := s.Parent(); p.TraceID().String() != "0af7651916cd43dd8448eb211c80319c" || p.SpanID().String() != "b7ad6b7169203331" || !p.IsRemote() {
			t.Errorf("it is below %v of %v, want the caller's span", p.SpanID(), p.TraceID())
		}
		events := s.Events()
		if len(events) != 1 || events[0].Name != "asked" || !events[0].Time.Equal(begin) {
			t.Fatalf("events %+v; want asked, when it was asked", events)
		}
		if got, want := events[0].Attributes, []attribute.KeyValue{attribute.String("channel", "A"), attribute.String("answer", "doom")}; !slices.Equal(got, want) {
			t.Errorf("asked says %v, want %v", got, want)
		}
	})
}

// A hang-up is a panic to net/http; its span ends all the same, as an error.
func TestSpanOfAHangUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		recorder := tracetest.NewSpanRecorder()
		f := New(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder)))
		set(t, f, Script{Next: []string{"hangup"}})
		res, err := overPipes(t, f).Get("http://feed" + Path)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		synctest.Wait()
		if ended := recorder.Ended(); len(ended) != 1 || ended[0].Name() != "GET "+Path || ended[0].Status().Code != codes.Error {
			t.Errorf("%d spans %+v; want one, an error", len(ended), ended)
		}
	})
}

func TestRemoteControlMakesNoSpans(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	f := New(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder)))
	for _, r := range []struct{ method, path, body string }{
		{"GET", "/script", ""}, {"PUT", "/script", "{}"}, {"PUT", "/script", "nonsense"}, {"POST", "/open", ""}, {"GET", "/nowhere", ""},
	} {
		control(f, r.method, r.path, r.body)
	}
	if n := len(recorder.Started()); n != 0 {
		t.Errorf("%d spans, want none", n)
	}
	control(f, "POST", Path, "") // a 405 of the feed is one
	if n := len(recorder.Ended()); n != 1 {
		t.Errorf("a 405 of the feed made %d spans, want 1", n)
	}
}

// With LOG_LEVEL=origin=debug a reader sees each load arrive, and what became of
// it: answered, hung up on, or left by its caller.
func TestLog(t *testing.T) {
	for answer, want := range map[string]string{"ok": "gone=false", "hangup": "gone=false", "hang": "gone=true"} {
		synctest.Test(t, func(t *testing.T) {
			log := new(strings.Builder)
			before := slog.Default()
			slog.SetDefault(slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})))
			defer slog.SetDefault(before)
			f := newFeed()
			set(t, f, Script{Next: []string{answer}, Hold: 1})
			ctx, leave := context.WithTimeout(t.Context(), time.Second)
			defer leave()
			func() {
				defer func() { _ = recover() }()
				f.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, Path+"?channel_id=c", nil))
			}()
			// A load that another test has left may end now, and log here too.
			lines := slices.DeleteFunc(strings.Split(log.String(), "\n"), func(line string) bool { return !strings.Contains(line, " channel=c ") })
			if len(lines) != 2 || !strings.HasSuffix(lines[0], `level=DEBUG msg="load arrives" channel=c answer=`+answer+` held=true`) ||
				!strings.Contains(lines[1], `level=DEBUG msg="load answered" channel=c answer=`+answer+` took=`) || !strings.HasSuffix(lines[1], want) {
				t.Errorf("%s: logged\n%s", answer, log)
			}
		})
	}
}
