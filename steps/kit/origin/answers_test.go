package origin

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mmcdole/gofeed"

	"plaque/steps/kit/web"
	"plaque/steps/kit/web/webtest"
)

const channel = "UCs4fQRyl1TJvoeOdekW6lYA"

// overPipes is a client of the feed in a synctest bubble, where nothing may
// wait for a socket.
func overPipes(t *testing.T, f *Feed) *http.Client {
	l := webtest.Listen()
	server := web.NewServer(f)
	go func() { _ = server.Serve(l) }()
	tr := &http.Transport{DialContext: l.DialContext, DisableCompression: true}
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		_ = server.Close()
	})
	return &http.Client{Transport: tr}
}

// enough is more than anybody should read of a feed.
const enough = 2 << 20

// Each answer as a client sees it, in fake time.
func TestAnswers(t *testing.T) {
	good := string(render(channel, entryOf))
	patience := 3*time.Second + 1 // a drop comes every 50 ms: not at the same moment
	tested := map[string]bool{}
	for _, c := range []struct {
		answer string
		status int // 0: not even a header comes
		kind   string
		body   string
		err    error // how the body ends; nil: well
		takes  time.Duration
	}{
		{"ok", 200, "text/xml; charset=utf-8", good, nil, DefaultDelay},
		{"ok:1s", 200, "text/xml; charset=utf-8", good, nil, time.Second},
		{"doom", 200, "text/xml; charset=utf-8", strings.NewReplacer(VideoID(channel), Doom, "The newest video", "The video that should not be").Replace(good), nil, DoomDelay},
		{"empty", 200, "text/xml; charset=utf-8", string(render(channel, nil)), nil, DefaultDelay},
		{"post", 200, "text/xml; charset=utf-8", string(render(channel, post)), nil, DefaultDelay},
		{"429", 429, "text/plain; charset=utf-8", "Too Many Requests\n", nil, DefaultDelay},
		{"500", 500, "text/plain; charset=utf-8", "Internal Server Error\n", nil, DefaultDelay},
		{"rubbish", 200, "text/html", "<!doctype html><title>Before you continue</title><p>Please accept our cookies.", nil, DefaultDelay},
		{"truncated", 200, "text/xml; charset=utf-8", good[:len(good)/2], nil, DefaultDelay},
		{"hangup", 200, "text/xml; charset=utf-8", good[:len(good)/2], io.ErrUnexpectedEOF, DefaultDelay},
		{"endless", 200, "text/xml; charset=utf-8", "", nil, DefaultDelay}, // the reader stops at enough
		{"drip", 200, "text/xml; charset=utf-8", xml.Header + "<feed>" + strings.Repeat(" ", 60), context.DeadlineExceeded, patience},
		{"hang", 0, "", "", context.DeadlineExceeded, patience},
	} {
		name, _, _ := strings.Cut(c.answer, ":")
		tested[name] = true
		t.Run(c.answer, func(t *testing.T) {
			scripted(t, Script{Next: []string{c.answer}}, func(t *testing.T, f *Feed) {
				client := overPipes(t, f)
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				begin := time.Now()
				r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://feed"+Path+"?channel_id="+channel, nil)
				if err != nil {
					t.Fatal(err)
				}
				var body []byte
				var header http.Header
				status := 0
				res, err := client.Do(r)
				if err == nil {
					status, header = res.StatusCode, res.Header
					body, err = io.ReadAll(io.LimitReader(res.Body, enough))
					_ = res.Body.Close()
				}
				if took := time.Since(begin); took != c.takes {
					t.Errorf("it took %v, want %v", took, c.takes)
				}
				if status != c.status || header.Get("Content-Type") != c.kind || !errors.Is(err, c.err) {
					t.Errorf("got %d, %q, %v; want %d, %q, %v", status, header.Get("Content-Type"), err, c.status, c.kind, c.err)
				}
				switch c.answer {
				case "endless":
					start := strings.TrimSuffix(good, "</feed>\n")
					if len(body) != enough || !bytes.HasPrefix(body, []byte(start)) || bytes.Contains(body, []byte("</feed>")) {
						t.Errorf("%d bytes; want a good feed that goes on for %d at least", len(body), enough)
					}
				default:
					if string(body) != c.body {
						t.Errorf("got\n%s\nwant\n%s", body, c.body)
					}
				}
				if want := fmt.Sprint(len(good)); c.answer == "hangup" && header.Get("Content-Length") != want {
					t.Errorf("it promised %q bytes, want %s", header.Get("Content-Length"), want)
				}
				// Whatever it was, the next one is served well.
				again, err := client.Get("http://feed" + Path + "?channel_id=" + channel)
				if err != nil {
					t.Fatal(err)
				}
				defer again.Body.Close()
				body, err = io.ReadAll(again.Body)
				if again.StatusCode != 200 || string(body) != good || err != nil {
					t.Errorf("after it: %d, %v\n%s", again.StatusCode, err, body)
				}
			})
		})
	}
	for name := range kinds {
		if !tested[name] {
			t.Errorf("nothing here asks for %q", name)
		}
	}
}

