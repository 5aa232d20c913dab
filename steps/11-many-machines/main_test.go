package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/resource"

	"plaque/steps/kit/need"
	"plaque/steps/kit/ports"
)

// TestMain lets this binary be the step, and the peers that it starts.
func TestMain(m *testing.M) {
	if os.Getenv("PLAQUE_TEST_STEP") != "" {
		main()
		return
	}
	need.Parallel(6)
	os.Exit(m.Run())
}

// step is the step as a process, with what it logs.
type step struct {
	cmd   *exec.Cmd
	stdin io.Closer
	lines chan string
}

// start starts the step, with more for its environment.
func start(t *testing.T, env []string, args ...string) *step {
	t.Helper()
	s := &step{cmd: exec.Command(os.Args[0], args...), lines: make(chan string, 1000)}
	s.cmd.Env = append(os.Environ(), append([]string{"PLAQUE_TEST_STEP=1", "ADDR=127.0.0.1:0", "OTEL_TRACES_EXPORTER=none", "PEERS=", "SELF=", "PEER_SECRET=", "FEED_URL=", "LOG_LEVEL="}, env...)...)
	stdin, err := s.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.stdin = stdin
	log, err := s.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.lines)
		for in := bufio.NewScanner(log); in.Scan(); {
			s.lines <- in.Text()
		}
	}()
	t.Cleanup(func() {
		_ = stdin.Close()
		done := make(chan struct{})
		go func() { _ = s.cmd.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(15 * time.Second):
			t.Error("it did not end within 15 s")
			_ = s.cmd.Process.Kill()
			<-done
		}
	})
	return s
}

// log waits for a line that matches, and returns its groups.
func (s *step) log(t *testing.T, pattern string) []string {
	t.Helper()
	r := regexp.MustCompile(pattern)
	timeout := time.After(20 * time.Second)
	var seen []string
	for {
		select {
		case line, ok := <-s.lines:
			if m := r.FindStringSubmatch(line); m != nil {
				return m
			}
			if seen = append(seen, line); !ok {
				t.Fatalf("it ended without %s:\n%s", pattern, strings.Join(seen, "\n"))
			}
		case <-timeout:
			t.Fatalf("no %s:\n%s", pattern, strings.Join(seen, "\n"))
		}
	}
}

const peerLine = `msg=peer url=http://(\S+) pid=(\d+)`

// peersOf reads from the log who was started, and where the round robin is.
func peersOf(t *testing.T, s *step) (addr string, pids map[string]int) {
	t.Helper()
	pids = map[string]int{}
	for range peers {
		m := s.log(t, peerLine)
		pids[m[1]], _ = strconv.Atoi(m[2])
	}
	return s.log(t, `msg=listening url=http://(\S+)`)[1], pids
}

// kill ends a process without warning.
func kill(t *testing.T, pid int) {
	t.Helper()
	p, err := os.FindProcess(pid)
	if err == nil {
		err = p.Kill()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// servedBy asks once, and returns who answered 200.
func servedBy(t *testing.T, addr string) string {
	t.Helper()
	res, err := http.Get("http://" + addr + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", res.Status, b)
	}
	return res.Header.Get("X-Served-By")
}

// refuses waits until nobody takes connections at addr.
func refuses(addr string) bool {
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		conn, err := net.DialTimeout("tcp", addr, time.Second)
		if err != nil {
			return true
		}
		_ = conn.Close()
	}
	return false
}

// The round robin comes round, skips a peer that is dead, and it comes back.
func TestLauncher(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	addr, pids := peersOf(t, s)
	var names []string
	for range 2 * peers {
		names = append(names, servedBy(t, addr))
	}
	if !slices.Equal(names[:peers], names[peers:]) || len(slices.Compact(slices.Sorted(slices.Values(names)))) != peers {
		t.Errorf("served by %v, want three in turn", names)
	}
	dead := names[0]
	kill(t, pids[dead])
	s.log(t, `msg="a peer has ended`)
	for range 2 * peers {
		if by := servedBy(t, addr); by == dead {
			t.Errorf("served by %s, which is dead", by)
		}
	}
	if m := s.log(t, peerLine); m[1] != dead {
		t.Errorf("%s was started, want %s", m[1], dead)
	}
	for deadline := time.Now().Add(15 * time.Second); ; {
		if servedBy(t, addr) == dead {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the peer does not come back")
		}
	}
}

// The fleet ends with its launcher, however that ends, and what peers say to each
// other is not for callers.
func TestEnds(t *testing.T) {
	for _, how := range []string{"its input ends", "it is killed"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			s := start(t, nil)
			addr, pids := peersOf(t, s)
			for _, path := range []string{"/_groupcache/videos/UCs4fQRyl1TJvoeOdekW6lYA", "/nope"} {
				res, err := http.Get("http://" + addr + path)
				if err != nil {
					t.Fatal(err)
				}
				if res.Body.Close(); res.StatusCode != http.StatusNotFound {
					t.Errorf("GET %s: %s", path, res.Status)
				}
			}
			if how == "it is killed" {
				kill(t, s.cmd.Process.Pid)
			} else {
				_ = s.stdin.Close()
			}
			if err := s.cmd.Wait(); (err == nil) != (how == "its input ends") {
				t.Errorf("it ended with %v", err)
			}
			for peer := range pids {
				if !refuses(peer) {
					t.Errorf("the peer at %s outlives its launcher", peer)
				}
			}
		})
	}
}

