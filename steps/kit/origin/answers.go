package origin

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"hash/fnv"
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Doom is the video on which a load panics.
const Doom = "doom"

// kind is one way to answer.
type kind struct {
	help  string
	delay time.Duration // 0: the script's
	write func(w http.ResponseWriter, r *http.Request, channel string)
}

// kinds are the answers that a script can name. Each is a failure that a real
// feed has had.
var kinds = map[string]kind{
	"ok":        {help: "a good feed; ok:500ms takes that long", write: writeFeed(entryOf)},
	"doom":      {help: "a feed whose newest video is doom; 500 ms late", delay: DoomDelay, write: writeFeed(doomed)},
	"empty":     {help: "a good feed without entries", write: writeFeed(nil)},
	"post":      {help: "a feed whose newest entry is no video", write: writeFeed(post)},
	"429":       {help: "too many requests; come again in 3 s", write: refuseFor(RetryAfter)},
	"500":       {help: "a server error", write: refuse(http.StatusInternalServerError)},
	"rubbish":   {help: "a web page where XML should be", write: writeRubbish},
	"truncated": {help: "half a feed, as if it were whole", write: writeTruncated},
	"hangup":    {help: "half a feed, then the connection closes", write: hangUp},
	"endless":   {help: "a feed that goes on and on", write: writeEndless},
	"drip":      {help: "a byte now and then, never an end", write: drip},
	"hang":      {help: "nothing at all", write: hang},
}

// Answers lists what a script's Next may hold, each with its meaning.
func Answers() []string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(kinds)) {
		all = append(all, fmt.Sprintf("%-10s %s", name, kinds[name].help))
	}
	return all
}

// parse splits "ok:500ms" into the answer's name and how long it takes.
func parse(answer string) (string, time.Duration, error) {
	name, text, timed := strings.Cut(answer, ":")
	if _, known := kinds[name]; !known {
		names := slices.Sorted(maps.Keys(kinds))
		return "", 0, fmt.Errorf("the feed cannot answer %q; it can: %s", answer, strings.Join(names, ", "))
	}
	if !timed {
		return name, 0, nil
	}
	var d Duration
	if err := d.UnmarshalText([]byte(text)); err != nil {
		return "", 0, fmt.Errorf("answer %q: %w", answer, err)
	}
	return name, time.Duration(d), nil
}

// entry is what the document says of a video.
type entry struct{ GUID, Video, Title string }

func entryOf(channel string) *entry {
	id := VideoID(channel)
	return &entry{"yt:video:" + id, id, "The newest video"}
}

func doomed(string) *entry { return &entry{"yt:video:" + Doom, Doom, "The video that should not be"} }

func post(string) *entry { return &entry{"yt:post:Ugkx0000", "", "Not a video"} }

// VideoID is the id that the feed serves for a channel: eleven characters, the
// same every time.
func VideoID(channel string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	h := fnv.New64a()
	h.Write([]byte(channel))
	n := h.Sum64()
	id := make([]byte, 11)
	for i := range id {
		id[i] = alphabet[n%64]
		n = n>>6 | n<<58
	}
	return string(id)
}

// document has the shape of YouTube's feeds: Atom, with its own and Yahoo's
// extensions.
var document = template.Must(template.New("feed").Parse(`<feed xmlns:yt="http://www.youtube.com/xml/schemas/2015" xmlns:media="http://search.yahoo.com/mrss/" xmlns="http://www.w3.org/2005/Atom">
 <link rel="self" href="http://www.youtube.com/feeds/videos.xml?channel_id={{.Channel}}"/>
 <id>yt:channel:{{.Channel}}</id>
 <yt:channelId>{{.Channel}}</yt:channelId>
 <title>A stand-in channel</title>
 <author><name>A stand-in channel</name></author>
 <published>2019-10-16T09:57:58+00:00</published>
{{- with .Entry}}
 <entry>
  <id>{{.GUID}}</id>
{{- with .Video}}
  <yt:videoId>{{.}}</yt:videoId>
{{- end}}
  <yt:channelId>{{$.Channel}}</yt:channelId>
  <title>{{.Title}}</title>
  <link rel="alternate" href="https://www.youtube.com/watch?v={{.Video}}"/>
  <published>2022-03-03T17:22:22+00:00</published>
  <media:group><media:title>{{.Title}}</media:title></media:group>
 </entry>
{{- end}}
</feed>
`))

