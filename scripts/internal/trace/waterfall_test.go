package trace

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the pictures under testdata anew")

// scene is a set of spans under construction. Its ids count up and its times
// are fixed, so that its picture is always the same.
type scene struct {
	spans []Span
	trace int
}

var noon = time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)

// us is a time on the axis, in microseconds.
func us(n float64) time.Time { return noon.Add(time.Duration(n * 1000)) }

// add puts a span below its parent, "" for the root of a new trace, and returns
// its id. Attributes are pairs.
func (s *scene) add(parent, service, name string, start, end float64, attrs ...string) string {
	if parent == "" {
		s.trace++
	}
	span := Span{
		TraceID: fmt.Sprintf("%032x", s.trace),
		ID:      fmt.Sprintf("%016x", len(s.spans)+1),
		Parent:  parent,
		Service: service,
		Name:    name,
		Kind:    "internal",
		Start:   us(start),
		End:     us(end),
		Status:  "unset",
		Attrs:   map[string]string{},
	}
	for i := 0; i < len(attrs); i += 2 {
		span.Attrs[attrs[i]] = attrs[i+1]
	}
	s.spans = append(s.spans, span)
	return span.ID
}

func (s *scene) find(id string) *Span {
	for i := range s.spans {
		if s.spans[i].ID == id {
			return &s.spans[i]
		}
	}
	panic("no span " + id)
}

func (s *scene) link(from, to string) {
	target := s.find(to)
	span := s.find(from)
	span.Links = append(span.Links, Link{TraceID: target.TraceID, ID: to})
}

func (s *scene) fail(id, message string) {
	span := s.find(id)
	span.Status, span.Message = "error", message
}

func (s *scene) panics(id, message string) {
	s.fail(id, message)
	span := s.find(id)
	span.Events = append(span.Events, Event{Name: "exception", Time: span.End, Attrs: map[string]string{
		"exception.type": "*errors.errorString", "exception.message": message,
	}})
}

func (s *scene) burst(end float64) string {
	return s.add("", "load", "burst", 0, end, "plaque.requests", "10", "plaque.concurrency", "5")
}

// request adds a handler's span and the look into the cache below it.
func (s *scene) request(burst string, start, end float64, status, result string) (get, cache string) {
	get = s.add(burst, "plaque", "GET /{$}", start, end, "http.response.status_code", status)
	if status[0] == '5' {
		s.fail(get, "")
	}
	cache = s.add(get, "plaque", "cache.get", start+40, end-60, "cache.key", "UCBR8-60-B28hp2BmDPdntcQ", "cache.result", result)
	return get, cache
}

// load adds what a load of the feed looks like from both sides of the wire.
func (s *scene) load(parent string, start, end float64) string {
	get := s.add(parent, "plaque", "HTTP GET", start, end, "http.response.status_code", "200")
	conn := s.add(get, "plaque", "http.getconn", start+30, start+480, "http.conn.reused", "false")
	s.add(conn, "plaque", "http.dns", start+40, start+210)
	s.add(conn, "plaque", "http.connect", start+220, start+470)
	s.add(get, "plaque", "http.send", start+490, start+510)
	s.add(get, "feed", "GET /feeds/videos.xml", start+640, end-350, "http.response.status_code", "200")
	s.add(get, "plaque", "http.receive", end-320, end-20)
	return get
}

// stampede is step 05: five callers miss together and each makes its own load.
func stampede() *scene {
	s := new(scene)
	burst := s.burst(304_800)
	for i := range 5 {
		at := float64(i)
		_, cache := s.request(burst, 900+170*at, 302_900+230*at, "200", "miss")
		s.load(cache, 1010+170*at, 302_600+230*at)
	}
	for i := range 5 {
		at := float64(i)
		s.request(burst, 303_300+220*at, 303_480+220*at, "200", "hit")
	}
	return s
}

