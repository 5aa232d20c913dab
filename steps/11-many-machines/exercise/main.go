package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"slices"
	"sync/atomic"
	"time"

	"plaque/steps/10-resilient/cache"
	"plaque/steps/kit/process"
	"plaque/steps/kit/web"
	"plaque/steps/kit/youtube"
)

// ttl is how long an answer is served before the feed is asked again.
const ttl = 5 * time.Second

// asked is the header by which one machine asks another.
const asked = "X-Asked-By"

func main() { process.Main("11-exercise", run) }

// run starts three machines, which here share a process and nothing else, and a
// round robin before them.
func run(ctx context.Context, p *process.Process) error {
	feed, err := p.Feed(ctx)
	if err != nil {
		return err
	}
	var listeners []net.Listener
	var names []string
	for range 3 {
		l, err := web.Listen("127.0.0.1:0")
		if err != nil {
			return err
		}
		listeners, names = append(listeners, l), append(names, l.Addr().String())
	}
	stopped := make(chan error, len(listeners))
	for i, l := range listeners {
		m := &machine{names[i], names, cache.New(ttl, youtube.NewClient(feed).LatestVideo), youtube.NewHTTPClient()}
		mux := http.NewServeMux()
		mux.Handle("GET /{$}", web.Handler(m.answer))
		go func() { stopped <- web.ServeOn(ctx, l, web.NewServer(web.Trace(mux))) }()
	}
	var next atomic.Uint64
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host = "http", names[next.Add(1)%uint64(len(names))]
		r.Out.Header.Del(asked) // only machines say that
	}})
	err = web.Serve(ctx, p.Addr, mux)
	for range listeners {
		<-stopped
	}
	return err
}

// machine is one of several.
type machine struct {
	name     string
	machines []string
	videos   *cache.Cache[string, string]
	http     *http.Client
}

func (m *machine) answer(w http.ResponseWriter, r *http.Request) error {
	channel, err := youtube.Channel(r)
	if err != nil {
		return err
	}
	w.Header().Set("X-Served-By", m.name)
	id := ""
	if o := owner(channel, m.machines, m.name); o != m.name && slices.Contains(m.machines, o) && r.Header.Get(asked) == "" {
		id, err = m.ask(r.Context(), o, channel)
	} else {
		id, err = m.videos.Get(r.Context(), channel)
	}
	if err != nil {
		return err
	}
	return web.JSON(w, map[string]string{"video_id": id})
}

// refused is another machine's error.
type refused struct {
	status int
	text   string
}

func (r refused) Error() string   { return r.text }
func (r refused) StatusCode() int { return r.status }

// ask asks another machine, which is not to ask any further.
func (m *machine) ask(ctx context.Context, machine, channel string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+machine+"/?channel="+channel, nil)
	if err != nil {
		return "", err
	}
	req.Header.Set(asked, m.name)
	res, err := m.http.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusSwitchingProtocols { // its body never ends
		return "", fmt.Errorf("%s answers another protocol", machine)
	}
	var answer struct {
		VideoID string `json:"video_id"`
		Error   string `json:"error"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(nil, res.Body, 64<<10)).Decode(&answer); err != nil {
		return "", fmt.Errorf("%s answers nonsense: %w", machine, err)
	}
	if res.StatusCode != http.StatusOK {
		return "", refused{res.StatusCode, answer.Error}
	}
	return answer.VideoID, nil
}