// A peer that does not come up is said to, and nobody waits forever.
func TestSettingsFail(t *testing.T) {
	for _, c := range []struct {
		env  []string
		args []string
		says string
		code int
	}{
		{[]string{"PEERS=nonsense", "SELF=nonsense"}, nil, `PEERS: "nonsense" is no peer's URL`, 1},
		{nil, []string{"-ttl=0s"}, "all are more than 0", 1},
		{nil, []string{"more"}, "takes flags only", 2},
		{nil, []string{"-ttl=soon"}, "invalid value", 2},
	} {
		cmd := exec.Command(os.Args[0], c.args...)
		cmd.Env = append(os.Environ(), append([]string{"PLAQUE_TEST_STEP=1", "ADDR=127.0.0.1:0", "OTEL_TRACES_EXPORTER=none"}, c.env...)...)
		out, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != c.code || !strings.Contains(string(out), c.says) {
			t.Errorf("%v %v: exit code %d\n%s\nwant %d and %q", c.env, c.args, code, out, c.code, c.says)
		}
	}
}

func TestReadPeers(t *testing.T) {
	const two = "http://127.0.0.1:1,http://127.0.0.1:2"
	for _, c := range []struct {
		addr, peers, self, secret string
		says                      string // "": fine
	}{
		{"127.0.0.1:1", "", "", "", ""},
		{"127.0.0.1:1", two, "http://127.0.0.1:1", "", ""},
		{"127.0.0.1:1", "http://localhost:1, http://[::1]:2", "http://[::1]:2", "", ""},
		{"LOCALHOST:1", "http://LocalHost:1/,http://[0::1]:2", "http://127.0.0.1:1", "", ""},
		{"0.0.0.0:1", "http://10.0.0.1:1,https://b", "https://B:443/", "0123456789abcdef", ""},
		{"127.0.0.1:1", two, "", "", `SELF="" is none of PEERS=` + two},
		{"127.0.0.1:1", two, "http://127.0.0.1:3", "", `SELF="http://127.0.0.1:3" is none of`},
		{"127.0.0.1:1", two, "nonsense", "", `SELF: "nonsense" is no peer's URL`},
		{"127.0.0.1:1", "", "http://127.0.0.1:3", "", `PEERS: "" is no peer's URL`},
		{"127.0.0.1:1", two + ",", "http://127.0.0.1:1", "", `PEERS: "" is no peer's URL`},
		{"127.0.0.1:1", two + ",http://127.0.0.1:2", "http://127.0.0.1:1", "", "http://127.0.0.1:2 is there twice"},
		{"127.0.0.1:1", two + ",HTTP://LocalHost:2/", "http://127.0.0.1:1", "", "HTTP://LocalHost:2/ is there twice: http://127.0.0.1:2 is the same"},
		{"127.0.0.1:1", "http://b,http://b:80", "http://b", "", "http://b:80 is there twice: http://b is the same"},
		{"127.0.0.1:1", "127.0.0.1:1", "127.0.0.1:1", "", "is no peer's URL"},
		{"127.0.0.1:1", "ftp://127.0.0.1:1", "ftp://127.0.0.1:1", "", "is no peer's URL"},
		{"127.0.0.1:1", "http://127.0.0.1:1/x", "http://127.0.0.1:1/x", "", "is no peer's URL"},
		{"127.0.0.1:1", "http://u@127.0.0.1:1", "http://u@127.0.0.1:1", "", "is no peer's URL"},
		{"127.0.0.1:1", "http://", "http://", "", "is no peer's URL"},
		{"127.0.0.1:1", "http://[fe80::1%25eth0]:1", "http://[fe80::1%25eth0]:1", "", "its zone names an interface of one machine"},
		{"127.0.0.1:1", two + ",http://10.0.0.1:1", "http://127.0.0.1:1", "", "http://10.0.0.1:1 can be reached from other machines: set PEER_SECRET"},
		{"127.0.0.1:1", "http://a:1", "http://a:1", "", "http://a:1 can be reached"},
		{"0.0.0.0:1", two, "http://127.0.0.1:1", "", "ADDR=0.0.0.0:1 can be reached"},
		{"127.0.0.1:1", two, "http://127.0.0.1:1", "short", "PEER_SECRET has 5 characters"},
		{"127.0.0.1:1", two, "http://127.0.0.1:1", "0123456789abcdef\n", "PEER_SECRET begins or ends with a space or a newline"},
		{"127.0.0.1:1", two, "http://127.0.0.1:1", "0123456789abcdef ", "PEER_SECRET begins or ends with a space or a newline"},
		{"127.0.0.1:1", two, "http://127.0.0.1:1", "0123456789\x00abcdef", "PEER_SECRET has the byte 0x00"},
	} {
		env := map[string]string{"PEERS": c.peers, "SELF": c.self, "PEER_SECRET": c.secret}
		got, err := readPeers(c.addr, func(name string) string { return env[name] })
		switch {
		case c.says == "" && err != nil, c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)):
			t.Errorf("%+v: %v", c, err)
		case c.says == "" && (got.Secret != c.secret || (c.peers == "") != (got.Peers == nil) || got.Peers != nil && !slices.Contains(got.Peers, got.Self)):
			t.Errorf("%+v: %+v", c, got)
		}
		if err != nil && c.secret != "" && strings.Contains(err.Error(), c.secret) {
			t.Errorf("%+v: the error has the secret: %v", c, err)
		}
	}
}