// coalesced is step 07 and after: one flight, and four callers who wait for it.
func coalesced() *scene {
	s := new(scene)
	burst := s.burst(304_800)
	_, leader := s.request(burst, 900, 302_900, "200", "miss")
	flight := s.add(leader, "plaque", "flight", 960, 302_800)
	s.load(flight, 1010, 302_600)
	for i := range 4 {
		at := float64(i)
		_, waiter := s.request(burst, 1070+170*at, 303_130+230*at, "200", "joined")
		s.link(waiter, flight)
	}
	for i := range 5 {
		at := float64(i)
		s.request(burst, 303_300+220*at, 303_480+220*at, "200", "hit")
	}
	return s
}

// doomed is step 09 with a feed that dooms the first load: everyone gets an
// answer, and the next five are served by a second flight.
func doomed() *scene {
	s := new(scene)
	burst := s.burst(558_300)
	round := func(start, end float64, status string) {
		_, leader := s.request(burst, start, end, status, "miss")
		flight := s.add(leader, "plaque", "flight", start+90, end-110)
		s.load(flight, start+130, end-260)
		if status == "500" {
			s.panics(flight, "panic: no frame of video doom can be decoded\ngoroutine 41 [running]:\nmain.load(...)")
			s.fail(leader, "panic: no frame of video doom can be decoded\ngoroutine 41 [running]:\nmain.load(...)")
		}
		for i := range 4 {
			at := float64(i)
			_, waiter := s.request(burst, start+170*(at+1), end+230*(at+1), status, "joined")
			s.link(waiter, flight)
			if status == "500" {
				s.fail(waiter, "panic: no frame of video doom can be decoded")
			}
		}
	}
	round(900, 503_200, "500")
	round(505_700, 556_900, "200")
	return s
}

// connections is step 01, one client after the other, or 02, all at once.
func connections(apart float64) *scene {
	s := new(scene)
	for i := range 5 {
		at := float64(i) * apart
		root := s.add("", "plaque", "handle_connection", at, at+2_300)
		s.add(root, "plaque", "read_http_request", at+30, at+2_050)
		s.add(root, "plaque", "write_http_response", at+2_080, at+2_290)
	}
	return s
}

func convoy() *scene {
	s := new(scene)
	burst := s.burst(253_000)
	for i := range 5 {
		at := float64(i)
		get := s.add(burst, "plaque", "GET /{$}", 900+100*at, 50_900*(at+1), "http.response.status_code", "504")
		s.fail(get, "")
		cache := s.add(get, "plaque", "cache.get", 950+100*at, 50_800*(at+1), "cache.key", "UCBR8-60-B28hp2BmDPdntcQ", "cache.result", "miss")
		s.fail(cache, "the feed took longer than 50ms")
		s.add(cache, "plaque", "lock.wait", 960+100*at, 980+50_500*at)
		client := s.add(cache, "plaque", "HTTP GET", 1_200+50_510*at, 50_700*(at+1))
		s.fail(client, "context deadline exceeded")
	}
	return s
}

func burstNotes(s Span) string {
	if s.Name != "burst" {
		return ""
	}
	return s.Attrs["plaque.requests"] + " requests, " + s.Attrs["plaque.concurrency"] + " at a time"
}

var drawn = []string{"burst", "GET /{$}", "cache.get", "lock.wait", "flight", "HTTP GET", "GET /feeds/videos.xml"}

func TestDemo(t *testing.T) {
	w, _ := strconv.Atoi(os.Getenv("W"))
	for _, s := range []*scene{stampede(), coalesced(), doomed(), convoy(), connections(2400), connections(20)} {
		var b bytes.Buffer
		o := Options{Width: w, Only: drawn, Notes: burstNotes, Color: os.Getenv("COLOR") != ""}
		if s.trace > 1 {
			o.Only = nil
		}
		if err := Waterfall(&b, s.spans, o); err != nil {
			t.Fatal(err)
		}
		fmt.Println(b.String())
	}
	_ = filepath.Join
	_ = strings.Join
}
