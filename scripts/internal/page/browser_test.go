package page

import (
	"bytes"
	"cmp"
	"context"
	"flag"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"plaque/steps/kit/need"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	cdpruntime "github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// browseFor bounds the browser's test. It takes seconds.
const browseFor = 90 * time.Second

// chromium finds the browser, which the test needs.
func chromium(t *testing.T) string {
	t.Helper()
	return need.Program(t, "apt install chromium", "chromium", "chromium-browser", "google-chrome", "chrome")
}

// browser is a page in Chromium, and what it has complained about and asked for.
type browser struct {
	context.Context
	mu       sync.Mutex // protects what follows
	said     []string
	requests []string
}

func browse(t *testing.T, file string) *browser {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), browseFor)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, chromedp.ExecPath(chromium(t)), chromedp.UserDataDir(t.TempDir()),
		chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true))
	t.Cleanup(cancel)
	b := new(browser)
	b.Context, cancel = chromedp.NewContext(ctx, chromedp.WithListener(b.hear))
	t.Cleanup(cancel)
	call(t, b, network.Enable, network.EnableParams{})
	call(t, b, log.Enable, cdp.Empty{})
	b.do(t, chromedp.Navigate(fileURL(file)), chromedp.WaitReady("footer"))
	return b
}

// hear notes what the page asks for, and what the browser says of it.
func (b *browser) hear(ev any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch ev := ev.(type) {
	case *network.EventRequestWillBeSent:
		b.requests = append(b.requests, ev.Request.URL)
	case *log.EventEntryAdded:
		b.said = append(b.said, fmt.Sprintf("%s: %s", ev.Entry.Level, ev.Entry.Text))
	case *cdpruntime.EventConsoleAPICalled:
		b.said = append(b.said, fmt.Sprintf("console.%s", ev.Type))
	case *cdpruntime.EventExceptionThrown:
		b.said = append(b.said, ev.ExceptionDetails.Text)
	}
}

func fileURL(path string) string {
	path = filepath.ToSlash(path)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	return (&url.URL{Scheme: "file", Path: path}).String()
}

func (b *browser) do(t *testing.T, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(b, steps...); err != nil {
		t.Fatal(err)
	}
}