func TestAnswersAreListed(t *testing.T) {
	all := Answers()
	if len(all) != len(kinds) || !slices.IsSorted(all) {
		t.Errorf("%d answers, sorted: %t; want %d", len(all), slices.IsSorted(all), len(kinds))
	}
	for _, line := range all {
		name, help, _ := strings.Cut(line, " ")
		if err := (Script{Next: []string{name}}).Check(); err != nil || strings.TrimSpace(help) == "" {
			t.Errorf("%q: %v; want an answer and its meaning", line, err)
		}
	}
}

// slow is a reader so slow that each write takes a second.
type slow struct{ *httptest.ResponseRecorder }

func (s slow) Write(b []byte) (int, error) {
	time.Sleep(time.Second)
	return s.ResponseRecorder.Write(b)
}

// What never ends is given up after hangFor, should the caller have no timeout.
func TestNothingLastsForEver(t *testing.T) {
	for _, c := range []struct {
		answer string
		w      http.ResponseWriter
		takes  time.Duration
	}{
		{"hang", httptest.NewRecorder(), DefaultDelay + hangFor},
		{"drip", httptest.NewRecorder(), DefaultDelay + hangFor},
		{"endless", slow{httptest.NewRecorder()}, DefaultDelay + time.Second + hangFor}, // the head is a second too
	} {
		scripted(t, Script{Next: []string{c.answer}}, func(t *testing.T, f *Feed) {
			begin := time.Now()
			f.ServeHTTP(c.w, httptest.NewRequest(http.MethodGet, Path, nil))
			if took := time.Since(begin); took != c.takes {
				t.Errorf("%s took %v, want %v", c.answer, took, c.takes)
			}
		})
	}
}

// A caller who leaves is not served any longer.
func TestCallerLeaves(t *testing.T) {
	const after = 20 * time.Second
	for _, c := range []struct {
		script Script
		w      http.ResponseWriter
	}{
		{Script{Delay: Duration(time.Minute)}, httptest.NewRecorder()},
		{Script{Next: []string{"hang"}}, httptest.NewRecorder()},
		{Script{Next: []string{"drip"}}, httptest.NewRecorder()},
		{Script{Next: []string{"endless"}, Delay: Duration(time.Millisecond)}, slow{httptest.NewRecorder()}},
		{Script{Hold: 2, HoldFor: Duration(time.Minute)}, httptest.NewRecorder()},
	} {
		scripted(t, c.script, func(t *testing.T, f *Feed) {
			ctx, cancel := context.WithTimeout(t.Context(), after)
			defer cancel()
			begin := time.Now()
			f.ServeHTTP(c.w, httptest.NewRequestWithContext(ctx, http.MethodGet, Path, nil))
			// One write may still be under way.
			if took := time.Since(begin); took < after || took > after+time.Second {
				t.Errorf("%+v: let go after %v, want %v", c.script, took, after)
			}
		})
	}
}

func TestVideoID(t *testing.T) {
	valid := regexp.MustCompile(`^[A-Za-z0-9_-]{11}$`)
	seen := map[string]string{}
	for i := range 1000 {
		c := fmt.Sprintf("UC%022d", i)
		id := VideoID(c)
		if !valid.MatchString(id) {
			t.Errorf("%s: %q is no video id", c, id)
		}
		if other, twice := seen[id]; twice {
			t.Errorf("%s and %s have the same video", c, other)
		}
		if id != VideoID(c) {
			t.Errorf("%s: not the same every time", c)
		}
		seen[id] = c
	}
}