// Peers are the same fleet on each machine, whatever the order and the spelling.
func TestReadPeersAlike(t *testing.T) {
	var first []string
	for _, peers := range []string{
		"http://127.0.0.1:1,http://b:80,http://[::1]:2",
		"http://[::1]:2,http://b,http://127.0.0.1:1",
		" HTTP://B/ , http://[0:0::1]:2/ ,http://LOCALHOST:01",
		"http://b.,http://[::ffff:127.0.0.1]:1,http://[::1]:2",
	} {
		env := map[string]string{"PEERS": peers, "SELF": "http://localhost:1", "PEER_SECRET": "0123456789abcdef"}
		c, err := readPeers("127.0.0.1:1", func(name string) string { return env[name] })
		if first == nil {
			first = c.Peers
		}
		if err != nil || len(c.Peers) != 3 || !slices.Equal(c.Peers, first) || c.Self != "http://127.0.0.1:1" {
			t.Errorf("%s: %v, %v, %s; want %v", peers, err, c.Peers, c.Self, first)
		}
	}
}

// All peers are one service, and each says which of them it is.
func TestNameInstance(t *testing.T) {
	for _, c := range []struct{ self, attributes, want string }{
		{"", "a=b", "a=b"},
		{"nonsense", "", ""},
		{"http://LocalHost:1/", "", "service.instance.id=127.0.0.1:1"},
		{"http://peer2", "a=b", "a=b,service.instance.id=peer2:80"},
		{"http://[::1]:1", "a=b,", "a=b,service.instance.id=%5B::1%5D:1"},
		{"http://peer2", "service.instance.id=mine,a=b", "service.instance.id=mine,a=b"},
	} {
		t.Setenv("SELF", c.self)
		t.Setenv("OTEL_RESOURCE_ATTRIBUTES", c.attributes)
		nameInstance()
		if got := os.Getenv("OTEL_RESOURCE_ATTRIBUTES"); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
		r, err := resource.New(t.Context(), resource.WithFromEnv())
		if err != nil {
			t.Fatal(err)
		}
		if id, _ := r.Set().Value("service.instance.id"); strings.Contains(c.want, "%") && id.AsString() != "[::1]:1" {
			t.Errorf("%+v: OpenTelemetry reads %q", c, id.AsString())
		}
	}
}

// Only a peer that took no connection is skipped: a peer that has heard the question
// may have acted on it.
func TestRobin(t *testing.T) {
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		asked.Add(1)
		panic(http.ErrAbortHandler)
	}))
	defer server.Close()
	nobody, err := ports.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	u, _ := url.Parse(server.URL)
	b := newRobin(t.Context(), []string{nobody, u.Host, u.Host})
	for range 3 {
		req := httptest.NewRequest(http.MethodGet, "http://peers/", nil)
		if res, err := b.RoundTrip(req); err == nil {
			t.Errorf("got %s", res.Status)
		}
	}
	if asked.Load() != 3 {
		t.Errorf("those that live were asked %d times, want 3: one each time", asked.Load())
	}
	if fmt.Sprint(unreachable{io.EOF}) != "EOF" || (unreachable{}).StatusCode() != http.StatusBadGateway {
		t.Error("an error that hides its words, or is no 502")
	}
}

// peer is a server for the round robin: it says its name, after wait, and stops
// while stopped is locked, as a suspended process does.
type peer struct {
	*httptest.Server
	stopped sync.RWMutex
	asked   atomic.Int64
}