// call runs a command of the browser's protocol.
func call[P, R any](t *testing.T, b *browser, command cdp.Command[P, R], params P) R {
	t.Helper()
	answer, err := chromedp.Run(b, func(ctx context.Context, target *chromedp.Target) (R, error) {
		return cdp.Call(ctx, target, command, params)
	})
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// ask runs a script of the test's in the page.
func ask[T any](t *testing.T, b *browser, script string) T {
	t.Helper()
	answer, err := chromedp.Run(b, chromedp.Evaluate[T](script))
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// unfold opens all details.
func (b *browser) unfold(t *testing.T) {
	ask[bool](t, b, `[...document.querySelectorAll("details")].every(d => d.open = true)`)
}

// show sets the kind of medium, "" for a screen, and the scheme.
func (b *browser) show(t *testing.T, medium, scheme string) {
	t.Helper()
	call(t, b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: medium,
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
	// What was skipped while it was folded is laid out with the next frame.
	frame := chromedp.Evaluate[bool](`new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))`, chromedp.EvalAwaitPromise)
	if _, err := chromedp.Run(b, frame); err != nil {
		t.Fatal(err)
	}
}

// size lays the page out for a screen of this width, in this scheme.
func (b *browser) size(t *testing.T, width int64, scheme string) {
	t.Helper()
	call(t, b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: 900, DeviceScaleFactor: 1, Mobile: width < 600})
	b.show(t, "", scheme)
}

// sticksOut lists what reaches beyond the left or right edge, and text of a
// picture that lies on other text.
const sticksOut = `(() => {
	const wide = document.documentElement.clientWidth, out = [];
	const name = e => e.tagName + "." + (e.getAttribute("class") || "") + " " + e.textContent.trim().slice(0, 40);
	if (document.documentElement.scrollWidth > wide) out.push("the page is " + document.documentElement.scrollWidth + " wide");
	for (const e of document.querySelectorAll("body *")) {
		const r = e.getBoundingClientRect();
		if (r.width && (r.right > wide + 0.5 || r.left < -0.5)) out.push(name(e) + " from " + r.left + " to " + r.right);
	}
	for (const svg of document.querySelectorAll("svg[role=img]")) {
		const edge = svg.getBoundingClientRect();
		const texts = [...svg.querySelectorAll("text")].map(e => [e, e.getBoundingClientRect()]).filter(([, r]) => r.width);
		texts.forEach(([e, r], i) => {
			if (r.right > edge.right + 1 || r.left < edge.left - 1 || r.bottom > edge.bottom + 1) out.push("cut by its picture: " + name(e));
			for (const [f, q] of texts.slice(i + 1))
				if (r.left < q.right && q.left < r.right && r.top + 3 < q.bottom && q.top + 3 < r.bottom) out.push(name(e) + " lies on " + name(f));
		});
	}
	return out;
})()`

// tooFaint lists text whose contrast against its ground is below 4.5 to 1, which
// WCAG's level AA asks for, and bars below 3 to 1.
const tooFaint = `(() => {
	const rgba = c => { const m = c.match(/[\d.]+/g).map(Number); return m.length < 4 ? [...m, 1] : m; };
	const light = c => { const [r, g, b] = rgba(c).map(v => v / 255).map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126*r + 0.7152*g + 0.0722*b; };
	const ground = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if (rgba(c)[3] > 0) return c; } return "rgb(255,255,255)"; };
	const contrast = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
	const out = new Set(); let seen = 0;
	const judge = (e, color, least) => { seen++; const c = contrast(color, ground(e)); if (c < least) out.add(e.tagName + "." + (e.getAttribute("class") || "") + ": " + c.toFixed(2)); };
	for (const e of document.querySelectorAll("body *")) {
		if (![...e.childNodes].some(n => n.nodeType == 3 && n.textContent.trim()) || e.closest("title, desc")) continue;
		const s = getComputedStyle(e);
		judge(e, e.closest("svg") ? s.fill : s.color, 4.5);
	}
	for (const e of document.querySelectorAll("svg rect")) judge(e, getComputedStyle(e).fill, 3);
	for (const e of document.querySelectorAll("svg line.bar, .link line")) judge(e, getComputedStyle(e).stroke, 3);
	if (seen < 50) out.add("only " + seen + " judged");
	return [...out];
})()`

// blank lists views that show nothing, or not what they are for.
const blank = `(() => {
	const out = [];
	const seen = (e, what) => [...e.querySelectorAll(what)].some(f => { const r = f.getBoundingClientRect(); return f.tagName == "rect" ? Math.min(r.width, r.height) > 0.5 : r.width + r.height > 1; });
	const must = (e, what, name) => { if (!seen(e, what)) out.push((e.id || e.querySelector("title, h3").textContent) + " has no " + name); };
	const cards = document.querySelectorAll(".cards article"), steps = document.querySelectorAll("section.step");
	if (cards.length != 2) out.push(cards.length + " bursts side by side");
	cards.forEach(c => { must(c, ".big b", "loads"); must(c, "svg.waterfall .load .bar, svg.waterfall .load.failed .bar", "load in its waterfall"); });
	const loads = [...cards].map(c => +c.querySelector(".big b").textContent);
	if (!(loads[0] > loads[1] && loads[1] == 1)) out.push("the loads side by side are " + loads);
	if (![...cards].some(c => seen(c, ".link line"))) out.push("no link in the bursts side by side");
	if (!document.querySelector("h4.hey")) out.push("no burst is hey's");
	if (![...document.querySelectorAll(".step .failed .bar")].length) out.push("no error in any waterfall");
	steps.forEach((s, i) => {
		must(s, ".claim", "claim");
		must(s, ".verdict", "verdict");
		must(s, "svg.waterfall", "waterfall");
		if (s.querySelector("h4.hey")) must(s, "svg.histogram, pre:not(.diff)", "histogram");
		must(s, ".checks td .good, .checks td .bad", "check");
		if (i) must(s, ".diff ins, .diff del", "code");
		if (!document.querySelector('.steps a[href="#' + s.id + '"]')) out.push(s.id + " is not in the table of steps");
	});
	document.querySelectorAll("svg.waterfall[role=img]").forEach(p => { must(p, ".bar", "bar"); must(p, ".what", "name"); must(p, ".took", "time"); });
	document.querySelectorAll("svg.histogram").forEach(p => { must(p, "rect", "bar"); must(p, ".count", "count"); });
	return out;
})()`

// made is a page that a tour has written. The gate's tour of all steps is looked
// at as the example is.
var made = flag.String("page", "", "look at this `file` too")

// The page in a real browser: no view is blank, and nothing sticks out on a phone
// or on a large screen. Light and dark can be read, and nothing is asked of the
// network.
func TestInBrowser(t *testing.T) { onEach(t, look) }

// onEach runs a test on the example's page and, where it is given, on a tour's.
func onEach(t *testing.T, test func(*testing.T, string)) { onBoth(t, Open, example(), *made, test) }

// onBoth runs a test on the file of a tour, and on the one that is named, if any.
func onBoth(t *testing.T, open func(string) (*File, error), tour Tour, made string, test func(*testing.T, string)) {
	t.Run("the example", func(t *testing.T) { test(t, written(t, open, tour)) })
	if made == "" {
		return
	}
	file, err := filepath.Abs(made)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("the tour's", func(t *testing.T) { test(t, file) })
}

// The tour's page, and its slides, tell no folder of the machine on which they
// were made.
func TestTellsNoFolder(t *testing.T) {
	onEach(t, tellsNoFolder)
	onSlides(t, tellsNoFolder)
}

func tellsNoFolder(t *testing.T, file string) {
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	root := here[:strings.Index(here, filepath.Join("scripts", "internal"))]
	for _, folder := range []string{root, home, os.TempDir()} {
		if folder = filepath.ToSlash(filepath.Clean(folder)) + "/"; bytes.Contains(page, []byte(folder)) {
			t.Errorf("the page tells of %s", folder)
		}
	}
}

func look(t *testing.T, file string) {
	b := browse(t, file)
	schemeOf := map[string]string{} // by colour: of the ground, and of a bar
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{360, 1400} {
			b.size(t, width, scheme)
			b.unfold(t)
			for _, what := range append(ask[[]string](t, b, blank), ask[[]string](t, b, sticksOut)...) {
				t.Errorf("%s, %d px: %s", scheme, width, what)
			}
			for _, what := range ask[[]string](t, b, tooFaint) {
				t.Errorf("%s, %d px: too faint: %s", scheme, width, what)
			}
			for _, script := range []string{`getComputedStyle(document.body).backgroundColor`, `getComputedStyle(document.querySelector("rect.bar")).fill`} {
				color := ask[string](t, b, script)
				if cmp.Or(schemeOf[color], scheme) != scheme {
					t.Errorf("dark mode keeps %s of light mode", color)
				}
				schemeOf[color] = scheme
			}
		}
	}
	if len(schemeOf) != 4 { // each scheme has its ground and its bar, the same at each width
		t.Errorf("the colours are %v, want two of each scheme", schemeOf)
	}

	// Two cards side by side where there is room, one below the other on a phone.
	const apart = `(() => { const [a, b] = [...document.querySelectorAll(".cards article")].map(e => e.getBoundingClientRect()); return a.top == b.top; })()`
	if !ask[bool](t, b, apart) {
		t.Error("the stampede and the flight are not side by side at 1400 px")
	}
	b.size(t, 360, "light")
	if ask[bool](t, b, apart) {
		t.Error("the stampede and the flight are squeezed side by side at 360 px")
	}

	b.quiet(t, file)
}

// quiet fails if the browser has complained, or asked for anything but the file.
func (b *browser) quiet(t *testing.T, file string) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.said) > 0 {
		t.Errorf("the browser says %q", b.said)
	}
	if want := []string{fileURL(file)}; !slices.Equal(b.requests, want) {
		t.Errorf("it asked for %q, want the file alone", b.requests)
	}
}

