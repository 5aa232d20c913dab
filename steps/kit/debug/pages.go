package debug

import (
	_ "embed"
	"fmt"
	"html/template"
	"net/http"
	"runtime"
	"runtime/pprof"
	"strings"
	"time"

	"plaque/steps/kit/stacks"
)

//go:embed pages.html
var source string

var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"age":   age,
	"fn":    ShortFunc,
	"some":  some,
	"dots":  func(n int) string { return strings.Repeat("· ", n) },
	"trace": func(id string) string { return jaegerUI + "/trace/" + id },
}).Parse(source))

// jaegerUI is where a trace can be looked at, if Jaeger is where the workshop
// starts it.
const jaegerUI = "http://127.0.0.1:16686"

// maxSpans bounds the page of running spans.
const maxSpans = 500

// page renders one of the templates with data, and with what all of them need.
func (p *Pages) page(w http.ResponseWriter, name, title string, data any) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	// Ours only: a failure would be the caller who has gone.
	_ = templates.ExecuteTemplate(w, name, map[string]any{"Title": title, "Step": p.step, "Now": time.Now(), "Data": data})
}

func (p *Pages) start(w http.ResponseWriter, _ *http.Request) {
	p.page(w, "start", "debug pages", map[string]any{"Go": runtime.Version(), "Recorded": recorded})
}

func (p *Pages) flights(w http.ResponseWriter, _ *http.Request) {
	p.page(w, "flights", "flights", p.State())
}

func (p *Pages) spans(w http.ResponseWriter, _ *http.Request) {
	now := p.watch.Now()
	p.page(w, "spans", "running spans", map[string]any{
		"Spans": p.watch.Spans(maxSpans), "Running": now.Running, "Dropped": now.Dropped, "Max": maxSpans})
}

func (p *Pages) goroutines(w http.ResponseWriter, _ *http.Request) {
	p.page(w, "goroutines", "goroutines", lookAt("goroutine", nil))
}

func (p *Pages) leaks(w http.ResponseWriter, _ *http.Request) {
	data := map[string]any{"Have": false, "Go": runtime.Version(), "Step": p.step}
	if pprof.Lookup("goroutineleak") != nil {
		data["Have"] = true
		data["Found"] = lookAt("goroutineleak", func(g *stacks.Goroutine) bool { return g.Leaked })
	}
	p.page(w, "leaks", "leaked goroutines", data)
}

// age is how long something has lasted, in as many digits as one reads.
func age(ms int64) string {
	switch d := time.Duration(ms) * time.Millisecond; {
	case d < time.Second:
		return fmt.Sprintf("%d ms", ms)
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	default:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	}
}

// some writes 1 hit, 2 hits, 1 miss, 2 misses. n is any integer.
func some(n any, what string) string {
	switch text := fmt.Sprint(n); {
	case text == "1":
		return "1 " + what
	case strings.HasSuffix(what, "s"):
		return text + " " + what + "es"
	default:
		return text + " " + what + "s"
	}
}

// ShortFunc is a function's name without its package's folders and its type
// arguments: cache.(*Cache).Get.
func ShortFunc(name string) string {
	name = strings.ReplaceAll(name, "[...]", "")
	return name[strings.LastIndexByte(name, '/')+1:]
}