func newPeer(t *testing.T, wait time.Duration) *peer {
	p := &peer{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.stopped.RLock()
		defer p.stopped.RUnlock()
		w.Header().Set(nameHeader, p.host())
		if r.URL.Path != alivePath {
			p.asked.Add(1)
			time.Sleep(wait)
		}
		_, _ = io.WriteString(w, p.host())
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *peer) host() string { return strings.TrimPrefix(p.URL, "http://") }

// askRobin returns who answered, and after how long.
func askRobin(t *testing.T, b *robin) (by string, took time.Duration) {
	t.Helper()
	began := time.Now()
	res, err := b.RoundTrip(httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://peers/", nil))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text), time.Since(began)
}

// A peer that has stopped costs a caller a bounded wait, the next callers nothing,
// and is asked again once it answers.
func TestRobinLeavesAStoppedPeer(t *testing.T) {
	t.Parallel()
	one, other := newPeer(t, 0), newPeer(t, 0)
	b := newRobin(t.Context(), []string{one.host(), other.host()})
	one.stopped.Lock()
	unlock := sync.OnceFunc(one.stopped.Unlock)
	t.Cleanup(unlock)
	for range 2 { // the one of the two that is the stopped one's turn waits
		if by, took := askRobin(t, b); by != other.host() || took > 2*patience+5*time.Second {
			t.Errorf("%s after %v, want %s", by, took, other.host())
		}
	}
	began := time.Now()
	for range 10 {
		if by, took := askRobin(t, b); by != other.host() {
			t.Errorf("%s after %v, want %s", by, took, other.host())
		}
	}
	if took := time.Since(began); took >= 5*patience { // five of the ten turns were the stopped one's
		t.Errorf("ten callers took %v: some waited for the stopped peer", took)
	}
	unlock()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if by, _ := askRobin(t, b); by == one.host() {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the peer runs again, and is not asked")
		}
	}
}

// Where all have stopped, a caller is told so, after a bounded wait.
func TestRobinWhenAllHaveStopped(t *testing.T) {
	t.Parallel()
	one, other := newPeer(t, 0), newPeer(t, 0)
	b := newRobin(t.Context(), []string{one.host(), other.host()})
	for _, p := range []*peer{one, other} {
		p.stopped.Lock()
		t.Cleanup(p.stopped.Unlock)
	}
	began := time.Now()
	_, err := b.RoundTrip(httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://peers/", nil))
	if took := time.Since(began); !errors.Is(err, errStopped) || took < 4*patience || took > 4*patience+5*time.Second {
		t.Errorf("%v after %v, want %v after %v", err, took, errStopped, 4*patience)
	}
}

// A peer whose load takes long has not stopped: it is waited for, and no other
// does the same work.
func TestRobinWaitsForASlowPeer(t *testing.T) {
	t.Parallel()
	one, other := newPeer(t, 3*patience), newPeer(t, 3*patience)
	b := newRobin(t.Context(), []string{one.host(), other.host()})
	if by, took := askRobin(t, b); took < 3*patience || one.asked.Load()+other.asked.Load() != 1 {
		t.Errorf("%s after %v, %d and %d questions", by, took, one.asked.Load(), other.asked.Load())
	}
}

// What a peer answers is read to a bound, and 101 not at all.
func TestRobinReadsNoFurther(t *testing.T) {
	for _, head := range []string{
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
		"HTTP/1.1 200 OK\r\n\r\n" + strings.Repeat("x", maxAnswer+1),
	} {
		stop := make(chan struct{})
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			c, _, _ := w.(http.Hijacker).Hijack()
			_, _ = io.WriteString(c, head)
			<-stop
			_ = c.Close()
		}))
		b := newRobin(t.Context(), []string{strings.TrimPrefix(server.URL, "http://")})
		if res, err := b.RoundTrip(httptest.NewRequest(http.MethodGet, "http://peers/", nil)); err == nil {
			t.Errorf("got %s", res.Status)
		}
		close(stop)
		server.Close()
	}
}

// A peer is up when it answers by its name, and no earlier: the round robin would
// find nobody there, or another program, and callers would get a 502 or a 404.
func TestAllUp(t *testing.T) {
	var name atomic.Value
	name.Store("")
	asked := make(chan struct{}, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(nameHeader, name.Load().(string))
		http.NotFound(w, r)
		select {
		case asked <- struct{}{}:
		default:
		}
	}))
	defer server.Close()
	host, up := strings.TrimPrefix(server.URL, "http://"), make(chan error, 1)
	go func() { up <- allUp(t.Context(), []string{host}) }()
	for range 3 {
		<-asked
	}
	select {
	case err := <-up:
		t.Fatalf("up before the peer listens: %v", err)
	default:
	}
	name.Store(host)
	if err := <-up; err != nil {
		t.Error(err)
	}
}