// A summary can be reached and opened with the keys alone.
func TestKeys(t *testing.T) {
	b := browse(t, written(t, Open, example()))
	b.size(t, 1400, "light")
	const focused = `document.activeElement.tagName + " " + document.activeElement.textContent.trim()`
	b.do(t, chromedp.KeyEvent("\t"))
	if got := ask[string](t, b, focused); got != "A To the steps" {
		t.Errorf("the first Tab leads to %q, want the way past the pictures", got)
	}
	for range 60 {
		if strings.HasPrefix(ask[string](t, b, focused), "SUMMARY The code") {
			b.do(t, chromedp.KeyEvent("\r"))
			if !ask[bool](t, b, `document.activeElement.parentElement.open`) {
				t.Error("Enter does not unfold the code")
			}
			return
		}
		b.do(t, chromedp.KeyEvent("\t"))
	}
	t.Error("60 Tabs do not reach the code")
}

// sheet is a page of a PDF.
var sheet = regexp.MustCompile(`/Type\s*/Page\b`)

// sheets prints, and counts the pages of paper.
func (b *browser) sheets(t *testing.T, paper ...chromedp.PDFOption) int {
	t.Helper()
	pdf, err := chromedp.Run(b, chromedp.PrintToPDF(append(paper, chromedp.PDFPrintBackground())...))
	if err != nil || !bytes.HasPrefix(pdf, []byte("%PDF-")) {
		t.Fatalf("no PDF: %v", err)
	}
	return len(sheet.FindAll(pdf, -1))
}