// render writes the document for channel; pick may be nil for no entry.
func render(channel string, pick func(string) *entry) []byte {
	data := struct {
		Channel string
		Entry   *entry
	}{Channel: channel}
	if pick != nil {
		data.Entry = pick(channel)
	}
	var b bytes.Buffer
	b.WriteString(xml.Header) // outside the template, which would escape it
	if err := document.Execute(&b, data); err != nil {
		panic(err) // a buffer takes everything, and the template is fixed
	}
	return b.Bytes()
}

func writeFeed(pick func(string) *entry) func(http.ResponseWriter, *http.Request, string) {
	return func(w http.ResponseWriter, _ *http.Request, channel string) {
		w.Header().Set("Content-Type", "text/xml; charset=utf-8")
		_, _ = w.Write(render(channel, pick))
	}
}

func refuse(code int) func(http.ResponseWriter, *http.Request, string) {
	return func(w http.ResponseWriter, _ *http.Request, _ string) {
		http.Error(w, http.StatusText(code), code)
	}
}

// refuseFor says when to come again, too.
func refuseFor(d time.Duration) func(http.ResponseWriter, *http.Request, string) {
	return func(w http.ResponseWriter, r *http.Request, channel string) {
		w.Header().Set("Retry-After", fmt.Sprint(int(d.Seconds())))
		refuse(http.StatusTooManyRequests)(w, r, channel)
	}
}

func writeRubbish(w http.ResponseWriter, _ *http.Request, _ string) {
	w.Header().Set("Content-Type", "text/html")
	_, _ = w.Write([]byte("<!doctype html><title>Before you continue</title><p>Please accept our cookies."))
}

func writeTruncated(w http.ResponseWriter, _ *http.Request, channel string) {
	b := render(channel, entryOf)
	_, _ = w.Write(b[:len(b)/2])
}

// hangUp sends headers and half a body before it closes: on a connection that
// closes before any byte of the answer, Go's client would quietly try again.
func hangUp(w http.ResponseWriter, _ *http.Request, channel string) {
	b := render(channel, entryOf)
	w.Header().Set("Content-Length", fmt.Sprint(len(b)))
	_, _ = w.Write(b[:len(b)/2])
	_ = http.NewResponseController(w).Flush()
	// otelhttp would mark the panic; here it is net/http's own way to say
	// "close this connection".
	panic(http.ErrAbortHandler)
}

func writeEndless(w http.ResponseWriter, r *http.Request, channel string) {
	head, _, _ := bytes.Cut(render(channel, entryOf), []byte("</feed>"))
	_, err := w.Write(head)
	filler := []byte("<!--" + strings.Repeat(" more", 1000) + " -->\n")
	for deadline := time.Now().Add(hangFor); err == nil && r.Context().Err() == nil && time.Now().Before(deadline); {
		_, err = w.Write(filler)
	}
}

func drip(w http.ResponseWriter, r *http.Request, _ string) {
	c := http.NewResponseController(w)
	_, _ = w.Write([]byte(xml.Header + "<feed>"))
	for deadline := time.Now().Add(hangFor); time.Now().Before(deadline); {
		if _, err := w.Write([]byte(" ")); err != nil || c.Flush() != nil || !pause(r.Context(), 50*time.Millisecond) {
			return
		}
	}
}

func hang(_ http.ResponseWriter, r *http.Request, _ string) { pause(r.Context(), hangFor) }