// atom is YouTube's document, by its namespaces.
type atom struct {
	XMLName   xml.Name  `xml:"http://www.w3.org/2005/Atom feed"`
	Link      atomLink  `xml:"http://www.w3.org/2005/Atom link"`
	ID        string    `xml:"http://www.w3.org/2005/Atom id"`
	ChannelID string    `xml:"http://www.youtube.com/xml/schemas/2015 channelId"`
	Title     string    `xml:"http://www.w3.org/2005/Atom title"`
	Author    string    `xml:"http://www.w3.org/2005/Atom author>name"`
	Published time.Time `xml:"http://www.w3.org/2005/Atom published"`
	Entries   []struct {
		ID         string    `xml:"http://www.w3.org/2005/Atom id"`
		VideoID    string    `xml:"http://www.youtube.com/xml/schemas/2015 videoId"`
		ChannelID  string    `xml:"http://www.youtube.com/xml/schemas/2015 channelId"`
		Title      string    `xml:"http://www.w3.org/2005/Atom title"`
		Link       atomLink  `xml:"http://www.w3.org/2005/Atom link"`
		Published  time.Time `xml:"http://www.w3.org/2005/Atom published"`
		MediaTitle string    `xml:"http://search.yahoo.com/mrss/ group>title"`
	} `xml:"http://www.w3.org/2005/Atom entry"`
}

type atomLink struct {
	Rel  string `xml:"rel,attr"`
	Href string `xml:"href,attr"`
}

func TestDocumentHasYouTubesShape(t *testing.T) {
	b := render(channel, entryOf)
	if !bytes.HasPrefix(b, []byte(`<?xml version="1.0" encoding="UTF-8"?>`+"\n<feed ")) {
		t.Errorf("it begins with %.60q", b)
	}
	var d atom
	if err := xml.Unmarshal(b, &d); err != nil {
		t.Fatal(err)
	}
	id := VideoID(channel)
	if d.ID != "yt:channel:"+channel || d.ChannelID != channel || d.Title == "" || d.Author == "" || d.Published.IsZero() ||
		d.Link != (atomLink{"self", "http://www.youtube.com/feeds/videos.xml?channel_id=" + channel}) {
		t.Errorf("the feed is %+v", d)
	}
	if len(d.Entries) != 1 {
		t.Fatalf("%d entries, want 1", len(d.Entries))
	}
	e := d.Entries[0]
	if e.ID != "yt:video:"+id || e.VideoID != id || e.ChannelID != channel || e.Title == "" || e.MediaTitle != e.Title ||
		e.Published.IsZero() || e.Link != (atomLink{"alternate", "https://www.youtube.com/watch?v=" + id}) {
		t.Errorf("the entry is %+v", e)
	}
}

func TestDocumentParsesWithGofeed(t *testing.T) {
	for _, c := range []struct {
		name  string
		pick  func(string) *entry
		guids []string
		video string
	}{
		{"ok", entryOf, []string{"yt:video:" + VideoID(channel)}, VideoID(channel)},
		{"doom", doomed, []string{"yt:video:doom"}, "doom"},
		{"post", post, []string{"yt:post:Ugkx0000"}, ""},
		{"empty", nil, nil, ""},
	} {
		feed, err := gofeed.NewParser().Parse(bytes.NewReader(render(channel, c.pick)))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		var guids []string
		video := ""
		for _, item := range feed.Items {
			guids = append(guids, item.GUID)
			for _, e := range item.Extensions["yt"]["videoId"] {
				video += e.Value
			}
		}
		if feed.FeedType != "atom" || !slices.Equal(guids, c.guids) || video != c.video {
			t.Errorf("%s: %s with %q, video %q; want atom with %q, %q", c.name, feed.FeedType, guids, video, c.guids, c.video)
		}
	}
}

// Whatever is asked for, the answer is XML.
func TestDocumentOfAStrangeChannel(t *testing.T) {
	for _, strange := range []string{"", `a&b<c>"d'`, "</feed>", "{{.}}", "é ?#%"} {
		var d atom
		if err := xml.Unmarshal(render(strange, entryOf), &d); err != nil || d.ChannelID != strange || len(d.Entries) != 1 {
			t.Errorf("%q: %v, %+v", strange, err, d)
		}
	}
}

func TestDurationText(t *testing.T) {
	var d Duration
	if err := d.UnmarshalText([]byte("1500ms")); err != nil || d != Duration(1500*time.Millisecond) {
		t.Errorf("got %v, %v", d, err)
	}
	if b, err := d.MarshalText(); string(b) != "1.5s" || err != nil {
		t.Errorf("got %s, %v", b, err)
	}
	for _, text := range []string{"", "5", "-1s", "soon"} {
		if err := d.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), "write it like 500ms") || d != Duration(1500*time.Millisecond) {
			t.Errorf("%q: %v, %v", text, d, err)
		}
	}
}
