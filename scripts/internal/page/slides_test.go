package page

import (
	"bytes"
	"encoding/xml"
	"flag"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"plaque/scripts/internal/lab"
	"plaque/scripts/internal/lesson"
)

// asking is the example with questions: one that came out as claimed, one that did
// not, one with choices, and one of an act that nothing is drawn of.
func asking() Tour {
	t := example()
	stampede, doomed := t.Steps[0].Results[0].Acts[0], t.Steps[1].Results[1].Acts[0]
	stampede.Act.Ask = []lesson.Question{{Asks: "Ten requests, five callers at once. The cache is\n  empty. How many requests reach the feed?", Check: "loads"}}
	for _, s := range doomed.Spans {
		for _, e := range s.Events { // longer than any slide is wide
			e.Attrs["exception.message"] = strings.Replace(e.Attrs["exception.message"], "\n", strings.Repeat(" and one more", 30)+"\n", 1)
		}
	}
	doomed.Act.Ask = []lesson.Question{
		{Asks: "Five callers share a load, and it panics. How many <b>lose</b> their connection?", Check: "answers", Of: "lost"},
		{Asks: "Who pays?", Check: "the bill goes to", Choices: []string{"all & sundry", "nobody"}},
	}
	doomed.Checks = []lab.Check{
		{What: "answers", Want: "5×500, 5×200", Got: "3×lost"},
		{What: "the bill goes to", Want: "nobody", Got: "lovelace <i>"},
	}
	gone := &lab.Outcome{Act: lesson.Act{Says: "afterwards", Ask: []lesson.Question{{Asks: "And then?", Check: "loads"}}}, Checks: []lab.Check{{What: "loads", Want: "0", Got: "0", Held: true}}}
	t.Steps[1].Results[1].Acts = append(t.Steps[1].Results[1].Acts, gone)
	return t
}

// slidesOf are the slides of a tour, a section each.
func slidesOf(t *testing.T, tour Tour) (all string, sections []string) {
	t.Helper()
	var b bytes.Buffer
	if err := WriteSlides(&b, tour); err != nil {
		t.Fatal(err)
	}
	return b.String(), regexp.MustCompile(`(?s)<section.*?</section>`).FindAllString(b.String(), -1)
}

// A question stands alone on a slide, and on the next one with its answer: what
// was measured, whatever the lesson claims.
func TestSlides(t *testing.T) {
	all, slides := slidesOf(t, asking())
	if again, _ := slidesOf(t, asking()); again != all {
		t.Error("the same tour gives two sets of slides")
	}
	if len(slides) != 1+2*4 {
		t.Fatalf("%d slides, want the title and two for each of four questions", len(slides))
	}
	for i, c := range []struct{ says, not []string }{
		{[]string{`href="#page-2"`, `href="#page-4"`, "A naive cache", "24 November 2026", "1 / 9"}, []string{`href="#page-3"`, "feed?"}},
		{[]string{"The cache is empty. How many requests reach the feed?", "tour --ask 05", "2 / 9"}, []string{"<b>", "<svg"}},
		{[]string{"How many requests reach the feed?", "<b>5</b> loads", "measured · answers 10×200</p>", "HTTP GET", "<rect", "3 / 9"}, []string{"✗ the step"}},
		{[]string{"&lt;b&gt;lose&lt;/b&gt;"}, []string{"<svg", "3"}},
		{[]string{"<b>3</b> answers: lost", "✗ the step claims 0", "flight a", "✗ error", "2 loads", `class="link"`, "✗ flight a: panic: on … the video &lt;b&gt;doom"}, nil},
		{[]string{"<b>a</b> all &amp; sundry", "<b>b</b> nobody"}, []string{"<svg"}},
		{[]string{"<b>… &lt;i&gt;</b></p>", "✗ the step claims nobody"}, nil},
		{[]string{"And then?"}, nil},
		{[]string{"<b>0</b> loads", "No request left a trace."}, []string{"<svg", "✗"}},
	} {
		for _, want := range c.says {
			if !strings.Contains(slides[i], want) {
				t.Errorf("slide %d does not say %q:\n%s", i+1, want, slides[i])
			}
		}
		for _, no := range c.not {
			if _, words, _ := strings.Cut(slides[i], "<h"); strings.Contains(words, no) {
				t.Errorf("slide %d says %q:\n%s", i+1, no, slides[i])
			}
		}
	}
	harmless(t, all)
	if strings.Contains(all, "http:") || strings.Contains(all, "https:") {
		t.Error("the slides lead elsewhere")
	}
	wired(t, all)
	for _, s := range slides {
		svg := regexp.MustCompile(`(?s)<svg class="waterfall" viewBox.*</svg>`).FindString(s)
		if err := xml.Unmarshal([]byte(svg), new(struct{})); svg != "" && err != nil {
			t.Errorf("%v in\n%s", err, s)
		}
	}
	if ended, _ := slidesOf(t, Tour{Ended: "at /home/ada/x", Private: []string{"/home/ada"}}); !strings.Contains(ended, "did not get to its end") || !strings.Contains(ended, "at …/x") {
		t.Error("slides of a tour that ended early do not say so")
	}
}