// onPaper shows what is printed, of which ground is the lowest element: it can be
// read, on white.
func (b *browser) onPaper(t *testing.T, ground string) {
	t.Helper()
	b.show(t, "print", "dark")
	for _, what := range ask[[]string](t, b, tooFaint) {
		t.Errorf("on paper: %s", what)
	}
	if color := ask[string](t, b, "getComputedStyle("+ground+").backgroundColor"); color != "rgb(255, 255, 255)" {
		t.Errorf("paper is %s", color)
	}
}

// On paper everything is unfolded, on light ground, and no picture is cut. What
// is folded takes no room, so a page that prints it is longer.
func TestPrint(t *testing.T) { onEach(t, unfolded) }

func unfolded(t *testing.T, file string) {
	b := browse(t, file)
	b.size(t, 700, "dark")
	if n := ask[int](t, b, `[...document.querySelectorAll("details")].filter(d => !d.open).length`); n == 0 {
		t.Fatal("nothing is folded, so nothing is tried")
	}
	b.onPaper(t, "document.body")
	for _, what := range ask[[]string](t, b, `[...document.querySelectorAll("details > :not(summary)")].filter(e => !e.checkVisibility({contentVisibilityAuto: true}) || e.getBoundingClientRect().height < 20).map(e => e.className)`) {
		t.Errorf("folded on paper: %s", what)
	}
	for _, what := range ask[[]string](t, b, sticksOut) {
		t.Errorf("on paper: %s", what)
	}
	pages := func() int { return b.sheets(t, chromedp.PDFPaper(chromedp.PaperA4)) }
	folded := pages()
	b.unfold(t)
	unfolded := pages()
	if folded == 0 || folded != unfolded {
		t.Errorf("%d pages of paper with the details folded, %d with them unfolded; want as many", folded, unfolded)
	}
	ask[bool](t, b, `[...document.querySelectorAll("details")].map(d => d.remove()).length > 0`)
	if without := pages(); without >= folded {
		t.Errorf("%d pages without the details at all, %d with them: they are not printed", without, folded)
	}
}