// An act without a picture is drawn as the step's others are. It may have no more
// rows than a room can read.
func TestSlidesPicture(t *testing.T) {
	tour := asking()
	r := tour.Steps[0].Results[0]
	quiet := *r.Acts[0]
	quiet.Act.Picture = nil
	r.Acts = append(r.Acts, &quiet)
	_, slides := slidesOf(t, tour)
	for _, s := range []string{slides[2], slides[4]} {
		if n := strings.Count(s, `class="what"`); n != 5*4+1 {
			t.Errorf("%d rows, want the burst, 10 requests, 5 looks and 5 loads:\n%s", n, s)
		}
	}
	for i := range 60 {
		s := quiet.Spans[1]
		s.ID = fmt.Sprint("more", i)
		quiet.Spans = append(quiet.Spans, s)
	}
	_, slides = slidesOf(t, tour)
	if n := strings.Count(slides[4], `class="what"`); n != slideRows || !strings.Contains(slides[4], "more: ") {
		t.Errorf("%d rows, want %d and the count of the rest", n, slideRows)
	}
}

var madeSlides = flag.String("slides", "", "look at this `file` of slides too")

// onSlides is onEach for slides.
func onSlides(t *testing.T, test func(*testing.T, string)) {
	onBoth(t, OpenSlides, asking(), *madeSlides, test)
}

// overflows lists what has no room on its slide, and slides of another size than
// the window.
const overflows = `(() => {
	const out = [], name = e => e.closest("section").id + ": " + e.tagName + " " + e.textContent.trim().slice(0, 40);
	for (const s of document.querySelectorAll("section")) {
		const edge = s.getBoundingClientRect();
		if (Math.abs(edge.height - innerHeight) > 1 || s.scrollHeight > s.clientHeight + 1) out.push(s.id + " is " + s.scrollHeight + " high, and the window " + innerHeight);
		for (const e of s.querySelectorAll("*")) {
			const r = e.getBoundingClientRect();
			if (r.height && (r.bottom > edge.bottom + 1 || r.top < edge.top - 1)) out.push(name(e) + " from " + r.top + " to " + r.bottom);
		}
		const feet = s.querySelector("footer").getBoundingClientRect();
		for (const e of s.querySelectorAll(":scope > :not(footer)")) if (e.getBoundingClientRect().bottom > feet.top + 1) out.push(name(e) + " lies on the footer");
		if (s.matches(".answer") && !s.querySelector(".measured b").textContent.trim()) out.push(s.id + " has no answer");
	}
	return out;
})()`

// tooSmall lists text of pictures that a room cannot read, in a window of 1280 pixels.
const tooSmall = `[...document.querySelectorAll(".answer svg text")].filter(e => e.getBoundingClientRect().height < 10).map(e => e.closest("section").id + ": " + e.textContent)`

// The slides in a real browser: everything has room, can be read in light and in
// dark, and nothing is asked of the network. A key turns one page.
func TestSlidesInBrowser(t *testing.T) { onSlides(t, lookAtSlides) }

func lookAtSlides(t *testing.T, file string) {
	b := browse(t, file)
	size := func(width, height int64, scheme string) {
		call(t, b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: height, DeviceScaleFactor: 1})
		b.show(t, "", scheme)
	}
	for _, scheme := range []string{"light", "dark"} {
		for _, s := range [][2]int64{{1024, 768}, {1920, 1080}, {1280, 720}} {
			size(s[0], s[1], scheme)
			for _, what := range slices.Concat(ask[[]string](t, b, overflows), ask[[]string](t, b, sticksOut), ask[[]string](t, b, tooFaint)) {
				t.Errorf("%s, %d x %d: %s", scheme, s[0], s[1], what)
			}
		}
	}
	for _, what := range ask[[]string](t, b, tooSmall) {
		t.Errorf("too small: %s", what)
	}
	const at = `new Promise(done => { let was = -1, still = 0; const look = () => { still = scrollY == was ? still + 1 : 0; was = scrollY; if (still > 20) done(scrollY / innerHeight); else requestAnimationFrame(look); }; look(); })`
	for i, key := range []string{kb.PageDown, " ", kb.ArrowDown} {
		b.do(t, chromedp.KeyEvent(key))
		where, err := chromedp.Run(b, chromedp.Evaluate[float64](at, chromedp.EvalAwaitPromise))
		if err != nil || where != float64(i+1) {
			t.Errorf("key %d leads to page %v (%v), want %d", i+1, where+1, err, i+2)
		}
	}

	b.quiet(t, file)
}

// Each slide is one sheet of paper, on light ground.
func TestSlidesPrint(t *testing.T) { onSlides(t, slidesOnPaper) }

func slidesOnPaper(t *testing.T, file string) {
	b := browse(t, file)
	b.size(t, 1280, "dark")
	slides := ask[int](t, b, `document.querySelectorAll("section").length`)
	for name, paper := range map[string][]chromedp.PDFOption{
		"the slides' own": {chromedp.PDFPreferCSSPageSize()},
		"A4, landscape":   {chromedp.PDFPaper(chromedp.PaperA4), chromedp.PDFLandscape()},
	} {
		if n := b.sheets(t, paper...); n != slides {
			t.Errorf("%s paper: %d slides on %d sheets", name, slides, n)
		}
	}
	b.onPaper(t, "document.documentElement")
}
